"""Several launches of one thing -> one number with one interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.analysis.question import Question, group
from hpcdl.analysis.readings import combine_rates, known
from hpcdl.estimates.intervals import Interval, estimate_over_repeats, hull, invert
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.launch import LaunchResult


def combine(intervals: Sequence[Interval | None]) -> Interval | None:
    """The 95 % interval of a rate over several launches of the same; None where none of them has one.

    Three and more are samples by themselves, and Student's t over their step times is the honest interval: it
    holds what differs from one start to the next. Two are too few for that: from the lowest end to the highest.
    One has what its own steps tell.
    """
    rates = [interval for interval in intervals if interval is not None]
    if len(rates) < 2:
        return rates[0] if rates else None
    mean = combine_rates([rate.value for rate in rates])
    if len(rates) == 2:
        return hull(rates, mean)
    return invert(estimate_over_repeats([1 / rate.value for rate in rates]), 1.0)


def combine_times(rates: Sequence[Interval | None], work: float) -> Interval | None:
    """The same as seconds for so much work: 'images of one step' gives the mean step."""
    rate = combine(rates)
    return None if rate is None else invert(rate, work)


@dataclass(frozen=True)
class Repeated:
    """One thing measured several times over, at one size. `rate` is over the launches that earned one."""

    question: Question
    nodes: int
    ranks: int
    variant: str
    count: int
    planned: int
    rate: Interval | Missing
    lowest: Reading
    highest: Reading


def gather_repeats(launches: Sequence[LaunchResult]) -> tuple[Repeated, ...]:
    """What was launched more than once, where all launches of its question have one size.

    Several sizes are a scaling table, which combines its repeats itself.
    """
    found = []
    for question, members in group(launches).items():
        sizes = {(launch.plan.nodes, launch.world_size) for launch in members}
        if len(sizes) == 1 and len(members) > 1:
            found.append(_sum_up(question, members))
    return tuple(found)


def _sum_up(question: Question, launches: Sequence[LaunchResult]) -> Repeated:
    first = launches[0]
    readings = [launch.images_per_s for launch in launches]
    rates = known(readings)
    rate = combine([launch.interval for launch in launches])
    absent = first.images_per_s if isinstance(first.images_per_s, Missing) else Missing(missing="no interval")
    return Repeated(
        question=question,
        nodes=first.plan.nodes,
        ranks=first.world_size,
        variant=first.plan.variant,
        count=len(rates),
        planned=len(launches),
        rate=rate or absent,
        lowest=min(rates) if rates else absent,
        highest=max(rates) if rates else absent,
    )
