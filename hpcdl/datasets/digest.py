"""What a part holds, as one number: whatever the machine, and however many processes read it.

The digest of a sample is SHA-256 over its label (8 bytes, little-endian), what it is (0: encoded, 1: pixels), its
lengths (8 bytes each), and its content. That of a part is SHA-256 over those of its samples, in their order.
"""

from __future__ import annotations

import hashlib
import os
import struct
from typing import TYPE_CHECKING

import numpy as np

from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from hpcdl.datasets.part import Content

SAMPLE_BYTES = 32


def digest_sample(label: int, content: Content) -> bytes:
    """32 bytes."""
    if isinstance(content, bytes):
        head, body = struct.pack("<qBQ", label, 0, len(content)), content
    else:
        head = struct.pack("<qB3Q", label, 1, *content.shape)
        body = np.ascontiguousarray(content).tobytes()
    return hashlib.sha256(head + body).digest()


def digest_part(samples: Iterable[bytes]) -> str:
    """64 hexadecimal digits, of the samples' digests."""
    total = hashlib.sha256()
    for sample in samples:
        total.update(sample)
    return total.hexdigest()


class KeptDigests:
    """The digests of what was written, beside the part, so that going on need not read it all again."""

    def __init__(self, path: Path, written: int) -> None:
        self._path, self._kept = path, bytearray()
        path.parent.mkdir(parents=True, exist_ok=True)
        there = path.stat().st_size // SAMPLE_BYTES if path.exists() else 0
        if there < written:
            raise Mistake(
                f"{path}: digests of {there} samples are here, and {written} were written.",
                do="Remove the folder, and make the data set from the beginning.",
            )
        with path.open("ab") as stream:
            stream.truncate(written * SAMPLE_BYTES)

    @property
    def pending(self) -> int:
        """How many are not safe yet."""
        return len(self._kept) // SAMPLE_BYTES

    def add(self, digest: bytes) -> None:
        """Take the next sample's."""
        self._kept += digest

    def flush(self) -> None:
        """Make safe what was taken."""
        with self._path.open("ab") as stream:
            stream.write(self._kept)
            stream.flush()
            os.fsync(stream.fileno())
        self._kept.clear()

    def read(self) -> Iterator[bytes]:
        """All of them, in their order."""
        with self._path.open("rb") as stream:
            while digest := stream.read(SAMPLE_BYTES):
                yield digest


def digests_path(folder: Path) -> Path:
    """Where the digests of a part are kept while it is made."""
    return folder.with_name(f"{folder.name}.digests")
