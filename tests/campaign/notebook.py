"""What has been seen so far: one line of JSON for each trial, so that a campaign can be broken off and resumed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Trial:
    """One trial as it is written down.

    `held` is None where the trial is void: it says nothing about the claim, and is done again by the next call.
    `elapsed_s` is None unless the claim held.
    """

    drill: str
    number: int
    held: bool | None
    variant: str
    elapsed_s: float | None
    detail: str
    code: str
    began_utc: str
    load: float


class Notebook:
    """The trials of a campaign, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def trials(self) -> list[Trial]:
        """In the order in which they were done; a line that a crash has torn is a trial that was not done."""
        if not self._path.exists():
            return []
        return [
            trial for line in self._path.read_text(encoding="utf-8").splitlines() if (trial := _read(line))
        ]

    def done(self, drill: str) -> set[int]:
        """The numbers of a drill's trials that need not be done again."""
        return {trial.number for trial in self.trials() if trial.drill == drill and trial.held is not None}

    def add(self, trial: Trial) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # A torn line is ended first, so that it spoils no other.
        torn = self._path.exists() and not self._path.read_bytes().endswith(b"\n")
        with self._path.open("a", encoding="utf-8") as file:
            file.write("\n" * torn + json.dumps(asdict(trial)) + "\n")

    def forget(self, drills: set[str]) -> None:
        """Start anew with these drills; what is noted of others stays."""
        kept = [trial for trial in self.trials() if trial.drill not in drills]
        self._path.unlink(missing_ok=True)
        for trial in kept:
            self.add(trial)


def _read(line: str) -> Trial | None:
    try:
        return Trial(**json.loads(line))
    except (ValueError, TypeError):
        return None
