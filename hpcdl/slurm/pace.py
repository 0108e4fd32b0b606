"""How often Slurm is asked: soon at first, then ever more seldom, since a controller serves many people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def waits_s(*, first_s: float = 1.0, longest_s: float = 30.0, growth: float = 1.5) -> Iterator[float]:
    """Seconds to wait before each next question, without end: from `first_s`, growing, to `longest_s` and no more."""
    wait_s = min(first_s, longest_s)
    while True:
        yield wait_s
        wait_s = min(wait_s * growth, longest_s)
