"""The cluster as a whole: up, down, and what a test does to it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster import configuration, daemons, hosts, layout, network, processes
from tests.cluster.network import restore_link, slow_link
from tests.cluster.processes import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "ClusterError",
    "down",
    "environment",
    "has_accounting",
    "is_up",
    "missing",
    "node_command",
    "node_processes",
    "restore_link",
    "run_on_node",
    "slow_link",
    "start_node",
    "stop_node",
    "up",
]

PROGRAMS = {
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "slurmdbd": "slurmdbd",
    "sbatch": "slurm-client",
    "munged": "munge",
    "mariadbd": "mariadb-server",
    "ip": "iproute2",
    "nsenter": "util-linux",
}


def missing() -> str:
    """Why there can be no cluster on this machine, and what to do about it; empty when there can be."""
    if not _may_make_namespaces():
        return "the test cluster needs root with the right to make network namespaces and mounts"
    if Path(sys.prefix).is_relative_to("/tmp"):
        # Where two nodes share one /tmp, their MPI sessions collide.
        return (
            f"each node of the test cluster has a /tmp of its own, and {sys.prefix} would be in none: move it"
        )
    packages = {package for program, package in PROGRAMS.items() if shutil.which(program) is None}
    return f"the test cluster needs: apt-get install {' '.join(sorted(packages))}" if packages else ""


def up(*, accounting: bool = True) -> None:
    """Bring the cluster up; nothing to do where it is up already with the same ``accounting``.

    What a crash or the other kind of cluster left is cleared away first.
    Raises ClusterError when a daemon does not come up; its logs are kept below `layout.LOG`.
    """
    if reason := missing():
        raise ClusterError(reason)
    with _lock():
        if _accounting_now() is accounting and is_up():
            return
        _clear()
        _build(accounting=accounting)


def down() -> None:
    """Take the cluster down and leave nothing behind; nothing to do where there is none."""
    with _lock():
        _clear()


def is_up() -> bool:
    """Whether a complete cluster answers."""
    accounting = _accounting_now()
    return accounting is not None and daemons.complete(accounting=accounting) and _answers()


def has_accounting() -> bool:
    """Whether the cluster that is up keeps accounts."""
    return bool(_accounting_now())


def environment() -> dict[str, str]:
    """What a process needs in its environment to be a client of this cluster.

    The node's network is eth0; jobs run as root, which Open MPI wants to hear twice.
    """
    return {
        "SLURM_CONF": str(layout.SLURM_CONF),
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_btl_tcp_if_include": "eth0",
    }


def node_command(node: str, argv: Sequence[str]) -> list[str]:
    """``argv`` as it has to be started so that it runs inside a node."""
    return hosts.command(node, list(argv))


def run_on_node(node: str, argv: Sequence[str], *, check: bool = True) -> str:
    """Run a command inside a node and return its standard output."""
    return processes.run(node_command(node, argv), check=check)


def node_processes(node: str) -> dict[int, list[str]]:
    """What runs inside a node: process id to arguments, without the sleeping process that holds it open."""
    pids = processes.of_node(node) - {hosts.holder(node)}
    return {pid: argv for pid in pids if (argv := processes.command_line(pid))}


def stop_node(node: str) -> None:
    """Lose a node: its slurmd and all that runs there vanish at once, as in a power cut."""
    processes.kill(node_processes(node))


def start_node(node: str) -> None:
    """Bring a lost node back, and wait until Slurm sees all nodes idle again."""
    daemons.start_node(node)
    daemons.await_idle()


def _build(*, accounting: bool) -> None:
    for directory in layout.DIRECTORIES:
        directory.mkdir(parents=True)
    configuration.write(accounting=accounting)
    network.build()
    for host in (layout.HEAD, *layout.NODES):
        hosts.build(host)
    daemons.start_munge()
    if accounting:
        daemons.start_database()
        daemons.start_accounting()
    daemons.start_controller()
    for node in layout.NODES:
        daemons.start_node(node)
    daemons.await_idle()
    # Written last: a cluster without it is half built.
    layout.FACTS_FILE.write_text(json.dumps({"accounting": accounting}))


def _clear() -> None:
    daemons.stop_all()
    for node in layout.NODES:
        processes.kill(processes.of_node(node))
    network.remove()
    if layout.STATE.exists():
        shutil.rmtree(layout.STATE)


def _may_make_namespaces() -> bool:
    # Root in a container often lacks these two. Their bits are in capabilities(7).
    net_admin, sys_admin = 1 << 12, 1 << 21
    status = Path("/proc/self/status").read_text()
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff"))
    return int(effective, 16) & net_admin != 0 and int(effective, 16) & sys_admin != 0


def _accounting_now() -> bool | None:
    try:
        return bool(json.loads(layout.FACTS_FILE.read_text())["accounting"])
    except FileNotFoundError:
        return None


def _answers() -> bool:
    try:
        states = daemons.states()
    except (subprocess.TimeoutExpired, OSError):
        return False
    dead = ("down", "unknown", "inval", "fail")
    complete = states.keys() == set(layout.NODES)
    return complete and not any(state.startswith(dead) or state.endswith("*") for state in states.values())


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    # A directory can be locked too: no lock file is left behind.
    descriptor = os.open(layout.STATE.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
