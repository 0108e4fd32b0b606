"""The records of an acceptance's jobs -> evidence. Pure reading, in time that grows as the records do."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.acceptance.connections import are_mostly_measured, observe_links
from hpcdl.acceptance.disguise import find_rehearsal
from hpcdl.acceptance.drawn import observe_power
from hpcdl.acceptance.evidence import Absence, Evidence, Observation, Trait
from hpcdl.acceptance.finishes import observe_finishes
from hpcdl.acceptance.fleet import Devices, Fleet
from hpcdl.acceptance.looks import list_absences, observe_looks
from hpcdl.acceptance.node_launches import NodeLaunch, read_node_launch
from hpcdl.acceptance.trainings import observe_convergence, observe_scaling
from hpcdl.analysis.ending import JobState
from hpcdl.analysis.job import RunResult
from hpcdl.analysis.launch import LaunchResult, analyse_launch
from hpcdl.errors import Mistake
from hpcdl.store import LaunchFolder

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from hpcdl.acceptance.folder import NodeState
    from hpcdl.acceptance.looks import Seen
    from hpcdl.plan import Job, Launch
    from hpcdl.store import RunFolder


def gather(
    runs: Sequence[RunFolder],
    nodes: tuple[str, ...],
    *,
    states: Mapping[str, NodeState] | None = None,
    running: Collection[str] = (),
) -> Evidence:
    """All that the records say of these nodes, and of what was planned and is not in them, why.

    Records of hosts that are not among the nodes are left out; torn lines and runs whose job cannot be read too.

    Args:
        runs: The jobs of one acceptance, oldest first.
        nodes: Those that are to be accepted, by the names that Slurm has for them; the hosts' own may be longer.
        states: What Slurm last said of each node.
        running: Ids of runs of which more may come. Of all others, what is not recorded will not be.
    """
    fleet = Fleet(nodes, states or {})
    read = [one for run in runs if (one := _read(run, fleet, running)) is not None]
    launches = [launch for run in read for launch in run.checks]
    devices = Devices()
    for launch in launches:
        for node, looks in launch.looks.items():
            for look in looks:
                devices.learn(node, look)
    seen = list(_drop_overtaken(list(_observe(read, launches, fleet, devices))))
    return Evidence(
        nodes=fleet.nodes,
        observations=[one for one in seen if isinstance(one, Observation)],
        traits=[one for one in seen if isinstance(one, Trait)],
        absences=[one for one in seen if isinstance(one, Absence)],
        rehearsal=find_rehearsal(
            launches,
            [result for run in read for result in run.results],
            local=any(run.job.executor == "local" for run in read),
        ),
    )


def _observe(
    runs: Sequence[_Read], launches: Sequence[NodeLaunch], fleet: Fleet, devices: Devices
) -> Iterator[Seen]:
    for launch in launches:
        yield from observe_looks(launch, fleet, devices)
        yield from observe_power(launch, fleet, devices)
    yield from observe_finishes(launches, fleet)
    reached = {node for launch in launches for node in launch.nodes}
    if launches and (unreached := tuple(node for node in fleet.nodes if node not in reached)):
        yield from list_absences(max(launches, key=_count_checks), unreached, fleet, devices)
    for run in runs:
        yield from _observe_together(run, fleet)


def _count_checks(launch: NodeLaunch) -> int:
    return len(launch.check.checks)


def _observe_together(run: _Read, fleet: Fleet) -> Iterator[Observation | Absence]:
    """What takes more than one node."""
    for result in run.results:
        block = f"{run.folder.run_id}/{result.plan.name}"
        if result.plan.kind == "probe":
            planned = _plan_hosts(run, result.plan, fleet)
            yield from observe_links(result, result.plan.test, block, fleet, planned=planned)
        elif result.plan.test == "convergence":
            yield observe_convergence(result, block, fleet)
    scaling = tuple(result for result in run.results if result.plan.test == "scaling")
    if scaling:
        yield from observe_scaling(run.only(scaling), fleet)


def _plan_hosts(run: _Read, launch: Launch, fleet: Fleet) -> tuple[str, ...]:
    """Which nodes of the allocation a launch was for, where another launch has told all of them in their order."""
    widest: tuple[str, ...] = max((result.hosts for result in run.results), key=len, default=())
    if len(widest) < run.job.nodes:
        return ()
    return fleet.find_all(widest[launch.first_node : launch.first_node + launch.nodes])


def _drop_overtaken(seen: Sequence[Seen]) -> Iterator[Seen]:
    """Without the links that a probe did not measure where most of these links have been measured by another.

    Those that are still lacking then are known by their names.
    """
    measured: defaultdict[str, set[frozenset[str]]] = defaultdict(set)
    for one in seen:
        if isinstance(one, Observation) and one.unit.scope == "pair":
            measured[one.metric].add(frozenset(one.unit.nodes))
    for one in seen:
        whole = isinstance(one, Absence) and one.unit.scope == "pair"
        if not (whole and are_mostly_measured(one.unit.nodes, measured[one.metric])):
            yield one


@dataclass(frozen=True)
class _Read:
    """One run, and its launches of checks."""

    folder: RunFolder
    job: Job
    over: bool
    checks: tuple[NodeLaunch, ...]
    results: tuple[LaunchResult, ...]

    def only(self, launches: tuple[LaunchResult, ...]) -> RunResult:
        """The run as if these were all of its launches."""
        return RunResult(
            run_id=self.folder.run_id,
            path=str(self.folder.path),
            job=self.job,
            submission=None,
            cancelled=False,
            state="completed",
            story="",
            launches=launches,
            rehearsal=None,
        )


def _read(run: RunFolder, fleet: Fleet, running: Collection[str]) -> _Read | None:
    try:
        job = run.job()
    except Mistake:
        return None
    over = run.run_id not in running
    results = tuple(
        _analyse(run, launch, over=over) for launch in job.launches if launch.test and launch.kind != "check"
    )
    hosts = {host for result in results for host in result.hosts}
    named = (job.site.slurm.nodelist or "").split(",")
    among = fleet.find_all([*hosts, *named])
    cancelled = run.cancellation() is not None
    checks = tuple(
        read_node_launch(
            LaunchFolder(run.path / launch.name),
            launch,
            f"{run.run_id}/{launch.name}",
            fleet,
            created_utc=job.created_utc,
            among=among,
            over=over,
            cancelled=cancelled,
        )
        for launch in job.launches
        if launch.kind == "check" and launch.check is not None
    )
    return _Read(run, job, over, checks, results)


def _analyse(run: RunFolder, launch: Launch, *, over: bool) -> LaunchResult:
    # A probe's records hold no steps, and what was learnt does not depend on them.
    return analyse_launch(
        LaunchFolder(run.path / launch.name),
        plan=launch,
        job=JobState(over=True) if over else None,
        with_steps=launch.test == "scaling",
    )
