"""Several processes that go through one part of a data set, and give back what they found in its order."""

from __future__ import annotations

import itertools
import multiprocessing
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from hpcdl.datasets.origin import open_part
from hpcdl.errors import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hpcdl.datasets.manifest import PartName
    from hpcdl.datasets.part import Reading

# Samples that a process takes at once, and how many such helpings are under way for each: few images in memory.
HELPING = 16
UNDER_WAY = 3

R_co = TypeVar("R_co", covariant=True)


class Task(Protocol[R_co]):
    """What is done with one sample, in another process: it is sent there once, and keeps nothing."""

    def __call__(self, part: Reading, index: int) -> R_co: ...


@dataclass(frozen=True)
class Crew:
    """So many processes for one part. One process: this one does it itself."""

    root: Path
    part: PartName
    workers: int

    def go_through(self, indices: Sequence[int], task: Task[R_co]) -> Iterator[R_co]:
        """What `task` gives for each of these samples, in their order.

        Raises:
            Mistake: What a sample's reading raises.
            Failure: A process was killed.
        """
        if self.workers == 1:
            reading = open_part(self.root, self.part)
            try:
                yield from (task(reading, index) for index in indices)
            finally:
                reading.close()
            return
        # Not by fork: threads of this process would leave their locks held in a copy of it. A server imports once
        # what all of them need, and forks.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["hpcdl.datasets.crew", "PIL.Image"])
        with ProcessPoolExecutor(self.workers, context, _prepare, (self.root, self.part, task)) as pool:
            try:
                yield from self._collect(pool, indices)
            except (BrokenProcessPool, EOFError, ConnectionError):
                raise Failure(
                    "a process that reads the data set was killed, or could not be started.",
                    do="Is there memory enough? Use fewer --workers, or --workers 1.",
                ) from None
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _collect(self, pool: ProcessPoolExecutor, indices: Sequence[int]) -> Iterator[Any]:
        helpings = iter([indices[i : i + HELPING] for i in range(0, len(indices), HELPING)])
        under_way: deque[Future[list[Any]]] = deque(
            pool.submit(_do, helping) for helping in itertools.islice(helpings, self.workers * UNDER_WAY)
        )
        while under_way:
            done = under_way.popleft().result()
            under_way.extend(pool.submit(_do, helping) for helping in itertools.islice(helpings, 1))
            yield from done


_at_work: dict[str, Any] = {}


def _prepare(root: Path, part: PartName, task: Task[Any]) -> None:
    _at_work.update(root=root, part=part, task=task)


def _do(indices: Sequence[int]) -> list[Any]:
    # Opened here and not before, so that what cannot be opened is told as what it is.
    if "reading" not in _at_work:
        _at_work["reading"] = open_part(_at_work["root"], _at_work["part"])
    return [_at_work["task"](_at_work["reading"], index) for index in indices]
