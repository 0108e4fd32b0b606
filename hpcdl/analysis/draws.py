"""What each size of a question draws at one boundary: watts of all nodes, joules per image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.analysis.amounts import Amount, multiply
from hpcdl.analysis.common_ground import find_whole
from hpcdl.analysis.energy_scaling import combine_figures
from hpcdl.analysis.readings import average, derive
from hpcdl.estimates.intervals import scale
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcdl.analysis.boundaries import Boundary
    from hpcdl.analysis.energy import Figure
    from hpcdl.analysis.launch import LaunchResult
    from hpcdl.analysis.tariffs import Tariff
    from hpcdl.estimates.intervals import Interval

Size = tuple[int, int]  # nodes, ranks


@dataclass(frozen=True)
class Draw:
    """One size at one boundary, over its repeats. `average_w` is of all nodes; `uncovered` of these is in no meter."""

    nodes: int
    ranks: int
    boundary: Boundary
    covers: str
    uncovered: str
    sensors: str
    estimated: bool
    average_w: Reading
    j_per_image: Amount

    @property
    def words(self) -> str:
        """What the meters cover, and what of these nodes they do not."""
        return f"{self.covers} (without {self.uncovered})" if self.uncovered else self.covers

    @property
    def power_interval(self) -> Interval | None:
        """That of the power: joules per image and watts are off by the same factor."""
        interval = self.j_per_image.interval
        if interval is None or isinstance(self.average_w, Missing):
            return None
        return scale(interval, self.average_w / interval.value)


def measure_draws(launches: Sequence[LaunchResult], boundary: Boundary, tariff: Tariff) -> dict[Size, Draw]:
    """What each size draws that was metered at this boundary; at the facility with the tariff's PUE."""
    sizes: dict[Size, list[LaunchResult]] = {}
    for launch in launches:
        sizes.setdefault((launch.plan.nodes, launch.world_size), []).append(launch)
    found = {size: find_whole(repeats, boundary) for size, repeats in sizes.items()}
    pue = tariff.read_pue(facility=boundary == "facility")
    return {
        size: _combine(size, boundary, figures, pue)
        for size, figures in found.items()
        if not isinstance(figures, Missing)
    }


def _combine(size: Size, boundary: Boundary, figures: Sequence[Figure], pue: Reading) -> Draw:
    joules = multiply(combine_figures(figures), pue)
    # Repeats by other meters would be an average of unlike things.
    kinds = {(figure.kinds, figure.sensors) for figure in figures}
    mixed = Missing(missing="the launches of this size were metered differently") if len(kinds) > 1 else None
    watts = derive(lambda own, factor: own * factor, average([one.average_w for one in figures]), pue)
    enlarged = f", x PUE {pue:g}" if boundary == "facility" and not isinstance(pue, Missing) else ""
    return Draw(
        nodes=size[0],
        ranks=size[1],
        boundary=boundary,
        covers=figures[0].covers + enlarged,
        uncovered=figures[0].uncovered,
        sensors="; ".join(dict.fromkeys(sensor for figure in figures for sensor in figure.sensors)),
        estimated=any(figure.estimated for figure in figures),
        average_w=mixed or watts,
        j_per_image=Amount(mixed) if mixed else joules,
    )


def tell_undrawn(launches: Sequence[LaunchResult], boundary: Boundary) -> Missing:
    """Why no size draws anything at a boundary."""
    found = find_whole(launches, boundary)
    if isinstance(found, Missing):
        return found
    return Missing(missing=f"no size has a power at the boundary {boundary}")


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
