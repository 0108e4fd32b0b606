"""One rank that trains LeNet: a window of steps for each line on stdin, with instruments ('on') or without ('off').

'bare' is as many steps of nothing but the instruments: what they cost by themselves, which a difference of two
windows would drown in noise.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hpcdl import networks
from hpcdl.local import choose_launcher
from hpcdl.plan import local_sizes, make_launches
from hpcdl.site import Site
from hpcdl.spec import Benchmark, Launches, Train
from hpcdl.store import LaunchFolder
from hpcdl.worker import data
from hpcdl.worker.beacon import Beacon
from hpcdl.worker.joining import join
from hpcdl.worker.place import Place
from hpcdl.worker.reporter import Reporter
from hpcdl.worker.training import Trainer, choose_layout, request_data

if TYPE_CHECKING:
    from collections.abc import Iterator

STEPS, WARMUP = 100, 20


class Silent:
    """A clock that measures nothing, a beacon that shows nothing, a reporter that says nothing."""

    def begin(self, step: int, *, warmup: bool) -> None: ...
    def have_input(self) -> None: ...
    def gradient_ready(self) -> None: ...
    def exchanged(self) -> None: ...
    def updated(self, images: int, loss: Any) -> None: ...
    def finished(self, *, wait: bool = False) -> Iterator[Any]:  # noqa: ARG002
        return iter(())


def pretend(trainer: Trainer, step: int, parameters: int, loss: torch.Tensor) -> None:
    """All that a step says to its clock, and what the clock then says to the supervisor."""
    clock = trainer.clock
    clock.begin(step, warmup=False)
    clock.have_input()
    for _ in range(parameters):
        clock.gradient_ready()
    clock.exchanged()
    clock.updated(64, loss)
    trainer._report(clock.finished())  # noqa: SLF001 (as its own step does)


def main(pipe: str) -> None:
    train = Train(model="lenet", batch=64, steps=STEPS, engine="single", device="cpu", threads=1)
    benchmark = Benchmark(train=train, launches=Launches(nodes=(1,)))
    [launch] = make_launches(
        benchmark, Site(), local_sizes(benchmark, Site(), cores=1), launcher=choose_launcher("auto")
    )
    folder = LaunchFolder(Path(tempfile.mkdtemp()))
    rank = join(launch, Place(0, 1, 0, 0, "here"), folder, Reporter(int(pipe)), Beacon.create())
    network = networks.find("lenet")
    layout = choose_layout(launch.train, network, rank.device)
    batches = data.make(request_data(rank, network, layout)).open(10_000_000)
    trainer = Trainer(rank, network, layout, None)
    clocks = {"on": trainer.clock, "off": Silent()}
    parameters, loss = len(list(trainer.model.parameters())), torch.tensor(1.0)
    for step in range(WARMUP):
        trainer.step(step, batches, warmup=True)
    for line in sys.stdin:
        mode = line.strip()
        trainer.clock = clocks.get(mode, clocks["on"])
        begin_s, cpu_s = time.perf_counter(), time.process_time()
        for step in range(STEPS):
            if mode == "bare":
                pretend(trainer, step, parameters, loss)
            else:
                trainer.step(step, batches, warmup=False)
        print(time.perf_counter() - begin_s, time.process_time() - cpu_s, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
