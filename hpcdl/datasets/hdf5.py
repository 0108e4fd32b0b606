"""HDF5: `images` (samples, height, width, channels) uint8 and `labels` (samples,) int64 in one file.

Encoded images are `images` of variable length. Caffe's layout, `data` (samples, channels, height, width) uint8 in BGR
and `label`, is read too.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcdl.datasets.part import Format, import_library, refuse_unfinished
from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hpcdl.datasets.part import Content, Layout, Sample

FILE = "data.h5"
SUFFIXES = {".h5", ".hdf5"}
# Of the file: samples that are safe while it is made; absent when it is complete.
WRITTEN = "written"


class Hdf5Reading:
    """A file, opened in each process anew: HDF5 does not survive a fork, and does one thing at a time."""

    def __init__(self, folder: Path) -> None:
        self._path = _find_file(folder)
        self._lock = threading.Lock()
        self._owner = -1
        try:
            self._look(self._file())
        except (OSError, RuntimeError, KeyError, ValueError) as problem:
            raise Mistake(
                f"{self._path}: cannot be read as HDF5 ({_first_line(problem)}).",
                do="It may be cut off: copy the data set again.",
            ) from None

    def _look(self, file: Any) -> None:
        refuse_unfinished(self._path, unfinished=WRITTEN in file.attrs)
        self._caffe = "data" in file
        images = file["data" if self._caffe else "images"]
        labels = file["label" if self._caffe else "labels"]
        self.labels: NDArray[np.int64] = np.asarray(labels[()]).reshape(-1).astype(np.int64)
        self.encoded = import_library("h5py").check_vlen_dtype(images.dtype) is not None
        self._check(images, labels)
        self.shape: tuple[int, int, int] | None = None
        if not self.encoded:
            sides = [int(side) for side in images.shape[1:]]
            self.shape = (sides[1], sides[2], sides[0]) if self._caffe else (sides[0], sides[1], sides[2])

    def _check(self, images: Any, labels: Any) -> None:
        if not self.encoded and (images.dtype != np.uint8 or images.ndim != 4):
            raise Mistake(
                f"{self._path}: images are {images.shape} of {images.dtype}; uint8 of four dimensions can be read."
            )
        if np.issubdtype(labels.dtype, np.floating) and not np.array_equal(labels[()], np.rint(labels[()])):
            raise Mistake(f"{self._path}: labels are no whole numbers.")
        if len(images) != len(self.labels) or not len(images):
            raise Mistake(f"{self._path}: {len(images)} images have {len(self.labels)} labels.")

    def _file(self) -> Any:
        if self._owner != os.getpid():
            self._opened = import_library("h5py").File(self._path, "r", locking=False)
            self._owner = os.getpid()
        return self._opened

    def read(self, index: int) -> Content:
        """One chunk."""
        try:
            with self._lock:
                found = self._file()["data" if self._caffe else "images"][index]
        except (OSError, RuntimeError) as problem:
            raise Mistake(f"{self.name(index)}: cannot be read ({_first_line(problem)}).") from None
        if self.encoded:
            return bytes(np.asarray(found).tobytes())
        return np.ascontiguousarray(found.transpose(1, 2, 0)[..., ::-1]) if self._caffe else np.asarray(found)

    def name(self, index: int) -> str:
        """File and place."""
        return f"{self._path}[{index}]"

    def close(self) -> None:
        """Close the file."""
        if self._owner == os.getpid():
            self._opened.close()
            self._owner = -1


class Hdf5Writing:
    """A file of full size from the beginning; a count in it vouches for what is there."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        h5py = import_library("h5py")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / FILE
        try:
            self._file = h5py.File(path, "r+" if path.exists() else "w")
        except OSError:
            # HDF5 does not open what was killed while it was written: this part begins anew.
            self._file = h5py.File(path, "w")
        if "images" not in self._file:
            self._lay_out(h5py, layout)
        # Without the count it is complete, and another part of the data set is what was broken off.
        self.written = int(self._file.attrs.get(WRITTEN, layout.samples))
        self._next = self.written
        self._images, self._labels = self._file["images"], self._file["labels"]
        self._encoded = layout.encoded

    def _lay_out(self, h5py: Any, layout: Layout) -> None:
        self._file.attrs[WRITTEN] = 0
        self._file.create_dataset("labels", (layout.samples,), dtype=np.int64)
        if layout.encoded:
            self._file.create_dataset("images", (layout.samples,), dtype=h5py.vlen_dtype(np.uint8))
            return
        if layout.shape is None:
            raise Mistake("pixels in HDF5 are all of one size.", do="Give the size: --size HEIGHTxWIDTH.")
        shape = (layout.samples, *layout.shape)
        self._file.create_dataset("images", shape, dtype=np.uint8, chunks=(1, *layout.shape))

    def add(self, sample: Sample) -> None:
        """Write the next sample into its place."""
        content = sample.content
        self._images[self._next] = np.frombuffer(content, np.uint8) if isinstance(content, bytes) else content
        self._labels[self._next] = sample.label
        self._next += 1

    def flush(self) -> None:
        """Content first, then the count that vouches for it."""
        self._file.flush()
        self._file.attrs[WRITTEN] = self._next
        self._file.flush()

    def close(self, *, complete: bool) -> None:
        """Without the count the part is complete."""
        self.flush()
        if complete:
            del self._file.attrs[WRITTEN]
        self._file.close()


def _find_file(folder: Path) -> Path:
    found = sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES)
    if len(found) != 1:
        raise Mistake(f"{folder}: a part in HDF5 is one file, and there are {len(found)}.")
    return found[0]


def _first_line(problem: Exception) -> str:
    return str(problem).splitlines()[0] if str(problem) else type(problem).__name__


def _holds(folder: Path) -> bool:
    return folder.is_dir() and any(file.suffix in SUFFIXES for file in folder.iterdir())


HDF5 = Format(
    "hdf5", open=Hdf5Reading, create=Hdf5Writing, holds=_holds, encoded=True, pixels=True, library="h5py"
)
