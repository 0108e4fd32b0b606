"""An image tree as a format that can be made: PART/<class>/<index>-<name>.jpg, in the order of the index.

Reading one is hpcdl.datasets.tree's work: a tree has no index of its own but the order of its names.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from hpcdl.datasets.part import Format
from hpcdl.durable import publish
from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from pathlib import Path

    from hpcdl.datasets.part import Layout, Reading, Sample

WRITTEN = "written.txt"
SUFFIXES = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png"}
LONGEST_STEM = 80


class FolderWriting:
    """Files, of which a count vouches for those that are safe."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        if not layout.encoded:
            raise Mistake("a tree holds JPEG or PNG files.", do="Say --encoded jpeg or --encoded png.")
        unusable = [
            name for name in layout.classes if name in {"", ".", ".."} or "/" in name or name.startswith(".")
        ]
        if unusable:
            raise Mistake(f"the class {unusable[0]!r} cannot be the name of a folder of a tree.")
        self._folder, self._classes = folder, layout.classes
        folder.mkdir(parents=True, exist_ok=True)
        count = folder / WRITTEN
        self.written = int(count.read_text()) if count.exists() else 0
        self._next = self.written
        self._unsafe: list[Path] = []

    def add(self, sample: Sample) -> None:
        """Write the next file; a class's folder is made with its first."""
        if not isinstance(sample.content, bytes):
            raise Mistake(f"{sample.name}: pixels cannot lie in a tree.", do="Say --encoded png.")
        suffix = next((end for start, end in SUFFIXES.items() if sample.content.startswith(start)), None)
        if suffix is None:
            raise Mistake(f"{sample.name}: a tree holds JPEG and PNG files.", do="Say --encoded jpeg or png.")
        stem = re.sub(r"[^A-Za-z0-9._-]", "_", os.path.splitext(sample.name)[0])[-LONGEST_STEM:]  # noqa: PTH122
        path = self._folder / self._classes[sample.label] / f"{self._next:08d}-{stem}{suffix}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(sample.content)
        self._unsafe.append(path)
        self._next += 1

    def flush(self) -> None:
        """The files first, then the count."""
        for path in self._unsafe:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        self._unsafe.clear()
        publish(self._folder / WRITTEN, str(self._next))

    def close(self, *, complete: bool) -> None:
        """Without the count the part is complete."""
        self.flush()
        if complete:
            (self._folder / WRITTEN).unlink()


def _open(folder: Path) -> Reading:
    raise Mistake(f"{folder}: a tree is read as a whole, not part by part.")


def _holds(folder: Path) -> bool:  # noqa: ARG001
    """Never: what is nothing else is taken for a tree."""
    return False


FOLDER = Format("folder", open=_open, create=FolderWriting, holds=_holds, encoded=True, pixels=False)
