"""What Caffe's two databases have in common: sorted keys, of which each holds a Datum.

A part that hpcdl wrote has keys that follow from the index, and its labels beside it; of another one keys and labels
are looked through once when it is opened.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from hpcdl.datasets import datum
from hpcdl.datasets.part import load_labels, refuse_unfinished
from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from hpcdl.datasets.part import Content, Layout, Sample

T = TypeVar("T")

LABELS = "labels.npy"
UNFINISHED = "unfinished"


def make_key(index: int) -> bytes:
    """Eight digits, as convert_imageset begins its keys: in order, whatever compares them."""
    return b"%08d" % index


class KeyedReading(ABC):
    """A database opened for reading, in each process anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        refuse_unfinished(folder, unfinished=(folder / UNFINISHED).exists())
        self._keys: list[bytes] | None = None
        self.shape: tuple[int, int, int] | None = None
        own = folder / LABELS
        self.labels = self._read_own_labels(own) if own.is_file() else self._look_through()
        if not len(self.labels):
            raise Mistake(f"{folder}: this database is empty.")
        first = self.read(0)
        self.encoded = isinstance(first, bytes)
        if self._keys is None and not isinstance(first, bytes):
            # One that hpcdl made: its pixels are all of one size.
            self.shape = first.shape[0], first.shape[1], first.shape[2]

    def _read_own_labels(self, own: Path) -> NDArray[np.int64]:
        labels = load_labels(own)
        if self.count() != len(labels) or labels.ndim != 1:
            raise Mistake(
                f"{self.folder}: {self.count()} samples have {len(labels)} labels in {LABELS}.",
                do="Copy the data set again.",
            )
        return labels

    def _look_through(self) -> NDArray[np.int64]:
        """Keys, labels and sizes of a database that somebody else made."""
        keys, labels, shapes = [], [], set()
        for key, value in self.items():
            label, shape = self._decode(datum.read_head, key, value)
            keys.append(key)
            labels.append(label)
            shapes.add(shape)
        if None in shapes and len(shapes) > 1:
            raise Mistake(f"{self.folder}: some of its samples are encoded, and some are pixels.")
        self._keys = keys
        self.shape = shapes.pop() if len(shapes) == 1 else None
        return np.array(labels, dtype=np.int64)

    def read(self, index: int) -> Content:
        """The Datum's image."""
        key = self._key(index)
        with self._lock:
            value = self.get(key)
        if value is None:
            raise Mistake(f"{self.name(index)}: there is no such key.", do="Make the data set again.")
        return self._decode(datum.decode, key, value)[1]

    def _decode(self, decode: Callable[[bytes], T], key: bytes, value: bytes) -> T:
        try:
            return decode(value)
        except ValueError as problem:
            raise Mistake(
                f"{self.folder}: the key {_show(key)} holds no Datum of Caffe: {problem}."
            ) from None

    def _key(self, index: int) -> bytes:
        return make_key(index) if self._keys is None else self._keys[index]

    def name(self, index: int) -> str:
        """Database and key."""
        return f"{self.folder}: {_show(self._key(index))}"

    @abstractmethod
    def count(self) -> int:
        """Samples in the database."""

    @abstractmethod
    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All of them, in the order of their keys."""

    @abstractmethod
    def get(self, key: bytes) -> bytes | None:
        """One of them."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the database."""


class KeyedWriting(ABC):
    """A database being written: what was flushed is safe."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        if not layout.encoded and layout.shape is not None and layout.shape[2] not in {1, 3}:
            raise Mistake(f"a Datum has one channel or three, not {layout.shape[2]}.")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / UNFINISHED).touch()
        self.folder = folder
        self._pending: list[tuple[bytes, bytes]] = []
        self._labels = [datum.read_head(value)[0] for _, value in self.begin()]
        self.written = len(self._labels)

    def add(self, sample: Sample) -> None:
        """Take the next sample."""
        value = datum.encode(sample.label, sample.content)
        self._pending.append((make_key(len(self._labels)), value))
        self._labels.append(sample.label)

    def flush(self) -> None:
        """One transaction."""
        self.put(self._pending)
        self._pending.clear()

    def close(self, *, complete: bool) -> None:
        """Labels last: they are what makes the part complete."""
        self.flush()
        self.end()
        if complete:
            path = self.folder / LABELS
            with (self.folder / f"{LABELS}.new").open("wb") as stream:
                np.save(stream, np.array(self._labels, dtype=np.int64))
                stream.flush()
                os.fsync(stream.fileno())
            (self.folder / f"{LABELS}.new").replace(path)
            (self.folder / UNFINISHED).unlink()

    @abstractmethod
    def begin(self) -> Iterable[tuple[bytes, bytes]]:
        """Open the database, and give what an earlier attempt left in it."""

    @abstractmethod
    def put(self, pairs: list[tuple[bytes, bytes]]) -> None:
        """Write these, and make them safe."""

    @abstractmethod
    def end(self) -> None:
        """Close the database."""


def _show(key: bytes) -> str:
    return key.decode(errors="backslashreplace")
