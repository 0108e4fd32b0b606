"""Where a series of step times is steady: behind its warm-up, and without a change or a drift after it.

1. MSER-5 (White 1997) proposes where warm-up ends: the cut that makes the rest's mean most certain, over means of
   five steps. It is looked for in the first third: what differs from the rest for longer is no warm-up.
2. The proposal holds only if what is cut off differs from the rest: MSER also cuts pure noise. Warm-up fades out, so
   half as much again is cut.
3. The rest is refused where the cumulated deviations from its mean (Page's CUSUM as a bridge) go further than
   those of a steady series do in 99 of 100 cases, and where this matters: the two sides of the best split differ by
   more than 1 %, or a straight line through it rises by as much.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.special import stdtrit

from hpcdl.estimates.intervals import MINIMUM, Interval, LongRun, estimate_mean, measure_long_run

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

MSER_BATCH = 5
# How sure it must be that what is cut off is not like the rest.
WARMUP_QUANTILE = 0.995
WARMUP_MARGIN = 1.5
# A change below this part of the mean is no change: no conclusion hangs on it.
NOTABLE_CHANGE = 0.01
# With fewer effective samples the interval's own width is a guess.
FEWEST_EFFECTIVE = 10
# 99 % quantile of the largest deviation of a Brownian bridge (Kolmogorov): for many batches.
BRIDGE_QUANTILE = 1.63
# How much wider the limit is for few batches, found by simulation: at most 1 % false alarms for first-order
# autoregressions of 0 to 0.8 with 30 effective samples and more.
FEW_BATCHES = 5.0


@dataclass(frozen=True)
class SteadyState:
    """From index `start` on the series is steady; `mean` is of that part."""

    start: int
    mean: Interval


@dataclass(frozen=True)
class NoSteadyState:
    """Why the series has no mean to speak of. `at` is the index where it changes, where it does."""

    kind: Literal["too few steps", "change", "drift"]
    detail: str
    at: int | None = None


def find_steady_state(periods: ArrayLike) -> SteadyState | NoSteadyState:
    """Where step times, (n,) in seconds, are steady; or why they are not."""
    series = np.asarray(periods, dtype=np.float64)
    count = len(series)
    if count < MINIMUM:
        steps = "1 step is" if count == 1 else f"{count} steps are"
        return NoSteadyState("too few steps", f"{steps} too few for an interval: {MINIMUM} are needed")
    proposed = propose_cut(series)
    confirmed = proposed > 0 and _differs(series[:proposed], series[proposed:])
    start = math.ceil(WARMUP_MARGIN * proposed) if confirmed else 0
    if count - start < MINIMUM:
        left = f"{count - start} steps are left behind a warm-up of {start}"
        return NoSteadyState("too few steps", f"{left}: {MINIMUM} are needed for an interval", start)
    rest = series[start:]
    return _find_change(rest, start) or _weigh(rest, start)


def _weigh(rest: NDArray[np.float64], start: int) -> SteadyState | NoSteadyState:
    mean = estimate_mean(rest)
    if mean.effective < FEWEST_EFFECTIVE:
        parts = [float(part.mean()) for part in np.array_split(rest, FEWEST_EFFECTIVE)]
        if max(parts) - min(parts) <= NOTABLE_CHANGE * mean.value:
            # It wanders, but nowhere far: then the ends of the way bound the mean.
            low, high = min(mean.low, *parts), max(mean.high, *parts)
            return SteadyState(start, replace(mean, low=low, high=high))
        detail = (
            f"{mean.count} steps are as good as {mean.effective:.0f} independent ones, so closely do they follow "
            f"each other: {FEWEST_EFFECTIVE} are needed for an interval"
        )
        return NoSteadyState("too few steps", detail)
    return SteadyState(start, mean)


def propose_cut(series: NDArray[np.float64]) -> int:
    """How many samples MSER-5 would cut off: a multiple of five, at most a third of them."""
    batches = len(series) // MSER_BATCH
    means = series[: batches * MSER_BATCH].reshape(batches, MSER_BATCH).mean(axis=1)
    # From each batch to the end: count, sum and sum of squares, by summing backwards; centred against cancellation.
    centred = (means - means.mean())[::-1]
    counts = np.arange(1, batches + 1)
    sums, squares = np.cumsum(centred), np.cumsum(centred**2)
    statistic = ((squares - sums**2 / counts) / counts**2)[::-1]
    allowed = max(1, batches // 3)
    return MSER_BATCH * int(np.argmin(statistic[:allowed]))


def _differs(cut: NDArray[np.float64], rest: NDArray[np.float64]) -> bool:
    """Whether the mean of what is cut off differs from the rest's, by the rest's own long-run variance."""
    if len(rest) < 10:
        return True
    long_run = measure_long_run(rest)
    error = math.sqrt(long_run.variance * (1 / len(cut) + 1 / len(rest)))
    distance = abs(float(cut.mean()) - float(rest.mean()))
    return distance > float(stdtrit(long_run.batches - 1, WARMUP_QUANTILE)) * error


def _find_change(rest: NDArray[np.float64], start: int) -> NoSteadyState | None:
    count, mean = len(rest), float(rest.mean())
    bridge = np.abs(np.cumsum(rest - mean)[:-1])
    margin = max(5, count // 20)
    split = min(max(1 + int(bridge.argmax()), margin), count - margin)
    before, after = float(rest[:split].mean()), float(rest[split:].mean())
    rise = _fit_slope(rest) * (count - 1)
    if max(abs(after - before), abs(rise)) <= NOTABLE_CHANGE * mean:
        return None
    split_off = rest - np.where(np.arange(count) < split, before, after)
    straightened = rest - np.linspace(mean - rise / 2, mean + rise / 2, count)
    drifts = float(straightened @ straightened) < float(split_off @ split_off)
    # The variance of what the better of the two leaves: else a strong change would pass for strong noise.
    long_run = measure_long_run(straightened if drifts else split_off)
    if float(bridge.max()) <= _limit(long_run) * math.sqrt(count):
        return None
    if drifts:
        return NoSteadyState("drift", f"drifts by {_percent(rise / mean)} over {count} steps")
    at = start + split
    change = _percent(after / before - 1)
    return NoSteadyState("change", f"the step time changed by {change} at step {at}", at)


def _limit(long_run: LongRun) -> float:
    """How far the bridge of a steady series goes in 99 of 100 cases, over the root of its length.

    Its variance was estimated from few batches, and two parameters were fitted before.
    """
    batches = long_run.batches
    variance = long_run.variance * (batches - 1) / (batches - 2)
    return BRIDGE_QUANTILE * (1 + FEW_BATCHES / (batches - 2)) * math.sqrt(variance)


def _fit_slope(series: NDArray[np.float64]) -> float:
    """Of the least-squares line, per sample."""
    places = np.arange(len(series)) - (len(series) - 1) / 2
    return float(places @ series / (places @ places))


def _percent(fraction: float) -> str:
    return f"{100 * fraction:+.0f} %" if abs(fraction) >= 0.1 else f"{100 * fraction:+.1f} %"
