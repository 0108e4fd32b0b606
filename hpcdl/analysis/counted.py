"""What is counted on a side of a comparison: nodes, sockets and cores, or GPUs; used, and there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hpcdl.analysis.launch import LaunchResult
    from hpcdl.records import Host

NOT_RECORDED = "not recorded: this run is older than that record"


@dataclass(frozen=True)
class Counted:
    """Over all machines of a launch. Of sockets and cores: those of the ranks' affinities; None: not recorded.

    `nodes` as planned, and the `machines` that they were: fewer where some are one in disguise. `cpus` are hardware
    threads of the affinities. `gpus` trained, of `gpus_there` that the launch had.
    """

    nodes: int
    machines: int
    sockets: int | None
    sockets_there: int | None
    cores: int | None
    cores_there: int | None
    cpus: int
    gpus: int
    gpus_there: int

    @property
    def devices(self) -> Reading:
        """GPUs where there are some, else sockets."""
        if self.gpus:
            return float(self.gpus)
        return Missing(missing=f"sockets: {NOT_RECORDED}") if self.sockets is None else float(self.sockets)

    @property
    def words(self) -> str:
        """'1 node, 8 GPUs', '1 node, 1 of 2 sockets, 12 of 24 cores', '2 nodes on 1 machine, 2 sockets, 8 cores'."""
        nodes = _name(self.nodes, None, "node")
        if self.machines < self.nodes:
            nodes = f"{nodes} on {_name(self.machines, None, 'machine')}"
        if self.gpus:
            return f"{nodes}, {_name(self.gpus, self.gpus_there, 'GPU')}"
        if self.sockets is None or self.cores is None:
            return f"{nodes}, {_name(self.cpus, None, 'CPU')} (sockets not recorded)" if self.cpus else nodes
        sockets = _name(self.sockets, self.sockets_there, "socket")
        return f"{nodes}, {sockets}, {_name(self.cores, self.cores_there, 'core')}"


def _name(used: int, there: int | None, word: str) -> str:
    plural = "" if (there or used) == 1 else "s"
    return f"{used} of {there} {word}{plural}" if there and there > used else f"{used} {word}{plural}"


def gather_views(launch: LaunchResult) -> dict[str, list[Host]]:
    """What the ranks of each machine saw: by boot id, which hosts in disguise share; by host where it was not read."""
    by_machine: dict[str, list[Host]] = {}
    for view in launch.environment.hosts if launch.environment else ():
        by_machine.setdefault(view.boot_id or f"host {view.host}", []).append(view)
    return by_machine


def count_hardware(launch: LaunchResult) -> Counted:
    """What a launch has computed on, each machine counted once; what no environment tells is as planned."""
    machines = list(gather_views(launch).values())
    gpus = {uuid for machine in launch.machines for uuid in machine.gpu_uuids}
    number = min(len(machines) or launch.plan.nodes, launch.plan.nodes)
    return Counted(
        nodes=launch.plan.nodes,
        machines=number,
        sockets=_add_known(_count_distinct(view.sockets for view in views) for views in machines),
        sockets_there=_add_known(views[0].sockets_of_host for views in machines),
        cores=_add_known(_count_distinct(view.cores for view in views) for views in machines),
        cores_there=_add_known(views[0].cores_of_host for views in machines),
        cpus=sum(len({cpu for view in views for cpu in view.affinity}) for views in machines),
        gpus=len(gpus),
        gpus_there=max(launch.plan.gpus_per_node * number, len(gpus)),
    )


def _count_distinct(sets: Iterable[tuple[int, ...] | None]) -> int | None:
    """How many there are in all ranks' sets together; None where one was not recorded."""
    found: set[int] = set()
    for one in sets:
        if one is None:
            return None
        found.update(one)
    return len(found)


def _add_known(counts: Iterable[int | None]) -> int | None:
    """The sum; None where one is not known, or there are none."""
    found = list(counts)
    known = [count for count in found if count is not None]
    return sum(known) if known and len(known) == len(found) else None
