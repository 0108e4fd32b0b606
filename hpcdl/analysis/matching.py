"""How many nodes of one measured system give the throughput that another was measured at."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from hpcdl.analysis.common_ground import choose_boundary
from hpcdl.analysis.draws import find_nearest, measure_draws, tell_undrawn
from hpcdl.analysis.equivalence import Equivalence, NodeCount, Side
from hpcdl.analysis.need import Need, add_copies, count_nodes, count_whole, grow
from hpcdl.analysis.prediction import why_rehearsed
from hpcdl.analysis.question import list_differences
from hpcdl.analysis.readings import Withheld, derive, withhold
from hpcdl.analysis.sweep import gather_sweeps, read_point, tell_runs
from hpcdl.errors import Mistake
from hpcdl.estimates.intervals import scale
from hpcdl.marks import AND, REHEARSAL, join_marks
from hpcdl.records import Missing, Reading
from hpcdl.site import UNNAMED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.boundaries import Boundary
    from hpcdl.analysis.draws import Draw
    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.scaling import Point
    from hpcdl.analysis.sweep import Sweep
    from hpcdl.analysis.tariffs import Tariff
    from hpcdl.estimates.intervals import Interval


@dataclass(frozen=True)
class Asked:
    """What a person asked for: `nodes` of B, a boundary, copies in place of one large run."""

    nodes: int | None = None
    boundary: str | None = None
    replicas: bool = False
    force: bool = False


def pair_sweeps(
    first: Sequence[RunResult], second: Sequence[RunResult], *, force: bool = False
) -> tuple[Sweep, Sweep]:
    """The questions of both that are most alike: of one network at least.

    Args:
        first: The runs of one system.
        second: The runs of the other.
        force: Show what follows from rehearsals, too.

    Raises:
        Mistake: They share no network, or have no throughput.
    """
    mine, theirs = (gather_sweeps(runs, force=force) for runs in (first, second))
    pairs = [(a, b) for a in mine for b in theirs if a.model == b.model and a.measured and b.measured]
    if pairs:
        return min(pairs, key=lambda pair: len(_compare_work(*pair)))
    for runs, sweeps in ((first, mine), (second, theirs)):
        if not any(sweep.measured for sweep in sweeps):
            raise Mistake(
                f"{tell_runs(runs)} has no throughput: {_first_reason(runs)}.",
                do=f"See `hpcdl report {runs[0].run_id}`.",
            )
    models = [" and ".join(sorted({sweep.model for sweep in sweeps})) for sweeps in (mine, theirs)]
    raise Mistake(
        f"{tell_runs(first)} trained {models[0]} and {tell_runs(second)} {models[1]}: images of different networks "
        "are different work.",
        do="Compare runs of one network.",
    )


def match_sweeps(mine: Sweep, theirs: Sweep, tariffs: tuple[Tariff, Tariff], asked: Asked) -> Equivalence:
    """So many nodes of the first as give the throughput of the second.

    Args:
        mine: Measured at several sizes, unless copies of it do the work.
        theirs: Of its sizes the largest that was measured counts, or the one that is asked for.
        tariffs: The prices of either.
        asked: See `Asked`.

    Raises:
        UnknownName: There is no such boundary.
        Mistake: The size or the boundary that is asked for was not measured; or the first cannot be read at other
            sizes.
    """
    target = _choose_point(theirs, asked.nodes)
    sides = zip((mine, theirs), tariffs, strict=True)
    boundary = choose_boundary([sweep.contend(tariff) for sweep, tariff in sides], asked.boundary)
    goal = read_point(theirs, target)
    needed = add_copies(mine, target) if asked.replicas else grow(mine, target)
    rehearsal = mine.scaling.rehearsal or theirs.scaling.rehearsal
    reason = why_rehearsed(mine.scaling) or why_rehearsed(theirs.scaling)
    # How many nodes of the first it takes follows from both.
    if mine.scaling.forced or theirs.scaling.forced:
        needed = replace(needed, mark=join_marks(REHEARSAL, needed.mark))
    matched = Need(goal, NodeCount(count_whole(goal)), "measured", REHEARSAL if theirs.scaling.forced else "")
    return Equivalence(
        first=_describe(mine, _hold_back(needed, reason), tariffs[0], boundary),
        second=_describe(theirs, matched, tariffs[1], boundary),
        claim=f"the same throughput of {mine.model}",
        differences=_compare_work(mine, theirs),
        rehearsal=rehearsal,
    )


def _compare_work(mine: Sweep, theirs: Sweep) -> tuple[str, ...]:
    return tuple(list_differences(mine.scaling.question, theirs.scaling.question))


def _first_reason(runs: Sequence[RunResult]) -> str:
    readings = [launch.images_per_s for run in runs for launch in run.trainings]
    told = (one.missing for one in readings if isinstance(one, Missing))
    return next(told, "it trains nothing").rstrip(".")


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


def _hold_back(needed: Need, reason: str | None) -> Need:
    """What follows from a rehearsal, on either side, is withheld."""
    if reason is None:
        return needed
    nodes = needed.amount.nodes
    # That it never does is what a law says that is not published.
    if isinstance(nodes, Missing) and not isinstance(nodes, Withheld):
        nodes = Missing(missing=reason)
    spot = replace(needed.spot, images_per_s=_hold(needed.spot.images_per_s, reason), interval=None)
    # Neither do its words give the number away.
    basis = "copies" if needed.mark == "copies" else "measured or by the law"
    return replace(needed, spot=spot, amount=NodeCount(withhold(nodes, reason)), basis=basis, assumptions=())


def _hold(reading: Reading, reason: str) -> Reading:
    bare = isinstance(reading, Missing) and not isinstance(reading, Withheld)
    return Missing(missing=reason) if bare else withhold(reading, reason)


def _describe(sweep: Sweep, needed: Need, tariff: Tariff, boundary: Boundary | Missing) -> Side:
    nodes = needed.amount.nodes
    power = _find_power(sweep, needed, tariff, boundary)
    price = derive(lambda count, each: count * each, nodes, tariff.read("node_price"))
    return Side(
        name=", ".join(run.run_id for run in sweep.runs),
        title=_title(sweep),
        basis=needed.basis,
        source=_name_source(sweep),
        amount=needed.amount,
        processors=_name_processors(sweep, None if isinstance(nodes, Missing) else needed.spot.ranks),
        images_per_s=needed.spot.images_per_s,
        interval=needed.spot.interval,
        # A part of a rack stands in a whole one.
        racks=derive(
            lambda count, each: float(math.ceil(count / each - 1e-9)), nodes, tariff.read("nodes_per_rack")
        ),
        power_w=power.watts,
        boundary="" if isinstance(boundary, Missing) else boundary,
        metered=power.metered,
        price=withhold(price, sweep.unpriced),
        currency=tariff.currency or "",
        mark=needed.mark,
        power_mark=power.mark,
        power_interval=power.interval,
        assumptions=(*needed.assumptions, *power.assumptions),
        tariff=tariff,
    )


@dataclass(frozen=True)
class _Power:
    watts: Reading
    metered: str = ""
    mark: str = ""
    assumptions: tuple[str, ...] = ()
    interval: Interval | None = None


def _find_power(sweep: Sweep, needed: Need, tariff: Tariff, boundary: Boundary | Missing) -> _Power:
    """As it was metered on so many nodes, else each of them as in the largest run that was metered."""
    if isinstance(boundary, Missing):
        return _Power(boundary)
    spot, copies = needed.spot, needed.copies
    draws = measure_draws(sweep.launches, boundary, tariff)
    draw = find_nearest(draws, spot.nodes // copies, spot.ranks // copies)
    if draw is None:
        return _Power(tell_undrawn(sweep.launches, boundary))
    nodes = needed.amount.nodes
    watts = derive(lambda count, drawn: count * drawn / draw.nodes, nodes, draw.average_w)
    # The size that was metered is the answer itself where that was measured: with the one, the other is withheld.
    untold = isinstance(nodes, Missing)
    metered = "" if untold else f"{boundary}: {draw.words}, on {count_nodes(draw.nodes)}; {draw.sensors}"
    assumed = _assume(draw, spot.nodes, copies)
    staged = REHEARSAL if REHEARSAL in needed.mark.split(AND) else ""
    mark = join_marks(staged, "estimated" if draw.estimated else "", assumed.mark)
    told = (assumed.text,) if assumed.text and not untold else ()
    factor = (
        None if isinstance(watts, Missing) or isinstance(draw.average_w, Missing) else watts / draw.average_w
    )
    bounds = draw.power_interval if factor else None
    return _Power(watts, metered, mark, told, scale(bounds, factor) if bounds and factor else None)


class _Assumed(NamedTuple):
    mark: str
    text: str


def _assume(draw: Draw, nodes: int, copies: int) -> _Assumed:
    """What has to be taken for granted where power was metered on other nodes than these."""
    if draw.nodes * copies != nodes:
        return _Assumed(
            "predicted", f"every further node draws what one of {draw.nodes} drew ({draw.boundary})"
        )
    if copies > 1:
        return _Assumed("copies", f"each copy draws what the one that was metered drew ({draw.boundary})")
    return _Assumed("", "")


def _title(sweep: Sweep) -> str:
    """'juno, run k3f9'."""
    ends = ", ".join(run.short_id for run in sweep.runs)
    named = f"run {ends}" if len(sweep.runs) == 1 else f"runs {ends}"
    site = sweep.runs[0].job.site.name
    return named if site == UNNAMED else f"{site}, {named}"


def _name_source(sweep: Sweep) -> str:
    """'run 20261122-141200-k3f9 (weak scaling, 256 images per rank, horovod)'."""
    question = sweep.scaling.question
    engine = f", {question.means.engine}" if question.means else ""
    return f"{tell_runs(sweep.runs)} ({question.batch.text}{engine})"


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
