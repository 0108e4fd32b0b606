"""What TFRecord and WebDataset have in common: files of some hundred samples each, read at offsets.

A shard is written whole, under another name, and renamed: there is no torn one. Beside each lies its index in the form
that DALI's own tools write; where there is none, the shard is looked through once.
"""

from __future__ import annotations

import os
import resource
import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hpcdl.datasets.part import load_labels, refuse_unfinished
from hpcdl.durable import publish
from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from hpcdl.datasets.part import Layout, Sample

LABELS = "labels.npy"
UNFINISHED = "unfinished"


class Entry(NamedTuple):
    """Where a sample lies in its shard."""

    offset: int
    size: int


class ShardedReading(ABC):
    """Shards in the order of their names."""

    encoded = True
    shape = None
    suffix: str

    def __init__(self, folder: Path) -> None:
        refuse_unfinished(folder, unfinished=(folder / UNFINISHED).exists())
        self.folder = folder
        self._lock = threading.Lock()
        self._open: dict[tuple[int, int], int] = {}
        self._shards = list_shards(folder, self.suffix)
        self._stay_open = _may_stay_open(len(self._shards))
        entries = [
            (shard, *entry) for shard, path in enumerate(self._shards) for entry in self.find_entries(path)
        ]
        if not entries:
            raise Mistake(f"{folder}: there are no samples in it.")
        self._entries = np.array(entries, dtype=np.int64)
        self.labels = self._read_labels()

    def _read_labels(self) -> NDArray[np.int64]:
        own = self.folder / LABELS
        if not own.is_file():
            return np.array([self.read_label(index) for index in range(len(self._entries))], dtype=np.int64)
        labels = load_labels(own)
        if labels.shape != (len(self._entries),):
            raise Mistake(
                f"{self.folder}: {len(self._entries)} samples have {len(labels)} labels in {LABELS}.",
                do="A shard is missing or cut off: copy the data set again.",
            )
        return labels

    def take(self, index: int) -> bytes:
        """The bytes of a sample, as they lie in its shard.

        Raises:
            Mistake: The shard is shorter, or cannot be read.
        """
        shard, offset, size = self._entries[index].tolist()
        try:
            content = self._read_at(shard, size, offset)
        except OSError as problem:
            raise Mistake(f"{self.name(index)}: cannot be read ({problem.strerror}).") from None
        if len(content) < size:
            raise Mistake(f"{self.name(index)}: the file is cut off.", do="Copy the data set again.")
        return content

    def _read_at(self, shard: int, size: int, offset: int) -> bytes:
        if self._stay_open:
            return os.pread(self._descriptor(shard), size, offset)
        descriptor = os.open(self._shards[shard], os.O_RDONLY)
        try:
            return os.pread(descriptor, size, offset)
        finally:
            os.close(descriptor)

    def _descriptor(self, shard: int) -> int:
        with self._lock:
            place = (os.getpid(), shard)
            if place not in self._open:
                self._open[place] = os.open(self._shards[shard], os.O_RDONLY)
            return self._open[place]

    def name(self, index: int) -> str:
        """Shard and offset."""
        shard, offset, _ = self._entries[index].tolist()
        return f"{self._shards[shard]} at byte {offset}"

    def close(self) -> None:
        """Close all shards."""
        with self._lock:
            for (owner, _), descriptor in self._open.items():
                if owner == os.getpid():
                    os.close(descriptor)
            self._open.clear()

    @abstractmethod
    def find_entries(self, shard: Path) -> Sequence[Entry]:
        """Where each sample of a shard lies, by its index or by looking."""

    @abstractmethod
    def read(self, index: int) -> bytes:
        """The encoded image."""

    @abstractmethod
    def read_label(self, index: int) -> int:
        """The label, out of the sample itself."""


class ShardedWriting(ABC):
    """Samples kept until they are to be made safe: that is a shard."""

    suffix: str

    def __init__(self, folder: Path, layout: Layout) -> None:
        if not layout.encoded:
            raise Mistake("this format holds encoded images.", do="Say --encoded jpeg or --encoded png.")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / UNFINISHED).touch()
        self.folder, self._classes = folder, layout.classes
        self._labels = self.list_labels() if list_shards(folder, self.suffix, may_be_empty=True) else []
        self.written = len(self._labels)
        self._safe = self.written
        self._pending: list[Sample] = []

    def add(self, sample: Sample) -> None:
        """Take the next sample."""
        self._pending.append(sample)
        self._labels.append(sample.label)

    def flush(self) -> None:
        """A shard of what is kept; its index first, since a shard that is there counts."""
        if not self._pending:
            return
        name = f"{self._safe:08d}{self.suffix}"
        content, index = self.pack(self._pending, self._safe)
        publish(self.folder / f"{name}.idx", index)
        publish(self.folder / name, content)
        self._safe += len(self._pending)
        self._pending.clear()

    def close(self, *, complete: bool) -> None:
        """Labels last."""
        self.flush()
        if complete:
            with (self.folder / LABELS).open("wb") as stream:
                np.save(stream, np.array(self._labels, dtype=np.int64))
                stream.flush()
                os.fsync(stream.fileno())
            (self.folder / UNFINISHED).unlink()

    @abstractmethod
    def pack(self, samples: Sequence[Sample], first: int) -> tuple[bytes, str]:
        """A shard, whose first sample has the index `first`, and its index as DALI's tool would write it."""

    @abstractmethod
    def list_labels(self) -> list[int]:
        """The labels in the shards that are there."""


def _may_stay_open(shards: int) -> bool:
    """Whether so many of one part may: half of the process's files are for others, and there may be two parts.

    Where they may not, each sample opens its shard, which costs time but no training (`ulimit -n` is the limit).
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limit == resource.RLIM_INFINITY or shards <= limit // 4


def list_shards(folder: Path, suffix: str, *, may_be_empty: bool = False) -> list[Path]:
    """The shards of a part, by name.

    Raises:
        Mistake: There are none, or the folder cannot be read.
    """
    try:
        found = sorted(file for file in folder.iterdir() if file.name.endswith(suffix))
    except OSError as problem:
        raise Mistake(f"{folder}: cannot be read ({problem.strerror}).") from None
    if not found and not may_be_empty:
        raise Mistake(f"{folder}: there are no {suffix} files in it.")
    return found
