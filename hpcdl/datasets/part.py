"""One part of a data set, and what a format is: how a part is read and written."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]  # (height, width, channels), channels 1 or 3 (RGB)
    Content = bytes | Pixels  # an encoded image as it stands in its file, or pixels


@dataclass(frozen=True)
class Sample:
    """One image with its label, on its way from one format to another.

    `name` is where it came from, relative to its data set (`cat/0001.jpg`): for people, and for formats with names.
    """

    name: str
    label: int
    content: Content


@dataclass(frozen=True)
class Layout:
    """What is known of a part before its first sample is written.

    `shape` is (height, width, channels) where all samples are alike; None where sizes are mixed.
    """

    samples: int
    encoded: bool
    shape: tuple[int, int, int] | None
    classes: tuple[str, ...]


class Reading(Protocol):
    """A part opened for reading. May be used by several threads at once, and by a process that was forked before
    the first `read`.

    Attributes:
        labels: (samples,) int64.
        encoded: Whether `read` gives encoded images.
        shape: (height, width, channels) of all samples; None: encoded, or of mixed sizes.
    """

    @property
    def labels(self) -> NDArray[np.int64]: ...
    @property
    def encoded(self) -> bool: ...
    @property
    def shape(self) -> tuple[int, int, int] | None: ...

    def read(self, index: int) -> Content:
        """The content of one sample; pixels may be a view that must not be written to.

        Raises:
            Mistake: It cannot be read: names the file, the sample, and what is wrong with it.
        """
        ...

    def name(self, index: int) -> str:
        """The sample as a person would name it in this format: a key, a member, a file."""
        ...

    def close(self) -> None:
        """Let go of files and maps."""
        ...


class Writing(Protocol):
    """A part being written. Samples come in the order of their index.

    Attributes:
        written: Samples that an earlier attempt left safely behind: the next sample to add has this index.
    """

    @property
    def written(self) -> int: ...

    def add(self, sample: Sample) -> None:
        """Take the next sample."""
        ...

    def flush(self) -> None:
        """Make safe what was taken, as far as the format can: a later attempt begins behind it."""
        ...

    def close(self, *, complete: bool) -> None:
        """Let go; `complete`: all samples came, and the part is to be finished."""
        ...


@dataclass(frozen=True)
class Format:
    """How parts are read and written, and how one is recognised.

    Args:
        name: As in `--format` and the manifest.
        open: The folder of a part -> it, opened. Raises Mistake where it is cut, foreign or empty.
        create: The folder of a part, and its layout -> it, to be written; what an earlier attempt with the same
            layout left there is continued. Raises Mistake for a layout that the format cannot hold.
        holds: Whether a folder is a part in this format, judged by names alone.
        encoded: Whether parts can hold encoded images.
        pixels: Whether parts can hold pixels.
        library: What has to be installed for it, by the name that is imported.
    """

    name: str
    open: Callable[[Path], Reading]
    create: Callable[[Path, Layout], Writing]
    holds: Callable[[Path], bool]
    encoded: bool
    pixels: bool
    library: str | None = None


def refuse_unfinished(place: Path, *, unfinished: bool) -> None:
    """A part that is still being made is no part yet.

    Raises:
        Mistake: It is.
    """
    if unfinished:
        raise Mistake(f"{place}: this part was not finished.", do="Go on: `hpcdl data make` once more.")


def load_labels(path: Path) -> NDArray[np.int64]:
    """The labels that lie beside a part.

    Raises:
        Mistake: They cannot be read.
    """
    try:
        labels: NDArray[np.int64] = np.load(path, allow_pickle=False).astype(np.int64)
    except (OSError, ValueError, EOFError) as problem:
        raise Mistake(f"{path}: cannot be read ({problem}).") from None
    return labels


def refuse_wrong_labels(part: Reading, classes: int, *, do: str) -> None:
    """A label is a place in the list of classes.

    Raises:
        Mistake: One is not, with the sample's name and `do`.
    """
    wrong = np.flatnonzero((part.labels < 0) | (part.labels >= classes))
    if len(wrong):
        raise Mistake(
            f"{part.name(int(wrong[0]))}: its label is {part.labels[wrong[0]]}, and there are {classes} classes, "
            f"counted from 0; so it is with {len(wrong)} of {len(part.labels)} samples.",
            do=do,
        )


class Mapped:
    """What formats have in common whose pixels lie in one array, mapped into memory: samples are views of it.

    Args:
        path: The file that the array is from.
        images: (samples, height, width, channels) uint8.
        labels: (samples,) int64.

    Raises:
        Mistake: There are not as many labels as images.
    """

    encoded = False

    def __init__(self, path: Path, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        if len(images) != len(labels):
            raise Mistake(f"{path}: {len(images)} images have {len(labels)} labels.")
        self._path, self._images, self.labels = path, images, labels

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every sample."""
        height, width, channels = self._images.shape[1:]
        return height, width, channels

    def read(self, index: int) -> Pixels:
        """A view of the map."""
        pixels: Pixels = self._images[index]
        return pixels

    def name(self, index: int) -> str:
        """Samples have no names there: file and place."""
        return f"{self._path}[{index}]"

    def close(self) -> None:
        """The map goes with the last view of it."""


def list_files(path: Path) -> list[Path]:
    """The files of a part, by name: those in its folder, or where a part has none, those beside it."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    return sorted(file for file in path.parent.iterdir() if file.is_file())


def import_library(name: str) -> Any:
    """A library that only one format needs.

    Raises:
        Mistake: It is not installed, with the command that installs it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as problem:
        raise Mistake(
            f"{name}, which this format of data needs, cannot be imported ({problem}).",
            do="Install what data sets need: pip install 'hpcdl[data]'.",
        ) from None
