"""Arithmetic on readings: what is derived from a Missing reading is Missing, with the same reason."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def derive(formula: Callable[..., float], *inputs: Reading) -> Reading:
    """`formula` over the inputs, or the first of them that is missing."""
    values: list[float] = []
    for reading in inputs:
        if isinstance(reading, Missing):
            return reading
        values.append(reading)
    return formula(*values)


def known(readings: Sequence[Reading]) -> list[float]:
    """The values among the readings, in their order."""
    return [reading for reading in readings if not isinstance(reading, Missing)]


def combine_rates(rates: Sequence[float]) -> float:
    """Harmonic mean of rates over equal amounts of work (Hoefler & Belli 2015, rule 3); never below zero.

    Raises:
        statistics.StatisticsError: There are no rates, or one is negative.
    """
    # Rounding may carry the mean of nearly equal rates past them; the bounds hold exactly.
    return min(max(statistics.harmonic_mean(rates), min(rates)), max(rates))


def percentile_95(values: Sequence[float]) -> float:
    """95th percentile, linear between order statistics (Hyndman & Fan's type 7, numpy's default)."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=20, method="inclusive")[-1]
