"""The kernel's small files: a word or a number each, read again and again through one open descriptor."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# What one file of sysfs holds at most.
PAGE_BYTES = 4096


class Attribute:
    """One file that is kept open.

    Raises:
        OSError: It cannot be opened; later, when it is read, it cannot be read any more.
    """

    def __init__(self, path: Path, size_bytes: int = PAGE_BYTES) -> None:
        self._size_bytes = size_bytes
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> str:
        """Its text now. Read at offset 0: only there does the kernel ask the driver again."""
        return os.pread(self._descriptor, self._size_bytes, 0).decode("utf-8", "replace")

    def close(self) -> None:
        """Let go of the file; a second time does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def read_text(path: Path) -> str | None:
    """The text without its line end, or None where the file is not there, or not for us."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def read_number(path: Path) -> float | None:
    """The number that the file begins with, whatever unit may follow; None where it has none."""
    words = (read_text(path) or "").split()
    try:
        return float(words[0])
    except (IndexError, ValueError):
        return None


def explain(problem: OSError | ValueError) -> str:
    """Why a file could not be read, in the kernel's words."""
    return (problem.strerror if isinstance(problem, OSError) else None) or "it holds no number"
