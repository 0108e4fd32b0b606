"""Horovod against torch's DDP: the same training step on two ranks of this machine, both over Gloo.

Each engine has two ranks of its own, started as `hpcdl run` starts them: one thread and one core each. While one
engine's ranks work, the other's are stopped, because Horovod's background thread works even when nobody trains.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from compute import row
from quiet import undisturbed
from startup import ROOT, Row, paired_ratio

from hpcdl import local
from hpcdl.preparation import Asked, prepare_local_job
from hpcdl.site import Site
from hpcdl.spec import Benchmark, Launches, Train
from hpcdl.store import Store, lay_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcdl.spec import Engine
    from hpcdl.store import LaunchFolder

ROUNDS = 7
RANKS = 2
TRAIN = Train(model="alexnet", batch=32, steps=1, threads=1, device="cpu", transport="gloo")
TARGET = 0.95
# The stopped ranks' clocks go on: no wait of theirs may end before they are woken.
PATIENCE = {"HOROVOD_GLOO_TIMEOUT_SECONDS": "3600"}


class Ranks:
    """The ranks of one engine; stopped, but for the time in which they work."""

    def __init__(self, folder: LaunchFolder) -> None:
        environment = {**os.environ, **PATIENCE, "PYTHONPATH": str(ROOT)}
        program = str(Path(__file__).with_name("exchange_worker.py"))
        self._processes = [
            subprocess.Popen(
                [sys.executable, program, str(folder.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=place,
            )
            for _, place in local.commands(folder.plan(), sys.executable, folder.path, environment)
        ]

    @property
    def numbers(self) -> list[int]:
        """Their process ids."""
        return [process.pid for process in self._processes]

    def step_s(self) -> float:
        """Seconds of a training step, on rank 0's clock."""
        self._signal(signal.SIGCONT)
        for process in self._processes:
            if process.stdin:
                process.stdin.write("go\n")
                process.stdin.flush()
        answers = [process.stdout.readline() for process in self._processes if process.stdout]
        if not all(answers):
            raise RuntimeError("a rank of the exchange bench has left")
        self._signal(signal.SIGSTOP)
        return float(answers[0])

    def close(self) -> None:
        self._signal(signal.SIGCONT)
        for process in self._processes:
            if process.stdin:
                process.stdin.close()
        for process in self._processes:
            process.wait()

    def _signal(self, number: int) -> None:
        for process in self._processes:
            process.send_signal(number)


def measure(rounds: int = ROUNDS) -> list[Row]:
    """Horovod's images per second over DDP's.

    Raises:
        Mistake: Others use this machine.
    """
    with ready("horovod") as horovod, ready("ddp") as ddp:
        both = horovod.numbers + ddp.numbers
        ratios = undisturbed(lambda: paired_ratio(horovod.step_s, ddp.step_s), both, rounds)
    name = f"exchange: {TRAIN.model}, batch {TRAIN.batch} on {RANKS} ranks, Horovod over DDP"
    return [row(name, TARGET, ratios)]


@contextlib.contextmanager
def ready(engine: Engine) -> Iterator[Ranks]:
    """Ranks that have met and warmed up."""
    train = TRAIN.model_copy(update={"engine": engine})
    benchmark = Benchmark(train=train, launches=Launches(nodes=(RANKS,), tasks_per_node=1))
    with tempfile.TemporaryDirectory() as store:
        job = prepare_local_job(Asked(benchmark, Site(), {}), Store(Path(store)))
        (folder,) = lay_out(job, script=None).launches()
        ranks = Ranks(folder)
        try:
            ranks.step_s()
            ranks.step_s()
            yield ranks
        finally:
            ranks.close()
