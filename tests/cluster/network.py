"""The cluster's network: a bridge on this machine, and one network namespace for each node."""

from __future__ import annotations

from pathlib import Path

from tests.cluster import layout
from tests.cluster.processes import run


def build() -> None:
    """Make the bridge (which is also the head's address) and link every node to it."""
    run(["ip", "link", "add", layout.BRIDGE, "type", "bridge"])
    run(["ip", "addr", "add", f"{layout.address(layout.HEAD)}/24", "dev", layout.BRIDGE])
    run(["ip", "link", "set", layout.BRIDGE, "up"])
    for node in layout.NODES:
        _build_node(node)


def remove() -> None:
    """Remove whatever of the network exists; fine when there is nothing."""
    for node in layout.NODES:
        # The link first: a namespace that a dying process still holds would keep its end alive.
        run(["ip", "link", "del", layout.link(node)], check=False)
        if Path("/run/netns", layout.namespace(node)).exists():
            run(["ip", "netns", "del", layout.namespace(node)])
    run(["ip", "link", "del", layout.BRIDGE], check=False)


def slow_link(node: str, rate: str = "50mbit") -> None:
    """Limit what a node can send (tc's token bucket; ``rate`` in tc's units, as '50mbit')."""
    shape = ["root", "tbf", "rate", rate, "burst", "64kb", "latency", "100ms"]
    run(_inside(node, "tc", "qdisc", "replace", "dev", "eth0", *shape))


def restore_link(node: str) -> None:
    """Lift the limit of `slow_link`; fine when there is none."""
    run(_inside(node, "tc", "qdisc", "del", "dev", "eth0", "root"), check=False)


def _build_node(node: str) -> None:
    space, outer = layout.namespace(node), layout.link(node)
    run(["ip", "netns", "add", space])
    run(["ip", "link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", space])
    run(["ip", "link", "set", outer, "master", layout.BRIDGE, "up"])
    run(_inside(node, "ip", "link", "set", "lo", "up"))
    run(_inside(node, "ip", "addr", "add", f"{layout.address(node)}/24", "dev", "eth0"))
    run(_inside(node, "ip", "link", "set", "eth0", "up"))


def _inside(node: str, *argv: str) -> list[str]:
    return ["nsenter", f"--net=/run/netns/{layout.namespace(node)}", *argv]
