"""Nodes as the kernel shows them: NUMA nodes, PCI, InfiniBand and interfaces, below one folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hpcdl.worker.topology.node import Roots
from tests.unit.sensor_trees import write

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Tree:
    """A node's /sys. Routes are written as sysfs nests them: 'pci0000:17/0000:17:01.0/0000:18:00.0'."""

    root: Path
    cpus: dict[int, str] = field(default_factory=dict)

    @property
    def roots(self) -> Roots:
        """For what reads it."""
        return Roots(
            cpu=self.root / "cpu",
            node=self.root / "node",
            pci=self.root / "bus/pci/devices",
            infiniband=self.root / "class/infiniband",
            net=self.root / "class/net",
        )

    def add_numa(self, node, cpus, memory_kib=1024):
        self.cpus[node] = cpus
        meminfo = f"Node {node} MemTotal:       {memory_kib} kB\nNode {node} MemFree:  12 kB"
        write(self.root / f"node/node{node}", {"cpulist": cpus, "meminfo": meminfo})

    def add_device(self, route, node=-1, **files):
        """A PCI device; NUMA node -1 is one that the firmware does not name."""
        home = self.root / "devices" / route
        cpus = self.cpus.get(node, ",".join(self.cpus.values()))
        write(home, {"numa_node": node, "local_cpulist": cpus, **files})
        link = self.roots.pci / home.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(home)
        return home

    def add_gpu(self, route, node=-1):
        return self.add_device(route, node, vendor="0x10de", **{"class": "0x030200"})

    def add_class(self, kind, name, device, driver="mlx5_core", **files):
        """An entry of /sys/class whose `device` leads to a PCI device."""
        home = self.root / "class" / kind / name
        write(home, files)
        if device is not None:
            (home / "device").symlink_to(device)
            drivers = self.root / "bus/pci/drivers" / driver
            drivers.mkdir(parents=True, exist_ok=True)
            if not (device / "driver").exists():
                (device / "driver").symlink_to(drivers)

    def add_infiniband(self, name, device, rate="400 Gb/sec (4X NDR)", layer="InfiniBand", state="4: ACTIVE"):
        ports = {"ports/1/rate": rate, "ports/1/link_layer": layer, "ports/1/state": state}
        self.add_class("infiniband", name, device, **ports)

    def add_interface(self, name, device, speed="25000", kind="1", driver="mlx5_core"):
        files = {"type": kind, "operstate": "up"} | ({"speed": speed} if speed else {})
        self.add_class("net", name, device, driver=driver, **files)


# Behind one switch of the first socket a GPU and an adapter, behind another switch below it a second GPU; a third GPU
# at a port of its own, and a fourth on the other socket.
GPU_ROUTES = (
    "pci0000:17/0000:17:01.0/0000:18:00.0/0000:19:00.0/0000:1a:00.0",
    "pci0000:17/0000:17:01.0/0000:18:00.0/0000:19:01.0/0000:1b:00.0/0000:1c:00.0/0000:1d:00.0",
    "pci0000:17/0000:17:03.0/0000:2a:00.0",
    "pci0000:97/0000:97:01.0/0000:98:00.0",
)
NIC_ROUTE = "pci0000:17/0000:17:01.0/0000:18:00.0/0000:19:02.0/0000:1e:00.0"
OTHER_BRIDGE = "pci0000:30/0000:30:01.0/0000:31:00.0"
GPU_NODES = (0, 0, 0, 1)


def make_node(root, *, second=True, numa=True):
    """Two sockets of eight CPUs; with `second` a second adapter; without `numa` nobody tells who is near whom."""
    tree = Tree(root)
    tree.add_numa(0, "0-7")
    tree.add_numa(1, "8-15")
    for route, node in zip(GPU_ROUTES, GPU_NODES, strict=True):
        tree.add_gpu(route, node if numa else -1)
    tree.add_infiniband("mlx5_0", tree.add_device(NIC_ROUTE, 0 if numa else -1))
    if second:
        tree.add_interface("eno1", tree.add_device(OTHER_BRIDGE, 0 if numa else -1), driver="ixgbe")
    return tree
