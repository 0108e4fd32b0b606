"""Timed numbers: pass where the interval's bound clears the line, fail where it cannot, else not enough evidence."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hpcdl.acceptance.verdict import Decision
from hpcdl.acceptance.wording import REFERENCES, tell_value
from hpcdl.estimates.fleet import Samples, Standing, estimate_standing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from hpcdl.acceptance.case import Case
    from hpcdl.acceptance.evidence import Observation, Unit

# A failure is confirmed by so many launches, none of which says otherwise.
CONFIRMING = 2


class Finding(IntEnum):
    """What a unit's interval says of a line."""

    PASSES = 0
    FAILS = 1
    OPEN = 2  # the line lies within the interval
    ONCE = 3  # would fail, by one launch alone
    TORN = 4  # would fail, and one launch alone would not
    BLIND = 5  # nothing is known of its noise


@dataclass(frozen=True)
class Line:
    """Where the line is, as a logarithm, and how a failure is to be confirmed.

    `alpha` is the chance to accuse a unit on the line, `doubt` that to pass it: to accuse one of thousands takes more
    than to pass one. `needed` is how many launches a failure takes; with `agreeing` no launch may say otherwise.
    """

    at: float
    floor: bool
    alpha: float
    doubt: float
    needed: int = CONFIRMING
    agreeing: bool = True


def hold_against(standing: Standing, line: Line) -> NDArray[np.intp]:
    """A Finding for each unit, (units,)."""
    sign = 1.0 if line.floor else -1.0
    distance, reach = sign * (standing.values - line.at), standing.reach(line.alpha)
    clear = distance - standing.reach(line.doubt)
    best = sign * ((standing.highest if line.floor else standing.lowest) - line.at)
    findings = np.full(len(distance), int(Finding.OPEN), dtype=np.intp)
    with np.errstate(invalid="ignore"):
        findings[clear >= 0] = Finding.PASSES
        fails = distance + reach < 0
        findings[fails] = Finding.FAILS
        findings[fails & (best >= 0) & line.agreeing] = Finding.TORN
        findings[fails & (standing.blocks < line.needed)] = Finding.ONCE
    findings[np.isnan(reach)] = Finding.BLIND
    return findings


@dataclass
class _Gathered:
    """The samples of the units that have some, as logarithms; what the others lack."""

    units: list[Unit]
    logs: list[float]
    owners: list[int]
    blocks: list[int]
    lacking: dict[str, Decision]


def decide_speeds(case: Case, units: Sequence[Unit], alpha: float) -> list[Decision]:
    """Each unit; `alpha` is its chance of a false alarm."""
    gathered = _gather(case, units)
    decided = dict(gathered.lacking)
    if gathered.units:
        decided |= {one.unit: one for one in _decide_seen(case, gathered, alpha)}
    return [decided[unit.name] for unit in units]


def _gather(case: Case, units: Sequence[Unit]) -> _Gathered:
    found = _Gathered([], [], [], [], {})
    for named in units:
        unit = case.as_seen(named)
        samples = list(_read_samples(case, unit))
        if reason := _find_defect(case, unit, [value for _, value in samples]):
            found.lacking[unit.name] = reason
            continue
        owner = len(found.units)
        found.units.append(unit)
        for block, value in samples:
            found.logs.append(math.log(value))
            found.owners.append(owner)
            found.blocks.append(case.seen.blocks[block])
    return found


def _read_samples(case: Case, unit: Unit) -> Iterator[tuple[str, float]]:
    """Block and value, over what it is held against where that is not the fleet; 0 where there is no such thing."""
    known = _find_reference(case, unit)
    for number in sorted(case.numbers_of(unit), key=_order):
        by = number.expected if case.criterion.of == "expectation" else known
        for sample in number.samples:
            yield number.block, sample / by if by is not None and by > 0 else 0.0


def _order(number: Observation) -> tuple[str, tuple[float, ...]]:
    return number.block, number.samples


def _find_reference(case: Case, unit: Unit) -> float | None:
    if case.criterion.of != "reference":
        return 1.0
    return case.references.find(case.criterion.metric, unit) if case.references is not None else None


def _find_defect(case: Case, unit: Unit, values: Sequence[float]) -> Decision | None:
    if not values:
        return case.lack_all(unit)
    if min(values) > 0 and math.isfinite(max(values)):
        return None
    if case.criterion.of == "reference" and case.references is None:
        return case.lack(unit, "no baseline was given (--baseline)", helps=False)
    if case.criterion.of == "reference" and not _find_reference(case, unit):
        return case.lack(unit, "the baseline does not know this number of such a unit", helps=False)
    if case.criterion.of == "expectation" and any(one.expected is None for one in case.numbers_of(unit)):
        return case.lack(unit, "there is no model of what to expect of it", helps=False)
    return case.lack(unit, f"a sample is {min(values):g}, and no measurement of a speed", helps=True)


def _decide_seen(case: Case, found: _Gathered, alpha: float) -> Iterator[Decision]:
    criterion = case.criterion
    relative = criterion.of == "fleet"
    kinds = {model: place for place, model in enumerate(sorted({unit.model for unit in found.units}))}
    standing = estimate_standing(
        Samples(
            np.array(found.logs),
            np.array(found.owners, dtype=np.intp),
            np.array(found.blocks, dtype=np.intp),
            np.array([kinds[unit.model] for unit in found.units], dtype=np.intp),
        ),
        relative=relative,
    )
    line = _draw_line(case, alpha)
    findings = hold_against(standing, line).tolist()
    alike = Counter(unit.model for unit in found.units)
    columns = _tabulate(standing, line)
    for place, (unit, finding) in enumerate(zip(found.units, findings, strict=True)):
        if relative and alike[unit.model] == 1:
            yield case.lack(unit, _say_alone(case, unit), helps=False)
        else:
            yield _decide(case, unit, Finding(finding), columns[place])


def _draw_line(case: Case, alpha: float) -> Line:
    threshold = case.threshold
    return Line(
        at=math.log(threshold) if threshold > 0 else -math.inf,
        floor=case.floor,
        alpha=alpha,
        doubt=1 - case.confidence,
        needed=CONFIRMING if case.confirm and case.hopeful else 1,
        agreeing=case.confirm,
    )


class _Row(NamedTuple):
    value: float
    low: float | None
    high: float | None
    samples: int


def _tabulate(standing: Standing, line: Line) -> list[_Row]:
    """The end of the interval towards the better by `alpha`, the other by `doubt`."""
    up, down = standing.reach(line.alpha), standing.reach(line.doubt)
    if not line.floor:
        up, down = down, up
    # What is beyond any number bounds nothing.
    with np.errstate(over="ignore"):
        value, low, high = (
            np.exp(ends) for ends in (standing.values, standing.values - down, standing.values + up)
        )
    rows = zip(value.tolist(), low.tolist(), high.tolist(), standing.samples.tolist(), strict=True)
    return [
        _Row(one, bottom if math.isfinite(bottom) else None, top if math.isfinite(top) else None, samples)
        for one, bottom, top, samples in rows
    ]


def _decide(case: Case, unit: Unit, finding: Finding, row: _Row) -> Decision:
    if finding is Finding.PASSES:
        return case.accept(
            unit, row.value, low=row.low, high=row.high, threshold=case.threshold, samples=row.samples
        )
    fails = finding is Finding.FAILS
    return Decision(
        unit=unit.name,
        nodes=unit.nodes,
        outcome="fail" if fails else "insufficient",
        value=row.value,
        low=row.low,
        high=row.high,
        threshold=case.threshold,
        relative=case.criterion.of is not None,
        samples=row.samples,
        reason=_explain(case, finding, row),
        open=not fails and case.hopeful,
    )


def _explain(case: Case, finding: Finding, row: _Row) -> str:
    seen = tell_value(row.value, case.criterion)
    if finding is Finding.FAILS:
        return f"it is {seen}"
    if finding is Finding.ONCE:
        return f"would fail by {seen}; to be measured again"
    if finding is Finding.TORN:
        return f"it is {seen} over all launches, but not in each of them"
    if finding is Finding.BLIND:
        return "single repeats tell nothing of their scatter: more repeats are needed"
    return f"{seen}, too uncertain for the line: more repeats are needed"


def _say_alone(case: Case, unit: Unit) -> str:
    reference = REFERENCES["fleet"].removeprefix("the fleet's ")
    if len(case.seen.nodes) == 1:
        return f"a fleet of one has no {reference} to be held against"
    of = f" ({unit.model})" if unit.model else ""
    return f"it is the only one of its kind{of}: there is no {reference} to be held against"
