"""Numbers that are compared as they are: no interval, and of several the worst counts."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from hpcdl.acceptance.speeds import CONFIRMING
from hpcdl.acceptance.verdict import Decision
from hpcdl.acceptance.wording import tell_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.acceptance.case import Case
    from hpcdl.acceptance.evidence import Observation, Unit

# Beside itself a unit needs another to have a median to be held against.
FEWEST = 2


def decide_counts(case: Case, units: Sequence[Unit]) -> list[Decision]:
    """Each unit, by its worst sample; links, which scatter, by the median of theirs."""
    centres = _find_centres(case, units) if case.criterion.of == "fleet" else {}
    return [_decide(case, unit, centres) for unit in units]


def _find_centres(case: Case, units: Sequence[Unit]) -> dict[str, float]:
    """By unit the median of its model, of which there are several; of two the other one, as for what is timed."""
    alike: dict[str, dict[str, float]] = {}
    for unit in units:
        if samples := case.samples_of(unit):
            alike.setdefault(case.as_seen(unit).model, {})[unit.name] = median(samples)
    centres: dict[str, float] = {}
    for values in alike.values():
        if len(values) == FEWEST:
            centres |= dict(zip(values, reversed(values.values()), strict=True))
        elif len(values) > FEWEST:
            centres |= dict.fromkeys(values, median(values.values()))
    return centres


def _decide(case: Case, unit: Unit, centres: dict[str, float]) -> Decision:
    samples = case.samples_of(unit)
    if not samples:
        return case.lack_all(unit)
    by, reason = (
        (1.0, "") if case.criterion.of is None else _find_reference(case, case.as_seen(unit), centres)
    )
    if reason:
        return case.lack(unit, reason, helps=False)
    return _hold_against(case, unit, _choose(case, samples) / by)


def _choose(case: Case, samples: Sequence[float]) -> float:
    if case.scattering:
        return median(samples)
    return min(samples) if case.floor else max(samples)


def _find_reference(case: Case, unit: Unit, centres: dict[str, float]) -> tuple[float, str]:
    """What it is held against, or why there is no such thing."""
    criterion = case.criterion
    if criterion.of == "fleet":
        found, reason = centres.get(unit.name), _say_alone(case, unit)
    elif criterion.of == "reference":
        known = case.references
        found = None if known is None else known.find(criterion.metric, unit)
        reason = (
            "no baseline was given (--baseline)"
            if known is None
            else "the baseline does not know this number of such a unit"
        )
    else:
        expected = [one.expected for one in case.numbers_of(unit)]
        found = None if None in expected else median(one for one in expected if one is not None)
        reason = "there is no model of what to expect of it"
    if found is None:
        return 1.0, reason
    return (
        (found, "")
        if found > 0
        else (1.0, f"it would be held against {found:g}, of which there are no parts")
    )


def _say_alone(case: Case, unit: Unit) -> str:
    if len(case.seen.nodes) == 1:
        return "a fleet of one has no median to be held against"
    of = f" ({unit.model})" if unit.model else ""
    return f"it is the only one of its kind{of}: there is no median to be held against"


def _hold_against(case: Case, unit: Unit, value: float) -> Decision:
    holds = value >= case.threshold if case.floor else value <= case.threshold
    numbers = case.numbers_of(unit)
    samples = sum(len(number.samples) for number in numbers)
    if holds:
        return case.accept(unit, value, threshold=case.threshold, samples=samples)
    again = _wants_confirming(case, numbers)
    return Decision(
        unit=unit.name,
        nodes=unit.nodes,
        outcome="insufficient" if again else "fail",
        value=value,
        threshold=case.threshold,
        relative=case.criterion.of is not None,
        samples=samples,
        reason=_explain(case, unit, value, again=again),
        open=again,
    )


def _wants_confirming(case: Case, numbers: Sequence[Observation]) -> bool:
    once = len({number.block for number in numbers}) < CONFIRMING
    return case.scattering and case.confirm and case.hopeful and once


def _explain(case: Case, unit: Unit, value: float, *, again: bool) -> str:
    told = tell_value(value, case.criterion)
    words = case.explanations_of(unit)
    why = f": {'; '.join(words)}" if words else ""
    return f"would fail by {told}{why}; to be measured again" if again else f"it is {told}{why}"
