"""Caffe's LevelDB. A LevelDB lets one process in at a time; ranks of one node are several.

So each of them opens a folder of its own, made of links to the tables, which never change, and copies of the few small
files that LevelDB writes to when it is opened. The data set itself is only read.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcdl.datasets.keyed import KeyedReading, KeyedWriting, make_key
from hpcdl.datasets.part import Format, import_library
from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TABLES = {".ldb", ".sst"}


class LevelReading(KeyedReading):
    """A database opened through links, in each process anew."""

    _owner: int | None = None

    def _database(self) -> Any:
        if self._owner != os.getpid():
            links = Path(tempfile.mkdtemp(prefix="hpcdl-leveldb-"))
            # Where nobody closes it, the links go with it; in a process that was forked they are not its own.
            self._remove = weakref.finalize(self, _remove, links, os.getpid())
            self._opened = _open_links(self.folder, links)
            self._owner = os.getpid()
        return self._opened

    def count(self) -> int:
        """LevelDB keeps no count: the key behind the last one that hpcdl wrote must not be there."""
        # With checksums: a damaged block that was read without them would lie in the cache as if it were sound.
        with self._database().raw_iterator(verify_checksums=True, fill_cache=False) as place:
            self._walk(place.seek_to_last)
            return int(place.key()) + 1 if place.valid() else 0

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """In the order of keys."""
        # The plain iterator takes a damaged block for the end of the data; this one raises.
        with self._database().raw_iterator(verify_checksums=True, fill_cache=False) as place:
            self._walk(place.seek_to_first)
            while place.valid():
                yield place.key(), place.value()
                self._walk(place.next)

    def _walk(self, step: Callable[[], object]) -> None:
        try:
            step()
        except import_library("plyvel").Error as problem:
            raise Mistake(f"{self.folder}: {_cut(problem)}.", do="Copy the data set again.") from None

    def get(self, key: bytes) -> bytes | None:
        """With its checksum."""
        database, plyvel = self._database(), import_library("plyvel")
        try:
            found: bytes | None = database.get(key, verify_checksums=True)
        except plyvel.Error as problem:
            raise Mistake(
                f"{self.folder}: {key.decode(errors='backslashreplace')}: {_cut(problem)}."
            ) from None
        return found

    def close(self) -> None:
        """Close, and remove the links."""
        if self._owner == os.getpid():
            self._opened.close()
            self._remove()
            self._owner = None


def _remove(links: Path, owner: int) -> None:
    if owner == os.getpid():
        shutil.rmtree(links, ignore_errors=True)


def _open_links(folder: Path, links: Path) -> Any:
    plyvel = import_library("plyvel")
    try:
        for file in folder.iterdir():
            if file.suffix in TABLES:
                (links / file.name).symlink_to(file.resolve())
            elif file.name == "CURRENT" or file.name.startswith("MANIFEST-") or file.suffix == ".log":
                shutil.copyfile(file, links / file.name)
        return plyvel.DB(str(links), create_if_missing=False, paranoid_checks=True)
    except (plyvel.Error, OSError) as problem:
        words = _cut(problem).replace(str(links), str(folder))
        raise Mistake(
            f"{folder}: cannot be opened as LevelDB ({words}).",
            do="A file is missing or damaged: copy the data set again.",
        ) from None


def _cut(problem: Exception) -> str:
    words = problem.args[0] if problem.args else problem
    text = words.decode(errors="backslashreplace") if isinstance(words, bytes) else str(problem)
    return text.splitlines()[0] if text else type(problem).__name__


class LevelWriting(KeyedWriting):
    """A database that this process alone has open."""

    def begin(self) -> Iterator[tuple[bytes, bytes]]:
        """What was written with a sync is there."""
        self._plyvel = import_library("plyvel")
        try:
            self._database = self._plyvel.DB(str(self.folder), create_if_missing=True)
        except self._plyvel.Error as problem:
            raise Mistake(f"{self.folder}: cannot be gone on with ({_cut(problem)}).") from None
        yield from self._database

    def put(self, pairs: list[tuple[bytes, bytes]]) -> None:
        """One batch, all or nothing, on the disk."""
        try:
            with self._database.write_batch(sync=True, transaction=True) as batch:
                for key, value in pairs:
                    batch.put(key, value)
        except self._plyvel.Error as problem:
            raise OSError(_cut(problem)) from None

    def end(self) -> None:
        """Into tables, so that readers have no log to go through."""
        self._database.compact_range(start=make_key(0), stop=b"~")
        self._database.close()


def _holds(folder: Path) -> bool:
    return (folder / "CURRENT").is_file() and any(folder.glob("MANIFEST-*"))


LEVELDB = Format(
    "leveldb",
    open=LevelReading,
    create=LevelWriting,
    holds=_holds,
    encoded=True,
    pixels=True,
    library="plyvel",
)
