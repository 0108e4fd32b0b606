"""Caffe's LMDB: one file, mapped, which many processes read at once without knowing of each other."""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING, Any

from hpcdl.datasets.keyed import KeyedReading, KeyedWriting
from hpcdl.datasets.part import Format, import_library
from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATA = "data.mdb"
FIRST_MAP_BYTES = 2**30

# An environment may be open only once in a process: readers of one path share it. path -> (process, it, users)
_open: dict[str, tuple[int, Any, int]] = {}
_opening = threading.RLock()


class LmdbReading(KeyedReading):
    """An environment, shared by all readers of this process."""

    _owner: int | None = None

    def _environment(self) -> Any:
        place = str(self.folder.resolve())
        with _opening:
            return self._share(place)

    def _share(self, place: str) -> Any:
        if self._owner != os.getpid():
            owner, environment, users = _open.get(place, (-1, None, 0))
            if owner != os.getpid():
                # First use, or first use in a process that was forked: an environment does not survive that.
                if environment is not None:
                    environment.close()
                environment, users = _open_environment(self.folder), 0
            _open[place] = (os.getpid(), environment, users + 1)
            self._owner = os.getpid()
        return _open[place][1]

    def count(self) -> int:
        """From the header."""
        return int(self._environment().stat()["entries"])

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """By a cursor."""
        with self._environment().begin() as transaction:
            yield from transaction.cursor()

    def get(self, key: bytes) -> bytes | None:
        """In a transaction of its own, so that no old pages are held."""
        with self._environment().begin() as transaction:
            found: bytes | None = transaction.get(key)
        return found

    def close(self) -> None:
        """The last reader closes."""
        if self._owner != os.getpid():
            return
        with _opening:
            self._owner = None
            owner, environment, users = _open.pop(str(self.folder.resolve()))
            if users > 1:
                _open[str(self.folder.resolve())] = (owner, environment, users - 1)
            else:
                environment.close()


def _open_environment(folder: Path) -> Any:
    lmdb = import_library("lmdb")
    try:
        environment = lmdb.open(str(folder), readonly=True, lock=False, readahead=False, create=False)
        size, known = (folder / DATA).stat().st_size, environment.info()["last_pgno"] + 1
    except (lmdb.Error, OSError) as problem:
        raise Mistake(f"{folder / DATA}: cannot be opened as LMDB ({problem}).") from None
    # Read beyond its end, a mapped file ends the process.
    if size < known * environment.stat()["psize"]:
        environment.close()
        raise Mistake(
            f"{folder / DATA}: it is cut off: it has {size} bytes, and pages beyond them.",
            do="Copy the data set again.",
        )
    return environment


class LmdbWriting(KeyedWriting):
    """An environment whose map is doubled whenever it is full."""

    def begin(self) -> Iterator[tuple[bytes, bytes]]:
        """What was committed is there."""
        self._lmdb = import_library("lmdb")
        try:
            self._environment = self._lmdb.open(str(self.folder), map_size=FIRST_MAP_BYTES, writemap=False)
        except self._lmdb.Error as problem:
            raise Mistake(f"{self.folder / DATA}: cannot be gone on with ({problem}).") from None
        with self._environment.begin() as transaction:
            yield from transaction.cursor()

    def put(self, pairs: list[tuple[bytes, bytes]]) -> None:
        """One commit, which is durable."""
        while True:
            try:
                with self._environment.begin(write=True) as transaction:
                    for key, value in pairs:
                        transaction.put(key, value)
            except self._lmdb.MapFullError:
                self._environment.set_mapsize(2 * self._environment.info()["map_size"])
            except (self._lmdb.DiskError, self._lmdb.Error) as problem:
                full = "space" in str(problem).lower()
                raise OSError(errno.ENOSPC if full else errno.EIO, str(problem)) from None
            else:
                return

    def end(self) -> None:
        """The lock file is for writers, and of no use to readers."""
        self._environment.close()
        (self.folder / "lock.mdb").unlink(missing_ok=True)


def _holds(folder: Path) -> bool:
    return (folder / DATA).is_file()


LMDB = Format(
    "lmdb", open=LmdbReading, create=LmdbWriting, holds=_holds, encoded=True, pixels=True, library="lmdb"
)
