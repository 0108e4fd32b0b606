"""Every file decoded once before training starts, since DALI cannot skip a broken one in the middle of a run."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcdl.errors import Mistake
from hpcdl.worker.data.pipeline import encode_paths, load
from hpcdl.worker.data.quiet import DAMAGE, NO_GPU, hushed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.worker.data.pipeline import Dali
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
    dali = load()
    size = FILES_PER_THREAD * threads
    decoder = _build_decoder(dali, size, threads)
    for begin in range(0, len(files), size):
        batch = files[begin : begin + size]
        if not _decodes(decoder, batch):
            yield from _name_culprits(dali, batch)
            decoder = _build_decoder(dali, size, threads)
        if progress is not None:
            progress(begin + len(batch), len(files))


def _build_decoder(dali: Dali, size: int, threads: int) -> Any:
    """Depth 1: what is fed is what comes back, so a batch that fails is known by its files."""
    decoder = dali.pipeline(
        batch_size=size, num_threads=threads, device_id=None, prefetch_queue_depth=1, exec_dynamic=True
    )
    with decoder, hushed(NO_GPU):
        paths = dali.fn.external_source(name="paths")
        decoder.set_outputs(dali.fn.decoders.image(dali.fn.io.file.read(paths), device="cpu"))
        decoder.build()
    return decoder


def _decodes(decoder: Any, files: Sequence[str]) -> bool:
    try:
        with hushed(DAMAGE):
            decoder.run(paths=encode_paths(files))
    except RuntimeError:
        return False
    return True


def _name_culprits(dali: Dali, files: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The files of a failed batch one by one; a decoder that failed cannot be used again."""
    decoder = _build_decoder(dali, size=1, threads=1)
    for file in files:
        if not _decodes(decoder, [file]):
            yield file, diagnose(Path(file))
            decoder = _build_decoder(dali, size=1, threads=1)


def diagnose(file: Path) -> str:
    """Why a file cannot be decoded, from a look at its beginning and its end."""
    try:
        with file.open("rb") as stream:
            head = stream.read(len(PNG))
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - TAIL_BYTES))
            tail = stream.read()
    except OSError as problem:
        return f"it cannot be read ({problem.strerror})"
    if not head:
        return "it holds no bytes at all"
    if not head.startswith((JPEG, PNG)):
        return "it is not a JPEG or PNG image, whatever its name says"
    end = JPEG_END if head.startswith(JPEG) else PNG_END
    return "it is damaged inside" if end in tail else "it is cut off: its end is missing"
