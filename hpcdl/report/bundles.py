"""What the commands on bundles show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.report.content import Column, Fact, Note, Quantity, Report, Table
from hpcdl.report.wording import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.report.content import Badge, Cell

SHOWN = 20


def describe_packed(
    path: str, runs: Sequence[tuple[str, str]], report: Report, facts: Sequence[Fact]
) -> Report:
    """A bundle that was written; `runs` are (run, what its executor said), `report` is the one in it."""
    return Report(
        kind="bundle",
        title=f"{path} · {count(len(runs), 'run')}",
        badges=report.badges,
        sections=(_make_table(runs, report, facts),),
        notes=(
            Note("info", "it holds names of hosts, folders and users as the records do: see docs/bundles.md"),
        ),
        more=(f"whoever gets it: hpcdl report verify {path}",),
    )


def describe_verified(
    path: str,
    runs: Sequence[tuple[str, str]],
    report: Report,
    facts: Sequence[Fact],
    *,
    notes: Sequence[str],
    more: Sequence[str],
) -> Report:
    """A bundle that is what was packed, and what differs where another version of hpcdl made it."""
    return Report(
        kind="bundle",
        title=f"{path} · verified",
        badges=report.badges,
        sections=(_make_table(runs, report, facts),),
        notes=tuple(Note("warning", text) for text in notes),
        more=tuple(more),
    )


def size_fact(size_bytes: int) -> Fact:
    """How large a file is."""
    return Fact("size_bytes", "size", Quantity(float(size_bytes), "bytes"))


def _make_table(runs: Sequence[tuple[str, str]], report: Report, facts: Sequence[Fact]) -> Table:
    columns = (Column("run", "run", left=True), Column("executor", "its executor said", left=True))
    badges: tuple[Badge, ...] = report.badges
    told: tuple[Fact, ...] = (
        Fact("report", "report", report.title),
        Fact("standing", "standing", ", ".join(badges)),
        *facts,
    )
    rows: tuple[tuple[Cell, ...], ...] = tuple(runs)
    return Table("runs", "Runs", columns, rows, told, limit=SHOWN)
