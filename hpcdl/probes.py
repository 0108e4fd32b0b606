"""What a communication probe leaves behind, beside the records of every launch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hpcdl.frozen import Frozen
from hpcdl.records import Missing


class Collective(Frozen):
    """One size of message, exchanged by all ranks again and again: seconds of each, on rank 0's clock."""

    size_bytes: int
    seconds: Annotated[tuple[float, ...], Field(min_length=1)]


class Pair(Frozen):
    """Two ranks: half a round trip of 8 bytes, and bytes/s of a large message."""

    a_rank: int
    b_rank: int
    latency_s: Annotated[float, Field(gt=0)]
    bandwidth_bytes_per_s: Annotated[float, Field(gt=0)]


class PairTable(Frozen):
    """Every pair of nodes, one rank of each; on a single node, every pair of its GPUs. `over` carried the messages."""

    over: Literal["mpi", "nccl", "gloo"]
    pairs: Annotated[tuple[Pair, ...], Field(min_length=1)]


class Probe(Frozen):
    """What a communication probe saw, said by rank 0 after the last barrier: `probe.json`.

    `allreduce` went through the engine that trains, `mpi` through MPI itself. `gradients` is one exchange of all the
    model's gradients in the order in which backward makes them ready, and nothing else to do meanwhile; its size
    is of all of them together.
    """

    schema_version: Literal[1] = 1
    completed: Literal[True] = True
    world_size: int
    allreduce: tuple[Collective, ...]
    mpi: tuple[Collective, ...] | Missing
    gradients: Collective
    links: tuple[PairTable, ...] | Missing
