"""Requirements in tables: each with its worst unit, and each with its units."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hpcdl.acceptance import metrics
from hpcdl.acceptance.verdict import WORST_FIRST
from hpcdl.acceptance.words import cut, read_table
from hpcdl.records import Missing
from hpcdl.report.content import Column, Fact, Quantity, Table
from hpcdl.report.numbers import format_value
from hpcdl.report.wording import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hpcdl.acceptance.metrics import Dimension
    from hpcdl.acceptance.suite import Suite
    from hpcdl.acceptance.verdict import Decision, Requirement
    from hpcdl.report.content import Cell, Unit

WORDS = {
    "pass": "PASS",
    "fail": "FAIL",
    "insufficient": "INSUFFICIENT EVIDENCE",
    "not applicable": "not applicable",
}
# So many units of a requirement are shown; of more, the worst.
MOST_UNITS = 16
LONGEST_WORD, LONGEST_BRIEF, LONGEST_DIGEST = 160, 40, 16
UNITS: dict[Dimension, Unit] = {
    "images/s": "images/s",
    "images/J": "images/J",
    "bytes/s": "bytes/s",
    "FLOP/s": "FLOP/s",
    "bytes": "bytes",
    "s": "s",
    "°C": "°C",
    "W": "W",
    "MHz": "MHz",
    "cores": "number",
    "count": "number",
    "ratio": "fraction",
    "text": "number",
}
# What numbers do not say by themselves.
_SILENT = {"images/s": " images/s", "images/J": " images/J", "cores": " cores"}


def choose_unit(metric: str, *, relative: bool = False) -> Unit:
    """In which unit a report has a metric's numbers."""
    return "fraction" if relative else UNITS[metrics.find(metric).dimension]


def write_amount(metric: str, value: float | str | None, *, relative: bool = False) -> str:
    """A value of a metric in words, with its unit; a dash where there is none."""
    if value is None:
        return "—"
    if isinstance(value, str):
        return shorten_word(value)
    unit = choose_unit(metric, relative=relative)
    silent = "" if relative else _SILENT.get(metrics.find(metric).dimension, "")
    return format_value(value, unit) + silent


def shorten_word(word: str) -> str:
    """A digest by its first letters; what is a table of names and words, as 'torch 2.13.0, mpi 4.1'."""
    word = flatten_word(word)
    if len(word) >= 32 and all(letter in "0123456789abcdef" for letter in word):
        return f"{word[:LONGEST_DIGEST]}…"
    return cut(word, LONGEST_WORD)


def flatten_word(word: str) -> str:
    """A word that is a table in JSON, as 'torch 2.13.0, mpi 4.1'; any other as it is."""
    table = read_table(word)
    if table is None:
        return word
    return ", ".join(f"{name} {value}" for name, value in table.items() if value is not None)


def write_interval(metric: str, decision: Decision) -> str:
    """'93.1 % to 97.0 %'; an end that is nowhere is left open."""
    if decision.low is None and decision.high is None:
        return ""
    low, high = (
        write_amount(metric, end, relative=decision.relative) for end in (decision.low, decision.high)
    )
    if decision.high is None:
        return f"from {low} on"
    return f"up to {high}" if decision.low is None else f"{low} to {high}"


def describe_decision(requirement: Requirement, decision: Decision) -> str:
    """A decision in a sentence: 'asked: at least …; seen: 62.0 %, 60.1 % to 64.0 %; 9 samples. Reason.'."""
    seen = [
        write_amount(requirement.metric, decision.value, relative=decision.relative),
        write_interval(requirement.metric, decision),
    ]
    parts = [
        f"asked: {requirement.asked}",
        f"seen: {', '.join(part for part in seen if part)}",
        f"line: {write_amount(requirement.metric, decision.threshold, relative=decision.relative)}",
        count(decision.samples, "sample"),
        WORDS[decision.outcome],
    ]
    return "; ".join(parts) + (f". {decision.reason}" if decision.reason else "")


# Whether more is better; None: neither more nor less.
Floor = bool | None


def find_floors(suite: Suite) -> dict[str, Floor]:
    """Criterion -> whether more is better."""
    return {one.name: None if one.equals is not None else one.is_floor for one in suite.criteria}


def sort_worst(requirement: Requirement, *, floor: Floor) -> list[Decision]:
    """The decisions, what failed first, of these the farthest from the line."""
    return sorted(
        requirement.decisions,
        key=lambda one: (WORST_FIRST.index(one.outcome), find_margin(one, floor=floor), one.unit),
    )


def find_margin(decision: Decision, *, floor: Floor) -> float:
    """How far a value is on the right side of the line, as a part of the line; nothing known is the worst."""
    value, line = decision.value, decision.threshold
    if isinstance(value, str) or isinstance(line, str):
        return 0.0
    if value is None or line is None:
        return -math.inf
    above = (value - line) / (abs(line) or 1.0)
    return -abs(above) if floor is None else above if floor else -above


def make_requirement_table(requirements: Sequence[Requirement], floors: dict[str, Floor]) -> Table:
    """One row for each requirement, by its worst unit."""
    columns = (
        Column("requirement", "requirement", left=True),
        Column("metric", "metric", left=True, hidden=True),
        Column(
            "severity", "severity", left=True, hidden=all(one.severity == "required" for one in requirements)
        ),
        Column("outcome", "verdict", left=True),
        Column("held", "passed", left=True),
        Column("asked", "asked", left=True, rank=1),
        Column("worst_unit", "worst unit", left=True, rank=2),
        *_list_value_columns(words=True, line_rank=1),
        Column("passed", "passed", hidden=True),
        Column("units", "units", hidden=True),
        Column("alpha", "false-alarm chance", rank=5, hidden=True),
        Column("reason", "why", left=True, rank=4),
    )
    rows = tuple(_make_row(one, floor=floors.get(one.criterion, True)) for one in requirements)
    return Table("requirements", "Requirements", columns, rows, captions=(BOUNDS_EXPLAINED,))


BOUNDS_EXPLAINED = (
    "of an interval, the end towards the better is as sure as a failure has to be: it errs with the chance of a false "
    "alarm, which is the smaller the more decisions there are. The other end is as sure as a pass has to be: by the "
    "confidence that is asked for"
)


def _list_value_columns(
    *, intervals: bool = True, words: bool = False, line_rank: int = 0
) -> tuple[Column, ...]:
    """`words`: there are some among the values; these are wrapped."""
    return (
        Column("seen", "value", left=words),
        Column("interval", "interval", left=True, rank=3, hidden=not intervals),
        Column("line", "line", left=words, rank=line_rank),
        Column("samples", "samples", rank=5),
        Column("value", "value", hidden=True),
        Column("low", "low", hidden=True),
        Column("high", "high", hidden=True),
        Column("threshold", "threshold", hidden=True),
    )


def _make_row(requirement: Requirement, *, floor: Floor) -> tuple[Cell, ...]:
    worst = next(iter(sort_worst(requirement, floor=floor)), None)
    alpha, passed = requirement.alpha, sum(one.outcome == "pass" for one in requirement.decisions)
    return (
        requirement.criterion,
        requirement.metric,
        requirement.severity,
        WORDS[requirement.outcome],
        f"{passed:,} of {len(requirement.decisions):,}" if requirement.decisions else "",
        requirement.asked,
        worst.unit if worst else "",
        *(_show_values(requirement.metric, worst) if worst else ("", "", "", None, None, None, None, None)),
        passed,
        len(requirement.decisions),
        None if alpha is None else Quantity(alpha, "p"),
        worst.reason if worst and worst.outcome != "pass" else "",
    )


def _show_values(metric: str, decision: Decision) -> Iterator[Cell]:
    """As people read it, then as programs do."""
    relative = decision.relative
    value, line = contrast(decision.value, decision.threshold)
    yield write_amount(metric, value, relative=relative)
    yield write_interval(metric, decision)
    yield write_amount(metric, line, relative=relative)
    yield decision.samples
    unit = choose_unit(metric, relative=relative)
    yield (
        Quantity(Missing(missing=decision.reason), unit)
        if decision.value is None
        else _show(decision.value, unit)
    )
    yield from (_show(end, unit) for end in (decision.low, decision.high, decision.threshold))


def contrast(value: float | str | None, line: float | str | None) -> tuple[float | str | None, ...]:
    """Two words beside each other: of tables what differs, the beginning of what is the same."""
    if not isinstance(value, str) or not isinstance(line, str):
        return value, line
    if value == line:
        return (cut(flatten_word(value), LONGEST_BRIEF),) * 2
    own, usual = read_table(value), read_table(line)
    if own is None or usual is None:
        return value, line
    differing = [key for key in {**own, **usual} if own.get(key) != usual.get(key)]
    value, line = (", ".join(f"{key} {one.get(key, 'none')}" for key in differing) for one in (own, usual))
    return value, line


def _show(value: float | str | None, unit: Unit) -> Cell:
    return value if value is None or isinstance(value, str) else Quantity(value, unit)


def make_unit_tables(requirements: Iterable[Requirement], floors: dict[str, Floor]) -> Iterator[Table]:
    """For each requirement its units, or the worst of many; words that all agree say nothing more than their row."""
    for one in requirements:
        words = all(isinstance(decision.threshold, str | None) for decision in one.decisions)
        if one.decisions and not (words and one.outcome == "pass"):
            yield _make_unit_table(one, floor=floors.get(one.criterion, True))


def _make_unit_table(requirement: Requirement, *, floor: Floor) -> Table:
    decisions = sort_worst(requirement, floor=floor)
    shown, rest = decisions[:MOST_UNITS], decisions[MOST_UNITS:]
    columns = (
        Column("unit", "unit", left=True),
        Column("outcome", "verdict", left=True),
        *_list_value_columns(
            intervals=any(one.low is not None or one.high is not None for one in shown),
            words=any(isinstance(one.value, str) for one in shown),
        ),
        Column("reason", "why", left=True, hidden=not any(one.reason for one in shown)),
    )
    rows = tuple(
        (one.unit, WORDS[one.outcome], *_show_values(requirement.metric, one), one.reason) for one in shown
    )
    return Table(
        "units",
        f"{requirement.criterion}: {requirement.metric}, {requirement.asked}",
        columns,
        rows,
        facts=(
            Fact("requirement", "requirement", requirement.criterion),
            Fact("metric", "metric", requirement.metric),
        ),
        captions=tuple(_caption(requirement, rest)),
        many=True,
    )


def _caption(requirement: Requirement, rest: Sequence[Decision]) -> Iterator[str]:
    if requirement.why:
        yield requirement.why
    if rest:
        told = ", ".join(
            f"{sum(one.outcome == outcome for one in rest):,} {WORDS[outcome]}"
            for outcome in WORST_FIRST
            if any(one.outcome == outcome for one in rest)
        )
        yield f"these are the worst; {count(len(rest), 'more unit')}: {told}. certificate.json has all"
