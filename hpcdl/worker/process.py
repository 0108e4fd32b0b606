"""Settings of a whole process that make a training loop fast: threads and memory."""

from __future__ import annotations

import ctypes
import os

import torch

# glibc's malloc.h. Above 32 MB malloc maps fresh pages for every allocation and returns them when freed: a
# step over large activations would then spend its time in page faults.
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
NEVER = 2**31 - 1


def prepare_process(threads: int) -> None:
    """Give torch this many threads, keep freed memory for the next step, and flush denormal numbers.

    To be called before the first tensor is made: torch reads its setting for huge pages once.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    keep_freed_memory()
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)


def allow_tf32(allowed: bool) -> None:  # noqa: FBT001
    """Whether GPUs may round fp32 operands to TF32; by itself torch lets convolutions and forbids products."""
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed


def keep_freed_memory() -> bool:
    """Let malloc reuse large blocks instead of returning them; False where the C library is not glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER))
