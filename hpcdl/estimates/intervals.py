"""95 % confidence intervals: of a mean over correlated samples, over repeats, and of what is derived from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
# Below, batch means are too few and too short to tell how far apart samples must be to be independent.
MINIMUM = 30
# More batches are shorter, and shorter ones are correlated; fewer leave Student's t wide.
BATCHES = 20
# What a correlation of neighbouring batches is held to: beyond it the batches are far too short anyway.
LARGEST_CORRELATION = 0.8
# A correlation r estimated from n samples is low by about (1 + 3 r) / n (Marriott & Pope 1954); 2 / n is that of the
# r where it matters. In simulation it makes 95 to 96 % of 95 % intervals, and 1 / n only 94 to 96 %.
CORRELATION_BIAS = 2.0


class TooFew(ValueError):
    """There are not enough samples for what was asked."""


@dataclass(frozen=True)
class Interval:
    """A value and the ends of its 95 % confidence interval, in the value's unit.

    `count` samples were as good as `effective` independent ones.
    """

    value: float
    low: float
    high: float
    count: int
    effective: float

    @property
    def half_width(self) -> float:
        """The longer side relative to the value; infinite where that is 0."""
        longer = max(self.high - self.value, self.value - self.low)
        if longer == 0:
            return 0.0
        return longer / abs(self.value) if self.value else math.inf

    @property
    def bounded(self) -> bool:
        """Whether it has two ends: the inverse of what may be zero has one only, and says nothing."""
        return math.isfinite(self.low) and math.isfinite(self.high)


@dataclass(frozen=True)
class LongRun:
    """The variance of a mean over n correlated samples is `variance` / n; it was estimated from so many batches."""

    variance: float
    batches: int

    @property
    def quantile(self) -> float:
        """Student's t for a two-sided interval."""
        return float(stdtrit(self.batches - 1, 0.5 + CONFIDENCE / 2))


def measure_long_run(series: NDArray[np.float64]) -> LongRun:
    """Long-run variance of a stationary series, (n,), by non-overlapping batch means, the oldest rest left out.

    The correlation of neighbouring batch means, its bias made good, is taken out as that of a first-order
    autoregression: (1 + r) / (1 - r).
    """
    batches = min(BATCHES, len(series) // 5)
    length = len(series) // batches
    means = series[len(series) - batches * length :].reshape(batches, length).mean(axis=1)
    deviations = means - means.mean()
    squares = float(deviations @ deviations)
    if squares == 0:
        return LongRun(0.0, batches)
    correlation = float(deviations[1:] @ deviations[:-1]) / squares + CORRELATION_BIAS / batches
    held = min(max(correlation, 0.0), LARGEST_CORRELATION)
    return LongRun(squares / (batches - 1) * length * (1 + held) / (1 - held), batches)


def estimate_mean(series: ArrayLike) -> Interval:
    """The mean of correlated samples, (n,) in order, with a 95 % interval from batch means.

    Raises:
        TooFew: Fewer than MINIMUM.
    """
    values = np.asarray(series, dtype=np.float64)
    count = len(values)
    if count < MINIMUM:
        raise TooFew(f"{count} samples are too few for an interval: {MINIMUM} are needed")
    long_run = measure_long_run(values)
    mean = float(values.mean())
    half = long_run.quantile * math.sqrt(long_run.variance / count)
    spread = float(values.var(ddof=1))
    effective = min(float(count), count * spread / long_run.variance) if long_run.variance else float(count)
    return Interval(mean, mean - half, mean + half, count, effective)


def estimate_over_repeats(means: Sequence[float]) -> Interval:
    """The mean of independent values with Student's t.

    Raises:
        TooFew: Fewer than two.
    """
    if len(means) < 2:
        raise TooFew(f"{len(means)} repeats are too few for an interval: 2 are needed")
    values = np.asarray(means, dtype=np.float64)
    mean, count = float(values.mean()), len(values)
    half = float(stdtrit(count - 1, 0.5 + CONFIDENCE / 2)) * float(values.std(ddof=1)) / math.sqrt(count)
    return Interval(mean, mean - half, mean + half, count, float(count))


def invert(interval: Interval, work: float) -> Interval:
    """`work` / x: a time becomes a rate, or a rate a time. An end at or below zero bounds nothing: infinity."""
    return Interval(
        work / interval.value,
        work / interval.high,
        work / interval.low if interval.low > 0 else math.inf,
        interval.count,
        interval.effective,
    )


def scale(interval: Interval, factor: float) -> Interval:
    """Times a factor above zero."""
    return Interval(
        interval.value * factor,
        interval.low * factor,
        interval.high * factor,
        interval.count,
        interval.effective,
    )


def ratio(one: Interval, other: Interval) -> Interval:
    """`one` / `other` of independent positive estimates, by MOVER on logarithms (Donner & Zou 2012).

    MOVER, the method of variance estimates recovery, adds the squared distances to the ends that matter.
    """
    value = one.value / other.value
    down = math.hypot(_log_distance(one.value, one.low), _log_distance(other.high, other.value))
    up = math.hypot(_log_distance(one.high, one.value), _log_distance(other.value, other.low))
    return Interval(value, value * math.exp(-down), value * math.exp(up), *_weaker(one, other))


def _log_distance(larger: float, smaller: float) -> float:
    return math.log(larger / smaller) if smaller > 0 else math.inf


def difference(one: Interval, other: Interval) -> Interval:
    """`one` - `other` of independent estimates, by MOVER (Zou & Donner 2008)."""
    value = one.value - other.value
    down = math.hypot(one.value - one.low, other.high - other.value)
    up = math.hypot(one.high - one.value, other.value - other.low)
    return Interval(value, value - down, value + up, *_weaker(one, other))


def total(intervals: Sequence[Interval]) -> Interval:
    """The sum of independent estimates, by MOVER."""
    value = sum(one.value for one in intervals)
    down = math.hypot(*(one.value - one.low for one in intervals))
    up = math.hypot(*(one.high - one.value for one in intervals))
    return Interval(value, value - down, value + up, *_weaker(*intervals))


def add_ends(intervals: Sequence[Interval]) -> Interval:
    """The sum of estimates that are off together, in one direction: ends add up to ends."""
    return Interval(
        sum(one.value for one in intervals),
        sum(one.low for one in intervals),
        sum(one.high for one in intervals),
        *_weaker(*intervals),
    )


def hull(intervals: Sequence[Interval], value: float) -> Interval:
    """From the lowest end to the highest, around a value between them."""
    low, high = min(one.low for one in intervals), max(one.high for one in intervals)
    return Interval(value, low, high, *_weaker(*intervals))


def _weaker(*intervals: Interval) -> tuple[int, float]:
    return min(one.count for one in intervals), min(one.effective for one in intervals)
