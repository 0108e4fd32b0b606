"""Wall-clock time as sbatch reads and writes it, and how much of it a job should ask for."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from hpcdl import networks
from hpcdl.errors import Mistake
from hpcdl.plan import DIGITS_TRAINING_IMAGES

if TYPE_CHECKING:
    from hpcdl.plan import Launch

# What a launch costs before its first step (imports, rendezvous, pipelines), with room for a slow file system.
STARTUP_S = 90
# A probe bounds each size of message in seconds; this is all of them. The nodes then meet in pairs, N - 1 rounds of
# them, twice over and what looks slow twice more: so much for each round, all told.
PROBE_S = 60
PROBE_ROUND_S = 4
# Assumed rates where nothing was measured yet: deliberately low, since a job that is cut off measured nothing.
ASSUMED_FLOPS_PER_CORE = 10e9
ASSUMED_FLOPS_PER_GPU = 2e12
# A look that is bounded in seconds, with pipelines and matrix products beside it; sixteen exact steps of one thread.
CHECK_S = 5
ARITHMETIC_S = 60
# Half of what a core decodes of photographs.
ASSUMED_DECODING_PER_CORE = 150
WALLTIME_MARGIN = 1.5


def estimate_walltime_s(
    launches: tuple[Launch, ...], *, seen_step_s: float | None, images: int = DIGITS_TRAINING_IMAGES
) -> int:
    """Wall-clock time to ask for, in whole minutes: the launches one after another, times a margin.

    Args:
        launches: What will run.
        seen_step_s: Seconds a step of this benchmark took last time; None: a deliberately low rate is assumed.
        images: Images in the training data, where epochs of them are asked for.
    """
    total_s = sum(STARTUP_S + _launch_s(launch, images, seen_step_s) for launch in launches)
    return 60 * max(5, math.ceil(WALLTIME_MARGIN * total_s / 60))


def _launch_s(launch: Launch, images: int, seen_step_s: float | None) -> float:
    if launch.kind == "probe":
        return PROBE_S + PROBE_ROUND_S * (launch.nodes - 1)
    if launch.kind == "check":
        return _check_s(launch, images, seen_step_s)
    steps_s = _count_steps(launch, images) * _step_s(launch, seen_step_s)
    # A window that is filled comes after the first steps, and may be overrun by a little.
    return steps_s + 1.5 * (launch.train.min_window_s or 0)


def _check_s(launch: Launch, images: int, seen_step_s: float | None) -> float:
    """All looks of one rank, one after the other: those of its networks, and seconds for each of the others."""
    check = launch.check
    if check is None:
        return 0.0
    trainings = [launch.model_copy(update={"train": training}) for training in check.trainings]
    steps_s = sum(_count_steps(one, images) * _step_s(one, seen_step_s) for one in trainings)
    exact_s = ARITHMETIC_S * len(trainings) if "arithmetic" in check.checks else 0
    decoded_s = images / ASSUMED_DECODING_PER_CORE / launch.cpus_per_task if "data" in check.checks else 0.0
    timed = CHECK_S * len({"matrix", "memory", "storage", "decode"} & set(check.checks))
    training_s = (steps_s + CHECK_S * len(trainings)) if "train" in check.checks else 0.0
    return check.repeats * (training_s + timed) + exact_s + decoded_s + 1.5 * (check.soak_s or 0)


def _count_steps(launch: Launch, images: int) -> int:
    train = launch.train
    if train.steps is not None:
        return (train.max_steps or train.steps) + train.warmup
    return math.ceil((train.epochs or 1) * images / train.global_batch) + train.warmup


def _step_s(launch: Launch, seen_step_s: float | None) -> float:
    if seen_step_s is not None:
        return seen_step_s
    flops = networks.find(launch.train.model).train_flops * launch.train.local_batch
    rate = ASSUMED_FLOPS_PER_GPU if launch.gpus_per_node else ASSUMED_FLOPS_PER_CORE * launch.cpus_per_task
    return flops / rate


# man sbatch: minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes,
# days-hours:minutes:seconds
_WALLTIME = re.compile(r"^(?:(?P<days>\d{1,9})-)?(?P<rest>\d{1,9}(?::\d{1,9}){0,2})$", re.ASCII)


def parse_walltime_s(text: str) -> int:
    """Seconds in one of the six forms of sbatch's --time.

    Raises:
        Mistake: None of the six, or no time at all.
    """
    match = _WALLTIME.match(text.strip())
    if match is None:
        raise _bad_walltime(text)
    parts = [int(part) for part in match["rest"].split(":")]
    if match["days"] is not None:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
        total = int(match["days"]) * 86_400 + hours * 3600 + minutes * 60 + seconds
    elif len(parts) == 3:
        total = parts[0] * 3600 + parts[1] * 60 + parts[2]
    else:
        total = parts[0] * 60 + (parts[1] if len(parts) == 2 else 0)
    if total <= 0:
        raise _bad_walltime(text)
    return total


def _bad_walltime(text: str) -> Mistake:
    return Mistake(
        f"walltime {text!r} is not one that Slurm reads.",
        do="Write minutes (30), hours:minutes:seconds (1:30:00) or days-hours (1-12).",
    )


def format_walltime(seconds: int) -> str:
    """`days-hours:minutes:seconds`, as sbatch reads it; days only where there are some."""
    days, rest = divmod(seconds, 86_400)
    clock = f"{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return f"{days}-{clock}" if days else clock
