"""Energy over sizes and repeats: what an image costs at N nodes against what it costs on the base."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpcdl.analysis.energy import EnergyResult, Figure
from hpcdl.analysis.question import Question, group
from hpcdl.analysis.readings import derive
from hpcdl.estimates.intervals import Interval, estimate_over_repeats, hull, ratio
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hpcdl.analysis.boundaries import Boundary
    from hpcdl.analysis.launch import LaunchResult


@dataclass(frozen=True)
class EnergyPoint:
    """One size. `efficiency` is J/image of the base over J/image here: above one, the larger size costs less."""

    nodes: int
    ranks: int
    count: int
    j_per_image: Reading
    interval: Interval | None
    efficiency: Reading
    efficiency_interval: Interval | None


@dataclass(frozen=True)
class EnergyScaling:
    """One question at several sizes, or repeats of one, at one boundary by the same kind of meters."""

    question: Question
    boundary: Boundary
    sensors: tuple[str, ...]
    estimated: bool
    rehearsal: str | None
    points: tuple[EnergyPoint, ...]


def compare_energy(launches: Sequence[LaunchResult], *, force: bool = False) -> tuple[EnergyScaling, ...]:
    """A table for each question that was metered more than once; the smallest size is its base.

    Energy of a rehearsal is real, and its scaling is not: that of hosts which are one machine is withheld.
    """
    tables = []
    for question, members in group([one for one in launches if one.plan.variant == "full"]).items():
        for key, metered in _sort_by_meter(members).items():
            if len(metered) > 1:
                tables.append(_tabulate(question, key, metered, force=force))
    return tuple(tables)


_Key = tuple["Boundary", tuple[str, ...], bool, frozenset[str]]
_Metered = tuple["LaunchResult", Figure]


def _sort_by_meter(launches: Iterable[LaunchResult]) -> dict[_Key, list[_Metered]]:
    """Figures that may be compared: at the same boundary, of the same kinds of things, by the same sensors."""
    found: dict[_Key, list[_Metered]] = {}
    for launch in launches:
        if isinstance(launch.energy, EnergyResult):
            # The facility's is the node's times a constant: it has the same shape.
            for figure in (one for one in launch.energy.figures if one.boundary != "facility"):
                sensors = tuple(sorted(figure.sensors))
                key = (figure.boundary, sensors, figure.estimated > 0, figure.kinds)
                found.setdefault(key, []).append((launch, figure))
    return found


def _tabulate(question: Question, key: _Key, metered: Sequence[_Metered], *, force: bool) -> EnergyScaling:
    boundary, sensors, estimated, _ = key
    sizes: dict[tuple[int, int], list[Figure]] = {}
    for launch, figure in sorted(metered, key=lambda one: (one[0].world_size, one[0].plan.nodes)):
        sizes.setdefault((launch.world_size, launch.plan.nodes), []).append(figure)
    rehearsal = next((launch.rehearsal for launch, _ in metered if launch.rehearsal), None)
    withheld = None if force or rehearsal is None else Missing(missing=f"{rehearsal} (--force shows it)")
    combined = {size: combine_costs(figures) for size, figures in sizes.items()}
    base = combined[min(sizes)]
    points = tuple(
        _make_point(size, len(sizes[size]), here, base, withheld) for size, here in combined.items()
    )
    return EnergyScaling(question, boundary, sensors, estimated, rehearsal, points)


@dataclass(frozen=True)
class Combined:
    """J/image over repeats, with its interval where it has one."""

    value: Reading
    interval: Interval | None


def combine_costs(figures: Sequence[Figure]) -> Combined:
    """Over repeats: Student's t over three and more, the hull of two, one's own."""
    costs = [figure.j_per_image for figure in figures]
    absent = next((cost for cost in costs if isinstance(cost, Missing)), None)
    if absent is not None:
        return Combined(absent, None)
    values = [cost for cost in costs if not isinstance(cost, Missing)]
    if len(values) > 2:
        found = estimate_over_repeats(values)
        # What the meters leave open is the same each time: repeating does not even it out.
        open_low = statistics.fmean(figure.open_low for figure in figures)
        open_high = statistics.fmean(figure.open_high for figure in figures)
        return Combined(
            found.value,
            replace(found, low=max(0.0, found.low - open_low), high=found.high + open_high),
        )
    intervals = [figure.interval for figure in figures if figure.interval is not None]
    mean = statistics.fmean(values)
    return Combined(mean, hull(intervals, mean) if len(intervals) == len(values) else None)


def _make_point(
    size: tuple[int, int], count: int, here: Combined, base: Combined, withheld: Missing | None
) -> EnergyPoint:
    ranks, nodes = size
    efficiency = withheld or derive(lambda cost, least: least / cost, here.value, base.value)
    bounded = here.interval and base.interval and here is not base and not isinstance(efficiency, Missing)
    return EnergyPoint(
        nodes=nodes,
        ranks=ranks,
        count=count,
        j_per_image=here.value,
        interval=here.interval,
        efficiency=efficiency,
        efficiency_interval=ratio(base.interval, here.interval) if bounded else None,  # type: ignore[arg-type]
    )


@dataclass(frozen=True)
class CapPoint:
    """One power limit: what it gives. `on_front`: no other limit gives more of both."""

    limit_w: float
    images_per_s: float
    images_per_j: float
    count: int
    on_front: bool


def find_front(launches: Sequence[LaunchResult]) -> dict[Question, tuple[CapPoint, ...]]:
    """Images/s against images/J of launches that differ in nothing but the power limit that was in force.

    hpcdl sets no limit; an administrator does, and each launch has recorded the one that it ran under.
    """
    found = {}
    for question, members in group([one for one in launches if one.plan.variant == "full"]).items():
        limits: dict[float, list[tuple[float, float]]] = {}
        for launch in members:
            seen = _read_cap(launch)
            if seen is not None:
                limit_w, *rates = seen
                limits.setdefault(limit_w, []).append((rates[0], rates[1]))
        if len(limits) > 1:
            means = {
                limit: (statistics.fmean(r for r, _ in rates), statistics.fmean(e for _, e in rates))
                for limit, rates in limits.items()
            }
            found[question] = tuple(
                CapPoint(limit, *means[limit], len(limits[limit]), _leads(means[limit], means.values()))
                for limit in sorted(means)
            )
    return found


def _read_cap(launch: LaunchResult) -> tuple[float, float, float] | None:
    """The limit that all its GPUs had, images/s and images/J of the boards; None where there is none of these."""
    if not isinstance(launch.energy, EnergyResult) or isinstance(launch.images_per_s, Missing):
        return None
    figure = launch.energy.at("device")
    limits = {meter.source.limit_w for meter in launch.energy.meters if meter.source.covers == "gpu"}
    limit_w = next(iter(limits)) if len(limits) == 1 else None
    if figure is None or figure.estimated or limit_w is None or isinstance(limit_w, Missing):
        return None
    per_j = figure.images_per_j
    return None if isinstance(per_j, Missing) else (limit_w, launch.images_per_s, per_j)


def _leads(one: tuple[float, float], others: Iterable[tuple[float, float]]) -> bool:
    return not any(other[0] >= one[0] and other[1] >= one[1] and other != one for other in others)
