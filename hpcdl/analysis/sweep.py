"""One question at its sizes, read at any number of whole nodes: as measured where it was, else by the fitted law."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hpcdl import networks
from hpcdl.analysis.common_ground import Contender
from hpcdl.analysis.configurations import why_not_whole
from hpcdl.analysis.prediction import FARTHEST, fit_table, forecast, ranks_per_node, why_rehearsed
from hpcdl.analysis.readings import withhold
from hpcdl.analysis.scaling import gather_questions, tabulate_sizes
from hpcdl.errors import Mistake, UnknownName
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.launch import LaunchResult
    from hpcdl.analysis.scaling import Point, Scaling
    from hpcdl.analysis.tariffs import Tariff
    from hpcdl.estimates.fits import ScalingFit
    from hpcdl.estimates.intervals import Interval

# Where looking for a size ends: no cluster has so many nodes.
MOST_NODES = 10_000_000


@dataclass(frozen=True)
class Spot:
    """Throughput on so many nodes: measured there, or by the law that was fitted to other sizes."""

    nodes: int
    ranks: int
    basis: Literal["measured", "model"]
    images_per_s: Reading
    interval: Interval | None


@dataclass(frozen=True)
class Sweep:
    """One question. `fit` is its law, or why there is none; `sizes` is how many different ones it was fitted to.

    `unpriced` is why its nodes cannot be priced as so many.
    """

    scaling: Scaling
    launches: tuple[LaunchResult, ...]
    runs: tuple[RunResult, ...]
    fit: ScalingFit | Missing
    sizes: int
    unpriced: str | None

    @property
    def model(self) -> str:
        """The network's own name, where the launches were asked for by another."""
        return name_network(self.scaling.question.work.model)

    def contend(self, tariff: Tariff) -> Contender:
        """As what it wants its power to be compared."""
        return Contender(tell_runs(self.runs), self.launches, has_pue=tariff.pue is not None)

    @property
    def measured(self) -> tuple[Point, ...]:
        """The sizes that have a throughput."""
        return tuple(point for point in self.scaling.points if not isinstance(point.images_per_s, Missing))

    @property
    def whole(self) -> tuple[Point, ...]:
        """Of those the ones on whole nodes, divided as the largest is."""
        per_node = ranks_per_node(self.scaling)
        return tuple(point for point in self.measured if point.ranks == per_node * point.nodes)

    @property
    def farthest(self) -> int:
        """The most nodes of which the law is published."""
        if isinstance(self.fit, Missing):
            return max((point.nodes for point in self.whole), default=0)
        ranks = FARTHEST * self.fit.largest * self.scaling.base.ranks
        return math.floor(ranks / ranks_per_node(self.scaling))

    @property
    def least(self) -> int:
        """The fewest whole nodes that are not smaller than the smallest size."""
        return math.ceil(self.scaling.base.ranks / ranks_per_node(self.scaling))

    def at(self, nodes: int) -> Spot:
        """Throughput on so many whole nodes; Missing where nothing was measured there and no law is to be had."""
        ranks = nodes * ranks_per_node(self.scaling)
        point = next((one for one in self.whole if one.nodes == nodes), None)
        if point is not None:
            return read_point(self, point)
        if isinstance(self.fit, Missing):
            return Spot(nodes, ranks, "model", self.fit, None)
        if nodes < self.least:
            return Spot(nodes, ranks, "model", Missing(missing="smaller than what was measured"), None)
        found = forecast(self.fit, self.scaling, nodes, ranks)
        return Spot(nodes, ranks, "model", found.images_per_s, found.interval)

    def find_nodes(self, images_per_s: float) -> int | None:
        """The fewest whole nodes with this throughput, however far beyond the measured ones; None: it is not reached.

        What is smaller than the smallest size measured is not looked at. Where there is one size only, it is the answer
        if nothing smaller can be: one node.
        """
        enough = [point.nodes for point in self.whole if _value(point.images_per_s) >= images_per_s]
        if isinstance(self.fit, Missing):
            return 1 if 1 in enough else None
        short = {point.nodes for point in self.whole} - set(enough)
        found = find_first(lambda nodes: self._law(nodes) >= images_per_s, self.least, self.most)
        # Where it was measured, the measurement counts and not the law.
        while found is not None and found in short:
            found = found + 1 if found < self.most and self._law(found + 1) >= images_per_s else None
        return min((nodes for nodes in (found, *enough) if nodes is not None), default=None)

    def bound_nodes(self, target: Interval) -> tuple[int | None, int | None]:
        """The fewest nodes that may reach `target`, and the fewest that surely do; within what is published."""
        most = min(self.farthest, self.most)
        may = find_first(lambda nodes: _ends(self.at(nodes))[1] >= target.low, self.least, most)
        surely = find_first(lambda nodes: _ends(self.at(nodes))[0] >= target.high, self.least, most)
        return may, surely

    def tell_unreached(self, images_per_s: float) -> str:
        """Why `find_nodes` finds none."""
        if isinstance(self.fit, Missing):
            return self.fit.missing
        ceiling = self.fit.ceiling
        if ceiling > images_per_s:
            return f"not on fewer than {MOST_NODES:,} nodes, by the law that was fitted"
        law = "the Universal Scalability Law" if self.fit.law == "usl" else "Amdahl's form"
        where = "however many nodes there are"
        if math.isfinite(self.fit.peak):
            where = f"on about {max(1, round(self.fit.peak * self._nodes_per_n)):,} nodes, and falls beyond"
        return (
            f"never: by {law}, fitted to {self.sizes} sizes, its throughput is at most {ceiling:,.0f} images/s, "
            f"{where}"
        )

    def tell_law(self) -> tuple[str, ...]:
        """What is taken for granted where the law stands for a measurement."""
        told = [
            f"sizes that were not measured are by the fitted law, up to {FARTHEST} times the largest that was"
        ]
        if max((point.nodes for point in self.measured), default=1) == 1:
            told.append("only one node was measured: what a network between nodes costs is not in the law")
        return tuple(told)

    @property
    def _nodes_per_n(self) -> float:
        return self.scaling.base.ranks / ranks_per_node(self.scaling)

    def _law(self, nodes: int) -> float:
        assert not isinstance(self.fit, Missing)  # noqa: S101 (find_nodes has looked)
        return self.fit.rate_at(nodes / self._nodes_per_n)

    @property
    def most(self) -> int:
        """The nodes at the peak of the law, beyond which it falls: no throughput has its fewest nodes there."""
        if isinstance(self.fit, Missing) or not math.isfinite(self.fit.peak):
            return MOST_NODES
        before = max(self.least, math.floor(self.fit.peak * self._nodes_per_n))
        return before + 1 if self._law(before + 1) > self._law(before) else before


def find_first(holds: Callable[[int], bool], least: int, most: int) -> int | None:
    """The smallest number from `least` to `most` for which something holds that goes on holding; else None."""
    if least > most:
        return None
    below, above = least - 1, least
    while not holds(above):
        if above >= most:
            return None
        below, above = above, min(2 * above, most)
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if holds(middle) else (middle, above)
    return above


def _value(reading: Reading) -> float:
    return -math.inf if isinstance(reading, Missing) else reading


def _ends(spot: Spot) -> tuple[float, float]:
    return (-math.inf, -math.inf) if spot.interval is None else (spot.interval.low, spot.interval.high)


def read_point(sweep: Sweep, point: Point) -> Spot:
    """A size as it was measured; that of a rehearsal says nothing of several machines, and is withheld."""
    reason = why_rehearsed(sweep.scaling)
    return Spot(
        nodes=point.nodes,
        ranks=point.ranks,
        basis="measured",
        images_per_s=withhold(point.images_per_s, reason),
        interval=None if reason else point.interval,
    )


def name_network(name: str) -> str:
    """The name that a network has here, of its aliases too; one that this version does not know keeps its own."""
    try:
        return networks.find(name).name
    except UnknownName:
        return name


def tell_runs(runs: Sequence[RunResult]) -> str:
    """'run k3f9', 'runs k3f9, b2c1'."""
    return f"run{'s' * (len(runs) > 1)} {', '.join(run.run_id for run in runs)}"


def gather_sweeps(results: Sequence[RunResult], *, force: bool = False) -> tuple[Sweep, ...]:
    """Every question that the runs ask, also where they ask it at one size only."""
    tables = tabulate_sizes(results, force=force)
    homes = {id(launch): result for result in results for launch in result.trainings}
    return tuple(
        _gather(scaling, members, [homes[id(member)] for member in members])
        for scaling, members in zip(tables, gather_questions(results).values(), strict=True)
    )


def _gather(scaling: Scaling, launches: Sequence[LaunchResult], homes: Sequence[RunResult]) -> Sweep:
    runs = {run.run_id: run for run in homes}
    fit, sizes = _fit(scaling)
    reasons = (why_not_whole(launch, run) for launch, run in zip(launches, homes, strict=True))
    return Sweep(
        scaling=scaling,
        launches=tuple(launches),
        runs=tuple(runs.values()),
        fit=fit,
        sizes=sizes,
        unpriced=next((reason for reason in reasons if reason), None),
    )


def _fit(scaling: Scaling) -> tuple[ScalingFit | Missing, int]:
    try:
        return fit_table(scaling)
    except Mistake as mistake:
        return Missing(missing=f"no law of scaling: {mistake.what.rstrip('.')}"), 1
