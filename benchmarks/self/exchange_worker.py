"""One rank of the exchange comparison: exchange_worker.py LAUNCH_DIR

Trains a few steps for each line on stdin, all ranks together, and prints the seconds that one step took from
barrier to barrier. The images are random and made once: nothing but the step is measured.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from compute_worker import draw
from torch.nn.functional import cross_entropy

from hpcdl import networks
from hpcdl.store import LaunchFolder
from hpcdl.worker.binding import prepare
from hpcdl.worker.engine import start
from hpcdl.worker.models import build, memory_format
from hpcdl.worker.optimizer import make_optimizer, set_learning_rate
from hpcdl.worker.place import read_place
from hpcdl.worker.rank import ask_for_signal_when_parent_dies, leave

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcdl.plan import Launch
    from hpcdl.worker.engine import Engine

STEPS = 2
CPU = torch.device("cpu")


def main(path: str) -> None:
    # A bench that is ended leaves nobody behind, stopped for ever.
    ask_for_signal_when_parent_dies(signal.SIGKILL)
    folder = LaunchFolder(Path(path))
    launch = folder.plan()
    place = read_place(launch)
    prepare(launch, place)
    engine = start(launch, place, folder, CPU)
    step = prepare_step(launch, engine)
    for _ in sys.stdin:
        engine.barrier()
        began_s = time.perf_counter()
        for _ in range(STEPS):
            step()
        engine.barrier()
        print((time.perf_counter() - began_s) / STEPS, flush=True)
    engine.close()
    leave(0)


def prepare_step(launch: Launch, engine: Engine) -> Callable[[], None]:
    """A training step as the loop does it."""
    network = networks.find(launch.train.model)
    layout = memory_format(network, "cpu")
    model = build(network, seed=launch.train.seed).to(memory_format=layout)
    engine.broadcast(model.parameters())
    optimizer = make_optimizer(model, network.recipe)
    parallel = engine.attach(model)
    images, labels = draw(network, launch.train.local_batch)
    images = images.contiguous(memory_format=layout)

    def step() -> None:
        set_learning_rate(optimizer, network.recipe.learning_rate(0))
        engine.backward(cross_entropy(parallel(images), labels))
        engine.synchronize()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


if __name__ == "__main__":
    main(*sys.argv[1:])
