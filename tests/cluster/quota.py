"""A node whose processors are held back: a CPU quota on its slurmd, which all that it starts inherits."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests.cluster.processes import ClusterError
from tests.cluster.slurm_cluster import node_processes

PERIOD_US = 100_000
V1, V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")


def slow_cpu(node: str, cores: float = 0.2) -> None:
    """Let a node's jobs have no more than so many cores, until `restore_cpu`.

    Raises ClusterError where this machine's control groups cannot do that.
    """
    folder = _folder(node)
    quota = int(PERIOD_US * cores)
    try:
        if _is_v1():
            folder.mkdir(exist_ok=True)
            (folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (folder / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (V2 / "cgroup.subtree_control").write_text("+cpu")
            folder.mkdir(exist_ok=True)
            (folder / "cpu.max").write_text(f"{quota} {PERIOD_US}")
        for pid in node_processes(node):
            (folder / "cgroup.procs").write_text(str(pid))
    except OSError as problem:
        raise ClusterError(f"no CPU quota for {node}: {problem}") from problem


def restore_cpu(node: str) -> None:
    """Lift the quota of `slow_cpu`; fine where there is none."""
    folder = _folder(node)
    if not folder.exists():
        return
    for pid in (folder / "cgroup.procs").read_text().split():
        with contextlib.suppress(OSError):  # it has left meanwhile
            (folder.parent / "cgroup.procs").write_text(pid)
    folder.rmdir()


def _is_v1() -> bool:
    return (V1 / "cpu.cfs_quota_us").exists() or (V1 / "cpu.shares").exists()


def _folder(node: str) -> Path:
    return (V1 if _is_v1() else V2) / f"hpcdl-{node}"
