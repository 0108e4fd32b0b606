"""Texts as tensors of bytes: engines exchange numbers, and nothing that comes from outside is unpickled."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence


def to_bytes(text: str) -> torch.Tensor:
    """(bytes,) of uint8: the text in UTF-8."""
    encoded = bytearray(text.encode())
    # torch makes no tensor of an empty buffer.
    return torch.frombuffer(encoded, dtype=torch.uint8) if encoded else torch.empty(0, dtype=torch.uint8)


def to_texts(joined: torch.Tensor, sizes: Sequence[int]) -> list[str]:
    """The texts whose bytes stand one after another in `joined`.

    Args:
        joined: (sum of sizes,) of uint8, on the CPU.
        sizes: Bytes of each text.
    """
    data = bytes(joined.numpy())
    return [data[begin:end].decode() for begin, end in pairwise(accumulate(sizes, initial=0))]
