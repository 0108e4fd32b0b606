"""Whether the meters of a boundary see all of it: a node without a meter would still be in the images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.analysis.boundaries import NAMES, PARTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hpcdl.analysis.boundaries import Boundary
    from hpcdl.analysis.meters import Metered
    from hpcdl.metering import Covers, Unavailable
    from hpcdl.plan import Launch
    from hpcdl.records import Environment
    from hpcdl.trace import Trace

# Sensors of which a source that is refused leaves a hole beside those that are read. NVML's are counted by UUID.
WHOLE_OR_NOT = frozenset({"rapl", "hwmon", "cray"})


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
        used={host.gpu_uuid: host.host for host in environment.hosts if host.gpu_uuid},
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
    return next(_list_holes(chosen, layout), None)


def _list_lacks(
    boundary: Boundary, chosen: Sequence[Metered], layout: Layout, kinds: set[Covers]
) -> Iterator[str]:
    computing: Covers = "gpu" if layout.gpus else "package"
    for machine, hosts in layout.machines.items():
        here = [meter for meter in chosen if meter.boot_id == machine]
        seen = {meter.source.covers for meter in here}
        if "module" in seen:
            continue
        needed = {computing} if boundary == "device" else {computing, *(kinds & set(PARTS) - {"module"})}
        for what in sorted(needed - seen):
            yield f"no {NAMES[what][0]} is metered on {', '.join(hosts)}{_explain(hosts, layout)}"
        if computing == "gpu":
            yield from _list_boards(here, hosts, layout)


def _list_boards(here: Sequence[Metered], hosts: Sequence[str], layout: Layout) -> Iterator[str]:
    boards = {meter.source.uuid for meter in here if meter.source.covers == "gpu"}
    for uuid, host in layout.used.items():
        if host in hosts and uuid not in boards and None not in boards:
            yield f"{uuid} on {host}, which trained, is not metered{_explain(hosts, layout)}"
    count = sum(meter.source.covers == "gpu" for meter in here)
    if not layout.used and count < layout.gpus * len(hosts):
        yield (
            f"{count} of {layout.gpus * len(hosts)} GPU boards are metered on {', '.join(hosts)}"
            f"{_explain(hosts, layout)}"
        )


def _list_holes(chosen: Sequence[Metered], layout: Layout) -> Iterator[str]:
    """Sources that a sensor could not read beside those that it did."""
    sensors = {(meter.host, meter.source.sensor) for meter in chosen}
    for host, thing in layout.unavailable:
        if thing.sensor in WHOLE_OR_NOT and (host, thing.sensor) in sensors:
            yield f"not all of {host} could be metered: {thing.reason}"


def _explain(hosts: Sequence[str], layout: Layout) -> str:
    """What the sensors said there."""
    said = [f"{thing.sensor}: {thing.reason}" for host, thing in layout.unavailable if host in hosts]
    return f" ({'; '.join(dict.fromkeys(said))})" if said else ""
