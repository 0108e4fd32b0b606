"""Which device a rank computes on, and which cores and threads it has."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hpcdl.errors import Refused
from hpcdl.power.wiring import read_bus_id
from hpcdl.processors import arrange_by_core, count_threads_per_core
from hpcdl.records import Missing
from hpcdl.worker.nearness import Choice, Ranks, approach, leave_or_slice
from hpcdl.worker.process import allow_tf32, prepare_process
from hpcdl.worker.topology.numa import read_numa
from hpcdl.worker.topology.pci import DEVICES, locate, normalise

if TYPE_CHECKING:
    from hpcdl.plan import Launch
    from hpcdl.records import Binding
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


def prepare(launch: Launch, place: Place) -> Binding:
    """Set threads and affinity, before anything computes; returns what was done about the latter.

    Under srun the cores of a rank on a processor are Slurm's to give. Here we are the launcher, so each rank takes its
    own slice. A rank on a GPU takes cores near it, wherever all ranks may still choose.
    """
    choice = _choose(launch, place)
    if choice.cpus:
        _move(choice.cpus)
    prepare_process(launch.train.threads)
    allow_tf32(launch.train.dtype == "tf32")
    return choice.binding


def _choose(launch: Launch, place: Place) -> Choice:
    visible = os.sched_getaffinity(0)
    allowed = arrange_by_core(visible)
    ranks = Ranks(
        count=launch.tasks_per_node,
        local_rank=place.local_rank,
        each=launch.cpus_per_task,
        by_slurm=launch.launcher == "srun",
    )
    if launch.gpus_per_node == 0 or launch.train.device == "cpu":
        return leave_or_slice(ranks, allowed)
    nodes = read_numa()
    return approach(
        ranks,
        allowed,
        find_near(ranks.count),
        threads_per_core=count_threads_per_core(visible),
        numa=None if isinstance(nodes, Missing) else {node.node: node.cpus for node in nodes},
    )


def _move(cpus: tuple[int, ...]) -> None:
    """All threads of this process: the driver has started some of its own when the device was chosen."""
    os.sched_setaffinity(0, cpus)
    for thread in Path("/proc/self/task").iterdir():
        # One that has just ended needs no cores.
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), cpus)


def find_near(ranks: int, devices: Path = DEVICES) -> list[tuple[int, ...]] | Missing:
    """The hardware threads near the GPU of each local rank, which is the one that torch counts so."""
    found = [_find_near(index, devices) for index in range(ranks)]
    untold = next((one for one in found if isinstance(one, Missing)), None)
    return untold or [one for one in found if not isinstance(one, Missing)]


def _find_near(index: int, devices: Path) -> tuple[int, ...] | Missing:
    if index >= torch.cuda.device_count():
        return Missing(missing=f"torch sees no GPU {index}")
    bus_id = find_bus_id(torch.cuda.get_device_properties(index))
    spot = bus_id if isinstance(bus_id, Missing) else locate(devices / normalise(bus_id))
    if isinstance(spot, Missing):
        return Missing(missing=f"no NUMA information ({spot.missing})")
    cpus = spot.cpus
    return Missing(missing=f"no NUMA information ({cpus.missing})") if isinstance(cpus, Missing) else cpus


def find_bus_id(gpu: Any) -> str | Missing:
    """The PCI address of one of torch's devices, whose order is CUDA's: by torch where it tells, else by NVML."""
    try:
        return f"{gpu.pci_domain_id:04x}:{gpu.pci_bus_id:02x}:{gpu.pci_device_id:02x}.0"
    except AttributeError:  # before torch 2.9
        return read_bus_id(str(gpu.uuid))
