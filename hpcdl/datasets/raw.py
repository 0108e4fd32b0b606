"""Pixels as they are, memory-mapped: for GPUs that outrun the decoding of JPEG.

A part is `images.npy` (samples, height, width, channels) uint8 and `labels.npy` (samples,) int64, which numpy reads
anywhere. `written.txt` counts what is safe while a part is being made, and is gone when it is complete.
"""

from __future__ import annotations

import tokenize
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcdl.datasets.part import Format, Mapped, refuse_unfinished
from hpcdl.durable import publish
from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from pathlib import Path

    from hpcdl.datasets.part import Layout, Sample

IMAGES, LABELS, WRITTEN = "images.npy", "labels.npy", "written.txt"


class RawReading(Mapped):
    """A part, mapped: a sample is read when its pixels are looked at."""

    def __init__(self, folder: Path) -> None:
        refuse_unfinished(folder, unfinished=(folder / WRITTEN).exists())
        images, labels = _map(folder / IMAGES, np.uint8, 4), np.array(_map(folder / LABELS, np.int64, 1))
        super().__init__(folder / IMAGES, images, labels)


class RawWriting:
    """A part being written, into files that have their full size from the beginning."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        if layout.encoded or layout.shape is None:
            raise Mistake(
                "raw pixels are all of one size, and not encoded.", do="Give the size: --size HEIGHTxWIDTH."
            )
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.written = _read_count(folder / WRITTEN)
        shape = (layout.samples, *layout.shape)
        self._images = _prepare(folder / IMAGES, np.uint8, shape, fresh=not self.written)
        self._labels = _prepare(folder / LABELS, np.int64, (layout.samples,), fresh=not self.written)
        self._next = self.written

    def add(self, sample: Sample) -> None:
        """Write the next sample into its place."""
        self._images[self._next] = sample.content
        self._labels[self._next] = sample.label
        self._next += 1

    def flush(self) -> None:
        """Pixels first, then the count that vouches for them."""
        self._images.flush()
        self._labels.flush()
        publish(self._folder / WRITTEN, str(self._next))

    def close(self, *, complete: bool) -> None:
        """Without the count the part is complete."""
        self.flush()
        if complete:
            (self._folder / WRITTEN).unlink()


def _map(path: Path, kind: Any, dimensions: int) -> Any:
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, tokenize.TokenError) as problem:
        raise Mistake(
            f"{path}: cannot be read as an array of numpy ({problem}).",
            do="It may be cut off: copy the data set again.",
        ) from None
    if found.dtype != kind or found.ndim != dimensions or not len(found):
        raise Mistake(
            f"{path}: {found.shape} of {found.dtype} is not what a part of raw pixels has: "
            f"{dimensions} dimensions of {np.dtype(kind)}, and not none."
        )
    if not found.flags.c_contiguous:
        raise Mistake(
            f"{path}: it lies in Fortran's order, and a sample has to lie in one piece.",
            do="Save it with numpy.ascontiguousarray.",
        )
    return found


def _prepare(path: Path, kind: Any, shape: tuple[int, ...], *, fresh: bool) -> Any:
    if fresh:
        return np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape)
    found = np.load(path, mmap_mode="r+", allow_pickle=False)
    if found.shape != shape or found.dtype != kind:
        raise Mistake(
            f"{path}: {found.shape} was begun here, and {shape} is to be written.",
            do="Remove the folder, or make the data set elsewhere.",
        )
    return found


def _read_count(path: Path) -> int:
    try:
        return int(path.read_text())
    except FileNotFoundError:
        return 0


def _holds(folder: Path) -> bool:
    return (folder / IMAGES).is_file()


RAW = Format("raw", open=RawReading, create=RawWriting, holds=_holds, encoded=False, pixels=True)
