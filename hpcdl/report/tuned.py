"""What `hpcdl tune` shows: every candidate, what it was worth, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.report.content import Cell, Column, Fact, Note, Quantity, Report, Table
from hpcdl.tuning.search import FEWEST_PAIRS, MOST_PAIRS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.estimates.intervals import Interval
    from hpcdl.tuning.candidates import Candidate
    from hpcdl.tuning.search import Finding, Tuned

# A bar of so many characters is twice as fast; the other half is for what is slower.
BAR = 20


def describe_tuned(model: str, tuned: Tuned, *, kept_in: str, told: tuple[str, ...] = ()) -> Report:
    """The table, the sum of it, and where it was written."""
    columns = (
        Column("setting", "setting", left=True),
        Column("worth", "worth"),
        Column("interval", "95 % interval", left=True, rank=1),
        Column("pairs", "pairs", rank=2),
        Column("bar", "slower ┆ faster", left=True, rank=1),
        Column("outcome", "outcome", left=True),
        Column("reason", "why", left=True, rank=3),
    )
    rows = tuple(_make_row(finding) for finding in tuned.findings)
    settings = ", ".join(f"{key} = {str(value).lower()}" for key, value in tuned.settings.items())
    facts = (
        Fact("best", "best settings", settings or "those that hpcdl chooses"),
        Fact("gain", "together", Quantity(tuned.gain, "times")),
        Fact("kept_in", "written to", kept_in),
    )
    caption = "worth: images/s with the setting over images/s without it, by pairs of launches by turns"
    numerics = [
        finding.candidate.text
        for finding in tuned.findings
        if finding.outcome == "kept" and finding.candidate.numerics
    ]
    notes = [
        Note("warning", f"{text} changes what is computed: results are of another precision")
        for text in numerics
    ]
    notes += [Note("info", words) for words in told]
    return Report(
        kind="tuned",
        title=f"{model} on this node",
        sections=(Table("settings", "Settings", columns, rows, facts, (caption,)),),
        notes=tuple(notes),
    )


def describe_candidates(model: str, candidates: Sequence[Candidate]) -> Report:
    """What would be tried."""
    columns = (
        Column("setting", "setting", left=True),
        Column("numerics", "changes what is computed", left=True),
    )
    rows = tuple((one.text, "yes" if one.numerics else "no") for one in candidates)
    caption = f"each by {FEWEST_PAIRS + 1} to {MOST_PAIRS} pairs of launches, until the budget is spent"
    return Report(
        kind="candidates",
        title=f"{model} on this node",
        sections=(Table("candidates", "Settings that would be tried", columns, rows, (), (caption,)),),
    )


def _make_row(finding: Finding) -> tuple[Cell, ...]:
    worth = finding.worth
    return (
        finding.candidate.text,
        None if worth is None else Quantity(worth.value, "times", low=worth.low, high=worth.high),
        "" if worth is None else f"{worth.low:.3f} to {worth.high:.3f}",
        finding.pairs,
        "" if worth is None else draw_bar(worth),
        finding.outcome,
        finding.reason,
    )


def draw_bar(worth: Interval) -> str:
    """Left of the middle what it costs, right of it what it gains."""
    half = BAR // 2
    length = min(half, round(abs(worth.value - 1) * half))
    left = "█" * length if worth.value < 1 else ""
    right = "█" * length if worth.value > 1 else ""
    return f"{left:>{half}}┆{right}"
