"""Memory bandwidth of the device: STREAM's triad, over arrays that no cache holds.

McCalpin, Memory Bandwidth and Machine Balance in Current High Performance Computers, 1995: a = b + s c moves three
arrays; that a processor may read `a` before it writes it is not counted.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from hpcdl.worker.check.post import Seen

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from hpcdl.plan import Training
    from hpcdl.worker.check.post import Post

SYSFS = Path("/sys/devices/system/cpu")
SECONDS = 0.2
FEWEST = 3
ARRAYS = 3
# STREAM's rule: an array is four times the last-level cache. Bounded, for nodes with many ranks and little memory.
TIMES_CACHE = 4
LEAST_BYTES, MOST_BYTES = 64 * 2**20, 256 * 2**20
GPU_BYTES = 2**30
FLOAT_BYTES = 4
SUFFIXES = {"K": 2**10, "M": 2**20, "G": 2**30}


def look(post: Post, training: Training | None) -> Iterator[Seen]:  # noqa: ARG001
    """`bytes_per_s`, the mean over a fifth of a second, one look after the other; the arrays are made anew for each."""
    gpu = post.device.type == "cuda"
    size = GPU_BYTES if gpu else choose_bytes(read_cache_bytes(os.sched_getaffinity(0)))
    while True:
        rate = measure_triad(post.device, size)
        yield Seen(numbers={"bytes_per_s": rate}, words={"arrays": f"{ARRAYS} of {size:,} bytes, triad"})


def choose_bytes(cache_bytes: int) -> int:
    """Of one array, beside so much last-level cache."""
    return max(LEAST_BYTES, min(MOST_BYTES, TIMES_CACHE * cache_bytes))


def measure_triad(device: torch.device, size: int) -> float:
    """Bytes/s of a = b + 3 c over three arrays of `size` bytes each, for a while and at least three times."""
    a, b, c = (torch.full((size // FLOAT_BYTES,), float(value), device=device) for value in range(ARRAYS))
    torch.add(b, c, alpha=3.0, out=a)
    _finish(device)
    begin_s, count = time.perf_counter(), 0
    while count < FEWEST or time.perf_counter() - begin_s < SECONDS:
        torch.add(b, c, alpha=3.0, out=a)
        _finish(device)
        count += 1
    return ARRAYS * size * count / (time.perf_counter() - begin_s)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def read_cache_bytes(cpus: Collection[int], sysfs: Path = SYSFS) -> int:
    """Last-level cache that these hardware threads have, each cache once; 0 where the kernel does not tell.

    Linux, Documentation/ABI/testing/sysfs-devices-system-cpu, cache.
    """
    caches: dict[str, int] = {}
    for cpu in cpus:
        folders = sorted((sysfs / f"cpu{cpu}" / "cache").glob("index*"), key=_read_level)
        if folders:
            caches[_read(folders[-1] / "shared_cpu_list") or str(cpu)] = _parse_size(
                _read(folders[-1] / "size")
            )
    return sum(caches.values())


def _read_level(folder: Path) -> int:
    text = _read(folder / "level")
    return int(text) if text.isdigit() else 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _parse_size(text: str) -> int:
    """'307200K'."""
    digits, suffix = (text[:-1], text[-1:]) if text[-1:] in SUFFIXES else (text, "")
    return int(digits) * SUFFIXES.get(suffix, 1) if digits.isdigit() else 0
