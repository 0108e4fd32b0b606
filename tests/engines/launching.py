"""What tests of the engines start: planned launches on this machine, with the product's own commands."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hpcdl import local
from hpcdl.preparation import Asked, prepare_local_job
from hpcdl.site import Node, Site
from hpcdl.spec import Benchmark, Launches, Metering, Train
from hpcdl.store import RunFolder, Store, lay_out

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpcdl.plan import Job
    from hpcdl.store import LaunchFolder

_HAS_HOROVOD = importlib.util.find_spec("horovod") is not None
NEEDS_HOROVOD = [
    pytest.mark.horovod,
    pytest.mark.skipif(not _HAS_HOROVOD, reason="horovod is not installed"),
]
NEEDS_MPIRUN = [
    *NEEDS_HOROVOD,
    pytest.mark.skipif(shutil.which("mpirun") is None, reason="horovod over MPI: mpirun is not installed"),
]
# (engine, transport) of every exchange that works without GPUs.
EXCHANGES = [
    pytest.param("horovod", "gloo", marks=NEEDS_HOROVOD, id="horovod-gloo"),
    pytest.param("horovod", "mpi", marks=NEEDS_MPIRUN, id="horovod-mpi"),
    pytest.param("ddp", "gloo", id="ddp-gloo"),
]
RANK_PROGRAM = Path(__file__).with_name("rank_program.py")


def make_job(
    store: Path,
    *,
    ranks: tuple[int, ...] = (1,),
    network: str | None = None,
    launches: Mapping[str, Any] | None = None,
    power: Mapping[str, Any] | None = None,
    **train: Any,
) -> Job:
    """LeNet, ten steps, one thread for each rank; `train`, `launches` and `power` hold further keys of those tables."""
    asked = {"model": "lenet", "steps": 10, "warmup": 0, "threads": 1, "device": "cpu"} | train
    shape = {"nodes": ranks, "tasks_per_node": 1, "bracket": False, "progress_timeout_s": 120}
    benchmark = Benchmark(
        train=Train(**asked),
        launches=Launches(**shape | dict(launches or {})),
        power=Metering(**{"sample": False} | dict(power or {})),
    )
    return prepare_local_job(Asked(benchmark, Site(node=Node(network=network)), {}), Store(store))


def run(job: Job) -> list[LaunchFolder]:
    """Run a job here to its end; its launches, whatever became of them."""
    folder: RunFolder = lay_out(job, script=None)
    local.run_job(job, folder.path, threading.Event())
    return folder.launches()


def begin_ranks(
    folder: LaunchFolder, environ: Mapping[str, str] = os.environ
) -> list[subprocess.Popen[bytes]]:
    """Start tests/engines/rank_program.py where the launch would start its supervisors."""
    argv_of = local.commands(folder.plan(), sys.executable, folder.path, environ)
    tail = ["-m", "hpcdl.worker.supervisor", str(folder.path)]
    log = folder.output_path.open("wb")
    with log:
        return [
            subprocess.Popen(
                [*argv[: -len(tail)], str(RANK_PROGRAM), str(folder.path)],
                env=environment,
                stdout=log,
                stderr=log,
            )
            for argv, environment in argv_of
        ]


def explain(folder: LaunchFolder) -> str:
    """What the ranks of a launch said, for the message of an assertion."""
    exits = [f"rank {end.rank}: {end.outcome} {end.reason}" for end in folder.exits()]
    return "\n".join([*exits, folder.output_path.read_text(errors="replace")[-3000:]])
