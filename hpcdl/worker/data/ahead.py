"""Reading one batch ahead, so that files are read while the step before computes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future

T = TypeVar("T")


def read_ahead(items: Iterable[T]) -> ReadAhead[T]:
    """The same items, each of them asked for while the one before is used."""
    return ReadAhead(iter(items))


class ReadAhead(Generic[T]):
    """An iterator with a thread of its own, which starts with the first item and ends with the last, or by `close`.

    What the reading raises is raised where its item would have come.
    """

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self._reader: ThreadPoolExecutor | None = None
        self._coming: Future[T | None] | None = None

    def __iter__(self) -> ReadAhead[T]:
        return self

    def __next__(self) -> T:
        if self._reader is None:
            self._reader = ThreadPoolExecutor(1, thread_name_prefix="reader")
            self._coming = self._reader.submit(self._take)
        if self._coming is None:
            raise StopIteration
        item = self._coming.result()
        if item is None:
            self.close()
            raise StopIteration
        self._coming = self._reader.submit(self._take)
        return item

    def _take(self) -> T | None:
        # A future cannot carry StopIteration.
        return next(self._items, None)

    def close(self) -> None:
        """End the thread; no more items will come."""
        self._coming = None
        if self._reader is not None:
            self._reader.shutdown(wait=True, cancel_futures=True)
