"""Which hardware threads share a core, as the kernel tells it.

Slurm and the kernel count hardware threads ("CPUs"). Where two of them share a core, that core's arithmetic is
not twice as fast: one computing thread for each core is the rule, and ranks must not share cores.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

SYSFS = Path("/sys/devices/system/cpu")
# The kernel has at most 8192 CPUs (NR_CPUS): a longer number is none of its own.
_RANGE = re.compile(r"\d{1,5}(-\d{1,5})?", re.ASCII)


def arrange_by_core(cpus: Collection[int], sysfs: Path = SYSFS) -> list[int]:
    """The hardware threads in such an order that those of one core, and cores of one socket, stand together."""
    return sorted(cpus, key=lambda cpu: (_find_core(cpu, sysfs), cpu))


def count_threads_per_core(cpus: Collection[int], sysfs: Path = SYSFS) -> int:
    """How many of these hardware threads share a core; where cores differ, the least of them; at least 1."""
    cores = [_find_core(cpu, sysfs) for cpu in cpus]
    return min((cores.count(core) for core in set(cores)), default=1)


@dataclass(frozen=True)
class Topology:
    """Where some hardware threads are: sockets by the kernel's numbers, cores by their first hardware thread."""

    sockets: tuple[int, ...]
    cores: tuple[int, ...]


def read_topology(cpus: Collection[int], sysfs: Path = SYSFS) -> Topology | None:
    """Where these hardware threads are; None where the kernel does not tell it of all of them."""
    places = {_find_core(cpu, sysfs) for cpu in cpus}
    sockets = {socket for socket, _ in places}
    if not places or -1 in sockets:
        return None
    return Topology(tuple(sorted(sockets)), tuple(sorted(core for _, core in places)))


def list_online(sysfs: Path = SYSFS) -> tuple[int, ...]:
    """All hardware threads of this machine that are switched on; none where the kernel does not tell."""
    try:
        return parse_cpus((sysfs / "online").read_text(encoding="ascii")) or ()
    except (OSError, ValueError):
        return ()


def parse_cpus(text: str | None) -> tuple[int, ...] | None:
    """'0-3,8' as numbers (man 7 cpuset, list format); none from an empty text; None from no text, or from another."""
    if text is None:
        return None
    parts = [part for part in text.strip().split(",") if part]
    if not all(_RANGE.fullmatch(part) for part in parts):
        return None
    ends = [[int(end) for end in part.split("-")] for part in parts]
    return tuple(cpu for first, *last in ends for cpu in range(first, (last or [first])[0] + 1))


def fold_cpus(cpus: Collection[int]) -> str:
    """The same the other way round: '0-3,8'."""
    ranges: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if ranges and cpu == ranges[-1][1] + 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in ranges)


def _find_core(cpu: int, sysfs: Path) -> tuple[int, int]:
    """(socket, the core's first hardware thread). Where the kernel does not tell, each thread counts as a core.

    Not the kernel's core_id, which may come again on another die of the same socket.
    """
    topology = sysfs / f"cpu{cpu}" / "topology"
    try:
        socket = int((topology / "physical_package_id").read_text(encoding="ascii"))
        siblings = (topology / "thread_siblings_list").read_text(encoding="ascii")
        return (socket, int(re.split("[-,]", siblings)[0]))
    except (OSError, ValueError):
        return (-1, cpu)
