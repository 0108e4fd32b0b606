"""The cluster's daemons: munged, the database, slurmdbd, slurmctld and one slurmd on each node."""

from __future__ import annotations

from collections import Counter

from tests.cluster import configuration, layout
from tests.cluster.hosts import command
from tests.cluster.processes import await_that, end, marked, name, run, start


def start_munge() -> None:
    """One munged serves all nodes: its socket is a file, and they share the file system."""
    paths = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    options = [f"--{option}={layout.MUNGE / name}" for option, name in paths.items()]
    run(["munged", "--num-threads=4", *options])
    await_that(layout.MUNGE_SOCKET.exists, "munged")


def stop_munge() -> None:
    """End munged: nobody can prove who he is until `start_munge`."""
    _stop("munged")


def start_database() -> None:
    """A MariaDB of the cluster's own: no network port, root by way of the socket, no password."""
    data = f"--datadir={layout.DATABASE}"
    run(["mariadb-install-db", "--no-defaults", data, "--user=root", "--skip-test-db"], timeout_s=120)
    options = [
        data,
        f"--socket={layout.DATABASE_SOCKET}",
        f"--pid-file={layout.RUN / 'database.pid'}",
        "--user=root",
        "--skip-networking",
        "--innodb-buffer-pool-size=64M",
        "--innodb-lock-wait-timeout=900",
        # What this database holds is worth nothing after the cluster: no waiting for the disk.
        "--innodb-flush-log-at-trx-commit=0",
    ]
    start(["mariadbd", "--no-defaults", *options], layout.LOG / "database.log")
    await_that(lambda: "alive" in run(["mariadb-admin", "--no-defaults", "ping"], check=False), "MariaDB")


def start_accounting() -> None:
    """Start slurmdbd, and enter the cluster, the account and root as its user."""
    run(command(layout.HEAD, ["slurmdbd"]))
    await_that(lambda: "Cluster" in run(["sacctmgr", "show", "cluster"], check=False), "slurmdbd")
    run(["sacctmgr", "-i", "add", "cluster", configuration.CLUSTER])
    run(["sacctmgr", "-i", "add", "account", configuration.ACCOUNT, "Description=benchmarks"])
    account = f"DefaultAccount={configuration.ACCOUNT}"
    run(["sacctmgr", "-i", "add", "user", "root", f"Account={configuration.ACCOUNT}", account])


def start_controller() -> None:
    """Start slurmctld and wait until it answers."""
    run(command(layout.HEAD, ["slurmctld"]))
    await_that(lambda: "UP" in run(["scontrol", "ping"], check=False), "slurmctld")


def stop_controller() -> None:
    """End slurmctld, as an upgrade does: jobs go on, and nobody answers until `start_controller`."""
    _stop("slurmctld")


def _stop(daemon: str) -> None:
    end({pid for pid in marked() if name(pid) == daemon})


def start_node(node: str) -> None:
    """Start a node's slurmd; `await_idle` tells when the controller has seen it."""
    run(command(node, ["slurmd", "-N", node]))


def await_idle(timeout_s: float = 60) -> None:
    """Wait until the controller sees every node idle."""
    everyone = dict.fromkeys(layout.NODES, "idle")
    await_that(lambda: states() == everyone, "idle nodes", timeout_s)


def complete(*, accounting: bool) -> bool:
    """Whether every daemon runs: quick, where asking a dead controller takes half a minute."""
    wanted = {"munged": 1, "slurmctld": 1, "slurmd": len(layout.NODES)}
    if accounting:
        wanted |= {"mariadbd": 1, "slurmdbd": 1}
    running = Counter(name(pid) for pid in marked())
    return all(running[daemon] >= count for daemon, count in wanted.items())


def states() -> dict[str, str]:
    """Each node's state in Slurm's words ('idle', 'allocated', 'down*'); empty when nobody answers."""
    lines = run(["sinfo", "--noheader", "--Node", "--partition=main", "--format=%N %T"], check=False)
    return dict(line.split() for line in lines.splitlines())


def stop_all() -> None:
    """End every daemon of the cluster, those that a crash left behind included."""
    end(marked())
