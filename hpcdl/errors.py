"""What can go wrong, as a tree: each error carries what happened, why, and what to do.

HpcdlError
├── Mistake          the person's input cannot be used (exit code 2)
│   ├── UnknownName  a name that no registry holds; the nearest is suggested
│   └── RefusedJob   Slurm would not take the job, in Slurm's own words
└── Failure          the input was fine and the work did not come to its end (exit code 1)
    └── Refused      a launch that found itself unfit to be measured
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class HpcdlError(Exception):
    """Something that a person should read: one sentence on what and why, another on what to do."""

    exit_code = 1

    def __init__(self, what: str, *, do: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.do = do

    def __str__(self) -> str:
        return f"{self.what} {self.do}".rstrip()


class Mistake(HpcdlError):
    """The input cannot be used as it is; nothing was started and nothing was lost."""

    exit_code = 2


class UnknownName(Mistake):
    """A name that a registry does not hold."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: str = "") -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        place = f"{where}: " if where else ""
        super().__init__(
            f"{place}there is no {kind} {name!r}.",
            do=f"{hint}Known: {', '.join(names) or 'none'}.",
        )


class RefusedJob(Mistake):
    """Slurm refused the job: its own words are in `what`."""


class Failure(HpcdlError):
    """The work was started and did not come to its end."""


class Refused(Failure):
    """A launch that found itself unfit to be measured, before its first step."""
