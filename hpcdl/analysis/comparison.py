"""Two runs of one benchmark: faster, slower, or no difference seen; and what of their environments differs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from hpcdl.analysis.pace import Pace
from hpcdl.analysis.question import Batch, Work, read_batch, read_work
from hpcdl.analysis.repeats import combine
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


@dataclass(frozen=True)
class Difference:
    """The second run against the first, at one size. `change` is the ratio of their rates minus 1, with its interval.

    `p_value` is of Mann and Whitney's test over `basis`: launches, where each side has at least four; else the
    batch means of the steps of single launches, which do not hold what differs from start to start.
    """

    nodes: int
    ranks: int
    variant: str
    first: Interval | Missing
    second: Interval | Missing
    change: Interval | Missing
    p_value: float | None
    basis: Literal["launches", "steps"]
    verdict: Verdict | None


@dataclass(frozen=True)
class Comparison:
    """All sizes that both runs hold, and the facts of the environments that are not the same: (what, first, second)."""

    first: RunResult
    second: RunResult
    differences: tuple[Difference, ...]
    facts: tuple[tuple[str, str, str], ...]


_Key = tuple[Work, Batch, int, int, str]


def compare(first: RunResult, second: RunResult) -> Comparison:
    """The second run against the first, wherever both measured the same.

    Raises:
        Mistake: They asked different questions; names what differs.
    """
    if first.path == second.path:
        raise Mistake("one run cannot be compared with itself.", do="Name two runs: hpcdl compare A B.")
    ours, theirs = _group(first), _group(second)
    common = [key for key in ours if key in theirs]
    if not common:
        raise Mistake(
            f"these runs measured different things: {_tell_difference(list(ours), list(theirs))}.",
            do="Compare runs of one benchmark; side by side they are shown by hpcdl report A B.",
        )
    return Comparison(
        first,
        second,
        tuple(_compare_launches(key, ours[key], theirs[key]) for key in common),
        tuple(_list_facts(first, second)),
    )


def _group(result: RunResult) -> dict[_Key, list[LaunchResult]]:
    groups: defaultdict[_Key, list[LaunchResult]] = defaultdict(list)
    for launch in result.trainings:
        key = (
            read_work(launch),
            read_batch(launch),
            launch.plan.nodes,
            launch.world_size,
            launch.plan.variant,
        )
        groups[key].append(launch)
    return groups


def _tell_difference(ours: Sequence[_Key], theirs: Sequence[_Key]) -> str:
    if not ours or not theirs:
        return "one of them trains nothing"
    one, other = ours[0], theirs[0]
    named = [
        f"{field.name.replace('_', ' ')} {getattr(one[0], field.name)} and {getattr(other[0], field.name)}"
        for field in fields(Work)
        if getattr(one[0], field.name) != getattr(other[0], field.name)
    ]
    if one[1] != other[1]:
        named.append(f"{one[1].text} and {other[1].text}")
    if one[2:4] != other[2:4]:
        named.append(f"{one[3]} ranks on {one[2]} nodes and {other[3]} on {other[2]}")
    return "; ".join(named) or "their sizes do not meet"


def _compare_launches(key: _Key, ours: Sequence[LaunchResult], theirs: Sequence[LaunchResult]) -> Difference:
    _, _, nodes, ranks, variant = key
    first, second = _measure(ours), _measure(theirs)
    change = _measure_change(first, second)
    repeated = min(_count(ours), _count(theirs)) >= FEWEST_REPEATS
    p_value = None if isinstance(change, Missing) else _test(ours, theirs, repeated=repeated)
    return Difference(
        nodes=nodes,
        ranks=ranks,
        variant=variant,
        first=first,
        second=second,
        change=change,
        p_value=p_value,
        basis="launches" if repeated else "steps",
        verdict=None if isinstance(change, Missing) or p_value is None else decide(change, p_value),
    )


def _measure(launches: Sequence[LaunchResult]) -> Interval | Missing:
    rate = combine([launch.interval for launch in launches])
    if rate is not None:
        return rate
    reading = launches[0].images_per_s
    return reading if isinstance(reading, Missing) else Missing(missing="there is no interval")


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


def _list_facts(first: RunResult, second: RunResult) -> list[tuple[str, str, str]]:
    ours, theirs = _describe(first), _describe(second)
    names = dict.fromkeys([*ours, *theirs])
    return [
        (name, ours.get(name, "unknown"), theirs.get(name, "unknown"))
        for name in names
        if ours.get(name) != theirs.get(name)
    ]


def _describe(result: RunResult) -> Mapping[str, str]:
    """Facts of a run's environments, by name; several values of one fact are joined."""
    facts: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for launch in result.trainings:
        environment = launch.environment
        if environment is None:
            continue
        for name, value in environment.versions.model_dump().items():
            facts[name][str(value)] = None
        facts["engine"][f"{environment.engine} over {environment.transport}"] = None
        facts["layout"][environment.layout] = None
        for host in environment.hosts:
            facts["host"][host.host] = None
            facts["CPU"][host.cpu] = None
            facts["GPU"][host.gpu or "none"] = None
            facts["cores per rank"][str(host.cores_visible)] = None
    facts["site"][result.job.site.name] = None
    return {name: ", ".join(sorted(values)) for name, values in facts.items()}
