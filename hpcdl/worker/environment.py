"""Where and with what this rank runs, read from the machine and from the libraries that were loaded."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import re
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch

import hpcdl
from hpcdl.processors import list_online, read_topology
from hpcdl.records import Host, Versions
from hpcdl.worker import arithmetic
from hpcdl.worker.processor import cpu_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpcdl.records import Binding
    from hpcdl.worker.place import Place

# What of Slurm's environment is recorded: facts of the allocation, by name. Never the whole environment,
# which may hold somebody's secrets.
SLURM_FACTS = (
    "SLURM_JOB_ID",
    "SLURM_JOB_NODELIST",
    "SLURM_JOB_PARTITION",
    "SLURM_JOB_ACCOUNT",
    "SLURM_JOB_QOS",
    "SLURM_CLUSTER_NAME",
    "SLURM_STEP_ID",
    "SLURM_STEP_NODELIST",
    "SLURM_CPUS_ON_NODE",
    "SLURM_CPUS_PER_TASK",
    "SLURM_GPUS_ON_NODE",
    "SLURM_RESTART_COUNT",
    "SLURM_TOPOLOGY_ADDR",
)


def read_host(place: Place, device: torch.device, binding: Binding | None = None) -> Host:
    """The machine of this rank; call it after threads and affinity are set."""
    affinity = tuple(sorted(os.sched_getaffinity(0)))
    gpu = torch.cuda.get_device_properties(device) if device.type == "cuda" else None
    here, whole = read_topology(affinity), read_topology(list_online())
    return Host(
        rank=place.rank,
        local_rank=place.local_rank,
        host=socket.gethostname(),
        boot_id=_read_line("/proc/sys/kernel/random/boot_id"),
        pid=os.getpid(),
        cpu=cpu_name(),
        cores_visible=len(affinity),
        affinity=affinity,
        threads=torch.get_num_threads(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        gpu=gpu.name if gpu else None,
        gpu_uuid=str(gpu.uuid) if gpu else None,
        sockets=here.sockets if here else None,
        sockets_of_host=len(whole.sockets) if whole else None,
        cores=here.cores if here else None,
        cores_of_host=len(whole.cores) if whole else None,
        vector=arithmetic.read_vector(),
        vector_of_cpu=arithmetic.read_vector_of_cpu(),
        driver=read_driver() if gpu else None,
        kernel=platform.release(),
        binding=binding,
    )


def read_driver(path: str = "/proc/driver/nvidia/version") -> str | None:
    """The version of NVIDIA's kernel module ('580.65.06'), by its own file; None where there is none."""
    found = re.search(r"^NVRM version:.*?\s(\d+(?:\.\d+)+)\s", _read_line(path))
    return found[1] if found else None


def _read_line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def read_versions() -> Versions:
    """Only of what is loaded: a library that this rank does not use has no version here."""
    return Versions(
        hpcdl=hpcdl.__version__,
        code=code_digest(),
        python=platform.python_version(),
        torch=torch.__version__,
        horovod=_loaded_version("horovod"),
        dali=_loaded_version("nvidia.dali"),
        mpi=_loaded_mpi_version(),
        nccl=_nccl_version(),
        cuda=torch.version.cuda,
        onednn=arithmetic.read_onednn(),
        blas=arithmetic.read_blas(),
    )


def _nccl_version() -> str | None:
    if not torch.cuda.is_available():
        return None
    return ".".join(map(str, torch.cuda.nccl.version()))  # type: ignore[no-untyped-call]


def _loaded_version(module: str) -> str | None:
    loaded = sys.modules.get(module)
    return str(loaded.__version__) if loaded is not None else None


def _loaded_mpi_version(maps: str = "/proc/self/maps") -> str | None:
    """What the MPI library that is loaded says of itself ('Open MPI v4.1.4'); MPI need not be initialised."""
    paths = [line.split(maxsplit=5)[-1] for line in _read_line(maps).splitlines() if "/libmpi.so" in line]
    if not paths:
        return None
    # MPI_MAX_LIBRARY_VERSION_STRING: 256 in Open MPI, 8192 in MPICH.
    words, length = ctypes.create_string_buffer(8192), ctypes.c_int()
    ctypes.CDLL(paths[0]).MPI_Get_library_version(words, ctypes.byref(length))
    return words.value.decode(errors="replace").split(",")[0].strip()


@functools.cache
def code_digest() -> str:
    """Twelve hexadecimal digits over hpcdl's own sources: two nodes with different checkouts do not agree."""
    root = Path(hpcdl.__file__).parent
    total = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        total.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:12]


def read_slurm(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The facts of the allocation that are set."""
    return {name: environ[name] for name in SLURM_FACTS if name in environ}
