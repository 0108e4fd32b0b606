"""What `hpcdl accept verify` shows: each check, and where the verdict differs from its records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.report.content import Column, Note, Report, Table
from hpcdl.report.requirements import WORDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.report.content import Badge, Cell

MOST_DIFFERENCES = 40
OUTCOMES = {"held": "held", "failed": "FAILED", "could not look": "could not look"}


@dataclass(frozen=True)
class Standing:
    """A certificate in a few words. `outcome` is what it says; None: it cannot be read."""

    name: str
    outcome: str | None
    holds: bool
    signed: bool
    rehearsal: str | None = None


def describe_verification(
    standing: Standing,
    checks: Sequence[tuple[str, str, str]],
    differences: Sequence[tuple[str, str, str, str, str]],
) -> Report:
    """The checks as (name, outcome, detail); the differences as (requirement, unit, what, was, is)."""
    word = "holds" if standing.holds else "DOES NOT HOLD"
    tables = (_make_check_table(standing, checks), _make_difference_table(differences))
    return Report(
        kind="verification",
        title=f"{standing.name} · {word}",
        badges=_choose_badges(standing),
        sections=tuple(table for table in tables if table.rows),
        notes=tuple(_list_notes(standing, checks)),
    )


def _choose_badges(standing: Standing) -> tuple[Badge, ...]:
    badges: list[Badge] = [] if standing.holds else ["FAILED"]
    if standing.rehearsal:
        badges.append("REHEARSAL")
    return (*badges, "SIGNED" if standing.signed else "UNSIGNED")


def _make_check_table(standing: Standing, checks: Sequence[tuple[str, str, str]]) -> Table:
    columns = (
        Column("check", "check", left=True),
        Column("outcome", "outcome", left=True),
        Column("detail", "detail", left=True),
    )
    rows: list[tuple[Cell, ...]] = [(name, OUTCOMES[outcome], detail) for name, outcome, detail in checks]
    says = "cannot be read" if standing.outcome is None else WORDS[standing.outcome]
    return Table("checks", f"Checks of a certificate that says: {says}", columns, tuple(rows))


def _make_difference_table(differences: Sequence[tuple[str, str, str, str, str]]) -> Table:
    columns = (
        Column("requirement", "requirement", left=True),
        Column("unit", "unit", left=True),
        Column("what", "what", left=True),
        Column("was", "certificate says", left=True),
        Column("now", "records say", left=True),
    )
    rows: tuple[tuple[Cell, ...], ...] = tuple(differences)
    title = "Where the verdict differs from its records"
    return Table("differences", title, columns, rows, limit=MOST_DIFFERENCES)


def _list_notes(standing: Standing, checks: Sequence[tuple[str, str, str]]) -> Iterator[Note]:
    for name, outcome, detail in checks:
        if outcome == "failed":
            yield Note("failure", f"{name}: {detail}")
    if not standing.signed:
        yield Note("warning", "UNSIGNED: whoever could write to it could have made all of it")
    if standing.rehearsal:
        yield Note("rehearsal", f"this is no acceptance of a cluster: {standing.rehearsal}")
    if any(outcome == "could not look" for _, outcome, _ in checks):
        yield Note("info", "what could not be looked at is not known to hold")
