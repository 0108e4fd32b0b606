"""The nodes that a throughput takes: one run on more nodes, or copies of it beside each other."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpcdl.analysis.equivalence import NodeCount
from hpcdl.analysis.readings import derive
from hpcdl.analysis.sweep import read_point
from hpcdl.errors import Mistake
from hpcdl.estimates.intervals import scale
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.scaling import Point
    from hpcdl.analysis.sweep import Spot, Sweep

MEASURE_A_SWEEP = (
    "Measure a sweep: hpcdl submit scaling --nodes 1,2,4. Or say that independent copies do: --replicas."
)


@dataclass(frozen=True)
class Need:
    """The nodes that it takes, what they do together, and by what that is known; `assumptions` beside it."""

    spot: Spot
    amount: NodeCount
    basis: str
    mark: str = ""
    assumptions: tuple[str, ...] = ()
    copies: int = 1


def grow(sweep: Sweep, target: Point) -> Need:
    """One run on more nodes: as measured, else by the law; never by multiplication."""
    rate = _require(target)
    nodes = sweep.find_nodes(rate)
    if nodes is None and isinstance(sweep.fit, Missing):
        raise Mistake(
            f"the first run cannot be read at other sizes: {sweep.fit.missing}.", do=MEASURE_A_SWEEP
        )
    if nodes is None:
        never = Missing(missing=sweep.tell_unreached(rate))
        spot = replace(read_point(sweep, sweep.measured[-1]), images_per_s=never, interval=None)
        return Need(spot, NodeCount(never), "model")
    spot = sweep.at(nodes)
    low, high = sweep.bound_nodes(target.interval) if target.interval else (None, None)
    amount = NodeCount(count_whole(spot), low, high)
    if spot.basis == "measured":
        return Need(spot, amount, "measured", assumptions=tuple(_tell_smallest(sweep, nodes)))
    law = f"model, fitted to {sweep.sizes} sizes"
    return Need(spot, amount, law, "predicted", (*_tell_smallest(sweep, nodes), *sweep.tell_law()))


def count_whole(spot: Spot) -> Reading:
    """Its nodes; withheld where its throughput is: so many nodes are worth no more than what they do."""
    return derive(lambda _: float(spot.nodes), spot.images_per_s)


def _tell_smallest(sweep: Sweep, nodes: int) -> Sequence[str]:
    if nodes > 1 and nodes == min(point.nodes for point in sweep.whole):
        return (f"fewer than {nodes} nodes may do: that is the smallest size measured",)
    return ()


def add_copies(sweep: Sweep, target: Point) -> Need:
    """Independent runs beside each other, of the size that does most for each node."""
    points = sweep.whole or sweep.measured
    best = max(points, key=lambda point: _require(point) / point.nodes)
    copies = math.ceil(_require(target) / _require(best) - 1e-9)
    one = read_point(sweep, best)
    spot = replace(
        one,
        nodes=copies * one.nodes,
        ranks=copies * one.ranks,
        images_per_s=derive(lambda rate: copies * rate, one.images_per_s),
        interval=None if one.interval is None else scale(one.interval, copies),
    )
    low, high = _bound_copies(best, target)
    return Need(
        spot,
        NodeCount(count_whole(spot), low, high),
        f"{'1 copy' if copies == 1 else f'{copies:,} copies'} of {count_nodes(one.nodes)}",
        "copies",
        ("independent copies add up: no copy slows another down, and the work can be divided among models",),
        copies,
    )


def _bound_copies(best: Point, target: Point) -> tuple[int | None, int | None]:
    if best.interval is None or target.interval is None or best.interval.low <= 0:
        return None, None
    may, surely = target.interval.low / best.interval.high, target.interval.high / best.interval.low
    return math.ceil(may) * best.nodes, math.ceil(surely) * best.nodes


def _require(point: Point) -> float:
    if isinstance(point.images_per_s, Missing):
        raise Mistake(f"there is no throughput: {point.images_per_s.missing}.")
    return point.images_per_s


def count_nodes(nodes: int) -> str:
    """'1 node', '4 nodes'."""
    return "1 node" if nodes == 1 else f"{nodes:,} nodes"
