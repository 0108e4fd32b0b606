"""How ranks find each other where MPI does not do it: an address from inside the allocation, a port free there."""

from __future__ import annotations

import ipaddress
import json
import socket
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import psutil

from hpcdl.durable import publish
from hpcdl.errors import Refused

if TYPE_CHECKING:
    from hpcdl.plan import Launch
    from hpcdl.store import LaunchFolder
    from hpcdl.worker.place import Place

WAIT_S = 180.0


@dataclass(frozen=True)
class Meeting:
    """Where rank 0 listens."""

    address: str
    port: int


def own_address(launch: Launch) -> str:
    """The address of this host for its peers: of the site's network interface, else of its host name.

    Raises:
        Refused: The interface does not exist, or the name leads to loopback while other hosts must reach it.
    """
    if launch.network:
        return _address_of(launch.network)
    if launch.nodes == 1:
        return "127.0.0.1"
    name = socket.gethostname()
    try:
        address = socket.gethostbyname(name)
    except OSError as problem:
        raise Refused(f"host name {name!r} leads to no address ({problem}).", do=_NAME_NETWORK) from None
    if ipaddress.ip_address(address).is_loopback:
        raise Refused(
            f"host name {name!r} leads to {address}, which other nodes cannot reach.", do=_NAME_NETWORK
        )
    return address


_NAME_NETWORK = "Name the interface between the nodes as [node] network in the site file."


def _address_of(interface: str) -> str:
    known = psutil.net_if_addrs()
    for entry in known.get(interface, ()):
        if entry.family == socket.AF_INET:
            return str(entry.address)
    raise Refused(
        f"this node has no network interface {interface!r} with an IPv4 address.",
        do=f"It has: {', '.join(sorted(known))}. Correct [node] network in the site file.",
    )


def interface_of(address: str) -> str:
    """The name of the interface that carries an address of this host."""
    for name, entries in psutil.net_if_addrs().items():
        if any(entry.address == address for entry in entries):
            return str(name)
    raise Refused(f"no network interface of this node carries the address {address}.", do=_NAME_NETWORK)


def announce(folder: LaunchFolder, place: Place, meeting: Meeting) -> None:
    """Rank 0 says where it listens, in the launch's own folder: two jobs on one node cannot mix."""
    publish(folder.rendezvous_path(place.restart), json.dumps(asdict(meeting)))


def await_meeting(folder: LaunchFolder, place: Place, *, wait_s: float = WAIT_S) -> Meeting:
    """What rank 0 announced.

    Raises:
        Refused: Nothing was announced in time; there is no falling back to localhost.
    """
    path = folder.rendezvous_path(place.restart)
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        if path.exists():
            return Meeting(**json.loads(path.read_text()))
        time.sleep(0.05)
    raise Refused(
        f"rank 0 announced no rendezvous in {wait_s:.0f} s ({path.name}).",
        do="Look at rank 0's output; the store must be on a file system that all nodes share.",
    )
