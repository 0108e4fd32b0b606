"""The wiring of this node as a whole: NUMA nodes, GPUs, network adapters, and each to each."""

from __future__ import annotations

import itertools
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcdl.power.sysfs import read_text
from hpcdl.power.wiring import Plugged, Wiring, read_wiring
from hpcdl.processors import SYSFS as CPUS
from hpcdl.processors import list_online, read_topology
from hpcdl.records import Missing
from hpcdl.topology import Gpu, NodeTopology, NvLink, Relation
from hpcdl.worker.processor import cpu_name
from hpcdl.worker.topology import nics, numa, pci
from hpcdl.worker.topology.pci import Spot, locate, normalise, relate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hpcdl.records import Reading
    from hpcdl.worker.topology.nics import Placed

# PCI's numbers: of NVIDIA as a vendor, and of the class of display controllers, in which their GPUs are.
NVIDIA, DISPLAY = "0x10de", "0x03"


@dataclass(frozen=True)
class Roots:
    """Where the kernel's trees begin."""

    cpu: Path = CPUS
    node: Path = numa.SYSFS
    pci: Path = pci.DEVICES
    infiniband: Path = nics.INFINIBAND
    net: Path = nics.NET


@dataclass(frozen=True)
class Hung:
    """A GPU, and where it hangs."""

    gpu: Gpu
    spot: Spot | Missing


def read(
    roots: Roots | None = None,
    *,
    wiring: Callable[[], Wiring | Missing] = read_wiring,
    host: str | None = None,
) -> NodeTopology:
    """The wiring as this process can see it. It never fails: what cannot be read is missing, with the reason.

    Args:
        roots: Of the kernel's trees.
        wiring: Asks the GPUs' driver.
        host: How the launch calls this node; None: as it calls itself.
    """
    roots = roots or Roots()
    nodes, told = numa.read_numa(roots.node), wiring()
    adapters = nics.read_nics(roots.infiniband, roots.net)
    gpus = _read_gpus(told, roots.pci)
    numa_nodes = None if isinstance(nodes, Missing) else sum(bool(node.cpus) for node in nodes)
    online = list_online(roots.cpu)
    whole = read_topology(online, roots.cpu)
    untold = Missing(missing="the kernel does not tell where its hardware threads are")
    return NodeTopology(
        host=host or socket.gethostname(),
        boot_id=read_text(Path("/proc/sys/kernel/random/boot_id")) or "",
        cpu=cpu_name(),
        sockets=len(whole.sockets) if whole else untold,
        cores=len(whole.cores) if whole else untold,
        cpus=len(online) or untold,
        memory_bytes=_read_memory(),
        numa=nodes,
        gpus=gpus if isinstance(gpus, Missing) else tuple(one.gpu for one in gpus),
        nics=adapters if isinstance(adapters, Missing) else tuple(one.nic for one in adapters),
        relations=tuple(_relate_all(gpus, adapters, told, numa_nodes)),
        unseen=told.unseen if isinstance(told, Wiring) else (),
    )


def _read_memory() -> Reading:
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (OSError, ValueError):
        return Missing(missing="the kernel does not tell")


def _read_gpus(told: Wiring | Missing, devices: Path) -> list[Hung] | Missing:
    """Without NVML there are none only where the PCI bus has none."""
    if isinstance(told, Wiring):
        return [_hang(one, devices) for one in told.gpus]
    plugged = count_plugged(devices)
    if plugged == 0:
        return []
    seen = "" if plugged is None else f"; {plugged} of NVIDIA's are on the PCI bus"
    return Missing(missing=told.missing + seen)


def count_plugged(devices: Path) -> int | None:
    """NVIDIA's display controllers on the PCI bus; None: it cannot be read."""
    try:
        found = list(devices.iterdir())
    except OSError:
        return None
    return sum(
        read_text(one / "vendor") == NVIDIA and (read_text(one / "class") or "").startswith(DISPLAY)
        for one in found
    )


def _hang(one: Plugged, devices: Path) -> Hung:
    bus_id = one.bus_id if isinstance(one.bus_id, Missing) else normalise(one.bus_id)
    spot = bus_id if isinstance(bus_id, Missing) else locate(devices / bus_id)
    nvlinks = one.nvlinks if isinstance(one.nvlinks, Missing) else tuple(map(_normalise, one.nvlinks))
    gpu = Gpu(
        index=one.index,
        uuid=one.uuid,
        name=one.name,
        bus_id=bus_id,
        numa_node=spot if isinstance(spot, Missing) else spot.numa_node,
        cpus=spot if isinstance(spot, Missing) else spot.cpus,
        pcie=one.pcie,
        nvlinks=nvlinks,
        memory_bytes=one.memory_bytes,
    )
    return Hung(gpu, spot)


def _normalise(link: NvLink) -> NvLink:
    return link if isinstance(link.to, Missing) else link.model_copy(update={"to": normalise(link.to)})


def _relate_all(
    gpus: Sequence[Hung] | Missing,
    adapters: Sequence[Placed] | Missing,
    told: Wiring | Missing,
    numa_nodes: int | None,
) -> list[Relation]:
    """Each pair of GPUs, then each GPU with each adapter, then each pair of adapters."""
    hung = [] if isinstance(gpus, Missing) else list(gpus)
    placed = [] if isinstance(adapters, Missing) else list(adapters)
    levels: dict[tuple[str, str], tuple[str | Missing, str | Missing]] = {}
    if isinstance(told, Wiring):
        levels = {(pair.one, pair.other): (pair.level, pair.peer) for pair in told.pairs}
    spots = [(name_gpu(one.gpu), one.spot) for one in hung], [(one.nic.name, one.spot) for one in placed]
    return [
        *(_relate_gpus(a, b, levels, numa_nodes) for a, b in itertools.combinations(hung, 2)),
        *(_relate_spots(a, b, numa_nodes) for a, b in itertools.product(*spots)),
        *(_relate_spots(a, b, numa_nodes) for a, b in itertools.combinations(spots[1], 2)),
    ]


def name_gpu(gpu: Gpu) -> str:
    """'GPU0', as `nvidia-smi topo -m` has it."""
    return f"GPU{gpu.index}"


def _relate_gpus(
    one: Hung,
    other: Hung,
    levels: Mapping[tuple[str, str], tuple[str | Missing, str | Missing]],
    numa_nodes: int | None,
) -> Relation:
    untold = Missing(missing="NVML does not tell")
    level, peer = levels.get((one.gpu.uuid, other.gpu.uuid), (untold, untold))
    bonded = count_bonded(one.gpu, other.gpu)
    word: str | Missing
    if isinstance(bonded, Missing):
        word = bonded
    elif bonded:
        word = f"NV{bonded}"
    else:
        word = _relate_spots(("", one.spot), ("", other.spot), numa_nodes).word
        # Where the kernel's tree does not have them, the driver's own word.
        word = level if isinstance(word, Missing) else word
    return Relation(one=name_gpu(one.gpu), other=name_gpu(other.gpu), word=word, peer=peer)


def count_bonded(one: Gpu, other: Gpu) -> int | Missing:
    """NVLinks from one to the other; over switches, which reach all, as many as the one with fewer of them has."""
    if isinstance(one.nvlinks, Missing) or isinstance(other.nvlinks, Missing):
        return one.nvlinks if isinstance(one.nvlinks, Missing) else Missing(missing="NVLink is not told")
    direct = sum(isinstance(link.to, str) and link.to == other.bus_id for link in one.nvlinks)
    if direct:
        return direct
    if any(link.kind == "unknown" for link in one.nvlinks):
        return Missing(missing="NVML does not tell what is at the other end of an NVLink")
    return min(sum(link.kind == "NVSwitch" for link in links) for links in (one.nvlinks, other.nvlinks))


def _relate_spots(
    one: tuple[str, Spot | Missing], other: tuple[str, Spot | Missing], numa_nodes: int | None
) -> Relation:
    (name, here), (other_name, there) = one, other
    word: str | Missing
    if isinstance(here, Missing):
        word = here
    elif isinstance(there, Missing):
        word = there
    else:
        word = relate(here, there, numa_nodes=numa_nodes)
    return Relation(one=name, other=other_name, word=word)
