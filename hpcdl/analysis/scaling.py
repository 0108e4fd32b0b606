"""Speed-up and parallel efficiency over launches that ask the same question, base case named."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from hpcdl.analysis.gains import Rate, compare_with_base
from hpcdl.analysis.machines import find_disguise
from hpcdl.analysis.question import Batch, Question, group
from hpcdl.analysis.readings import combine_rates, derive, known
from hpcdl.analysis.repeats import combine, why_absent
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.launch import LaunchResult
    from hpcdl.analysis.question import Means, Work
    from hpcdl.estimates.intervals import Interval

# Twice the half-width to which an interval is held (Hoefler & Belli: 1 %): beyond it the base itself moves.
DRIFT_WARNING = 0.02


@dataclass(frozen=True)
class Point:
    """One size. `relative` is N: ranks over the ranks of the base.

    `images_per_s` is the harmonic mean over the `count` launches that earned a rate, of `planned`; `lowest` and
    `highest` are the extremes among them; `interval` is its 95 % interval (see `repeats.combine`). `step_s` is the mean
    step: global batch / images/s. `efficiency_interval` takes in the uncertainty of point and base. `karp_flatt`
    is the experimentally determined serial fraction (Karp & Flatt 1990); at weak scaling it is applied to the
    scaled speed-up.
    """

    nodes: int
    ranks: int
    relative: float
    count: int
    planned: int
    images_per_s: Reading
    lowest: Reading
    highest: Reading
    interval: Interval | None
    step_s: Reading
    speed_up: Reading
    efficiency: Reading
    efficiency_interval: Interval | None
    karp_flatt: Reading


@dataclass(frozen=True)
class Scaling:
    """One question at several sizes. `drift` is of the base's last launch against its first, as a fraction.

    `bracketed`: the base was measured both before and after all other sizes, in one run. `runs` is how many
    allocations the launches come from. `rehearsal` is the reason why this is one; with `forced` its efficiency
    is shown all the same.
    """

    question: Question
    points: tuple[Point, ...]
    bracketed: bool
    runs: int
    drift: Reading
    rehearsal: str | None
    forced: bool
    warnings: tuple[str, ...]

    @property
    def base(self) -> Point:
        """The smallest size, to which the others are compared."""
        return self.points[0]


@dataclass(frozen=True)
class ScalingStudy:
    """All tables that the launches give, and why others are not made of them."""

    tables: tuple[Scaling, ...]
    refusals: tuple[str, ...]


def compare_sizes(results: Sequence[RunResult], *, force: bool = False) -> ScalingStudy:
    """A scaling table for each question that was asked at more than one size.

    Weak: E = X(N) / (N X(1)) at equal local batch; strong: E = T(1) / (N T(N)) at equal global batch, T being
    the mean step. N counts ranks in units of the base.

    Args:
        results: One run or several.
        force: Show speed-up and efficiency of rehearsals too, marked.
    """
    groups = gather_questions(results)
    left_over = {question: members for question, members in groups.items() if _count_sizes(members) == 1}
    tables = tabulate_sizes(results, force=force)
    return ScalingStudy(
        tables=tuple(table for table in tables if table.question not in left_over),
        refusals=tuple(_refuse(left_over)),
    )


def tabulate_sizes(results: Sequence[RunResult], *, force: bool = False) -> tuple[Scaling, ...]:
    """The sizes of every question, and be there only one; see `compare_sizes`."""
    homes = {id(launch): result for result in results for launch in result.trainings}
    return tuple(
        _tabulate(question, members, runs=[homes[id(member)] for member in members], force=force)
        for question, members in gather_questions(results).items()
    )


def gather_questions(results: Sequence[RunResult]) -> dict[Question, list[LaunchResult]]:
    """The launches of complete steps by the question that they ask."""
    return group(launch for result in results for launch in result.trainings if launch.plan.variant == "full")


def _size(launch: LaunchResult) -> tuple[int, int]:
    return (launch.world_size, launch.plan.nodes)


def _count_sizes(launches: Sequence[LaunchResult]) -> int:
    return len({launch.world_size for launch in launches})


def _refuse(groups: dict[Question, list[LaunchResult]]) -> list[str]:
    """What would be a scaling table, were the batch the same."""
    alike: defaultdict[tuple[Work, Means | None], dict[Batch, list[LaunchResult]]] = defaultdict(dict)
    for question, members in groups.items():
        alike[question.work, question.means][question.batch] = members
    refusals = []
    for batches in alike.values():
        sizes = {launch.world_size for members in batches.values() for launch in members}
        if len(batches) > 1 and len(sizes) > 1:
            named = " and ".join(_name_batch(batch, members) for batch, members in batches.items())
            refusals.append(f"no scaling table over {named}: these are different questions")
    return refusals


def _name_batch(batch: Batch, members: Sequence[LaunchResult]) -> str:
    ranks = members[0].world_size
    return f"{batch.text} ({ranks} {'rank' if ranks == 1 else 'ranks'})"


def _tabulate(
    question: Question, launches: Sequence[LaunchResult], *, runs: Sequence[RunResult], force: bool
) -> Scaling:
    """One table; `runs` holds the run of each launch."""
    local = any(run.job.executor == "local" for run in runs)
    run_count = len({run.run_id for run in runs})
    sizes = {size: list(members) for size, members in groupby(sorted(launches, key=_size), key=_size)}
    rehearsal = _find_rehearsal(launches, local=local)
    withheld = None if force or rehearsal is None else Missing(missing=f"{rehearsal} (--force shows it)")
    base_size = min(sizes)
    base = Rate(base_size[0], _combine(sizes[base_size]), combine([m.interval for m in sizes[base_size]]))
    points = tuple(_make_point(size, members, base, withheld) for size, members in sizes.items())
    drift = _measure_drift(sizes[base_size])
    return Scaling(
        question=question,
        points=points,
        # In several runs it is several allocations, and the weather may have changed between them.
        bracketed=run_count == 1 and _is_bracketed(launches, base_size),
        runs=run_count,
        drift=drift,
        rehearsal=rehearsal,
        forced=force and rehearsal is not None,
        warnings=tuple(_warn(points, drift, question.batch.mode)),
    )


def _find_rehearsal(launches: Sequence[LaunchResult], *, local: bool) -> str | None:
    # Over all sizes: launches of one host each may still have run on two names of one machine.
    machines = [machine for launch in launches for machine in launch.machines]
    own = [launch.rehearsal for launch in sorted(launches, key=_size, reverse=True) if launch.rehearsal]
    return own[0] if own else find_disguise(machines, local=local)


def _combine(launches: Sequence[LaunchResult]) -> Reading:
    rates = known([launch.images_per_s for launch in launches])
    if not rates:
        return launches[0].images_per_s
    bounded = combine([launch.interval for launch in launches])
    return combine_rates(rates) if bounded else why_absent(launches)


def _make_point(
    size: tuple[int, int], launches: Sequence[LaunchResult], base: Rate, withheld: Missing | None
) -> Point:
    ranks, nodes = size
    readings = [launch.images_per_s for launch in launches]
    rates = known(readings)
    rate = Rate(ranks, _combine(launches), combine([launch.interval for launch in launches]))
    absent = readings[0]
    global_batch = launches[0].plan.train.global_batch
    gain = compare_with_base(rate, base, withheld)
    return Point(
        nodes=nodes,
        ranks=ranks,
        relative=gain.relative,
        count=len(rates),
        planned=len(launches),
        images_per_s=rate.value,
        lowest=min(rates) if rates else absent,
        highest=max(rates) if rates else absent,
        interval=rate.interval,
        step_s=derive(lambda images_per_s: global_batch / images_per_s, rate.value),
        speed_up=gain.speed_up,
        efficiency=gain.efficiency,
        efficiency_interval=gain.efficiency_interval,
        karp_flatt=gain.karp_flatt,
    )


def _is_bracketed(launches: Sequence[LaunchResult], base_size: tuple[int, int]) -> bool:
    """The base is first and last among the launches that earned a rate."""
    order = [_size(launch) for launch in launches if not isinstance(launch.images_per_s, Missing)]
    return bool(order) and order[0] == base_size == order[-1] and len(set(order)) > 1


def _measure_drift(base: Sequence[LaunchResult]) -> Reading:
    rates = known([launch.images_per_s for launch in base])
    if len(rates) < 2:
        return Missing(missing="the base was measured once")
    return rates[-1] / rates[0] - 1


def _guess_cause(mode: Literal["weak", "strong"], point: Point) -> str:
    """What usually makes a base look slower than a part of the whole."""
    interval = point.efficiency_interval
    if interval is not None and interval.low <= 1:
        return "Its interval reaches below 100 %: repeat (--repeat 5) before you believe it"
    if mode == "strong":
        return "Each rank has a smaller batch than the base: it may fit its caches now"
    return "The base may be slower than it should be: measure it again, bracketed (1,…,1)"


def _warn(points: Sequence[Point], drift: Reading, mode: Literal["weak", "strong"]) -> list[str]:
    warnings = []
    for point in points:
        ranks = f"{point.ranks} {'rank' if point.ranks == 1 else 'ranks'}"
        if not isinstance(point.efficiency, Missing) and point.efficiency > 1 and point.relative > 1:
            warnings.append(f"{ranks}: more than 100 % efficiency. {_guess_cause(mode, point)}")
        if 0 < point.count < point.planned:
            warnings.append(
                f"{ranks}: {point.planned - point.count} of {point.planned} launches have no throughput"
            )
    if not isinstance(drift, Missing) and abs(drift) > DRIFT_WARNING:
        warnings.append(f"the base drifted by {100 * drift:+.1f} % between its first and its last launch")
    return warnings
