"""torch's DistributedDataParallel, as it comes: Gloo on CPUs, NCCL on GPUs."""

from __future__ import annotations

import os
from contextlib import nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook
from torch.nn.parallel import DistributedDataParallel

from hpcdl.errors import Refused
from hpcdl.worker.engine import rendezvous
from hpcdl.worker.engine.texts import to_bytes, to_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from hpcdl.plan import Launch
    from hpcdl.store import LaunchFolder
    from hpcdl.worker.place import Place


class DDP:
    name = "ddp"

    def __init__(
        self, transport: str, device: torch.device, bucket_mb: int, compression: str = "none"
    ) -> None:
        self.transport = transport
        self.rank = dist.get_rank()
        self.world_size = dist.get_world_size()
        self._device = device
        self._bucket_mb = bucket_mb
        self._compression = compression
        self._parallel: DistributedDataParallel | None = None

    def attach(self, model: torch.nn.Module) -> torch.nn.Module:
        parallel = DistributedDataParallel(
            model,
            device_ids=[self._device.index] if self._device.type == "cuda" else None,
            bucket_cap_mb=self._bucket_mb,
            gradient_as_bucket_view=True,
        )
        if self._compression == "fp16":
            parallel.register_comm_hook(None, fp16_compress_hook)
        self._parallel = parallel
        return parallel

    def hold(self, parallel: torch.nn.Module) -> AbstractContextManager[None]:  # noqa: ARG002 (it may be compiled)
        if self._parallel is None:
            return nullcontext()
        return self._parallel.no_sync()

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]

    def synchronize(self) -> None:
        """DDP waits at the end of backward itself."""

    def exchange(self, tensors: Sequence[torch.Tensor]) -> None:
        works = [dist.all_reduce(tensor, async_op=True) for tensor in tensors]
        for work in works:
            if work is not None:
                work.wait()

    def broadcast(self, tensors: Iterable[torch.Tensor]) -> None:
        for tensor in tensors:
            flat = tensor.detach().contiguous()
            dist.broadcast(flat, src=0)
            tensor.detach().copy_(flat)

    def gather(self, text: str) -> list[str]:
        own = to_bytes(text).to(self._device)
        sizes = [int(size) for size in self._all_gather(torch.tensor([own.numel()], device=self._device))]
        # all_gather wants tensors of one size; one byte more, because it wants some.
        padded = torch.zeros(max(sizes) + 1, dtype=torch.uint8, device=self._device)
        padded[: own.numel()] = own
        parts = [part[:size] for part, size in zip(self._all_gather(padded), sizes, strict=True)]
        return to_texts(torch.cat(parts).cpu(), sizes)

    def _all_gather(self, own: torch.Tensor) -> list[torch.Tensor]:
        parts = [torch.empty_like(own) for _ in range(self.world_size)]
        dist.all_gather(parts, own)
        return parts

    def sum(self, values: list[float]) -> list[float]:
        total = torch.tensor(values, dtype=torch.float64, device=self._device)
        dist.all_reduce(total)
        return [float(value) for value in total.cpu()]

    def barrier(self) -> None:
        # An allreduce of one number: every backend has it, and it needs no guess about devices.
        self.sum([0.0])

    def close(self) -> None:
        dist.destroy_process_group()


def start(launch: Launch, place: Place, folder: LaunchFolder, device: torch.device) -> DDP:
    """Join the process group; where rank 0 listens is announced in the launch's folder.

    Raises:
        Refused: No such transport here, or the ranks do not meet.
    """

    def share(meeting: rendezvous.Meeting | None) -> rendezvous.Meeting:
        if meeting is None:
            return rendezvous.await_meeting(folder, place)
        rendezvous.announce(folder, place, meeting)
        return meeting

    transport = _choose_transport(launch.train.transport, device)
    join_group(transport, launch, place, share)
    return DDP(transport, device, launch.train.fusion_mb, launch.train.compression)


def join_group(
    transport: str,
    launch: Launch,
    place: Place,
    share: Callable[[rendezvous.Meeting | None], rendezvous.Meeting],
) -> None:
    """Make torch's process group of all ranks; its store listens on a port that the kernel chose.

    Args:
        transport: 'nccl' or 'gloo'.
        launch: Whose ranks they are.
        place: This one.
        share: Brings all ranks what rank 0 gives it, which is where it listens; the others give None.
    """
    address = rendezvous.own_address(launch)
    variable = "NCCL_SOCKET_IFNAME" if transport == "nccl" else "GLOO_SOCKET_IFNAME"
    os.environ.setdefault(variable, rendezvous.interface_of(address))
    timeout = timedelta(seconds=2 * launch.progress_timeout_s)
    if place.rank == 0:
        store = dist.TCPStore(  # type: ignore[attr-defined]
            address, 0, place.world_size, is_master=True, timeout=timeout, wait_for_workers=False
        )
        share(rendezvous.Meeting(address, store.port))
    else:
        meeting = share(None)
        store = dist.TCPStore(  # type: ignore[attr-defined]
            meeting.address, meeting.port, place.world_size, is_master=False, timeout=timeout
        )
    dist.init_process_group(
        transport, store=store, rank=place.rank, world_size=place.world_size, timeout=timeout
    )


def _choose_transport(asked: str, device: torch.device) -> str:
    transport = asked if asked != "auto" else "nccl" if device.type == "cuda" else "gloo"
    if transport == "mpi":
        raise Refused("torch's DDP has no MPI transport in this build.", do="Use --transport gloo or nccl.")
    if transport == "nccl" and (device.type != "cuda" or not dist.is_nccl_available()):
        raise Refused("NCCL needs GPUs and a torch that was built with it.", do="Use --transport gloo.")
    return transport
