"""Which device a rank computes on, and which cores and threads it has."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch

from hpcdl.errors import Refused
from hpcdl.processors import arrange_by_core
from hpcdl.worker.process import allow_tf32, prepare_process

if TYPE_CHECKING:
    from hpcdl.plan import Launch
    from hpcdl.worker.place import Place


def choose_device(launch: Launch, place: Place) -> torch.device:
    """The GPU of this rank's local rank; the CPU where GPUs are not planned, or not asked for.

    All GPUs of a node are visible to all its ranks (hiding them from each other breaks NCCL's peer access),
    so the local rank chooses.

    Raises:
        Refused: A GPU was planned and is not there, or a type was asked for that only GPUs have.
    """
    wanted = launch.train.device
    if wanted == "cpu" or (wanted == "auto" and launch.gpus_per_node == 0):
        if launch.train.dtype in {"tf32", "fp16"}:
            raise Refused(
                f"{launch.train.dtype} is a type of GPUs, and no GPU was planned.",
                do="Train with --dtype fp32.",
            )
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if place.local_rank >= count:
        raise Refused(
            f"local rank {place.local_rank} was to have a GPU, and torch {torch.__version__} sees {count} here.",
            do="Correct [node] gpus in the site file, or train with --device cpu.",
        )
    device = torch.device("cuda", place.local_rank)
    torch.cuda.set_device(device)
    return device


def prepare(launch: Launch, place: Place) -> None:
    """Set threads and affinity, before anything computes.

    Under srun the cores are Slurm's to give. Here we are the launcher, so each rank takes its own slice.
    """
    if launch.launcher != "srun":
        cores = slice_cores(arrange_by_core(os.sched_getaffinity(0)), launch, place)
        if cores:
            os.sched_setaffinity(0, cores)
    prepare_process(launch.train.threads)
    allow_tf32(launch.train.dtype == "tf32")


def slice_cores(visible: list[int], launch: Launch, place: Place) -> list[int]:
    """The cores of one local rank; none (no binding) where the ranks are more than the cores.

    Args:
        visible: Hardware threads that may be used, those of one core together.
        launch: Says how many tasks there are and how many cores each has.
        place: Whose slice.
    """
    first = place.local_rank * launch.cpus_per_task
    if launch.tasks_per_node * launch.cpus_per_task > len(visible):
        return []
    return visible[first : first + launch.cpus_per_task]
