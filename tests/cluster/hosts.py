"""The cluster's hosts: the head and four nodes, each with a name, mounts and an /etc/hosts of its own.

A host is held open by one sleeping process; entering the host means entering that process's namespaces.
"""

from __future__ import annotations

from pathlib import Path

from tests.cluster import layout
from tests.cluster.processes import await_that, run, start

# The process id is written only once the namespaces exist: who can read it can enter.
HOLD = 'hostname "$1" && echo $$ >"$2" && exec sleep infinity'


def build(host: str) -> None:
    """Open a host: hostname, /etc/hosts, and for a node also its own /tmp, /dev/shm and /sys."""
    (layout.node_directory(host) / "tmp").mkdir(parents=True)
    (layout.node_directory(host) / "tmp").chmod(0o1777)
    hold = ["unshare", "--mount", "--uts", "sh", "-c", HOLD, "hold", host, str(_holder_file(host))]
    start([*_network_of(host), *hold], layout.LOG / f"{host}.log")
    await_that(lambda: holder(host) is not None, f"the namespaces of {host}")
    for mount in _mounts(host):
        run(command(host, mount))


def holder(host: str) -> int | None:
    """The process that keeps a host's namespaces open, or None where there is none."""
    try:
        pid = int(_holder_file(host).read_text())
    except (OSError, ValueError):
        return None
    return pid if Path(f"/proc/{pid}/ns").exists() else None


def command(host: str, argv: list[str], directory: Path | None = None) -> list[str]:
    """``argv`` as it has to be started so that it runs inside a host.

    Not ``ip netns exec``: that hides /sys/fs/cgroup, and slurmd then refuses to start.
    """
    enter = ["nsenter", f"--target={holder(host) or 0}", "--mount", "--uts", "--net"]
    return [*enter, "env", f"--chdir={directory or '/'}", *argv]


def _network_of(host: str) -> list[str]:
    # The head lives in this machine's own network, where it owns the bridge's address.
    if host == layout.HEAD:
        return []
    return ["nsenter", f"--net=/run/netns/{layout.namespace(host)}"]


def _holder_file(host: str) -> Path:
    return layout.node_directory(host) / "holder.pid"


def _mounts(host: str) -> list[list[str]]:
    names = [["mount", "--bind", str(layout.HOSTS_FILE), "/etc/hosts"]]
    if host == layout.HEAD:
        return names
    own_tmp = layout.node_directory(host) / "tmp"
    return [
        *names,
        # Slurm's PMIx and Open MPI's session directories collide where two nodes share one /tmp.
        ["mount", "--bind", str(own_tmp), "/tmp"],
        ["mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", "/dev/shm"],
        # A sysfs mounted from inside shows the node's own eth0 in /sys/class/net; the control groups,
        # which it would hide, are put back.
        ["mount", "--rbind", "/sys/fs/cgroup", "/mnt"],
        ["mount", "-t", "sysfs", "sysfs", "/sys"],
        ["mount", "--move", "/mnt", "/sys/fs/cgroup"],
    ]
