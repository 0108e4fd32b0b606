"""What `hpcdl accept run` says at its end: the verdict, requirement by requirement, and who is to blame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.acceptance.verdict import WORST_FIRST
from hpcdl.report.content import Column, Note, Report, Table
from hpcdl.report.numbers import format_number
from hpcdl.report.requirements import write_amount
from hpcdl.report.wording import count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcdl.acceptance.verdict import Culprit, Decision, Requirement, Verdict
    from hpcdl.report.content import Badge, Cell

WORDS = {
    "pass": "PASS",
    "fail": "FAIL",
    "insufficient": "INSUFFICIENT EVIDENCE",
    "not applicable": "does not apply",
}
# Units that are named in one reason, and reasons that are told of one requirement: the certificate has them all.
_ROOM = 4
_REASONS = 2
REQUIREMENTS = (
    Column("criterion", "requirement", left=True),
    Column("verdict", "verdict", left=True),
    Column("asked", "asked", left=True, rank=3),
    Column("passed", "passed", left=True, rank=2),
    Column("worst", "worst", left=True, rank=4),
    Column("reason", "why not", left=True),
)
CULPRITS = (
    Column("unit", "who", left=True),
    Column("symptom", "what", left=True),
    Column("clues", "why", left=True),
)


def describe_verdict(verdict: Verdict, name: str, where: tuple[str, ...]) -> Report:
    """The short form; `where` are lines on where the records are and what can be done with them."""
    badges: tuple[Badge, ...] = ("REHEARSAL",) if verdict.rehearsal else ()
    notes = [Note("rehearsal", f"a rehearsal: {verdict.rehearsal}")] if verdict.rehearsal else []
    return Report(
        kind="acceptance",
        title=f"{WORDS[verdict.outcome]}: {name}, {count(len(verdict.nodes), 'node')}",
        badges=badges,
        sections=tuple(_make_tables(verdict)),
        notes=(*notes, Note("info", _tell_alarms(verdict))),
        more=where,
    )


def _tell_alarms(verdict: Verdict) -> str:
    return (
        f"a healthy fleet would raise {format_number(verdict.false_alarms, 2)} false alarms on average at most, over "
        f"{count(verdict.comparisons, 'comparison')} of timed numbers."
    )


def _make_tables(verdict: Verdict) -> Iterator[Table]:
    rows = tuple(_make_row(requirement) for requirement in verdict.requirements)
    yield Table("requirements", "Requirements", REQUIREMENTS, rows)
    if verdict.culprits:
        blamed = tuple(_name_culprit(culprit) for culprit in verdict.culprits)
        yield Table("culprits", "Who is at fault", CULPRITS, blamed)


def _name_culprit(culprit: Culprit) -> tuple[Cell, ...]:
    return (culprit.unit, culprit.symptom, "; ".join(culprit.clues))


def _make_row(requirement: Requirement) -> tuple[Cell, ...]:
    word = WORDS[requirement.outcome]
    if requirement.severity == "advisory":
        word += " (advisory)"
    passed = sum(decision.outcome == "pass" for decision in requirement.decisions)
    counted = f"{passed} of {len(requirement.decisions)}" if requirement.decisions else ""
    return (
        requirement.criterion,
        word,
        requirement.asked,
        counted,
        _show_worst(requirement),
        _tell_reasons(requirement),
    )


def _show_worst(requirement: Requirement) -> str:
    """The unit that decided, with its value."""
    worst = _find_worst(requirement)
    if worst is None or worst.value is None:
        return ""
    return f"{worst.unit}: {format_decided(worst, requirement.metric)}"


def _find_worst(requirement: Requirement) -> Decision | None:
    decided = [one for one in requirement.decisions if one.outcome == requirement.outcome]
    return next((one for one in decided if one.value is not None), decided[0] if decided else None)


def format_decided(decision: Decision, metric: str) -> str:
    """A decision's value in words."""
    if not isinstance(decision.value, float | int):
        return str(decision.value or "")
    return write_amount(metric, decision.value, relative=decision.relative)


def _tell_reasons(requirement: Requirement) -> str:
    """Why it is not a pass, for the worst of its units."""
    for outcome in WORST_FIRST[:2]:
        told: dict[str, list[str]] = {}
        for decision in requirement.decisions:
            if decision.outcome == outcome:
                told.setdefault(decision.reason, []).append(decision.unit)
        if told:
            few = list(told.items())[:_REASONS]
            left = sum(len(units) for units in list(told.values())[_REASONS:])
            more = [f"and {count(left, 'other')}"] if left else []
            return "; ".join([*(_tell_units(units, reason) for reason, units in few), *more])
    return ""


def _tell_units(units: list[str], reason: str) -> str:
    more = f" and {len(units) - _ROOM} more" if len(units) > _ROOM else ""
    named = ", ".join(units[:_ROOM]) + more
    return f"{named}: {reason}" if reason else named
