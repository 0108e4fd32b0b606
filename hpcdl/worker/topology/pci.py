"""Where a device hangs in the tree of PCI, and how far two of them are from each other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hpcdl.power.sysfs import read_text
from hpcdl.processors import parse_cpus
from hpcdl.records import Missing

DEVICES = Path("/sys/bus/pci/devices")
UNTOLD = "the kernel does not tell the NUMA node"
_ROOT = re.compile(r"pci[0-9a-f]+:[0-9a-f]{2}", re.ASCII)
_ADDRESS = re.compile(r"([0-9a-f]+):([0-9a-f]{2}):([0-9a-f]{2})\.([0-9a-f])", re.ASCII)


@dataclass(frozen=True)
class Spot:
    """`route` is the host bridge and all bridges down to the device, as sysfs nests them; the last is its address."""

    route: tuple[str, ...]
    numa_node: int | Missing
    cpus: tuple[int, ...] | Missing

    @property
    def address(self) -> str:
        return self.route[-1]


def normalise(bus_id: str) -> str:
    """NVML's '00000000:1B:00.0' as the kernel writes it: '0000:1b:00.0'; what is no address stays as it is."""
    match = _ADDRESS.fullmatch(bus_id.strip().lower())
    return f"{int(match[1], 16):04x}:{match[2]}:{match[3]}.{match[4]}" if match else bus_id.strip().lower()


def locate(device: Path) -> Spot | Missing:
    """The PCI device that a sysfs path leads to: itself, or the nearest above it, as for a virtio device."""
    try:
        real = device.resolve(strict=True)
    except (OSError, RuntimeError):
        return Missing(missing=f"{device.name} is not in the kernel's tree of devices")
    parts = real.parts
    root = next((place for place, part in enumerate(parts) if _ROOT.fullmatch(part)), None)
    if root is None:
        return Missing(missing=f"{device.name} is no PCI device")
    last = max((place for place, part in enumerate(parts) if _ADDRESS.fullmatch(part)), default=root)
    if last <= root:
        return Missing(missing=f"{device.name} is no PCI device")
    home = Path(*parts[: last + 1])
    numa_node = _read_numa_node(home)
    return Spot(parts[root : last + 1], numa_node, _read_cpus(home, numa_node))


def _read_numa_node(home: Path) -> int | Missing:
    """Documentation/ABI/testing/sysfs-bus-pci: -1 where the firmware does not say."""
    try:
        number = int(read_text(home / "numa_node") or "")
    except ValueError:
        return Missing(missing=UNTOLD)
    return number if number >= 0 else Missing(missing=UNTOLD)


def _read_cpus(home: Path, numa_node: int | Missing) -> tuple[int, ...] | Missing:
    """Without a NUMA node the kernel names all CPUs as local, which says nothing."""
    if isinstance(numa_node, Missing):
        return numa_node
    return parse_cpus(read_text(home / "local_cpulist")) or Missing(
        missing="the kernel does not tell its CPUs"
    )


def relate(one: Spot, other: Spot, *, numa_nodes: int | None = None) -> str | Missing:
    """The word of `nvidia-smi topo -m` for two devices, from how far their routes are the same.

    The levels are those of nvml.h, nvmlGpuTopologyLevel_t: one switch is an upstream and a downstream port, so that
    below the last common bridge each device has at most its own port above it.

    Args:
        one: A device.
        other: Another one.
        numa_nodes: Of the whole machine; where there is one, nothing is on another.
    """
    common = _count_common(one.route, other.route)
    if common > 1:
        beyond = max(len(one.route), len(other.route)) - common
        return "PIX" if beyond <= 2 else "PXB"
    if common == 1:
        return "PHB"
    if numa_nodes == 1:
        return "NODE"
    if isinstance(one.numa_node, Missing) or isinstance(other.numa_node, Missing):
        return Missing(missing=f"other host bridges, and {UNTOLD}")
    return "NODE" if one.numa_node == other.numa_node else "SYS"


def _count_common(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    pairs = zip(one, other, strict=False)
    return next(
        (place for place, (a, b) in enumerate(pairs) if a != b),
        min(len(one), len(other)),
    )
