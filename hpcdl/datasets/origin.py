"""A data set opened for whoever goes through all of it: image trees and every other format alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hpcdl.datasets.formats import find_format
from hpcdl.datasets.recognition import recognise
from hpcdl.datasets.tree import Tree, read_tree
from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpcdl.datasets.manifest import Manifest, PartName
    from hpcdl.datasets.part import Reading
    from hpcdl.datasets.recognition import Found


class TreeReading:
    """One part of an image tree: files as they lie there, in the order of classes and names."""

    encoded = True
    shape = None

    def __init__(self, tree: Tree, indices: NDArray[np.int64]) -> None:
        self._root: Path = tree.root
        self._files: list[str] = [tree.files[index] for index in indices.tolist()]
        self.labels: NDArray[np.int64] = tree.labels[indices]

    def read(self, index: int) -> bytes:
        """The file."""
        path = self._root / self._files[index]
        try:
            return path.read_bytes()
        except OSError as problem:
            raise Mistake(f"{path}: cannot be read ({problem.strerror}).") from None

    def name(self, index: int) -> str:
        """Its path below the root."""
        return self._files[index]

    def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True)
class Origin:
    """A data set and its parts, opened."""

    found: Found
    classes: tuple[str, ...]
    parts: dict[PartName, Reading]

    @property
    def manifest(self) -> Manifest | None:
        """What it says of itself."""
        return self.found.manifest

    def close(self) -> None:
        """Let go of all parts."""
        for part in self.parts.values():
            part.close()


def open_origin(root: Path) -> Origin:
    """The data set at `root`. A tree without a part `val` has one part; nothing is held out here.

    Raises:
        Mistake: There is none, or it cannot be read.
    """
    found = recognise(root)
    if found.format == "folder":
        return _open_tree(found)
    parts = {name: find_format(found.format).open(path) for name, path in found.parts.items()}
    if found.manifest is not None:
        return Origin(found, found.manifest.classes, parts)
    highest = max(int(part.labels.max()) for part in parts.values())
    digits = len(str(max(highest, 0)))
    # As many digits each: in a tree the order of names is that of labels.
    return Origin(found, tuple(f"{label:0{digits}d}" for label in range(max(highest, 0) + 1)), parts)


def _open_tree(found: Found) -> Origin:
    tree = read_tree(found.root, seed=0)
    everything = np.arange(len(tree.files))
    if tree.drawn:
        return Origin(found, tree.classes, {"train": TreeReading(tree, everything)})
    parts: dict[PartName, Reading] = {
        "train": TreeReading(tree, tree.training),
        "val": TreeReading(tree, tree.held_out),
    }
    return Origin(found, tree.classes, parts)


def open_part(root: Path, name: PartName) -> Reading:
    """One part, in a process of its own.

    Raises:
        Mistake: It is not there, or cannot be read.
    """
    return open_origin(Path(root)).parts[name]
