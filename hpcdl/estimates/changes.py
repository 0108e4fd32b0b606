"""When did it become another: change points in a series of values, one for each run.

Seeded binary segmentation (Kovacs, Buehlmann, Li & Munk, Biometrika 110, 2023): the place that parts one of many
stretches best is tested; where the test sees a change, the series is cut there and both parts are searched in turn.
Stretches of all lengths are looked at, so that a fall that was made good again is seen too. What is parted are ranks,
standardised as for the test of Pettitt (1979): no distribution is assumed, and no single wild value makes a change.
The p-value of the best of all places comes from permutations of the series, which is exact where runs may be
exchanged for each other, however few they are; it gives up as soon as the outcome is certain (Besag & Clifford 1991).
The generator is seeded: the same values always have the same changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

# Of all series that never change, at most this part is said to have changed.
FALSE_ALARMS = 0.01
PERMUTATIONS = 999
# A level is one only where it was seen so often; a change is seen so many runs after it, at the earliest.
SHORTEST = 5
SEED = 20261122
CHUNK_VALUES = 300_000


DECAY = 2**-0.5  # from one layer of stretches to the next; the authors' own


DECAY = 2**-0.5  # from one layer of stretches to the next; the authors' own


DECAY = 2**-0.5  # from one layer of stretches to the next; the authors' own


DECAY = 2**-0.5  # from one layer of stretches to the next; the authors' own


@dataclass(frozen=True)
class Change:
    """A change before the value with this index. `before` and `after` are the medians up to the next changes."""

    at: int
    before: float
    after: float
    p_value: float

    @property
    def relative(self) -> float:
        """`after` over `before`, minus 1."""
        return self.after / self.before - 1


@dataclass(frozen=True)
class _Cuts:
    """All ways to cut stretches of a series, (cuts,): where each stretch begins, is cut, and ends."""

    begins: NDArray[np.intp]
    places: NDArray[np.intp]
    ends: NDArray[np.intp]

    def rate(self, ranks: NDArray[np.float64]) -> NDArray[np.float64]:
        """How well each cut parts its stretch in each of the series, (series, n) -> (series, cuts)."""
        sums = np.concatenate([np.zeros((len(ranks), 1)), np.cumsum(ranks, axis=1)], axis=1)
        left, whole = self.places - self.begins, self.ends - self.begins
        expected = (sums[:, self.ends] - sums[:, self.begins]) * (left / whole)
        distance = np.abs(sums[:, self.places] - sums[:, self.begins] - expected)
        rated: NDArray[np.float64] = distance / np.sqrt(left * (whole - left) / whole)
        return rated


def find_changes(
    values: ArrayLike, *, shortest: int = SHORTEST, false_alarms: float = FALSE_ALARMS, seed: int = SEED
) -> tuple[Change, ...]:
    """The changes of a series, (n,) in order of time, oldest first.

    Args:
        values: Positive, one for each run, none missing.
        shortest: Least number of values between two changes, and before and after them.
        false_alarms: Part of the steady series that may be said to change; 0.01 needs ten values at least.
        seed: Of the permutations.
    """
    series = np.asarray(values, dtype=np.float64)
    generator = np.random.default_rng(seed)
    found = _settle(series, dict(_search(series, 0, shortest, false_alarms, generator)), shortest)
    medians = [float(np.median(part)) for part in np.split(series, sorted(found))] if found else []
    return tuple(
        Change(at, medians[place], medians[place + 1], found[at]) for place, at in enumerate(sorted(found))
    )


def _search(
    series: NDArray[np.float64], start: int, shortest: int, level: float, generator: np.random.Generator
) -> Iterator[tuple[int, float]]:
    """Place, counted from the whole series' begin, and p-value of each change."""
    if len(series) < 2 * shortest:
        return
    ranks, cuts = _rank(series), _list_cuts(len(series), shortest)
    rated = cuts.rate(ranks[np.newaxis])[0]
    best = int(rated.argmax())
    p_value = _permute(ranks, cuts, float(rated[best]), level, generator)
    if p_value > level:
        return
    at = int(cuts.places[best])
    yield start + at, p_value
    yield from _search(series[:at], start, shortest, level, generator)
    yield from _search(series[at:], start + at, shortest, level, generator)


def _list_cuts(count: int, shortest: int) -> _Cuts:
    """Stretches in layers, each shorter than the one before by DECAY and half over its neighbour."""
    stretches: dict[tuple[int, int], None] = {}
    length = float(count)
    while round(length) >= 2 * shortest:
        size = round(length)
        number = 2 * ceil(count / length) - 1
        begins = np.round(np.linspace(0, count - size, number)).astype(int) if number > 1 else [0]
        stretches.update({(int(begin), int(begin) + size): None for begin in begins})
        length *= DECAY
    parts = [
        (begin, place, end)
        for begin, end in stretches
        for place in range(begin + shortest, end - shortest + 1)
    ]
    return _Cuts(*np.array(parts, dtype=np.intp).T)


def _settle(series: NDArray[np.float64], found: dict[int, float], shortest: int) -> dict[int, float]:
    """Each change where its two neighbours part best, by value: ranks see that something changed, not how far.

    The sum of absolute deviations from the medians of both sides is least there.
    """
    edges = [0, *sorted(found), len(series)]
    p_values = [found[at] for at in edges[1:-1]]
    for number in range(1, len(edges) - 1):
        low, high = edges[number - 1], edges[number + 1]
        places = range(low + shortest, high - shortest + 1)
        edges[number] = min(places, key=lambda at: _spread(series[low:at]) + _spread(series[at:high]))
    return dict(zip(edges[1:-1], p_values, strict=True))


def _spread(part: NDArray[np.float64]) -> float:
    return float(np.abs(part - np.median(part)).sum())


def _rank(series: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks about their mean; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(series, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: NDArray[np.float64] = (ends - (counts - 1) / 2)[inverse] - (len(series) + 1) / 2
    return ranks


def _permute(
    ranks: NDArray[np.float64], cuts: _Cuts, seen: float, level: float, generator: np.random.Generator
) -> float:
    """How often chance parts as well: (as good ones + 1) / (permutations + 1); early, once above `level` for sure."""
    many = max(1, min(PERMUTATIONS, CHUNK_VALUES // max(len(ranks), len(cuts.places))))
    as_good = done = 0
    while done < PERMUTATIONS and as_good + 1 <= level * (PERMUTATIONS + 1):
        number = min(many, PERMUTATIONS - done)
        shuffled = generator.permuted(np.broadcast_to(ranks, (number, len(ranks))), axis=1)
        # Sums in another order differ in their last digits.
        as_good += int((cuts.rate(shuffled).max(axis=1) >= seen * (1 - 1e-9)).sum())
        done += number
    return (as_good + 1) / (done + 1)
