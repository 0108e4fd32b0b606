"""Names that a shell may complete. Whatever goes wrong here, there are no proposals, and nothing is said."""

from __future__ import annotations

import functools
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

RUNS = 50


class Shell(StrEnum):
    """The shells that can be helped."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


def _quietly(find: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """Proposals that begin with what was typed; in the middle of a command line a traceback helps nobody."""

    @functools.wraps(find)
    def propose(incomplete: str) -> list[str]:
        try:
            return [name for name in find() if name.startswith(incomplete)]
        except Exception:  # noqa: BLE001 (a broken site file is told by the command itself)
            return []

    # Typer gives each argument by the annotation of its parameter.
    propose.__annotations__ = {"incomplete": str, "return": list}
    del propose.__wrapped__
    return propose


@_quietly
def networks() -> Iterable[str]:
    """All networks."""
    from hpcdl import networks as known

    return sorted(known.NETWORKS)


@_quietly
def benchmarks() -> Iterable[str]:
    """The shipped benchmarks."""
    from hpcdl.settings import shipped_benchmarks

    return shipped_benchmarks()


@_quietly
def suites() -> Iterable[str]:
    """The built-in suites of acceptance."""
    from hpcdl.acceptance.suite import shipped_suites

    return shipped_suites()


@_quietly
def published() -> Iterable[str]:
    """The published references."""
    from hpcdl.references import FOLDER

    return sorted(path.stem for path in FOLDER.glob("*.toml"))


@_quietly
def runs() -> Iterable[str]:
    """`last`, and the newest runs of the store, the newest first."""
    from hpcdl.cli.look import open_store

    return ["last", *sorted(open_store(None).names(), reverse=True)[:RUNS]]
