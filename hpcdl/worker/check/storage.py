"""Reading the data set: bytes/s of some of its files, as several readers get them."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.errors import Failure
from hpcdl.worker.check.data import find_data, list_paths
from hpcdl.worker.check.post import Seen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hpcdl.plan import Training
    from hpcdl.worker.check.post import Post

READERS = 8
BLOCK_BYTES = 2**20
# One look reads so much at most, and no longer than so.
MOST_BYTES = 512 * 2**20
SECONDS = 3.0
# What is over sooner goes on with the first file again.
LEAST_S = 0.3
# Of so many files of a look the kernel may keep some whatever it is asked: their share tells nothing.
STRAY = 0.01


@dataclass(frozen=True)
class Read:
    """One file: so many bytes, and whether its first were in the page cache before; None: the kernel does not tell."""

    size: int
    cached: bool | None


def look(post: Post, training: Training | None) -> Iterator[Seen]:  # noqa: ARG001
    """`bytes_per_s`, one look after the other, each going on with the files where the last one has stopped.

    The kernel is asked to forget each file first; whether it has is told in `page_cache`.

    Raises:
        Mistake: There is no such folder, or no image in it.
        Failure: A file cannot be read.
    """
    paths = list_paths(find_data(post))
    files = itertools.cycle(paths)
    readers = min(READERS, len(os.sched_getaffinity(0)))
    with ThreadPoolExecutor(readers) as pool:
        while True:
            begin_s = time.monotonic()
            read = _read_for_a_while(post, pool, files, len(paths))
            end_s = time.monotonic()
            yield Seen(
                numbers={"bytes_per_s": sum(one.size for one in read) / (end_s - begin_s)},
                words={"page_cache": tell_cache(read), "readers": str(readers)},
                begin_s=begin_s,
                end_s=end_s,
            )


def _read_for_a_while(post: Post, pool: ThreadPoolExecutor, files: Iterator[str], count: int) -> list[Read]:
    """So many files without end, until enough of them are read."""
    begin_s, read = time.monotonic(), list[Read]()
    while True:
        batch = list(itertools.islice(files, min(4 * READERS, count)))
        try:
            read += pool.map(read_file, batch)
        except OSError as problem:
            raise Failure(f"{problem.filename or 'a file'}: cannot be read ({problem.strerror}).") from None
        post.pulse.beat()
        spent_s, size = time.monotonic() - begin_s, sum(one.size for one in read)
        if size >= MOST_BYTES or spent_s >= SECONDS or (len(read) >= count and spent_s >= LEAST_S):
            return read


def read_file(path: str) -> Read:
    """All of a file, past the page cache where the kernel lets us.

    Raises:
        OSError: It cannot be read; the error names the file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        cached, size = is_cached(descriptor), 0
        while block := os.read(descriptor, BLOCK_BYTES):
            size += len(block)
    except OSError as problem:
        raise OSError(problem.errno, problem.strerror, path) from None
    finally:
        os.close(descriptor)
    return Read(size, cached)


def is_cached(descriptor: int) -> bool | None:
    """Whether a read needs no disk (man 2 preadv2, RWF_NOWAIT); None: not every file system tells."""
    try:
        return os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT) > 0
    except BlockingIOError:
        return False
    except OSError:
        return None


def tell_cache(read: Iterable[Read]) -> str:
    """Whether it was the disk that was read: in few words, so that nodes can be compared by them."""
    looked = [one.cached for one in read]
    if None in looked:
        return "may have served them: this file system does not tell"
    served = sum(bool(one) for one in looked)
    if served > STRAY * len(looked):
        return "may have served some of the files"
    return "had next to none of the files" if served else "had none of the files"
