"""How many nodes of one measured system give the throughput that another was measured at."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpcdl.analysis.draws import choose_boundary, find_nearest, measure_draws
from hpcdl.analysis.equivalence import Amount, Equivalence, Side
from hpcdl.analysis.need import Need, add_copies, count_nodes, count_whole, grow
from hpcdl.analysis.prediction import why_rehearsed
from hpcdl.analysis.question import list_differences
from hpcdl.analysis.readings import Withheld, derive, withhold
from hpcdl.analysis.sweep import gather_sweeps, read_point, require_boundary
from hpcdl.errors import Mistake
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from hpcdl.analysis.boundaries import Boundary
    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.scaling import Point
    from hpcdl.analysis.sweep import Sweep
    from hpcdl.analysis.tariff import Tariff


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
    needed = add_copies(mine, target) if asked.replicas else grow(mine, target)
    rehearsal = mine.scaling.rehearsal or theirs.scaling.rehearsal
    reason = why_rehearsed(mine.scaling) or why_rehearsed(theirs.scaling)
    return Equivalence(
        first=_describe(mine, _hold_back(needed, reason), tariffs[0], boundary),
        second=_describe(theirs, Need(goal, Amount(count_whole(goal)), "measured"), tariffs[1], boundary),
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


def _hold_back(needed: Need, reason: str | None) -> Need:
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


def _describe(sweep: Sweep, needed: Need, tariff: Tariff, boundary: Boundary | Missing) -> Side:
    nodes = needed.amount.nodes
    power = _find_power(sweep, needed, boundary)
    return Side(
        name=sweep.runs[0].run_id,
        title=_name_run(sweep.runs[0]),
        basis=needed.basis,
        source=_name_source(sweep),
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


def _find_power(sweep: Sweep, needed: Need, boundary: Boundary | Missing) -> _Power:
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


def _name_run(run: RunResult) -> str:
    """'juno, run k3f9'."""
    end = run.run_id.rpartition("-")[2]
    return f"run {end}" if run.job.site.name == "unnamed" else f"{run.job.site.name}, run {end}"


def _name_source(sweep: Sweep) -> str:
    """'run 20261122-141200-k3f9 (weak scaling, 256 images per rank, horovod)'."""
    question = sweep.scaling.question
    engine = f", {question.means.engine}" if question.means else ""
    return f"run {sweep.runs[0].run_id} ({question.batch.text}{engine})"


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
