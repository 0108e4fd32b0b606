"""Arithmetic on readings: what is derived from a Missing reading is Missing, with the same reason."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Withheld(Missing):
    """A number that was measured and is not published; who asks for it by name sees it struck through."""

    value: float


def derive(formula: Callable[..., float], *inputs: Reading) -> Reading:
    """`formula` over the inputs, or the first of them that is missing; of withheld ones a withheld result."""
    missing = [reading for reading in inputs if isinstance(reading, Missing)]
    values = [_value_of(reading) for reading in inputs]
    if all(value is not None for value in values):
        result = formula(*values)
        return Withheld(missing=missing[0].missing, value=result) if missing else result
    return next(reading for reading in missing if not isinstance(reading, Withheld))


def _value_of(reading: Reading) -> float | None:
    if isinstance(reading, Missing):
        return reading.value if isinstance(reading, Withheld) else None
    return reading


def withhold(reading: Reading, reason: str | None) -> Reading:
    """The reading, or why it is not published (None: it is)."""
    if reason is None or isinstance(reading, Missing):
        return reading
    return Withheld(missing=reason, value=reading)


def is_absent(reading: Reading) -> bool:
    """Whether there is no number at all, not even one that is withheld."""
    return isinstance(reading, Missing) and not isinstance(reading, Withheld)


def known(readings: Sequence[Reading]) -> list[float]:
    """The values among the readings, in their order."""
    return [reading for reading in readings if not isinstance(reading, Missing)]


def average(readings: Sequence[Reading]) -> Reading:
    """The mean; missing as the first that is.

    Raises:
        statistics.StatisticsError: There are none.
    """
    absent = next((reading for reading in readings if isinstance(reading, Missing)), None)
    return statistics.fmean(known(readings)) if absent is None else absent


def combine_rates(rates: Sequence[float]) -> float:
    """Harmonic mean of rates over equal amounts of work (Hoefler & Belli 2015, rule 3); never below zero.

    Raises:
        statistics.StatisticsError: There are no rates, or one is negative.
    """
    # Rounding may carry the mean of nearly equal rates past them; the bounds hold exactly.
    return min(max(statistics.harmonic_mean(rates), min(rates)), max(rates))
