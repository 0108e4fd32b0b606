"""How a report was asked for: what its last lines repeat, so that it can be had again in another way."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.report.content import PICTURED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.analysis.job import RunResult

# Of more runs the reader knows how they were chosen.
RUNS_NAMED = 8


@dataclass(frozen=True)
class Asking:
    """The words of a command line, unquoted.

    `runs` are those that chose the runs; without any, the runs are called by their ids. `flags` are the options that
    were given but for the format. `elsewhere`: ids alone do not find the runs where nobody says in which store.
    """

    runs: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    elsewhere: bool = False


def point_further(results: Sequence[RunResult], asked: Asking) -> Iterator[str]:
    """The lines at the end of a report on runs: how to get at what is not in it."""
    for result in results:
        if result.state in {"failed", "lost", "refused", "stopped"}:
            run = shlex.quote(result.path) if asked.elsewhere else result.run_id
            yield f"logs: hpcdl logs {run}"
    words = shlex.join(asked.runs or [result.run_id for result in results[:RUNS_NAMED]])
    more = " …" if len(results) > RUNS_NAMED and not asked.runs else ""
    flags = f" {shlex.join(asked.flags)}" if asked.flags else ""
    yield (f"{PICTURED}: hpcdl report {words}{more}{flags} --format html (or pdf, md, csv, json, png, svg)")
    for result in results[:RUNS_NAMED]:
        yield f"records: {result.path}"
