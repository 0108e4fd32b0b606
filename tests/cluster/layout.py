"""Where the cluster keeps its things, and what they are called: names, addresses, ports, paths."""

from __future__ import annotations

import os
from pathlib import Path

# Sockets live below this directory, and a Unix socket's path holds at most 107 bytes: keep it short.
STATE = Path(os.environ.get("HPCDL_CLUSTER_STATE", "/var/tmp/hpcdl-cluster"))

NODES = ("node1", "node2", "node3", "node4")
HEAD = "head"
CPUS_PER_NODE = 2
GPUS_PER_NODE = 2
MEMORY_PER_NODE_MB = 4000

SUBNET = os.environ.get("HPCDL_CLUSTER_SUBNET", "10.213.77")
BRIDGE = "hpcdl-br"

# Not Slurm's own ports, so that a Slurm which the machine already runs is not disturbed.
SLURMCTLD_PORT = 26817
SLURMD_PORT = 26818
SLURMDBD_PORT = 26819

CONFIG = STATE / "etc"
SLURM_CONF = CONFIG / "slurm.conf"
HOSTS_FILE = CONFIG / "hosts"
FACTS_FILE = STATE / "cluster.json"
LOG = STATE / "log"
RUN = STATE / "run"
SPOOL = STATE / "spool"
DATABASE = STATE / "database"
MUNGE = STATE / "munge"
MUNGE_SOCKET = MUNGE / "socket"
DATABASE_SOCKET = RUN / "database.sock"
GPUS = STATE / "gpus"
# The 'shared file system': seen under the same path from every node, unlike /tmp.
SHARED = STATE / "shared"
DIRECTORIES = (CONFIG, LOG, RUN, SPOOL, DATABASE, MUNGE, GPUS, SHARED)

# Daemons carry this in their environment, so that those left by a crash can be found again.
MARK = f"HPCDL_CLUSTER_DAEMON={STATE}"


def address(host: str) -> str:
    """The IPv4 address of 'head' or of a node: .1, then .11 to .14."""
    return f"{SUBNET}.1" if host == HEAD else f"{SUBNET}.{11 + NODES.index(host)}"


def namespace(node: str) -> str:
    """The name of a node's network namespace, as ``ip netns`` lists it."""
    return f"hpcdl-{node}"


def link(node: str) -> str:
    """The bridge's end of a node's link; the other end is eth0 inside the node."""
    return f"hpcdl-v{1 + NODES.index(node)}"


def node_directory(host: str) -> Path:
    """What a host keeps to itself: its /tmp, and the process id of its holder."""
    return STATE / "hosts" / host


def daemon_environment() -> dict[str, str]:
    """The environment of every daemon: small and known, so that jobs inherit nothing by accident."""
    name, value = MARK.split("=", 1)
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "SLURM_CONF": str(SLURM_CONF),
        "MYSQL_UNIX_PORT": str(DATABASE_SOCKET),
        name: value,
    }
