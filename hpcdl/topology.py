"""How one node is wired: NUMA nodes, GPUs, network adapters, and how near these are to each other.

A line of a node's wiring that nobody tells is missing, with the reason; an empty tuple says that there is none.
"""

from __future__ import annotations

from typing import Literal

from hpcdl.frozen import Frozen
from hpcdl.records import Missing, Reading

# By the legend of `nvidia-smi topo -m`, from near to far; over n bonded NVLinks it is 'NV<n>'.
FARNESS: dict[str, str] = {
    "PIX": "at most one PCIe switch between them",
    "PXB": "several PCIe switches, and no host bridge",
    "PHB": "a PCIe host bridge, typically the CPU",
    "NODE": "host bridges of one NUMA node",
    "SYS": "the interconnect between NUMA nodes",
}
SELF = "X"


class NumaNode(Frozen):
    """Hardware threads and memory that are near each other. One of a GPU's or an expander's memory has no CPUs."""

    node: int
    cpus: tuple[int, ...]
    memory_bytes: Reading


class PcieLink(Frozen):
    """The link of a device to what it is plugged into: now, and what both ends could do."""

    generation: Reading
    width: Reading
    max_generation: Reading
    max_width: Reading


class NvLink(Frozen):
    """One active NVLink. `to` is the PCI address of what is at its other end, or what kind of thing that is."""

    link: int
    to: str | Missing
    kind: Literal["GPU", "NVSwitch", "CPU", "unknown"]


class Gpu(Frozen):
    """One GPU as the driver lists it. `cpus` are the hardware threads near it."""

    index: int
    uuid: str
    name: str
    bus_id: str | Missing
    numa_node: int | Missing
    cpus: tuple[int, ...] | Missing
    pcie: PcieLink
    nvlinks: tuple[NvLink, ...] | Missing
    memory_bytes: Reading


class Nic(Frozen):
    """A network adapter with a device of its own. `interfaces` are those of the kernel that it carries."""

    name: str
    kind: Literal["InfiniBand", "RoCE", "Ethernet"]
    interfaces: tuple[str, ...] = ()
    driver: str | Missing
    state: str | Missing
    speed_bits_per_s: Reading
    bus_id: str | Missing
    numa_node: int | Missing


class Relation(Frozen):
    """How two devices reach each other: a word of FARNESS, or 'NV<n>'. `peer` is whether GPUs can reach across."""

    one: str
    other: str
    word: str | Missing
    peer: str | Missing | None = None


class NodeTopology(Frozen):
    """The wiring of one node, as one process of a launch could see it: `topology-<host>.json`.

    `unseen` are GPUs that the driver counts and that could not be asked, with the reason.
    """

    schema_version: Literal[1] = 1
    host: str
    boot_id: str
    cpu: str
    sockets: int | Missing
    cores: int | Missing
    cpus: int | Missing
    memory_bytes: Reading
    numa: tuple[NumaNode, ...] | Missing
    gpus: tuple[Gpu, ...] | Missing
    nics: tuple[Nic, ...] | Missing
    relations: tuple[Relation, ...]
    unseen: tuple[str, ...] = ()
