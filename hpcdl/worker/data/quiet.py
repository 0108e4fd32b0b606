"""Keeps what C libraries write to the terminal away from the person who can do nothing about it."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

STDERR = 2
# On a machine without a GPU, DALI's decoders look for GPU libraries, do not find them, and work all the same.
NO_GPU = re.compile(
    r"nvjpeg|nvtiff|nvjpeg2k|nvimgcodec|nvcomp|libcuda|libnvidia|cuda driver|no cuda-capable|CUDA initiali[sz]",
    re.IGNORECASE,
)
# What JPEG and PNG decoders say about a damaged file that we are about to name ourselves.
DAMAGE = re.compile(r"jpeg|libpng|png_parser|nvimgcodec|unsupported marker", re.IGNORECASE)


@contextmanager
def hushed(harmless: re.Pattern[str]) -> Iterator[None]:
    """Drop the lines on file descriptor 2 that match `harmless`; pass all others on afterwards.

    C libraries write past `sys.stderr`, so it is done below Python. Exceptions pass untouched. Keep the
    body short: a process that dies inside takes what it wrote there with it.
    """
    try:
        kept = os.dup(STDERR)
    except OSError:  # no stderr at all, as in some daemons: nothing to keep quiet
        yield
        return
    with tempfile.TemporaryFile() as caught:
        _flush()
        os.dup2(caught.fileno(), STDERR)
        try:
            yield
        finally:
            _flush()
            os.dup2(kept, STDERR)
            os.close(kept)
            caught.seek(0)
            _pass_on(caught.read(), harmless)


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()


def _pass_on(text: bytes, harmless: re.Pattern[str]) -> None:
    for line in text.splitlines(keepends=True):
        if not harmless.search(line.decode(errors="replace")):
            os.write(STDERR, line)
