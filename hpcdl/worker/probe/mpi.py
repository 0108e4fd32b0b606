"""MPI by itself, beside the engine: what the network can do where nothing but MPI stands before it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hpcdl.records import Missing
from hpcdl.worker.engine.horovod import starts_mpi

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray

    from hpcdl.plan import Launch


class World:
    """All ranks of the launch in MPI's own world."""

    over: Literal["mpi"] = "mpi"

    def __init__(self, mpi: Any) -> None:
        self._mpi = mpi
        self._comm = mpi.COMM_WORLD

    def sum(self, values: list[float]) -> list[float]:
        total = np.array(values, dtype=np.float64)
        self._comm.Allreduce(self._mpi.IN_PLACE, total)
        return [float(value) for value in total]

    def barrier(self) -> None:
        self._comm.Barrier()

    def exchange(self, tensors: Sequence[torch.Tensor]) -> None:
        """Sum in place, one after another; what lies on a GPU goes through the host's memory."""
        for tensor in tensors:
            host = tensor.cpu()
            self._comm.Allreduce(self._mpi.IN_PLACE, host.numpy())
            if host is not tensor:
                tensor.copy_(host)

    def make(self, size_bytes: int) -> NDArray[np.uint8]:
        return np.zeros(size_bytes, dtype=np.uint8)

    def send(self, message: NDArray[np.uint8], other: int) -> None:
        self._comm.Send(message, dest=other)

    def receive(self, message: NDArray[np.uint8], other: int) -> None:
        self._comm.Recv(message, source=other)

    def tell(self, number: int, other: int) -> None:
        self._comm.Send(np.array([number], dtype=np.int64), dest=other)

    def hear(self, other: int) -> int:
        number = np.zeros(1, dtype=np.int64)
        self._comm.Recv(number, source=other)
        return int(number[0])

    def leave(self) -> None:
        self._mpi.Finalize()


def enter_world(launch: Launch) -> World | Missing:
    """MPI's world, where the launcher makes one; else why there is none. To be called before the engine starts."""
    if not starts_mpi(launch):
        return Missing(missing=f"{launch.launcher} starts no MPI here (mpirun does, or srun with a PMI)")
    # A rank that waits gives its core to the thread that moves data.
    os.environ.setdefault("OMPI_MCA_mpi_yield_when_idle", "1")
    try:
        import mpi4py

        mpi4py.rc.initialize = False
        mpi4py.rc.finalize = False
        from mpi4py import MPI
    except (ImportError, RuntimeError) as problem:
        return Missing(missing=f"mpi4py cannot be loaded: {problem}")
    # As Horovod would begin it; what is begun already it leaves to others to end.
    MPI.Init_thread(MPI.THREAD_MULTIPLE)
    found = MPI.COMM_WORLD.Get_size()
    if found != launch.world_size:
        return Missing(missing=f"MPI sees a world of {found}, and there are {launch.world_size} ranks")
    return World(MPI)
