"""What can be wrong with one node, planted in it and taken away again; each as a real cluster has it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster import layout, quota, slurm_cluster
from tests.cluster.processes import run

if TYPE_CHECKING:
    from collections.abc import Iterator

# Read by Python before anything else, on the one node that it names: a multiplier that is wrong, once.
WRONG_GRADIENT = """
import os, socket

if socket.gethostname() == {node!r} and "HPCDL_PIPE" in os.environ:
    import gc

    import torch

    backward, calls = torch.Tensor.backward, [0]

    def wrong_once(self, *args, **kwargs):
        backward(self, *args, **kwargs)
        calls[0] += 1
        if calls[0] == 2:
            for one in gc.get_objects():
                if isinstance(one, torch.nn.Conv2d) and one.weight.grad is not None:
                    one.weight.grad.mul_(1.001)
                    return

    torch.Tensor.backward = wrong_once
"""


@contextlib.contextmanager
def cpu_quota(node: str, cores: float = 0.2) -> Iterator[None]:
    """Jobs on the node get a fifth of a core."""
    quota.slow_cpu(node, cores)
    try:
        yield
    finally:
        quota.restore_cpu(node)


@contextlib.contextmanager
def slow_link(node: str, rate: str = "50mbit") -> Iterator[None]:
    """The node sends slowly."""
    slurm_cluster.slow_link(node, rate)
    try:
        yield
    finally:
        slurm_cluster.restore_link(node)


@contextlib.contextmanager
def fewer_cores(node: str) -> Iterator[None]:
    """What the node's slurmd starts may use its first processor only."""
    [slurmd] = [pid for pid, argv in slurm_cluster.node_processes(node).items() if "slurmd" in argv[0]]
    before = os.sched_getaffinity(slurmd)
    for thread in Path(f"/proc/{slurmd}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {min(before)})
    try:
        yield
    finally:
        for thread in Path(f"/proc/{slurmd}/task").iterdir():
            os.sched_setaffinity(int(thread.name), before)


@contextlib.contextmanager
def other_library(node: str, home: Path) -> Iterator[None]:
    """Torch says another version of itself there: a file of its own lies over the one that all nodes share."""
    found = importlib.util.find_spec("torch")
    assert found is not None
    assert found.origin is not None
    real = Path(found.origin).with_name("version.py")
    other = home / "version.py"
    other.write_text(real.read_text().replace("__version__ = '", "__version__ = '1."))
    with _laid_over(node, other, real):
        yield


@contextlib.contextmanager
def missing_dali(node: str, home: Path) -> Iterator[None]:
    """DALI is not there on the node: an empty folder lies over it."""
    found = importlib.util.find_spec("nvidia.dali")
    assert found is not None
    assert found.origin is not None
    empty = home / "empty"
    empty.mkdir()
    (empty / "__init__.py").write_text("raise ImportError('libdali.so: cannot open shared object file')\n")
    with _laid_over(node, empty, Path(found.origin).parent):
        yield


@contextlib.contextmanager
def _laid_over(node: str, above: Path, below: Path) -> Iterator[None]:
    slurm_cluster.run_on_node(node, ["mount", "--bind", str(above), str(below)])
    try:
        yield
    finally:
        slurm_cluster.run_on_node(node, ["umount", str(below)])


@contextlib.contextmanager
def down(node: str, why: str = "lost its power supply") -> Iterator[None]:
    """A health check of the site's takes the node away, and Slurm ends what runs there; the job goes on without it.

    Its slurmd lives, and brings it back sooner or later. Without one, Slurm takes minutes to let go of the job.
    """
    run(["scontrol", "update", f"NodeName={node}", "State=DOWN", f"Reason={why}"])
    try:
        yield
    finally:
        run(["scontrol", "update", f"NodeName={node}", "State=RESUME"], check=False)
        slurm_cluster.daemons.await_idle()


def own_data(source: Path, name: str = "hpcdl-data") -> Path:
    """A copy of an image tree on each node's own disk, under the same path; returns that path."""
    for node in layout.NODES:
        slurm_cluster.run_on_node(node, ["rm", "-rf", f"/tmp/{name}"])
        slurm_cluster.run_on_node(node, ["cp", "-r", str(source), f"/tmp/{name}"])
    return Path("/tmp") / name


def wrong_gradient(node: str, home: Path) -> Path:
    """A folder for PYTHONPATH by which one gradient of one step is wrong on that node, and nowhere else."""
    folder = home / "wrong-gradient"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(WRONG_GRADIENT.format(node=node))
    return folder
