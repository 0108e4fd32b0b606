"""The slow rank: found by the time before it waits, since a synchronous exchange makes all steps equally long.

A rank's own work is its input and its computing until the last gradient; what follows is waiting for others. The
slowest rank of a step makes all others wait, so that its excess over the middle rank is what it costs everybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from hpcdl.analysis.steps import MAD_TO_SIGMA
from hpcdl.analysis.throttling import is_at_power_limit, tell_throttling
from hpcdl.records import Missing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from hpcdl.analysis.launch import LaunchResult
    from hpcdl.columns import StepTable
    from hpcdl.records import Conditions, Host

# What a rank must cost all others before it is named: less is the weather of any machine.
NOTABLE_COST = 0.10
# A steady straggler comes last in most steps, and stands so far out from the others as they do not among themselves.
STEADY_SHARE = 0.5
DISTANCE = 4.0
# How far apart equal ranks are taken to be at least, of their own work: a tenth is then the least that is named. Of
# two ranks nobody can tell how far equal ones would be apart: there it takes a quarter. In a rehearsal ranks share one
# machine's cores, and which of them gets less is its scheduler's choice: there it takes a half.
LEAST_SPREAD, LEAST_SPREAD_OF_TWO, LEAST_SPREAD_OF_REHEARSAL = 0.025, 0.0625, 0.125
# Now and then: some steps of twice its own usual work, which cost more than all that the others cost together.
STUMBLE, FEWEST_STUMBLES, STUMBLER_SHARE = 2.0, 3, 4.0
FEWEST_STEPS = 20
# Less is what any machine does beside a job, and explains no straggler.
NOTABLE_FOREIGN_CORES = 0.1


@dataclass(frozen=True)
class Straggler:
    """A rank that holds up the others.

    `slowness` is its median own work over that of the middle rank. `cost` is the part of all steps' time that
    the others wait for it. `slowest_share` is the part of the steps in which it came last. `why` is what its
    surroundings show, where they show something.
    """

    rank: int
    host: str
    gpu_uuid: str | None
    slowness: float
    cost: float
    slowest_share: float
    habit: Literal["steady", "now and then"]
    why: tuple[str, ...]


def find_launch_stragglers(launch: LaunchResult) -> tuple[Straggler, ...]:
    """Those of a full launch that completed, in its steady steps (all, where there is no steady state)."""
    if (
        launch.steps is None
        or launch.partial
        or not launch.plan.train.exchange
        or launch.plan.kind != "train"
    ):
        return ()
    pace = launch.pace
    if isinstance(pace, Missing):
        return ()
    steps = launch.steps.between(pace.first_steady, pace.last)
    hosts = launch.environment.hosts if launch.environment else ()
    rehearsal = launch.rehearsal is not None
    found = find_stragglers(steps, launch.world_size, hosts, launch.conditions, rehearsal=rehearsal)
    return () if isinstance(found, Missing) else found


def find_stragglers(
    steps: StepTable,
    ranks: int,
    hosts: Sequence[Host],
    conditions: Sequence[Conditions],
    *,
    rehearsal: bool = False,
) -> tuple[Straggler, ...] | Missing:
    """The ranks that hold up the others, the costliest first; none where all are alike.

    Args:
        steps: The steady steps of all ranks, by rank and step.
        ranks: How many ranks there are.
        hosts: Each rank's view of its machine.
        conditions: What surrounded the ranks.
        rehearsal: They share one machine's cores.
    """
    if ranks < 2:
        return Missing(missing="one rank has nobody to wait for it")
    count = len(steps) // ranks
    if count * ranks != len(steps) or count < FEWEST_STEPS:
        return Missing(missing=f"fewer than {FEWEST_STEPS} steps of all ranks were recorded")
    own_s = (steps.input_s + steps.compute_s).reshape(ranks, count)
    step_s = float(steps.step_s.sum()) / ranks
    least = LEAST_SPREAD_OF_REHEARSAL if rehearsal else LEAST_SPREAD
    found = sorted(_judge_ranks(own_s, step_s, least), key=lambda one: -one[2])
    places = {host.rank: host for host in hosts}
    around = {one.rank: one for one in conditions}
    beside = {
        places[one.rank].host: one.foreign for one in conditions if one.rank in places and _is_crowded(one)
    }
    return tuple(
        Straggler(
            rank=rank,
            host=places[rank].host if rank in places else "",
            gpu_uuid=places[rank].gpu_uuid if rank in places else None,
            slowness=slowness,
            cost=cost,
            slowest_share=share,
            habit=habit,
            why=(
                *(explain(around[rank], around.values()) if rank in around else ()),
                *_name_foreign(beside.get(places[rank].host if rank in places else "", ())),
            ),
        )
        for rank, slowness, cost, share, habit in found
    )


_Judged = tuple[int, float, float, float, Literal["steady", "now and then"]]


def _judge_ranks(own_s: NDArray[np.float64], step_s: float, least: float) -> Iterable[_Judged]:
    """(rank, slowness, cost, share of steps in which it was last, habit) of those to be named.

    Args:
        own_s: (ranks, steps), each rank's own work.
        step_s: All steps of one rank together.
        least: How far apart equal ranks are taken to be at least.
    """
    ranks, count = own_s.shape
    slowest = own_s.argmax(axis=0)
    # The middle of the others: with two ranks, the other one.
    middle_s = np.median(np.sort(own_s, axis=0)[:-1], axis=0)
    excess_s = own_s.max(axis=0) - middle_s
    medians_s = np.median(own_s, axis=1)
    costs = np.bincount(slowest, weights=excess_s, minlength=ranks) / step_s
    shares = np.bincount(slowest, minlength=ranks) / count
    for rank in np.flatnonzero(costs >= NOTABLE_COST):
        others_s = np.delete(medians_s, rank)
        middle = float(np.median(others_s))
        facts = (float(medians_s[rank]) / middle if middle else 1.0, float(costs[rank]), float(shares[rank]))
        stumbles = (slowest == rank) & (own_s[rank] > STUMBLE * medians_s[rank])
        far = medians_s[rank] - middle > DISTANCE * _spread(others_s, least)
        if shares[rank] >= STEADY_SHARE and far and _lasts(own_s, int(rank)):
            yield (int(rank), *facts, "steady")
        elif stumbles.sum() >= FEWEST_STUMBLES and _is_costly(
            float(excess_s[stumbles].sum()) / step_s, costs, int(rank)
        ):
            yield (int(rank), *facts, "now and then")


def _is_costly(stumbling: float, costs: NDArray[np.float64], rank: int) -> bool:
    """Whether what a rank's stumbles alone cost is worth a name, and far more than all that the others cost."""
    return stumbling >= NOTABLE_COST and stumbling > STUMBLER_SHARE * (costs.sum() - costs[rank])


def _lasts(own_s: NDArray[np.float64], rank: int) -> bool:
    """Whether the rank is the slowest in each third of the steps, as what is steady would be."""
    thirds = np.array_split(own_s, 3, axis=1)
    return all(int(np.median(third, axis=1).argmax()) == rank for third in thirds)


def _spread(others_s: NDArray[np.float64], least: float) -> float:
    """How far ranks other than the suspect are apart in their own work; robust where there are enough of them."""
    middle = float(np.median(others_s))
    if len(others_s) == 1:
        return max(LEAST_SPREAD_OF_TWO, least) * middle
    half_range = float(np.ptp(others_s)) / 2
    deviation = MAD_TO_SIGMA * float(np.median(np.abs(others_s - middle)))
    return max(deviation if len(others_s) > 4 else half_range, least * middle)


def _is_crowded(one: Conditions) -> bool:
    cores = one.foreign_cores
    return bool(one.foreign) and not isinstance(cores, Missing) and cores >= NOTABLE_FOREIGN_CORES


def _name_foreign(foreign: Sequence[str]) -> Iterable[str]:
    """What ran on the rank's host that is not of its job; one rank of each host looks for all."""
    if foreign:
        yield f"beside it ran {'; '.join(foreign)}"


def explain(one: Conditions, everybody: Iterable[Conditions]) -> Iterable[str]:
    """What of a rank's surroundings may slow it down: limits, throttling, a slower device."""
    others = [other for other in everybody if other.rank != one.rank]
    yield from tell_throttling(one)
    if is_at_power_limit(one):
        yield "its GPU is at its power limit"
    yield from _compare_room(one, others)
    yield from _compare_speed(one, others)
    if not isinstance(one.temperature_c, Missing):
        yield f"{one.temperature_c:.0f} °C"


def _compare_room(one: Conditions, others: Sequence[Conditions]) -> Iterable[str]:
    """A tighter quota than the others', and more that wants to run than there are cores."""
    limits = [other.cpu_limit_cores for other in others]
    if not isinstance(one.cpu_limit_cores, Missing) and all(
        isinstance(limit, Missing) or limit > one.cpu_limit_cores for limit in limits
    ):
        yield f"it may use {one.cpu_limit_cores:.2g} cores, and the others more"
    loads = [other.load for other in others if not isinstance(other.load, Missing)]
    if (
        loads
        and not isinstance(one.load, Missing)
        and one.load > max(one.cores_of_host, 1.5 * np.median(loads))
    ):
        yield f"the load of its host is {one.load:.1f}, on {one.cores_of_host} cores"


def _compare_speed(one: Conditions, others: Sequence[Conditions]) -> Iterable[str]:
    rates = [np.mean(other.matrix_flops_per_s) for other in others if other.matrix_flops_per_s]
    if one.matrix_flops_per_s and rates:
        part = float(np.mean(one.matrix_flops_per_s) / np.median(rates))
        if part < 0.9:
            yield f"its own matrix product runs at {100 * part:.0f} % of the others'"
    clocks = [other.clock_mhz for other in others if not isinstance(other.clock_mhz, Missing)]
    if clocks and not isinstance(one.clock_mhz, Missing) and one.clock_mhz < 0.95 * float(np.median(clocks)):
        yield f"its clock is {one.clock_mhz:.0f} MHz, the others' {float(np.median(clocks)):.0f} MHz"
