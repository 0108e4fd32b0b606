"""Whether the meters of a boundary see all of it: a node without a meter would still be in the images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.analysis.boundaries import NAMES, PARTS
from hpcdl.metering import complete_uuid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hpcdl.analysis.boundaries import Boundary
    from hpcdl.analysis.meters import Metered
    from hpcdl.metering import Covers, Unavailable
    from hpcdl.plan import Launch
    from hpcdl.records import Environment
    from hpcdl.trace import Trace


@dataclass(frozen=True)
class Layout:
    """What a launch ran on. Hosts that share a boot id are one machine, and have one set of meters.

    `gpus` is how many each host has in its allocation, `used` says on which host a GPU trained, by UUID.
    """

    machines: Mapping[str, tuple[str, ...]]
    gpus: int
    used: Mapping[str, str]
    allocated: bool
    unavailable: Sequence[tuple[str, Unavailable]]

    @property
    def own_boards(self) -> frozenset[str] | None:
        """The GPUs that belong to the launch; None: all that were seen. Without Slurm there is no allocation."""
        return None if self.allocated or not self.used else frozenset(self.used)


def lay_out(plan: Launch, environment: Environment, traces: Mapping[str, Trace]) -> Layout:
    """The layout of a launch whose every host has a trace."""
    machines: dict[str, list[str]] = {}
    for host in dict.fromkeys(host.host for host in environment.hosts):
        machines.setdefault(name_machine(traces[host]), []).append(host)
    return Layout(
        machines={machine: tuple(hosts) for machine, hosts in machines.items()},
        gpus=plan.gpus_per_node,
        used={complete_uuid(host.gpu_uuid): host.host for host in environment.hosts if host.gpu_uuid},
        allocated=plan.launcher == "srun",
        unavailable=[(trace.host, thing) for trace in traces.values() for thing in trace.unavailable],
    )


def name_machine(trace: Trace) -> str:
    """The boot id; the host's name where that could not be read."""
    boot_id = trace.opening.boot_id
    return trace.host if boot_id in {"", "unknown"} else boot_id


def find_lack(boundary: Boundary, chosen: Sequence[Metered], layout: Layout) -> str | None:
    """What a boundary lacks on some machine, with the reason where a sensor gave one; None: it is complete."""
    kinds = {meter.source.covers for meter in chosen}
    if kinds != {"node"}:
        lack = next(_list_lacks(boundary, chosen, layout, kinds), None)
        if lack is not None:
            return lack
    return find_hole(chosen, layout.unavailable)


def _list_lacks(
    boundary: Boundary, chosen: Sequence[Metered], layout: Layout, kinds: set[Covers]
) -> Iterator[str]:
    computing: Covers = "gpu" if layout.gpus else "package"
    for machine, hosts in layout.machines.items():
        here = [meter for meter in chosen if meter.boot_id == machine]
        seen = {meter.source.covers for meter in here}
        needed = {computing} if boundary == "device" else {computing, *(kinds & set(PARTS) - {"module"})}
        inside: set[Covers] = {"gpu", "package"} if "module" in seen else set()
        for what in sorted(needed - seen - inside):
            yield f"no {NAMES[what][0]} is metered on {', '.join(hosts)}{_explain(hosts, layout)}"
        if computing == "gpu":
            yield from _list_boards(here, hosts, layout)


def _list_boards(here: Sequence[Metered], hosts: Sequence[str], layout: Layout) -> Iterator[str]:
    """GPUs that trained, or belong to the allocation, and are not among the boards or modules here."""
    boards = [meter.source for meter in here if meter.source.covers in {"gpu", "module"}]
    # What has no UUID, or is shared by slices with UUIDs of their own, cannot be told apart.
    if any(source.uuid is None or source.shared for source in boards):
        return
    for uuid, host in layout.used.items():
        if host in hosts and uuid not in {source.uuid for source in boards}:
            yield f"{uuid} on {host}, which trained, is not metered{_explain(hosts, layout)}"
    wanted = layout.gpus * len(hosts)
    if (layout.allocated or not layout.used) and len(boards) < wanted:
        yield f"{len(boards)} of {wanted} GPU boards are metered on {', '.join(hosts)}{_explain(hosts, layout)}"


def find_hole(chosen: Sequence[Metered], unavailable: Sequence[tuple[str, Unavailable]]) -> str | None:
    """A source that a sensor could not read beside those of the same kind that it did; None: there is none."""
    read = {(meter.host, meter.source.sensor, meter.source.covers) for meter in chosen}
    for host, thing in unavailable:
        if thing.covers is not None and (host, thing.sensor, thing.covers) in read:
            return f"not all of {host} could be metered: {thing.reason}"
    return None


def _explain(hosts: Sequence[str], layout: Layout) -> str:
    """What the sensors said there."""
    said = [f"{thing.sensor}: {thing.reason}" for host, thing in layout.unavailable if host in hosts]
    return f" ({'; '.join(dict.fromkeys(said))})" if said else ""
