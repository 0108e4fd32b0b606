"""Ranks that time an allreduce in two ways by turns: as the probe does, and in a bare loop over mpi4py.

Started by mpirun; rank 0 prints the medians, in seconds, as JSON.
"""

from __future__ import annotations

import json
import statistics
import time
from types import SimpleNamespace

import numpy as np
import torch
from mpi4py import MPI

from hpcdl.worker.probe.allreduce import measure_sizes
from hpcdl.worker.probe.mpi import World

SIZE_BYTES = 1 << 22
ROUNDS = 6


def main() -> None:
    torch.set_num_threads(1)
    comm = MPI.COMM_WORLD
    world = World(MPI)
    rank = SimpleNamespace(
        device=torch.device("cpu"),
        leads=comm.Get_rank() == 0,
        beacon=SimpleNamespace(show=lambda step, phase: None),
    )
    probed, bare = [], []
    for turn in range(ROUNDS):
        ways = [lambda: probed.extend(probe(rank, world)), lambda: bare.extend(loop(comm))]
        for way in ways if turn % 2 else ways[::-1]:
            way()
    if rank.leads:
        print(json.dumps({"probed": statistics.median(probed), "bare": statistics.median(bare)}))


def probe(rank, world):
    [found] = measure_sizes(rank, world, world.exchange, [SIZE_BYTES])
    return found.seconds


def loop(comm):
    numbers, seconds = np.ones(SIZE_BYTES // 4, dtype=np.float32), []
    for _ in range(2):
        comm.Allreduce(MPI.IN_PLACE, numbers)
    comm.Barrier()
    for _ in range(60):
        begin_s = time.perf_counter()
        comm.Allreduce(MPI.IN_PLACE, numbers)
        seconds.append(time.perf_counter() - begin_s)
        numbers.fill(1)
    return seconds


if __name__ == "__main__":
    main()
