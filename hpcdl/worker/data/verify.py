"""Every file decoded once before training starts, since DALI cannot skip a broken one in the middle of a run."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcdl.errors import Mistake
from hpcdl.worker.data.pipeline import encode_paths, load
from hpcdl.worker.data.quiet import DAMAGE, NO_GPU, hushed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.datasets.part import Reading
    from hpcdl.worker.data.source import Progress

FILES_PER_THREAD = 16
JPEG = b"\xff\xd8\xff"
JPEG_END = b"\xff\xd9"
PNG = b"\x89PNG\r\n\x1a\n"
PNG_END = b"IEND"
TAIL_BYTES = 1024


def digest_listing(root: Path, files: Sequence[str]) -> str:
    """Sixteen hexadecimal digits of SHA-256 over the names, sizes and times of change of `files` below `root`.

    What it stands for is verified once: as long as it stays, so do the files, as far as names and times tell.

    Raises:
        Mistake: A file is gone or cannot be looked at.
    """
    digest = hashlib.sha256()
    for file in files:
        try:
            facts = os.stat(root / file)  # noqa: PTH116 (a Path for each of a million files costs)
        except OSError as problem:
            raise Mistake(f"{root / file}: cannot be looked at ({problem.strerror}).") from None
        digest.update(f"{file}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def verify(files: Sequence[str], threads: int, progress: Progress | None = None) -> None:
    """Decode all of `files` with DALI's decoder for the CPU, the one that training uses there.

    Raises:
        Mistake: Names the first file that cannot be decoded, the reason, and what to do.
    """
    for file, reason in find_damaged(files, threads, progress):
        raise Mistake(f"{file}: {reason}.", do="Replace or remove it, and start again.")


def find_damaged(
    files: Sequence[str], threads: int, progress: Progress | None = None
) -> Iterator[tuple[str, str]]:
    """Those of `files` that cannot be decoded, and why, as they are found.

    Raises:
        Mistake: DALI is missing.
    """
    inspector = Inspector(threads, from_files=True)
    for begin in range(0, len(files), inspector.size):
        batch = files[begin : begin + inspector.size]
        items = encode_paths(batch)
        yield from ((batch[place], diagnose(Path(batch[place]))) for place in inspector.find(items))
        if progress is not None:
            progress(begin + len(batch), len(files))


def verify_contents(
    samples: Sequence[tuple[Reading, int]], threads: int, progress: Progress | None = None, *, encoded: bool
) -> None:
    """Read all of `samples`, each a part and an index in it, and decode them where they are `encoded`.

    Raises:
        Mistake: Names the first sample that cannot be read or decoded, and why.
    """
    for name, reason in find_damaged_contents(samples, threads, progress, encoded=encoded):
        raise Mistake(
            f"{name}: {reason}.",
            do="Make the data set again; `hpcdl data make --skip-bad` leaves out what cannot be read.",
        )


def find_damaged_contents(
    samples: Sequence[tuple[Reading, int]], threads: int, progress: Progress | None = None, *, encoded: bool
) -> Iterator[tuple[str, str]]:
    """Those of `samples` that cannot be read, or decoded where they are `encoded`, by name, and why.

    Raises:
        Mistake: DALI is missing.
    """
    inspector = Inspector(threads, from_files=False) if encoded else None
    size = FILES_PER_THREAD * threads
    for begin in range(0, len(samples), size):
        read: list[tuple[str, bytes]] = []
        for part, index in samples[begin : begin + size]:
            try:
                content = part.read(index)
            except Mistake as problem:
                yield part.name(index), problem.what.rstrip(".")
            else:
                if isinstance(content, bytes):
                    read.append((part.name(index), content))
        if inspector is not None:
            items = [np.frombuffer(content, dtype=np.uint8) for _, content in read]
            yield from ((read[place][0], diagnose_content(read[place][1])) for place in inspector.find(items))
        if progress is not None:
            progress(min(begin + size, len(samples)), len(samples))


class Inspector:
    """DALI's decoder for the CPU, batch after batch, and again from new after one that failed.

    Args:
        threads: Decode in parallel.
        from_files: Items are paths, as `encode_paths` makes them; else encoded images.

    Raises:
        Mistake: DALI is missing.
    """

    def __init__(self, threads: int, *, from_files: bool) -> None:
        self.size = FILES_PER_THREAD * threads
        self._dali, self._threads, self._from_files = load(), threads, from_files
        self._decoder = self._build(self.size, threads)

    def find(self, items: Sequence[Any]) -> Iterator[int]:
        """Places of the items that cannot be decoded; at most `size` of them at once."""
        if self._decodes(self._decoder, items):
            return
        # One by one; a decoder that failed cannot be used again.
        single = self._build(size=1, threads=1)
        for place, item in enumerate(items):
            if not self._decodes(single, [item]):
                yield place
                single = self._build(size=1, threads=1)
        self._decoder = self._build(self.size, self._threads)

    def _build(self, size: int, threads: int) -> Any:
        """Depth 1: what is fed is what comes back, so a batch that fails is known by its files."""
        fn = self._dali.fn
        decoder = self._dali.pipeline(
            batch_size=size, num_threads=threads, device_id=None, prefetch_queue_depth=1, exec_dynamic=True
        )
        with decoder, hushed(NO_GPU):
            items = fn.external_source(name="items")
            encoded = fn.io.file.read(items) if self._from_files else items
            decoder.set_outputs(fn.decoders.image(encoded, device="cpu"))
            decoder.build()
        return decoder

    def _decodes(self, decoder: Any, items: Sequence[Any]) -> bool:
        if not items:
            return True
        # Nothing at all is no tensor for DALI.
        if any(len(item) == 0 for item in items):
            return False
        try:
            with hushed(DAMAGE):
                decoder.run(items=list(items))
        except RuntimeError:
            return False
        return True


def diagnose(file: Path) -> str:
    """Why a file cannot be decoded, from a look at its beginning and its end."""
    try:
        with file.open("rb") as stream:
            head = stream.read(len(PNG))
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - TAIL_BYTES))
            return _diagnose(head, stream.read())
    except OSError as problem:
        return f"it cannot be read ({problem.strerror})"


def diagnose_content(content: bytes) -> str:
    """The same of an encoded image."""
    return _diagnose(content[: len(PNG)], content[-TAIL_BYTES:])


def _diagnose(head: bytes, tail: bytes) -> str:
    if not head:
        return "it holds no bytes at all"
    if not head.startswith((JPEG, PNG)):
        return "it is not a JPEG or PNG image, whatever its name says"
    end = JPEG_END if head.startswith(JPEG) else PNG_END
    return "it is damaged inside" if end in tail else "it is cut off: its end is missing"
