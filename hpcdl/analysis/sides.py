"""Engines side by side: the same training, the same size, another way for gradients to meet."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.analysis.question import Batch, Work, read_batch, read_work
from hpcdl.analysis.repeats import combine, why_absent
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
    groups: defaultdict[tuple[Work, Batch, int, int], list[LaunchResult]] = defaultdict(list)
    for launch in launches:
        if launch.plan.variant == "full" and launch.world_size > 1:
            asked = (read_work(launch), read_batch(launch), launch.plan.nodes, launch.world_size)
            groups[asked].append(launch)
    return tuple(
        Sides(*asked, _line_up(ways))
        for asked, ways in ((asked, _sort_by_way(members)) for asked, members in groups.items())
        if len(ways) > 1
    )


def _sort_by_way(launches: Sequence[LaunchResult]) -> dict[tuple[str, str], list[LaunchResult]]:
    """By engine and transport. What 'auto' would have become in a launch that never started, nobody knows."""
    resolved = {(launch.engine, launch.transport) for launch in launches if launch.environment}
    ways: defaultdict[tuple[str, str], list[LaunchResult]] = defaultdict(list)
    for launch in launches:
        if launch.environment or launch.engine != "auto":
            ways[_find_way(launch, resolved)].append(launch)
    return dict(ways)


def _find_way(launch: LaunchResult, resolved: set[tuple[str, str]]) -> tuple[str, str]:
    """As resolved; one that never started goes with the others of its engine, where these had one transport."""
    others = [way for way in resolved if way[0] == launch.engine]
    open_yet = launch.environment is None and launch.transport == "auto"
    return others[0] if open_yet and len(others) == 1 else (launch.engine, launch.transport)


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
    return combine([launch.interval for launch in launches]) or why_absent(launches)


def _divide(rate: Interval | Missing, first: Interval | Missing) -> Interval | Missing:
    # The reason alone: what may be withheld there are images/s, and this is a ratio.
    if isinstance(rate, Missing):
        return Missing(missing=rate.missing)
    if isinstance(first, Missing):
        return Missing(missing=first.missing)
    if rate == first:
        return Interval(1.0, 1.0, 1.0, rate.count, rate.effective)
    return ratio(rate, first)
