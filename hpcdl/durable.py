"""Writing that survives: a folder is claimed once, a file is whole or absent, a stream grows by whole lines."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic_core import to_json

from hpcdl.errors import Failure, Mistake

if TYPE_CHECKING:
    from hpcdl.frozen import Frozen


def claim(path: Path) -> None:
    """Take a folder for oneself: mkdir succeeds for exactly one of many."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir()
    except OSError as problem:
        if isinstance(problem, FileExistsError) and path.parent.is_dir():
            raise Failure(
                f"the run folder {path} exists already.", do="A run is never written over: submit anew."
            ) from None
        raise Mistake(
            f"the store {path.parent} cannot be written ({problem.strerror}).",
            do="Name another place with --store, $HPCDL_STORE or `store` in the site file.",
        ) from None


def publish(path: Path, content: str | bytes) -> None:
    """Write a whole file or nothing: temporary in the same folder, flush to disk, size check, rename.

    Raises:
        Failure: The disk is full or the folder cannot be written; what stood there before still stands.
    """
    # Half of a surrogate pair (from a file name that is no UTF-8) is shown as what it is.
    data = content if isinstance(content, bytes) else content.encode(errors="backslashreplace")
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if temporary.stat().st_size != len(data):
            raise OSError(f"{temporary} came out short")
        # tempfile makes 0600; records are for whoever the user's umask admits.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as problem:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise Failure(f"{path} could not be written: {problem.strerror or problem}.") from problem


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def publish_record(path: Path, record: Frozen) -> None:
    """A record as indented JSON, atomically."""
    publish(path, record.model_dump_json(indent=1) + "\n")


def encode_line(record: Frozen | dict[str, object]) -> bytes:
    """A record as one line of JSON, with its end."""
    text = to_json(record) if isinstance(record, dict) else record.model_dump_json().encode()
    return text + b"\n"


class Appender:
    """A stream of JSON lines: buffered, and appended whole-lines-at-a-time with single O_APPEND writes.

    Several supervisors of one host share a file; each write carries whole lines only, so that they do not mix.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pending: list[bytes] = []
        self._tore = False

    @property
    def path(self) -> Path:
        return self._path

    @property
    def pending(self) -> bytes:
        """What is still to be appended, as `flush` would do it."""
        # A line that was cut off last time is ended, so that it spoils no other.
        return b"\n" * self._tore + b"".join(self._pending)

    def add(self, record: Frozen | dict[str, object]) -> None:
        self._pending.append(encode_line(record))

    def flush(self) -> None:
        """Append what is pending.

        Raises:
            OSError: The disk is full. Lines that were not taken whole stay pending.
        """
        if not self._pending:
            return
        data = self.pending
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            written = os.write(descriptor, data)
        finally:
            os.close(descriptor)
        if written:
            self._forget(written - self._tore)
        if self._pending:
            raise OSError(f"{self._path}: only {written} of {len(data)} bytes were taken")

    def _forget(self, count: int) -> None:
        """Of so many bytes that were written, the whole lines are no longer pending."""
        while self._pending and count >= len(self._pending[0]):
            count -= len(self._pending.pop(0))
        self._tore = count > 0
