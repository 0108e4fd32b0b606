"""How long an allreduce takes, from four bytes to beyond the model's gradients."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Protocol

import torch

from hpcdl.probes import Collective

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hpcdl.networks import Network
    from hpcdl.worker.joining import Rank

    Exchange = Callable[[Sequence[torch.Tensor]], None]


class Assembly(Protocol):
    """Ranks that can agree: an engine, or what is left when it has gone."""

    def sum(self, values: list[float]) -> list[float]:
        """The element-wise sum over all ranks, in double precision."""

    def barrier(self) -> None:
        """Return when all ranks have come here."""


NUMBER_BYTES = 4  # fp32
GROWTH = 4
# Each size is bounded in time, but for six repetitions, which bound their median.
SECONDS = 0.5
FEWEST, MOST = 6, 200
# Where one message would take longer than this, it and larger ones are left out. All gradients are not: there two
# repetitions say how long it takes, and no more.
TOO_LONG_S = 2.5
FEWEST_LONG = 2
WARMUP = 2
MIB = 1 << 20


def message_sizes(gradient_bytes: int) -> list[int]:
    """4 B, 16 B, 64 B and so on, up to the first size that holds all gradients."""
    sizes = [NUMBER_BYTES]
    while sizes[-1] < gradient_bytes:
        sizes.append(GROWTH * sizes[-1])
    return sizes


def measure_sizes(
    rank: Rank, assembly: Assembly, exchange: Exchange, sizes: Sequence[int]
) -> tuple[Collective, ...]:
    """Each size of message by itself, exchanged as `exchange` does it, in memory of the rank's device."""
    found = []
    for size in sizes:
        tensor = torch.ones(size // NUMBER_BYTES, device=rank.device)
        found.append(_measure(rank, assembly, exchange, [tensor], size))
        too_long = rank.leads and GROWTH * min(found[-1].seconds) > TOO_LONG_S
        if assembly.sum([float(too_long)])[0]:
            break
    return tuple(found)


def measure_gradients(rank: Rank, network: Network) -> Collective:
    """All gradients at once, the last layer's first, with nothing to compute meanwhile."""
    sizes = bucket_sizes(network, rank.engine.name, rank.plan.fusion_mb)
    tensors = [torch.ones(size // NUMBER_BYTES, device=rank.device) for size in sizes]
    return _measure(rank, rank.engine, rank.engine.exchange, tensors, sum(sizes))


def bucket_sizes(network: Network, engine: str, fusion_mb: int) -> list[int]:
    """Bytes of each message that the engine is handed, in the order in which backward makes them ready.

    Horovod is handed each gradient and puts them together itself; DDP hands over buckets of so many MiB.
    """
    gradients = list(_list_gradients(network))
    return gradients if engine == "horovod" else list(_fill(gradients, fusion_mb * MIB))


def _list_gradients(network: Network) -> Iterator[int]:
    """Bytes of each: of a layer, those of its biases and then those of its weights."""
    for row in reversed(network.rows):
        if row.parameters:
            biases = row.output_shape[0]
            yield biases * NUMBER_BYTES
            yield (row.parameters - biases) * NUMBER_BYTES


def _fill(gradients: Sequence[int], limit: int) -> Iterator[int]:
    """As DDP does it: the gradient with which a bucket reaches its limit is the last one in it."""
    bucket = 0
    for size in gradients:
        bucket += size
        if bucket >= limit:
            yield bucket
            bucket = 0
    if bucket:
        yield bucket


def _measure(
    rank: Rank, assembly: Assembly, exchange: Exchange, tensors: Sequence[torch.Tensor], size: int
) -> Collective:
    for _ in range(WARMUP):
        rank.beacon.show(next(_TURNS), "probe")
        took_s = _time(rank, exchange, tensors)
    count = _agree_on_count(rank, assembly, took_s)
    assembly.barrier()
    seconds = []
    for turn in range(count):
        rank.beacon.show(next(_TURNS), "probe")
        seconds.append(_time(rank, exchange, tensors))
        if turn % 16 == 0:
            # Sums would grow beyond all numbers, and infinities may take another path.
            for tensor in tensors:
                tensor.fill_(1.0)
    return Collective(size_bytes=size, seconds=tuple(seconds))


_TURNS = itertools.count()


def _agree_on_count(rank: Rank, assembly: Assembly, took_s: float) -> int:
    """How often: as rank 0 says, so that all ranks do the same."""
    fewest = FEWEST if took_s < TOO_LONG_S else FEWEST_LONG
    wanted = min(max(fewest, int(SECONDS / max(took_s, 1e-9))), MOST)
    return int(assembly.sum([float(wanted) if rank.leads else 0.0])[0])


def _time(rank: Rank, exchange: Exchange, tensors: Sequence[torch.Tensor]) -> float:
    begin_s = time.perf_counter()
    exchange(tensors)
    if rank.device.type == "cuda":
        torch.cuda.synchronize(rank.device)
    return time.perf_counter() - begin_s
