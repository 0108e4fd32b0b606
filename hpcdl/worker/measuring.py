"""The measured part of a launch: stretches of steps from barrier to barrier, until there are enough of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpcdl.estimates.precision import next_look, reached
from hpcdl.records import Stretch, Window
from hpcdl.worker import conditions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from hpcdl.plan import Training
    from hpcdl.records import Conditions
    from hpcdl.worker.data import Batch
    from hpcdl.worker.joining import Rank
    from hpcdl.worker.training import Trainer


# Steps between the matrix product and the window: while it runs, input pipelines fill up, and caches and clocks are
# not the training's.
SETTLING_STEPS = 3
# A little more than what is missing, so that one look is nearly always enough.
FILLING = 1.05


@dataclass(frozen=True)
class Measurement:
    """What a rank brings home: the window of all ranks, its own last loss and surroundings."""

    window: Window
    loss: float | None
    conditions: Conditions


def measure(trainer: Trainer, rank: Rank, batches: Iterator[Batch], steps: int) -> Measurement:
    """Warm up, then measure `steps` steps from barrier to barrier, and more until the plan's precision is reached.

    Whether to go on is looked at between two stretches, so that looking costs the window nothing.
    """
    warmup = rank.plan.warmup
    settling = min(SETTLING_STEPS, warmup)
    # Checks have a matrix product of their own.
    dtype = None if rank.launch.kind == "check" else rank.plan.dtype
    watch = conditions.watch(rank.place, rank.device, dtype)
    for step in range(warmup):
        if step == warmup - settling:
            trainer.meet()
            watch.prepare()
        trainer.step(step, batches, warmup=True)
    trainer.meet()
    if not settling:
        watch.prepare()
    watch.begin()
    stretches, periods_s = [], np.empty(0)
    wanted = steps
    while wanted:
        stretch, more_s = _measure_stretch(trainer, batches, warmup + len(periods_s), wanted)
        stretches.append(stretch)
        periods_s = np.append(periods_s, more_s)
        wanted = _agree_on_more(rank, periods_s, sum(one.elapsed_s for one in stretches))
    watch.end()
    window = Window(images=len(periods_s) * rank.plan.global_batch, stretches=tuple(stretches))
    return Measurement(window, trainer.loss, watch.read(stretches))


def _measure_stretch(
    trainer: Trainer, batches: Iterator[Batch], first: int, steps: int
) -> tuple[Stretch, NDArray[np.float64]]:
    """So many steps without a pause, and this rank's period of each."""
    begin_s = trainer.meet()
    trainer.begins_s.clear()
    for step in range(first, first + steps):
        trainer.step(step, batches, warmup=False)
    end_s = trainer.meet()
    stretch = Stretch(first_step=first, steps=steps, begin_s=begin_s, end_s=end_s)
    # Where ranks do not exchange, waiting for the slowest at the end is no part of this one's last step.
    return stretch, np.diff([*trainer.begins_s, end_s if trainer.exchanges else trainer.arrived_s])


def _agree_on_more(rank: Rank, periods_s: NDArray[np.float64], elapsed_s: float) -> int:
    """How many steps to go on with: rank 0 decides for all, from its own periods. 0: enough of them."""
    if rank.plan.precision is None and rank.plan.min_window_s is None:
        return 0
    more = max(count_more(rank.plan, periods_s), fill_window(rank.plan, len(periods_s), elapsed_s))
    return int(rank.engine.sum([float(more if rank.leads else 0)])[0])


def count_more(plan: Training, periods_s: Sequence[float] | NDArray[np.float64]) -> int:
    """Steps until the next look; 0 where the precision is reached, or there is no room for more."""
    done = len(periods_s)
    if plan.precision is None or reached(np.asarray(periods_s), plan.precision):
        return 0
    return max(0, min(next_look(done), plan.max_steps or done) - done)


def fill_window(plan: Training, done: int, elapsed_s: float) -> int:
    """Steps that are likely to fill the window that the plan asks for, after so many; 0 where it is full.

    Steps that have become shorter since are made good by the next look.
    """
    if plan.min_window_s is None or elapsed_s >= plan.min_window_s:
        return 0
    return math.ceil((plan.min_window_s - elapsed_s) / elapsed_s * done * FILLING)
