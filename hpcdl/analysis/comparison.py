"""Two runs of one benchmark: faster, slower, or no difference seen; and what of their environments differs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal, NamedTuple

from hpcdl.analysis.pace import Pace
from hpcdl.analysis.question import Batch, Work, read_batch, read_work
from hpcdl.analysis.repeats import combine, why_absent
from hpcdl.errors import Mistake
from hpcdl.estimates.comparison import batch, compare_samples
from hpcdl.estimates.intervals import Interval, ratio
from hpcdl.records import Missing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.launch import LaunchResult

Verdict = Literal["faster", "slower", "no difference seen"]
SIGNIFICANCE = 0.05
# With three against three, not even a clear order is rarer than 5 % by chance.
FEWEST_REPEATS = 4


class Subject(NamedTuple):
    """What was measured; its repeats share it. `engine` is as planned, and None where each run has only one."""

    work: Work
    batch: Batch
    nodes: int
    ranks: int
    variant: str
    engine: str | None


@dataclass(frozen=True)
class Difference:
    """The second run against the first, at one size. `change` is the ratio of their rates minus 1, with its interval.

    `p_value` is of Mann and Whitney's test over `basis`: launches, where each side has at least four; else the
    batch means of the steps of single launches, which do not hold what differs from start to start.
    """

    nodes: int
    ranks: int
    variant: str
    engine: str | None
    first: Interval | Missing
    second: Interval | Missing
    change: Interval | Missing
    p_value: float | None
    basis: Literal["launches", "steps"]
    verdict: Verdict | None


@dataclass(frozen=True)
class Comparison:
    """All that both runs hold, and the facts of the environments that are not the same: (what, first, second).

    What only one of them holds is not compared: `only_first` and `only_second`.
    """

    first: RunResult
    second: RunResult
    differences: tuple[Difference, ...]
    facts: tuple[tuple[str, str, str], ...]
    only_first: tuple[Subject, ...]
    only_second: tuple[Subject, ...]


def compare(first: RunResult, second: RunResult) -> Comparison:
    """The second run against the first, wherever both measured the same.

    Raises:
        Mistake: They asked different questions; names what differs.
    """
    if first.path == second.path:
        raise Mistake("one run cannot be compared with itself.", do="Name two runs: hpcdl compare A B.")
    several = _has_several_engines(first) or _has_several_engines(second)
    ours, theirs = _group(first, by_engine=several), _group(second, by_engine=several)
    common = [subject for subject in ours if subject in theirs]
    if not common:
        raise Mistake(
            f"these runs measured different things: {_tell_difference(list(ours), list(theirs))}.",
            do="Compare runs of one benchmark; side by side they are shown by hpcdl report A B.",
        )
    return Comparison(
        first,
        second,
        tuple(_compare_launches(subject, ours[subject], theirs[subject]) for subject in common),
        tuple(list_facts(first, second)),
        only_first=tuple(subject for subject in ours if subject not in theirs),
        only_second=tuple(subject for subject in theirs if subject not in ours),
    )


def _has_several_engines(result: RunResult) -> bool:
    return len({launch.plan.train.engine for launch in result.trainings}) > 1


def _group(result: RunResult, *, by_engine: bool) -> dict[Subject, list[LaunchResult]]:
    """Two runs of one engine each may be compared across it; engines side by side are never one number."""
    groups: defaultdict[Subject, list[LaunchResult]] = defaultdict(list)
    for launch in result.trainings:
        subject = Subject(
            read_work(launch),
            read_batch(launch),
            launch.plan.nodes,
            launch.world_size,
            launch.plan.variant,
            launch.plan.train.engine if by_engine else None,
        )
        groups[subject].append(launch)
    return groups


def _tell_difference(ours: Sequence[Subject], theirs: Sequence[Subject]) -> str:
    if not ours or not theirs:
        return "one of them trains nothing"
    one, other = ours[0], theirs[0]
    named = [
        f"{field.name.replace('_', ' ')} {getattr(one.work, field.name)} and {getattr(other.work, field.name)}"
        for field in fields(Work)
        if getattr(one.work, field.name) != getattr(other.work, field.name)
    ]
    if one.batch != other.batch:
        named.append(f"{one.batch.text} and {other.batch.text}")
    if (one.nodes, one.ranks) != (other.nodes, other.ranks):
        named.append(f"{one.ranks} ranks on {one.nodes} nodes and {other.ranks} on {other.nodes}")
    if one.engine != other.engine:
        named.append(f"engine {one.engine} and {other.engine}")
    return "; ".join(named) or "their sizes do not meet"


def _compare_launches(
    subject: Subject, ours: Sequence[LaunchResult], theirs: Sequence[LaunchResult]
) -> Difference:
    first, second = _measure(ours), _measure(theirs)
    change = _measure_change(first, second)
    repeated = min(_count(ours), _count(theirs)) >= FEWEST_REPEATS
    p_value = None if isinstance(change, Missing) else _test(ours, theirs, repeated=repeated)
    return Difference(
        nodes=subject.nodes,
        ranks=subject.ranks,
        variant=subject.variant,
        engine=subject.engine,
        first=first,
        second=second,
        change=change,
        p_value=p_value,
        basis="launches" if repeated else "steps",
        verdict=None if isinstance(change, Missing) or p_value is None else decide(change, p_value),
    )


def _measure(launches: Sequence[LaunchResult]) -> Interval | Missing:
    return combine([launch.interval for launch in launches]) or why_absent(launches)


def _count(launches: Sequence[LaunchResult]) -> int:
    return sum(launch.interval is not None for launch in launches)


def _measure_change(first: Interval | Missing, second: Interval | Missing) -> Interval | Missing:
    if isinstance(first, Missing) or isinstance(second, Missing):
        return first if isinstance(first, Missing) else second
    quotient = ratio(second, first)
    return Interval(
        quotient.value - 1, quotient.low - 1, quotient.high - 1, quotient.count, quotient.effective
    )


def _test(ours: Sequence[LaunchResult], theirs: Sequence[LaunchResult], *, repeated: bool) -> float:
    """Over step times: means of launches, or batch means within them."""
    if repeated:
        sides = [[1 / one.interval.value for one in side if one.interval] for side in (ours, theirs)]
    else:
        sides = [
            [mean for one in side if one.interval for mean in _batch_steps(one)] for side in (ours, theirs)
        ]
    return compare_samples(*sides)


def _batch_steps(launch: LaunchResult) -> list[float]:
    pace = launch.pace
    if not isinstance(pace, Pace):
        return []
    means: list[float] = batch(pace.periods_s[-pace.steady_steps :]).tolist()
    return means


def decide(change: Interval, p_value: float) -> Verdict:
    """A difference is one where the test sees it and the interval does not hold zero."""
    if p_value >= SIGNIFICANCE or change.low <= 0 <= change.high:
        return "no difference seen"
    return "faster" if change.value > 0 else "slower"


def list_facts(first: RunResult, second: RunResult) -> list[tuple[str, str, str]]:
    """What differs around two runs: (what, in the first, in the second)."""
    ours, theirs = describe_environments(first), describe_environments(second)
    names = dict.fromkeys([*ours, *theirs])
    return [
        (name, ours.get(name, "unknown"), theirs.get(name, "unknown"))
        for name in names
        if ours.get(name) != theirs.get(name)
    ]


def describe_environments(result: RunResult) -> Mapping[str, str]:
    """Facts of a run's environments, by name; several values of one fact are joined."""
    facts: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for launch in result.trainings:
        environment = launch.environment
        if environment is None:
            continue
        for name, value in environment.versions.model_dump().items():
            # Younger than the first records: what was not recorded is not None.
            if value is not None or name not in {"onednn", "blas"}:
                facts[name][str(value)] = None
        facts["engine"][f"{environment.engine} over {environment.transport}"] = None
        facts["layout"][environment.layout] = None
        for host in environment.hosts:
            facts["host"][host.host] = None
            facts["CPU"][host.cpu] = None
            facts["GPU"][host.gpu or "none"] = None
            facts["driver"][host.driver or "none"] = None
            facts["kernel"][host.kernel or "unknown"] = None
            facts["cores per rank"][str(host.cores_visible)] = None
    facts["site"][result.job.site.name] = None
    return {name: ", ".join(sorted(values)) for name, values in facts.items()}
