"""MNIST's idx (http://yann.lecun.com/exdb/mnist, as archived): a header of big-endian numbers, and bytes.

A magic number 0, 0, type, dimensions; 8 is unsigned bytes. Images are (samples, height, width), and in colour
(samples, height, width, channels), which the format has room for. Files may be packed by gzip.
"""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcdl.datasets.part import Format, Mapped, refuse_unfinished
from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from hpcdl.datasets.part import Layout, Sample

UNSIGNED_BYTES = 8
IMAGES = ("images-idx3-ubyte", "images-idx4-ubyte", "images.idx3-ubyte", "images.idx4-ubyte")
LABELS = ("labels-idx1-ubyte", "labels.idx1-ubyte")
# As MNIST's own files begin.
PREFIXES = {"train": "train-", "val": "t10k-"}
UNFINISHED = "unfinished"


class IdxReading(Mapped):
    """A part, mapped where it is not packed."""

    def __init__(self, folder: Path) -> None:
        refuse_unfinished(folder, unfinished=(folder / UNFINISHED).exists())
        path, beside = _find(folder, IMAGES), _find(folder, LABELS)
        if path is None or beside is None:
            missing = "images" if path is None else "labels"
            raise Mistake(f"{folder}: there are no {missing} in idx.")
        images, labels = _read(path, (3, 4)), _read(beside, (1,)).astype(np.int64)
        super().__init__(path, images[..., np.newaxis] if images.ndim == 3 else images, labels)


def _find(folder: Path, names: tuple[str, ...]) -> Path | None:
    """In the folder of the part; or beside it, as MNIST calls its files."""
    prefix = PREFIXES.get(folder.name, "")
    places = [folder / name for name in names]
    if prefix:
        places += [folder.parent / f"{prefix}{name}" for name in names]
    found = (Path(f"{place}{suffix}") for place in places for suffix in ("", ".gz"))
    return next((place for place in found if place.is_file()), None)


def _read(path: Path, dimensions: tuple[int, ...]) -> Any:
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else None
        head = content[:20] if content is not None else _read_head(path)
    except (OSError, EOFError, zlib.error) as problem:
        raise Mistake(f"{path}: cannot be read ({problem}).") from None
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] != UNSIGNED_BYTES or head[3] not in dimensions:
        raise Mistake(
            f"{path}: this is no idx file of bytes in {' or '.join(map(str, dimensions))} dimensions."
        )
    begin = 4 + 4 * head[3]
    if len(head) < begin:
        raise Mistake(f"{path}: it is cut off in its header.", do="Copy the data set again.")
    shape = struct.unpack(f">{head[3]}I", head[4:begin])
    size = len(content) if content is not None else path.stat().st_size
    if size != begin + int(np.prod(shape, dtype=np.int64)):
        raise Mistake(
            f"{path}: {size} bytes, and its header promises {begin + int(np.prod(shape, dtype=np.int64))}.",
            do="It was cut off, or something else is in it: copy the data set again.",
        )
    if not shape[0]:
        raise Mistake(f"{path}: it holds no samples.")
    if content is not None:
        return np.frombuffer(content, dtype=np.uint8, offset=begin).reshape(shape)
    return np.memmap(path, dtype=np.uint8, mode="r", offset=begin, shape=shape)


def _read_head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(20)


class IdxWriting:
    """Two files that grow; a count in their headers is written last."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        if layout.shape is None:
            raise Mistake("idx holds pixels, all of one size.", do="Give the size: --size HEIGHTxWIDTH.")
        if len(layout.classes) > 256:
            raise Mistake(f"idx has one byte for a label, and there are {len(layout.classes)} classes.")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / UNFINISHED).touch()
        self._folder, grey = folder, layout.shape[2] == 1
        sides = layout.shape[:2] if grey else layout.shape
        self._images = _open(folder / IMAGES[0 if grey else 1], sides)
        self._labels = _open(folder / LABELS[0], ())
        self._sizes = (int(np.prod(sides)), 1)
        streams = (self._images, self._labels)
        begins = (8 + 4 * len(sides), 8)
        counts = [
            (_length(stream) - begin) // size
            for stream, begin, size in zip(streams, begins, self._sizes, strict=True)
        ]
        self.written = max(0, min(counts))
        for stream, begin, size in zip(streams, begins, self._sizes, strict=True):
            stream.truncate(begin + self.written * size)
            stream.seek(0, os.SEEK_END)
        self._next = self.written

    def add(self, sample: Sample) -> None:
        """Append the next sample."""
        content = sample.content
        if isinstance(content, bytes):
            raise Mistake("idx holds pixels, no encoded images.")
        self._images.write(np.ascontiguousarray(content).tobytes())
        self._labels.write(bytes([sample.label]))
        self._next += 1

    def flush(self) -> None:
        """Both files, as far as they are."""
        for stream in (self._images, self._labels):
            stream.flush()
            os.fsync(stream.fileno())

    def close(self, *, complete: bool) -> None:
        """The count makes them whole."""
        for stream in (self._images, self._labels):
            stream.seek(4)
            stream.write(struct.pack(">I", self._next))
        self.flush()
        for stream in (self._images, self._labels):
            stream.close()
        if complete:
            (self._folder / UNFINISHED).unlink()


def _open(path: Path, sides: tuple[int, ...]) -> Any:
    """A file with a header of so many dimensions, and no samples yet; or what is there."""
    dimensions = 1 + len(sides)
    head = struct.pack(f">BBBB{dimensions}I", 0, 0, UNSIGNED_BYTES, dimensions, 0, *sides)
    if not path.exists() or path.stat().st_size < len(head):
        path.write_bytes(head)
    stream = path.open("r+b")
    there = stream.read(len(head))
    if there[:4] + there[8:] != head[:4] + head[8:]:
        stream.close()
        raise Mistake(f"{path}: images of another size were begun here.", do="Remove the folder.")
    return stream


def _length(stream: Any) -> int:
    return os.fstat(stream.fileno()).st_size


def _holds(folder: Path) -> bool:
    return _find(folder, IMAGES) is not None


IDX = Format("idx", open=IdxReading, create=IdxWriting, holds=_holds, encoded=False, pixels=True)
