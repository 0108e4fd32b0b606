"""Several launches of one thing -> one number with one interval."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.analysis.question import Question, group
from hpcdl.analysis.readings import Withheld, combine_rates, known
from hpcdl.estimates.intervals import Interval, estimate_over_repeats, hull, invert
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.launch import LaunchResult

SCATTERED = "the launches scatter so widely that their mean has no upper bound"


def combine(intervals: Sequence[Interval | None]) -> Interval | None:
    """The 95 % interval of a rate over several launches of the same; None where there is none: see `why_absent`.

    Three and more are samples by themselves, and Student's t over their step times is the honest interval: it
    holds what differs from one start to the next. Two are too few for that: from the lowest end to the highest.
    One has what its own steps tell. Where Student's t takes a step time of zero for possible, the rate has no upper
    end, and so no interval.
    """
    rates = [interval for interval in intervals if interval is not None]
    if len(rates) < 2:
        return rates[0] if rates else None
    mean = combine_rates([rate.value for rate in rates])
    if len(rates) == 2:
        return hull(rates, mean)
    rate = invert(estimate_over_repeats([1 / rate.value for rate in rates]), 1.0)
    return rate if rate.bounded else None


def why_absent(launches: Sequence[LaunchResult]) -> Missing:
    """Why `combine` finds no interval over these launches: none of them has one, or they scatter too widely."""
    rates = [launch.interval.value for launch in launches if launch.interval is not None]
    if rates:
        return Withheld(missing=SCATTERED, value=combine_rates(rates))
    reading = launches[0].images_per_s
    return reading if isinstance(reading, Missing) else Missing(missing="there is no interval")


def find_scattered(launches: Sequence[LaunchResult]) -> list[list[LaunchResult]]:
    """Launches of one question and size each of which has an interval, and all together none."""
    sizes: defaultdict[tuple[Question, int, int], list[LaunchResult]] = defaultdict(list)
    for question, members in group(launches).items():
        for launch in members:
            if launch.interval is not None:
                sizes[question, launch.plan.nodes, launch.world_size].append(launch)
    return [alike for alike in sizes.values() if combine([launch.interval for launch in alike]) is None]


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
    absent = why_absent(launches)
    return Repeated(
        question=question,
        nodes=first.plan.nodes,
        ranks=first.world_size,
        variant=first.plan.variant,
        count=len(rates),
        planned=len(launches),
        rate=combine([launch.interval for launch in launches]) or absent,
        lowest=min(rates) if rates else absent,
        highest=max(rates) if rates else absent,
    )
