"""Point to point over torch's own process group: NCCL between GPUs, Gloo where MPI was not started."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.distributed as dist

from hpcdl.worker.engine import ddp
from hpcdl.worker.engine.rendezvous import Meeting

if TYPE_CHECKING:
    from hpcdl.worker.joining import Rank

Over = Literal["nccl", "gloo"]


class Group:
    """All ranks of the launch. `is_engine`: the engine stands on the same process group, and goes with it."""

    def __init__(self, over: Over, device: torch.device, group: Any, *, is_engine: bool) -> None:
        self.over = over
        self.is_engine = is_engine
        self._device = device if over == "nccl" else torch.device("cpu")
        self._group = group

    def sum(self, values: list[float]) -> list[float]:
        total = torch.tensor(values, dtype=torch.float64, device=self._device)
        dist.all_reduce(total, group=self._group)
        return [float(value) for value in total.cpu()]

    def barrier(self) -> None:
        self.sum([0.0])

    def make(self, size_bytes: int) -> torch.Tensor:
        return torch.zeros(size_bytes, dtype=torch.uint8, device=self._device)

    def send(self, message: torch.Tensor, other: int) -> None:
        self._pass(dist.isend, message, other)

    def receive(self, message: torch.Tensor, other: int) -> None:
        self._pass(dist.irecv, message, other)
        if self._device.type == "cuda":
            # NCCL only puts it into the stream.
            torch.cuda.synchronize(self._device)

    def tell(self, number: int, other: int) -> None:
        self._pass(dist.isend, torch.tensor([number], device=self._device), other)

    def hear(self, other: int) -> int:
        number = torch.zeros(1, dtype=torch.int64, device=self._device)
        self._pass(dist.irecv, number, other)
        return int(number.item())

    def _pass(self, way: Any, message: torch.Tensor, other: int) -> None:
        # As a batch of one: by themselves, send and recv make NCCL a communicator for each pair, with buffers of its
        # own. A batch takes the group's, which the sums before have made.
        for work in dist.batch_isend_irecv([dist.P2POp(way, message, other, group=self._group)]):
            work.wait()

    def leave(self) -> None:
        dist.destroy_process_group()


def enter_group(rank: Rank, over: Over) -> Group:
    """The process group of all ranks over this transport: the engine's own where it is one.

    Raises:
        Refused: The network interface that the site names is not there.
    """
    if dist.is_initialized():
        group = None if dist.get_backend() == over else dist.new_group(backend=over)
        return Group(over, rank.device, group, is_engine=True)

    def share(meeting: Meeting | None) -> Meeting:
        texts = rank.engine.gather("" if meeting is None else json.dumps(asdict(meeting)))
        return Meeting(**json.loads(texts[0]))

    ddp.join_group(over, rank.launch, rank.place, share)
    return Group(over, rank.device, None, is_engine=False)
