"""NUMA nodes, as the kernel lists them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from hpcdl.power.sysfs import read_text
from hpcdl.processors import parse_cpus
from hpcdl.records import Missing
from hpcdl.topology import NumaNode

if TYPE_CHECKING:
    from hpcdl.records import Reading

SYSFS = Path("/sys/devices/system/node")
_NODE = re.compile(r"node(\d+)", re.ASCII)
# Documentation/ABI/stable/sysfs-devices-node: meminfo, 'Node 0 MemTotal:  263856348 kB', in KiB.
_TOTAL = re.compile(r"MemTotal:\s*(\d+)\s*kB", re.ASCII)


def read_numa(sysfs: Path = SYSFS) -> tuple[NumaNode, ...] | Missing:
    """All of them by number; missing where the kernel was built without."""
    try:
        names = sorted(int(match[1]) for path in sysfs.iterdir() if (match := _NODE.fullmatch(path.name)))
    except OSError:
        return Missing(missing="the kernel lists no NUMA nodes")
    nodes = [_read_node(number, sysfs / f"node{number}") for number in names]
    untold = next((one for one in nodes if isinstance(one, Missing)), None)
    if untold is not None or not nodes:
        return untold or Missing(missing="the kernel lists no NUMA nodes")
    return tuple(one for one in nodes if not isinstance(one, Missing))


def _read_node(number: int, path: Path) -> NumaNode | Missing:
    cpus = parse_cpus(read_text(path / "cpulist"))
    if cpus is None:
        return Missing(missing=f"the kernel does not tell the CPUs of NUMA node {number}")
    return NumaNode(node=number, cpus=cpus, memory_bytes=_read_memory(path))


def _read_memory(path: Path) -> Reading:
    found = _TOTAL.search(read_text(path / "meminfo") or "")
    return float(found[1]) * 1024 if found else Missing(missing="the kernel does not tell")
