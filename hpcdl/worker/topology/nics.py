"""Network adapters: those of InfiniBand's class, and interfaces with a device of their own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hpcdl.power.sysfs import read_text
from hpcdl.records import Missing
from hpcdl.topology import Nic
from hpcdl.worker.topology.pci import Spot, locate

if TYPE_CHECKING:
    from hpcdl.records import Reading

INFINIBAND, NET = Path("/sys/class/infiniband"), Path("/sys/class/net")
# Linux, include/uapi/linux/if_arp.h: ARPHRD_ETHER.
ETHERNET = "1"
# Documentation/ABI/stable/sysfs-class-infiniband: rate '400 Gb/sec (4X NDR)', state '4: ACTIVE'.
_RATE = re.compile(r"([\d.]+) Gb/sec", re.ASCII)


@dataclass(frozen=True)
class Placed:
    """An adapter, and where it hangs."""

    nic: Nic
    spot: Spot | Missing


def read_nics(infiniband: Path = INFINIBAND, net: Path = NET) -> tuple[Placed, ...] | Missing:
    """Adapters by name, InfiniBand's class first. Virtual interfaces are none."""
    interfaces = _list(net)
    if interfaces is None:
        return Missing(missing=f"{net} cannot be read")
    carried = {path.name: locate(path / "device") for path in interfaces if (path / "device").exists()}
    adapters = [_read_adapter(path, carried) for path in _list(infiniband) or ()]
    taken = {name for one in adapters for name in one.nic.interfaces}
    plain = [
        _read_interface(net / name, spot)
        for name, spot in carried.items()
        if name not in taken and read_text(net / name / "type") == ETHERNET
    ]
    return (*adapters, *plain)


def _list(folder: Path) -> list[Path] | None:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return None


def _read_adapter(path: Path, carried: dict[str, Spot | Missing]) -> Placed:
    spot = locate(path / "device")
    port = _choose_port(path / "ports")
    rate = _RATE.search(read_text(port / "rate") or "")
    layer = read_text(port / "link_layer")
    kind: Literal["InfiniBand", "RoCE"] = "RoCE" if layer == "Ethernet" else "InfiniBand"
    state = (read_text(port / "state") or "").partition(": ")[2]
    interfaces = [
        name
        for name, other in carried.items()
        if isinstance(spot, Spot) and isinstance(other, Spot) and other.route == spot.route
    ]
    nic = Nic(
        name=path.name,
        kind=kind,
        interfaces=tuple(interfaces),
        driver=_read_driver(path),
        state=state.lower() or Missing(missing="its port does not tell its state"),
        speed_bits_per_s=float(rate[1]) * 1e9 if rate else Missing(missing="its port does not tell its rate"),
        **_place(spot),
    )
    return Placed(nic, spot)


def _choose_port(ports: Path) -> Path:
    """The first that is active; else the first."""
    found = _list(ports) or [ports / "1"]
    return next((port for port in found if (read_text(port / "state") or "").endswith("ACTIVE")), found[0])


def _read_interface(path: Path, spot: Spot | Missing) -> Placed:
    nic = Nic(
        name=path.name,
        kind="Ethernet",
        interfaces=(path.name,),
        driver=_read_driver(path),
        state=read_text(path / "operstate") or Missing(missing="the kernel does not tell its state"),
        speed_bits_per_s=_read_speed(path),
        **_place(spot),
    )
    return Placed(nic, spot)


def _read_speed(path: Path) -> Reading:
    """Documentation/ABI/testing/sysfs-class-net: Mbit/s; -1, or an error, where the driver does not know."""
    try:
        megabits = int(read_text(path / "speed") or "")
    except ValueError:
        megabits = -1
    return megabits * 1e6 if megabits > 0 else Missing(missing="its driver does not tell its speed")


def _read_driver(path: Path) -> str | Missing:
    driver = path / "device" / "driver"
    return driver.resolve().name if driver.exists() else Missing(missing="it has no driver of its own")


def _place(spot: Spot | Missing) -> dict[str, str | int | Missing]:
    if isinstance(spot, Missing):
        return {"bus_id": spot, "numa_node": spot}
    return {"bus_id": spot.address, "numa_node": spot.numa_node}
