"""What a drill is, and what one trial of it says."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Setting:
    """One trial: its number (from 1), an empty folder of its own, and chance that is the same every time."""

    drill: str
    number: int
    home: Path

    @property
    def chance(self) -> random.Random:
        return random.Random(f"{self.drill} {self.number}")  # noqa: S311 (moments and victims, no secrets)


@dataclass(frozen=True)
class Seen:
    """What a trial that held has shown: under which variant, in what time, and what chance had chosen."""

    variant: str
    elapsed_s: float
    detail: str


class Void(Exception):
    """Before the fault was made, something from outside ended what it was to be made to."""


@dataclass(frozen=True)
class Drill:
    """A claim that is put to the test many times.

    `attempt` returns what it saw, or raises AssertionError or an OSError with the reason why the claim did
    not hold, or Void; `missing` says why the drill cannot be done on this machine, and is empty where it can.
    """

    claim: str
    timed: str
    trials: int
    attempt: Callable[[Setting], Seen]
    missing: Callable[[], str]


def pick(variants: dict[str, list[str]], number: int) -> tuple[str, list[str]]:
    """Trial after trial through the variants, by name."""
    return list(variants.items())[(number - 1) % len(variants)]
