"""What tests of the data ask for: requests of any rank, and batches put together again."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import pytest
import torch

from hpcdl import networks
from hpcdl.plan import Size, resolve_training
from hpcdl.spec import Benchmark, Train
from hpcdl.worker.data import Request

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hpcdl.worker.data import Batch

_HAS_DALI = importlib.util.find_spec("nvidia") and importlib.util.find_spec("nvidia.dali")
NEEDS_DALI = [pytest.mark.dali, pytest.mark.skipif(not _HAS_DALI, reason="dali is not installed")]


def make_request(
    *,
    rank: int = 0,
    world_size: int = 1,
    channels_last: bool = False,
    threads: int = 1,
    **train: Any,
) -> Request:
    """A request of one rank on the CPU; `train` holds keys of a benchmark's [train] table."""
    asked = Train(**{"model": "lenet", "global_batch": 8, **train})
    size = Size(nodes=world_size, tasks_per_node=1, cpus_per_task=1, threads_per_core=1, gpus_per_node=0)
    return Request(
        network=networks.find(asked.model),
        training=resolve_training(Benchmark(train=asked), size),
        rank=rank,
        world_size=world_size,
        device=torch.device("cpu"),
        threads=threads,
        memory_format=torch.channels_last if channels_last else torch.contiguous_format,
    )


def join(batches: Iterable[Batch]) -> tuple[torch.Tensor, torch.Tensor]:
    """All images and all labels of some batches, in order."""
    kept = list(batches)
    return torch.cat([batch.images for batch in kept]), torch.cat([batch.labels for batch in kept])
