"""Removing outliers so that it can be done again: the same numbers leave the same ones, in whatever order they come.

Around the median, in units of the median absolute deviation scaled by 1.4826, by which it estimates the standard
deviation of a normal distribution (Rousseeuw and Croux 1993, doi:10.1080/01621459.1993.10476408).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SCALE = 1.4826
# Of fewer values nobody can say which is odd.
LEAST_VALUES = 5
# Where more than half are alike the deviation is 0, and whatever differs by a rounding would be an outlier.
LEAST_DEVIATION = 0.001
THRESHOLD_MADS = 5.0


@dataclass(frozen=True)
class Removal:
    """A value that was removed: by how many scaled deviations it was off, and in which round."""

    name: str
    value: float
    mads: float
    median: float
    round: int


@dataclass(frozen=True)
class Kept:
    """What is left of some values, and what was removed. `spread` is the scaled deviation over the median."""

    median: float
    spread: float
    values: Mapping[str, float]
    removed: tuple[Removal, ...]


def remove_outliers(values: Mapping[str, float], threshold_mads: float = THRESHOLD_MADS) -> Kept:
    """Remove all values beyond the threshold at once, and again from what is left, until none is beyond it.

    Args:
        values: At least one, by name.
        threshold_mads: In scaled deviations.
    """
    left = dict(sorted(values.items()))
    removed: list[Removal] = []
    rounds = 0
    while True:
        middle, deviation = measure_spread(left)
        # What has no scale of its own has no outliers either.
        scale = max(deviation, LEAST_DEVIATION * abs(middle))
        beyond = {name: abs(value - middle) / scale for name, value in left.items()} if scale else {}
        odd = {name: mads for name, mads in beyond.items() if mads > threshold_mads}
        if not odd or len(left) < LEAST_VALUES:
            return Kept(middle, deviation / abs(middle) if middle else 0.0, left, tuple(removed))
        rounds += 1
        removed += [Removal(name, left.pop(name), mads, middle, rounds) for name, mads in odd.items()]


def measure_spread(values: Mapping[str, float]) -> tuple[float, float]:
    """The median, and the scaled deviation around it."""
    middle = median(values.values())
    return middle, SCALE * median(abs(value - middle) for value in values.values())
