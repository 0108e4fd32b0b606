"""A gzipped tar of plain files: written so that the same files give the same bytes, and read without trusting it.

POSIX ustar, header by header, since tarfile's reader takes more than can be needed here: links, devices, sparse files
and headers of any length. Whatever this writer would not have written ends the reading.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import tarfile
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from hpcdl.errors import Failure, Mistake

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BLOCK, CHUNK = 512, 1 << 20
# What GzipFile writes with level 6, no name and no time; the bytes after it hold a checksum of their own.
GZIP_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
GZIP_MAGIC = GZIP_HEAD[:2]
LIMIT_BYTES, LIMIT_FILES, LIMIT_TAIL = 16 << 30, 500_000, 1 << 20
# One name of a path that needs no escaping anywhere.
STEP = re.compile(r"[^\x00-\x1f\x7f/\\]+")
TYPES = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"5": "a folder",
    b"6": "a pipe",
}


def pack(target: Path, top: str, files: Mapping[str, Path]) -> None:
    """Write an archive, whole or not at all.

    Args:
        target: The archive.
        top: The folder that all files are in.
        files: Path within `top` -> the file; its time of change is kept, to the second.

    Raises:
        Mistake: A name cannot be stored, or the archive cannot be written.
    """
    headers = [(_make_header(f"{top}/{name}", files[name].stat()), files[name]) for name in sorted(files)]
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as raw:
            temporary = Path(raw.name)
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as file:
                for header, path in headers:
                    file.write(header)
                    file.writelines(_read_padded(path))
                file.write(bytes(2 * BLOCK))
            raw.flush()
            os.fsync(raw.fileno())
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(target)
    except OSError as problem:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise Mistake(f"{target} cannot be written ({problem.strerror or problem}).") from None


def _make_header(name: str, facts: os.stat_result) -> bytes:
    try:
        return _encode(name, facts.st_size, max(0, int(facts.st_mtime)))
    except (ValueError, UnicodeError):
        raise Mistake(
            f"{name!r} cannot be stored in a bundle: its name is too long or no plain text, or it is 8 GiB or more."
        ) from None


def _encode(name: str, size: int, mtime: int) -> bytes:
    """A header as this module writes it.

    Raises:
        ValueError: ustar cannot hold it.
    """
    if not all(STEP.fullmatch(step) and step not in {".", ".."} for step in name.split("/")):
        raise ValueError(name)
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, mtime, 0o644
    return info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")


def _read_padded(path: Path) -> Iterator[bytes]:
    size = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            size += len(chunk)
            yield chunk
    yield bytes(-size % BLOCK)


def unpack(source: Path, into: Path, *, limit_bytes: int = LIMIT_BYTES) -> tuple[str, dict[str, str]]:
    """Unpack an archive that anybody may have made into an empty folder.

    Args:
        source: The archive.
        into: Where its top folder goes.
        limit_bytes: As much may come out of it, headers included.

    Returns:
        The name of the top folder; and SHA-256 of each file, by its path within that.

    Raises:
        Mistake: It is no archive of this module: of another format, with members that are no plain files or that
            would leave the folder, twice the same, or larger than the limit.
        Failure: It is one, and is damaged.
    """
    try:
        with source.open("rb") as raw:
            _require_head(source, raw.read(len(GZIP_HEAD)))
            raw.seek(0)
            with gzip.GzipFile(fileobj=raw, mode="rb") as file:
                return _Unpacking(file, into, limit_bytes).run()
    except (EOFError, zlib.error, gzip.BadGzipFile) as problem:
        raise Failure(f"{source} is damaged: {problem}.", do="Ask for it again.") from None
    except OSError as problem:
        raise Mistake(f"{source} cannot be unpacked ({problem.strerror or problem}).") from None


def _require_head(source: Path, head: bytes) -> None:
    """Each byte of a bundle is checked, and those of this head by being the only ones that there can be."""
    if head == GZIP_HEAD:
        return
    if head[: len(GZIP_MAGIC)] != GZIP_MAGIC:
        raise Mistake(
            f"{source} is no bundle: it is not compressed by gzip.",
            do="Name a file that `hpcdl report bundle` wrote.",
        )
    raise Mistake(
        f"{source} was packed by something else: its gzip header is not the one that hpcdl writes.",
        do="Verify the file as `hpcdl report bundle` wrote it, not compressed again.",
    )


class _Unpacking:
    """One pass over an archive."""

    def __init__(self, file: gzip.GzipFile, into: Path, limit_bytes: int) -> None:
        self._file = file
        self._into = into
        self._left = limit_bytes
        self._limit = limit_bytes
        self._top = ""
        self._sums: dict[str, str] = {}

    def run(self) -> tuple[str, dict[str, str]]:
        while any(block := self._read(BLOCK)):
            name, size = self._judge(block)
            self._sums[name] = self._copy(name, size)
        self._require_zeros()
        return self._top, self._sums

    def _read(self, count: int) -> bytes:
        """So many bytes; damaged where there are fewer, and refused above the limit."""
        if count > self._left:
            raise Mistake(
                f"this bundle holds more than {self._limit:,} bytes.",
                do="Raise --limit if you trust where it comes from.",
            )
        self._left -= count
        data = self._file.read(count)
        if len(data) < count:
            raise EOFError("it ends too early")
        return data

    def _judge(self, block: bytes) -> tuple[str, int]:
        """Path within the top folder, and size, of a plain file that may be written."""
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except tarfile.HeaderError as problem:
            raise Failure(f"the bundle is damaged: {problem}.", do="Ask for it again.") from None
        except UnicodeError:
            raise _refuse("a member", "its name is no text") from None
        if info.type != tarfile.REGTYPE:
            raise _refuse(repr(info.name), f"it is {TYPES.get(info.type, 'no plain file')}")
        self._require_plain(info, block)
        top, _, name = info.name.partition("/")
        self._top = self._top or top
        if not name or top != self._top:
            raise _refuse(repr(info.name), "it would be outside the bundle's folder")
        if name in self._sums:
            raise _refuse(repr(info.name), "it is there twice")
        if len(self._sums) >= LIMIT_FILES:
            raise _refuse(repr(info.name), f"there are more than {LIMIT_FILES:,} files")
        return name, info.size

    @staticmethod
    def _require_plain(info: tarfile.TarInfo, block: bytes) -> None:
        try:
            expected = _encode(info.name, info.size, int(info.mtime))
        except (ValueError, UnicodeError):
            raise _refuse(repr(info.name), "it would be outside the bundle's folder") from None
        if block != expected:
            raise _refuse(repr(info.name), "its header is not as hpcdl writes it")

    def _copy(self, name: str, size: int) -> str:
        """Write one file; its checksum."""
        digest, path = hashlib.sha256(), self._into / self._top / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("xb")
        except (FileExistsError, NotADirectoryError):
            raise _refuse(repr(name), "it is a file and a folder") from None
        with file:
            left = size
            while left:
                data = self._read(min(left, CHUNK))
                digest.update(data)
                file.write(data)
                left -= len(data)
        if any(self._read(-size % BLOCK)):
            raise _refuse(repr(name), "there is something behind its end")
        return digest.hexdigest()

    def _require_zeros(self) -> None:
        """Behind the last file there is nothing."""
        tail = self._file.read(LIMIT_TAIL)
        if any(tail) or len(tail) == LIMIT_TAIL:
            raise _refuse("its end", "there is something behind the last file")


def _refuse(what: str, why: str) -> Mistake:
    return Mistake(
        f"this archive is refused: {what}: {why}.", do="Only what `hpcdl report bundle` wrote is verified."
    )
