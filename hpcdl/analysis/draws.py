"""What each size of a question draws at one boundary: watts of all nodes, joules per image."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.analysis.energy import EnergyResult
from hpcdl.analysis.energy_scaling import combine_figures
from hpcdl.estimates.intervals import scale
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hpcdl.analysis.boundaries import Boundary
    from hpcdl.analysis.energy import Figure
    from hpcdl.analysis.launch import LaunchResult
    from hpcdl.estimates.intervals import Interval

# The widest first: what a building draws is what is paid.
BOUNDARIES: tuple[Boundary, ...] = ("facility", "node", "device")
Size = tuple[int, int]  # nodes, ranks


@dataclass(frozen=True)
class Draw:
    """One size at one boundary, over its repeats. `average_w` is of all nodes; `interval` is that of J/image."""

    nodes: int
    ranks: int
    boundary: Boundary
    covers: str
    sensors: str
    estimated: bool
    average_w: Reading
    j_per_image: Reading
    interval: Interval | None

    @property
    def power_interval(self) -> Interval | None:
        """That of the power: joules per image and watts are off by the same factor."""
        if self.interval is None or isinstance(self.average_w, Missing):
            return None
        return scale(self.interval, self.average_w / self.interval.value)


def choose_boundary(groups: Iterable[Sequence[LaunchResult]]) -> Boundary | Missing:
    """The widest boundary at which every group of launches has a figure."""
    found = [_list_boundaries(group) for group in groups]
    for boundary in BOUNDARIES:
        if found and all(boundary in one for one in found):
            return boundary
    lacking = next((group for group, one in zip(groups, found, strict=True) if not one), None)
    if lacking:
        return _why_unmetered(lacking)
    have = " against ".join(" and ".join(sorted(one)) for one in found)
    return Missing(missing=f"there is no boundary that both were metered at: {have}")


def _list_boundaries(launches: Iterable[LaunchResult]) -> set[Boundary]:
    return {
        figure.boundary
        for launch in launches
        if isinstance(launch.energy, EnergyResult)
        for figure in launch.energy.figures
    }


def _why_unmetered(launches: Sequence[LaunchResult]) -> Missing:
    reasons = [launch.energy for launch in launches if isinstance(launch.energy, Missing)]
    return reasons[0] if reasons else Missing(missing="nothing was metered")


def measure_draws(launches: Sequence[LaunchResult], boundary: Boundary) -> dict[Size, Draw]:
    """The figures of each size that has any at this boundary."""
    figures: dict[Size, list[Figure]] = {}
    for launch in launches:
        found = launch.energy.at(boundary) if isinstance(launch.energy, EnergyResult) else None
        if found is not None:
            figures.setdefault((launch.plan.nodes, launch.world_size), []).append(found)
    return {size: _combine(size, boundary, repeats) for size, repeats in figures.items()}


def _combine(size: Size, boundary: Boundary, figures: Sequence[Figure]) -> Draw:
    cost = combine_figures(figures)
    # Repeats by other meters would be an average of unlike things.
    kinds = {(figure.kinds, figure.sensors) for figure in figures}
    mixed = Missing(missing="the launches of this size were metered differently") if len(kinds) > 1 else None
    return Draw(
        nodes=size[0],
        ranks=size[1],
        boundary=boundary,
        covers=figures[0].covers,
        sensors="; ".join(dict.fromkeys(sensor for figure in figures for sensor in figure.sensors)),
        estimated=any(figure.estimated for figure in figures),
        average_w=mixed or _average([figure.average_w for figure in figures]),
        j_per_image=mixed or cost.value,
        interval=None if mixed else cost.interval,
    )


def _average(readings: Sequence[Reading]) -> Reading:
    absent = next((reading for reading in readings if isinstance(reading, Missing)), None)
    return absent or statistics.fmean(reading for reading in readings if not isinstance(reading, Missing))


def find_nearest(draws: Mapping[Size, Draw], nodes: int, ranks: int) -> Draw | None:
    """That of a size itself, else of the largest size on whole nodes that has a power; None: there is none."""
    own = draws.get((nodes, ranks))
    if own is not None:
        return own
    per_node = ranks // nodes
    whole = [
        draw
        for draw in draws.values()
        if draw.ranks == per_node * draw.nodes and not isinstance(draw.average_w, Missing)
    ]
    return max(whole, key=lambda draw: draw.nodes, default=None)
