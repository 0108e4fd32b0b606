"""Which rank a process is, in the words of whoever started it."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpcdl.plan import Launch, Launcher

# Launcher -> the variables that it sets: rank, world size, local rank, node.
VARIABLES: dict[Launcher, tuple[str, str, str, str | None]] = {
    "srun": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_NODEID"),
    "mpirun": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", None),
    "direct": ("HPCDL_RANK", "HPCDL_WORLD_SIZE", "HPCDL_LOCAL_RANK", None),
}


@dataclass(frozen=True)
class Place:
    """A process among all others of its launch. `node` counts hosts from 0."""

    rank: int
    world_size: int
    local_rank: int
    node: int
    host: str
    restart: int = 0


def read_place(launch: Launch, environ: Mapping[str, str] = os.environ) -> Place:
    """The place that the launcher of this launch assigned.

    Raises:
        Refused: The launcher's variables are not there, so that this process was not started by it; or no numbers.
    """
    rank, size, local, node = VARIABLES[launch.launcher]
    try:
        return Place(
            rank=int(environ[rank]),
            world_size=int(environ[size]),
            local_rank=int(environ[local]),
            node=int(environ[node]) if node else 0,
            host=socket.gethostname(),
            restart=int(environ.get("SLURM_RESTART_COUNT", "0")),
        )
    except KeyError as absent:
        raise Refused(
            f"{absent.args[0]} is not set: this process was not started by {launch.launcher}.",
            do="Start launches through the batch script or `hpcdl run`.",
        ) from None
    except ValueError:
        given = ", ".join(f"{name}={environ[name]!r}" for name in (rank, size, local, node) if name)
        raise Refused(f"what {launch.launcher} says of this process is not all numbers: {given}.") from None
