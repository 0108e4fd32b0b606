"""What all nodes make together: how well it scales, and what is learnt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.acceptance.connections import name_part, tell_part
from hpcdl.acceptance.evidence import Absence, Observation, Unit
from hpcdl.analysis.scaling import compare_sizes
from hpcdl.records import Missing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.acceptance.fleet import Fleet
    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.launch import LaunchResult
    from hpcdl.analysis.scaling import Scaling

ONE_SIZE = "there is only one size"
EFFICIENCY, ACCURACY = "scaling.efficiency", "convergence.accuracy"


def observe_scaling(run: RunResult, fleet: Fleet) -> Iterator[Observation | Absence]:
    """Efficiency of the largest size, once for each launch of it; withheld on rehearsals.

    Args:
        run: With no other launches than those that are to be compared.
        fleet: Knows the nodes.
    """
    study = compare_sizes([run])
    largest = [
        launch for launch in run.launches if launch.world_size == max(one.world_size for one in run.launches)
    ]
    unit = _name_system(largest, fleet)
    block = f"{run.run_id}/scaling"
    reason = _explain(run) or ("" if len(study.tables) == 1 else "; ".join(study.refusals) or ONE_SIZE)
    if reason:
        yield Absence(EFFICIENCY, unit, block, reason)
        return
    found = _divide(study.tables[0], largest)
    if isinstance(found, Missing):
        yield Absence(EFFICIENCY, unit, block, found.missing)
        return
    hosts = fleet.find_all(host for launch in largest for host in launch.hosts)
    if hosts and max(launch.plan.nodes for launch in largest) < len(fleet.nodes):
        yield Absence(EFFICIENCY, unit, block, tell_part(hosts, fleet))
        unit = name_part(hosts)
    yield Observation(EFFICIENCY, unit, block, found)


def _explain(run: RunResult) -> str:
    """Why a launch did not come to its end; empty where all of them did."""
    unfinished = next((launch for launch in run.launches if launch.state != "completed"), None)
    if unfinished is None:
        return ""
    return unfinished.story or f"launch {unfinished.plan.index} is {unfinished.state}"


def _divide(table: Scaling, largest: Sequence[LaunchResult]) -> tuple[float, ...] | Missing:
    """The rate of each launch over N times that of the base."""
    point = table.points[-1]
    if isinstance(point.efficiency, Missing):
        return Missing(missing=point.efficiency.missing.removesuffix(" (--force shows it)"))
    if isinstance(point.images_per_s, Missing):
        return point.images_per_s
    rates = [launch.images_per_s for launch in largest]
    return tuple(
        point.efficiency * rate / point.images_per_s for rate in rates if not isinstance(rate, Missing)
    )


def observe_convergence(launch: LaunchResult, block: str, fleet: Fleet) -> Observation | Absence:
    """The part of the held-out images that got their label."""
    unit = _name_system([launch], fleet)
    if isinstance(launch.accuracy, Missing):
        return Absence(ACCURACY, unit, block, launch.story or launch.accuracy.missing)
    plan = launch.plan
    # A batch is not cut finer than to an image for each rank: of a large fleet not all nodes take part.
    most = min(len(fleet.nodes), plan.train.global_batch // plan.tasks_per_node)
    if plan.nodes < most and unit.nodes != fleet.nodes:
        return Absence(ACCURACY, unit, block, tell_part(unit.nodes, fleet))
    return Observation(ACCURACY, unit, block, (launch.accuracy,))


def _name_system(launches: Sequence[LaunchResult], fleet: Fleet) -> Unit:
    nodes = fleet.find_all(host for launch in launches for host in launch.hosts)
    return Unit("system", "all", nodes or fleet.nodes)
