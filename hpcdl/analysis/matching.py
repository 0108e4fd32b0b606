"""How many nodes of one measured system give the throughput that another was measured at."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpcdl.analysis.draws import choose_boundary, find_nearest, measure_draws
from hpcdl.analysis.equivalence import Amount, Equivalence, Side
from hpcdl.analysis.prediction import why_rehearsed
from hpcdl.analysis.question import list_differences
from hpcdl.analysis.readings import Withheld, derive, withhold
from hpcdl.analysis.sweep import gather_sweeps, read_point, require_boundary
from hpcdl.errors import Mistake
from hpcdl.estimates.intervals import scale
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.boundaries import Boundary
    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.scaling import Point
    from hpcdl.analysis.sweep import Spot, Sweep
    from hpcdl.analysis.tariff import Tariff

MEASURE_A_SWEEP = (
    "Measure a sweep: hpcdl submit scaling --nodes 1,2,4. Or say that independent copies do: --replicas."
)


@dataclass(frozen=True)
class Asked:
    """What a person asked for: `nodes` of B, a boundary, copies in place of one large run; and today's prices."""

    nodes: int | None = None
    boundary: Boundary | None = None
    replicas: bool = False
    force: bool = False


def match_runs(
    first: RunResult, second: RunResult, tariffs: tuple[Tariff, Tariff], asked: Asked
) -> Equivalence:
    """So many nodes of the first as give the throughput of the second.

    Args:
        first: Measured at several sizes, unless copies of it do the work.
        second: Of its sizes the largest that was measured counts, or the one that is asked for.
        tariffs: The prices of either.
        asked: See `Asked`.

    Raises:
        Mistake: They share no network, or have no throughput; or the first cannot be read at other sizes.
    """
    mine, theirs = _pair(first, second, asked)
    target = _choose_point(theirs, asked.nodes)
    boundary = _choose_boundary(mine, theirs, asked.boundary)
    goal = read_point(theirs, target)
    needed = _copy(mine, target) if asked.replicas else _grow(mine, target)
    rehearsal = mine.scaling.rehearsal or theirs.scaling.rehearsal
    reason = why_rehearsed(mine.scaling) or why_rehearsed(theirs.scaling)
    return Equivalence(
        first=_describe(mine, _hold_back(needed, reason), tariffs[0], boundary),
        second=_describe(theirs, _Needed(goal, Amount(goal.nodes), "measured"), tariffs[1], boundary),
        claim=f"the same throughput of {mine.model}",
        differences=_compare_work(mine, theirs),
        rehearsal=rehearsal,
    )


def _pair(first: RunResult, second: RunResult, asked: Asked) -> tuple[Sweep, Sweep]:
    """The questions of both that are most alike: of one network at least."""
    mine, theirs = (gather_sweeps([run], force=asked.force) for run in (first, second))
    pairs = [(a, b) for a in mine for b in theirs if a.model == b.model and a.measured and b.measured]
    if pairs:
        return min(pairs, key=lambda pair: len(_compare_work(*pair)))
    for run, sweeps in ((first, mine), (second, theirs)):
        if not any(sweep.measured for sweep in sweeps):
            raise Mistake(
                f"run {run.run_id} has no throughput: {_first_reason(run)}.",
                do=f"See `hpcdl report {run.run_id}`.",
            )
    models = [" and ".join(sorted({sweep.model for sweep in sweeps})) for sweeps in (mine, theirs)]
    raise Mistake(
        f"run {first.run_id} trained {models[0]} and run {second.run_id} {models[1]}: images of different networks are "
        "different work.",
        do="Compare runs of one network.",
    )


def _compare_work(mine: Sweep, theirs: Sweep) -> tuple[str, ...]:
    return tuple(list_differences(mine.scaling.question, theirs.scaling.question))


def _first_reason(run: RunResult) -> str:
    readings = [launch.images_per_s for launch in run.trainings]
    return next((one.missing for one in readings if isinstance(one, Missing)), "it trains nothing").rstrip(
        "."
    )


def _choose_point(sweep: Sweep, nodes: int | None) -> Point:
    points = sweep.whole or sweep.measured
    if nodes is None:
        return points[-1]
    for point in points:
        if point.nodes == nodes:
            return point
    have = ", ".join(str(point.nodes) for point in points)
    raise Mistake(
        f"--nodes {nodes}: the second run was not measured on {nodes} nodes, but on {have}.",
        do="Name one of these: what is to be matched is measured, and not predicted.",
    )


def _choose_boundary(mine: Sweep, theirs: Sweep, asked: Boundary | None) -> Boundary | Missing:
    """The one that is asked for, else the widest that both were metered at."""
    if asked is None:
        return choose_boundary((mine.launches, theirs.launches))
    for sweep in (mine, theirs):
        require_boundary(sweep, asked)
    return asked


@dataclass(frozen=True)
class _Needed:
    """The nodes that it takes, what they do together, and by what that is known; `assumptions` beside it."""

    spot: Spot
    amount: Amount
    basis: str
    mark: str = ""
    assumptions: tuple[str, ...] = ()
    copies: int = 1


def _grow(sweep: Sweep, target: Point) -> _Needed:
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
        return _Needed(spot, Amount(never), "model")
    spot = sweep.at(nodes)
    low, high = sweep.bound_nodes(target.interval) if target.interval else (None, None)
    amount = Amount(derive(lambda _: float(nodes), spot.images_per_s), low, high)
    if spot.basis == "measured":
        return _Needed(spot, amount, "measured", assumptions=tuple(_tell_smallest(sweep, nodes)))
    law = f"model, fitted to {sweep.sizes} sizes"
    return _Needed(spot, amount, law, "predicted", (*_tell_smallest(sweep, nodes), *sweep.tell_law()))


def _tell_smallest(sweep: Sweep, nodes: int) -> Sequence[str]:
    if nodes > 1 and nodes == min(point.nodes for point in sweep.whole):
        return (f"fewer than {nodes} nodes may do: that is the smallest size measured",)
    return ()


def _copy(sweep: Sweep, target: Point) -> _Needed:
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
    return _Needed(
        spot,
        Amount(derive(lambda _: float(spot.nodes), spot.images_per_s), low, high),
        f"{copies:,} copies of {count_nodes(one.nodes)}",
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


def _hold_back(needed: _Needed, reason: str | None) -> _Needed:
    """What follows from a rehearsal, on either side, is withheld."""
    if reason is None:
        return needed
    nodes = needed.amount.nodes
    # That it never does is what a law says that is not published.
    if isinstance(nodes, Missing) and not isinstance(nodes, Withheld):
        nodes = Missing(missing=reason)
    spot = replace(needed.spot, images_per_s=_hold(needed.spot.images_per_s, reason), interval=None)
    return replace(needed, spot=spot, amount=Amount(withhold(nodes, reason)))


def _hold(reading: Reading, reason: str) -> Reading:
    bare = isinstance(reading, Missing) and not isinstance(reading, Withheld)
    return Missing(missing=reason) if bare else withhold(reading, reason)


def _describe(sweep: Sweep, needed: _Needed, tariff: Tariff, boundary: Boundary | Missing) -> Side:
    nodes = needed.amount.nodes
    power = _find_power(sweep, needed, boundary)
    return Side(
        name=sweep.runs[0].run_id,
        title=_name_run(sweep.runs[0]),
        basis=needed.basis,
        source=", ".join(f"run {run.run_id}" for run in sweep.runs),
        amount=needed.amount,
        processors=_name_processors(sweep, None if isinstance(nodes, Missing) else needed.spot.ranks),
        images_per_s=needed.spot.images_per_s,
        interval=needed.spot.interval,
        # A part of a rack stands in a whole one.
        racks=derive(lambda count, each: float(math.ceil(count / each - 1e-9)), nodes, tariff.nodes_per_rack),
        power_w=power.watts,
        boundary="" if isinstance(boundary, Missing) else boundary,
        metered=power.metered,
        price=derive(lambda count, each: count * each, nodes, tariff.per_node),
        currency=tariff.currency,
        mark="rehearsal" if sweep.scaling.forced else needed.mark,
        power_mark=power.mark,
        assumptions=(*needed.assumptions, *power.assumptions),
        premises=tariff.list_premises("node_price", "nodes_per_rack"),
    )


@dataclass(frozen=True)
class _Power:
    watts: Reading
    metered: str = ""
    mark: str = ""
    assumptions: tuple[str, ...] = ()


def _find_power(sweep: Sweep, needed: _Needed, boundary: Boundary | Missing) -> _Power:
    """As it was metered on so many nodes, else each of them as in the largest run that was metered."""
    if isinstance(boundary, Missing):
        return _Power(boundary)
    spot, copies = needed.spot, needed.copies
    draws = measure_draws(sweep.launches, boundary)
    draw = find_nearest(draws, spot.nodes // copies, spot.ranks // copies)
    if draw is None:
        return _Power(Missing(missing=f"no size has a power at the boundary {boundary}"))
    nodes = needed.amount.nodes
    watts = derive(lambda count, drawn: count * drawn / draw.nodes, nodes, draw.average_w)
    metered = f"{boundary}: {draw.covers}, on {count_nodes(draw.nodes)}; {draw.sensors}"
    alike = copies * draw.nodes == spot.nodes
    assumed = f"every further node draws what one of {draw.nodes} drew ({boundary})"
    mark = (
        "rehearsal"
        if sweep.scaling.forced
        else "estimated"
        if draw.estimated
        else ""
        if alike
        else "predicted"
    )
    return _Power(watts, metered, mark, () if alike else (assumed,))


def count_nodes(nodes: int) -> str:
    """'1 node', '4 nodes'."""
    return "1 node" if nodes == 1 else f"{nodes:,} nodes"


def _name_run(run: RunResult) -> str:
    """'juno, run k3f9'."""
    end = run.run_id.rpartition("-")[2]
    return f"run {end}" if run.job.site.name == "unnamed" else f"{run.job.site.name}, run {end}"


def _name_processors(sweep: Sweep, ranks: int | None) -> str:
    """'8 ranks on NVIDIA H100': by what was seen on the nodes; how many is not said where it is not known."""
    hardware = [
        name
        for launch in sweep.launches
        for machine in launch.machines
        for name in (machine.gpus or (machine.cpu,))
    ]
    named = ", ".join(dict.fromkeys(hardware)) or "unknown hardware"
    if ranks is None:
        return named
    return f"1 rank on {named}" if ranks == 1 else f"{ranks:,} ranks on {named}"
