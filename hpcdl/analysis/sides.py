"""Engines side by side: the same training, the same size, another way for gradients to meet."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.analysis.question import Batch, Work, read_batch, read_work
from hpcdl.analysis.repeats import combine
from hpcdl.estimates.intervals import Interval, ratio
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.launch import LaunchResult


@dataclass(frozen=True)
class Side:
    """One engine over one transport. `over_first` is its rate over the first side's, with the interval of both."""

    engine: str
    transport: str
    count: int
    planned: int
    rate: Interval | Missing
    over_first: Interval | Missing
    exchange_share: Reading


@dataclass(frozen=True)
class Sides:
    """All engines that trained the same at one size, in the order in which they first ran."""

    work: Work
    batch: Batch
    nodes: int
    ranks: int
    sides: tuple[Side, ...]


def compare_engines(launches: Sequence[LaunchResult]) -> tuple[Sides, ...]:
    """One for each size at which more than one engine or transport trained the same."""
    groups: defaultdict[tuple[Work, Batch, int, int], dict[tuple[str, str], list[LaunchResult]]] = (
        defaultdict(dict)
    )
    for launch in launches:
        if launch.plan.variant == "full" and launch.world_size > 1:
            asked = (read_work(launch), read_batch(launch), launch.plan.nodes, launch.world_size)
            groups[asked].setdefault((launch.engine, launch.transport), []).append(launch)
    return tuple(
        Sides(work, batch, nodes, ranks, _line_up(group))
        for (work, batch, nodes, ranks), group in groups.items()
        if len(group) > 1
    )


def _line_up(group: dict[tuple[str, str], list[LaunchResult]]) -> tuple[Side, ...]:
    rates = {way: _rate(members) for way, members in group.items()}
    first = next(iter(rates.values()))
    return tuple(
        Side(
            engine=engine,
            transport=transport,
            count=sum(launch.interval is not None for launch in members),
            planned=len(members),
            rate=rates[engine, transport],
            over_first=_divide(rates[engine, transport], first),
            exchange_share=members[0].statistics.exchange_share,
        )
        for (engine, transport), members in group.items()
    )


def _rate(launches: Sequence[LaunchResult]) -> Interval | Missing:
    rate = combine([launch.interval for launch in launches])
    if rate is not None:
        return rate
    reading = launches[0].images_per_s
    return reading if isinstance(reading, Missing) else Missing(missing="there is no interval")


def _divide(rate: Interval | Missing, first: Interval | Missing) -> Interval | Missing:
    if isinstance(rate, Missing) or isinstance(first, Missing):
        return rate if isinstance(rate, Missing) else first
    if rate == first:
        return Interval(1.0, 1.0, 1.0, rate.count, rate.effective)
    return ratio(rate, first)
