"""Who runs the jobs of an acceptance: Slurm, or this machine."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Protocol

from hpcdl import jobs, slurm
from hpcdl.errors import Failure
from hpcdl.jobs import LocalRun, Standing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcdl.plan import Job
    from hpcdl.site import Site
    from hpcdl.slurm import NodeWord
    from hpcdl.store import RunFolder


class Executor(Protocol):
    """What the course of an acceptance needs of whoever runs its jobs."""

    def submit(self, job: Job) -> None: ...

    def look(self, runs: Sequence[RunFolder]) -> Mapping[str, Standing] | None:
        """Where runs stand, by run id; None: nobody answers."""

    def words(self) -> Mapping[str, NodeWord] | None:
        """What is said of nodes, by name; None: nobody answers."""

    def name_nodes(self, hosts: str) -> tuple[str, ...]:
        """A host list as names."""

    def cancel(self, run: RunFolder) -> None: ...

    def close(self) -> bool:
        """End what cannot go on without this process; whether there was something."""


class SlurmExecutor:
    """Jobs go on whoever watches."""

    def __init__(self, site: Site) -> None:
        self._partition = site.slurm.partition

    def submit(self, job: Job) -> None:
        jobs.submit(job)

    def look(self, runs: Sequence[RunFolder]) -> Mapping[str, Standing] | None:
        try:
            return jobs.look(list(runs))
        except Failure:
            return None

    def words(self) -> Mapping[str, NodeWord] | None:
        return slurm.node_states(self._partition)

    def name_nodes(self, hosts: str) -> tuple[str, ...]:
        return slurm.expand_hosts(hosts) if hosts else ()

    def cancel(self, run: RunFolder) -> None:
        jobs.cancel(run)

    def close(self) -> bool:
        return False


class LocalExecutor:
    """One job at a time, in the background of this process, which ends with it."""

    def __init__(self) -> None:
        self._running: dict[str, LocalRun] = {}

    def submit(self, job: Job) -> None:
        run = LocalRun(job)
        self._running[job.run_id] = run
        run.start()

    def look(self, runs: Sequence[RunFolder]) -> Mapping[str, Standing] | None:
        return {run.run_id: self._look(run) for run in runs}

    def _look(self, run: RunFolder) -> Standing:
        ours = self._running.get(run.run_id)
        if ours is None:
            return jobs.look([run])[run.run_id]
        over = ours.is_over()
        return Standing(
            over=over, word="ended" if over else "running here", well=over, nodes=socket.gethostname()
        )

    def words(self) -> Mapping[str, NodeWord] | None:
        return None

    def name_nodes(self, hosts: str) -> tuple[str, ...]:
        return tuple(filter(None, hosts.split(",")))

    def cancel(self, run: RunFolder) -> None:
        if run.run_id in self._running:
            self._running[run.run_id].stop()

    def close(self) -> bool:
        left = [run for run in self._running.values() if not run.is_over()]
        for run in left:
            run.stop()
        return bool(left)
