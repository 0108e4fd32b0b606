"""Laws fitted to measurements: latency and bandwidth of messages, throughput over the number of ranks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.optimize import nnls

from hpcdl.estimates.intervals import Interval, TooFew

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

FEWEST_SIZES = 3
# The Universal Scalability Law has three parameters: with fewer sizes it would fit anything.
SIZES_FOR_USL = 5
REFITS = 400
# Shapes of the loss, from all serial to all crosstalk, how often each is refitted, and 95 % of chi-squared for the one
# parameter by which they differ.
SHAPES, RIVAL_REFITS, CHI_SQUARED = 21, 40, 3.84


@dataclass(frozen=True)
class LatencyBandwidth:
    """t = latency + bytes / bandwidth (Hockney 1994). `worst` is the largest relative residual of the fit."""

    latency_s: float
    bandwidth_bytes_per_s: float
    worst: float

    def time_s(self, size_bytes: float) -> float:
        """How long a message takes by this law."""
        return self.latency_s + size_bytes / self.bandwidth_bytes_per_s


def fit_latency_bandwidth(sizes_bytes: ArrayLike, seconds: ArrayLike) -> LatencyBandwidth:
    """Latency and bandwidth, neither below zero, by least squares of relative errors, so that small messages count.

    Args:
        sizes_bytes: (messages,).
        seconds: (messages,), above zero.

    Raises:
        TooFew: Fewer than three different sizes.
    """
    sizes, times = np.asarray(sizes_bytes, dtype=np.float64), np.asarray(seconds, dtype=np.float64)
    if len(np.unique(sizes)) < FEWEST_SIZES:
        raise TooFew(
            f"{len(np.unique(sizes))} message sizes are too few for a fit: {FEWEST_SIZES} are needed"
        )
    # Bytes in units of the largest message: nnls wants columns of like magnitude.
    unit = float(sizes.max())
    columns = np.column_stack([np.ones_like(sizes), sizes / unit]) / times[:, None]
    (latency_s, per_unit_s), _ = nnls(columns, np.ones_like(times))
    worst = float(np.abs(columns @ [latency_s, per_unit_s] - 1).max())
    return LatencyBandwidth(float(latency_s), unit / per_unit_s if per_unit_s > 0 else math.inf, worst)


@dataclass(frozen=True)
class ScalingFit:
    """X(N) = rate N / (1 + serial (N - 1) + crosstalk N (N - 1)).

    Amdahl's form without the last term; with it, Gunther's Universal Scalability Law (1993). `misfit` is the
    largest relative distance of a measurement from the curve; `refits` are the parameters, (fits, 3), of fits to
    measurements drawn anew within their intervals. `rivals`, (shapes, fits, 3), are the same of other shapes of the
    loss that the measurements do not rule out: between nothing but serial work and nothing but crosstalk. Within
    the measured sizes all of them agree, beyond they part.
    """

    law: Literal["amdahl", "usl"]
    rate: float
    serial: float
    crosstalk: float
    largest: float
    misfit: float
    refits: NDArray[np.float64]
    rivals: NDArray[np.float64]

    @property
    def peak(self) -> float:
        """The N of the highest throughput, sqrt((1 - serial) / crosstalk) (Gunther 1993); infinite where it rises."""
        if self.serial >= 1:
            return 1.0
        return math.sqrt((1 - self.serial) / self.crosstalk) if self.crosstalk > 0 else math.inf

    @property
    def ceiling(self) -> float:
        """The throughput that no N exceeds: at the peak, else rate / serial; infinite where nothing is serial."""
        if math.isfinite(self.peak):
            return self.rate_at(max(self.peak, 1.0))
        return self.rate / self.serial if self.serial > 0 else math.inf

    def rate_at(self, n: float) -> float:
        """X at n, without its interval."""
        return self.rate * n / (1 + self.serial * (n - 1) + self.crosstalk * n * (n - 1))

    def predict(self, n: float) -> Interval:
        """X at n, with the 95 % interval of the fit: of the refits, and at least as wide as the misfit.

        Beyond the largest size it takes in the rivals: which shape the loss has, few sizes cannot tell.
        """
        value = float(_evaluate(np.array([[self.rate, self.serial, self.crosstalk]]), n)[0])
        # A refit may have no finite rate; then neither has the interval an end, and who asks sees that it is unbounded.
        with np.errstate(invalid="ignore"):
            low, high = np.percentile(_evaluate(self.refits, n), [2.5, 97.5])
            if n > self.largest and len(self.rivals):
                ends = [np.percentile(_evaluate(one, n), [2.5, 97.5]) for one in self.rivals]
                low, high = min(low, *(end[0] for end in ends)), max(high, *(end[1] for end in ends))
        margin = self.misfit * value
        count = len(self.refits)
        return Interval(
            value, min(float(low), value - margin), max(float(high), value + margin), count, count
        )

    @property
    def half_efficient(self) -> tuple[float, float, float]:
        """N at which half of the efficiency is left, and the ends of its 95 % interval; each may be infinite."""
        low, high = np.percentile([_halve(*one) for one in self.refits], [2.5, 97.5], method="nearest")
        own = _halve(self.rate, self.serial, self.crosstalk)
        return own, min(own, float(low)), max(own, float(high))


def _halve(rate: float, serial: float, crosstalk: float) -> float:  # noqa: ARG001 (a row of parameters)
    """Where 1 + serial (N - 1) + crosstalk N (N - 1) is 2."""
    if crosstalk == 0:
        return 1 + 1 / serial if serial > 0 else math.inf
    slope = serial - crosstalk
    return (math.sqrt(slope**2 + 4 * crosstalk * (1 + serial)) - slope) / (2 * crosstalk)


def _evaluate(parameters: NDArray[np.float64], n: float) -> NDArray[np.float64]:
    rate, serial, crosstalk = parameters.T
    values: NDArray[np.float64] = rate * n / (1 + serial * (n - 1) + crosstalk * n * (n - 1))
    return values


def fit_scaling(sizes: Sequence[float], rates: Sequence[Interval]) -> ScalingFit:
    """The law of throughput over N: Amdahl's form; the Universal Scalability Law from five sizes on.

    N / X(N) is linear in 1 / rate, serial / rate and crosstalk / rate, none of which is below zero; relative errors
    are weighted by the intervals' widths.

    Args:
        sizes: N of each measurement.
        rates: Its throughput.

    Raises:
        TooFew: Fewer than two different N.
    """
    n = np.asarray(sizes, dtype=np.float64)
    distinct = len(np.unique(n))
    if distinct < 2:
        raise TooFew("one size is too few for a law of scaling: 2 are needed, and 5 for the scalability law")
    law: Literal["amdahl", "usl"] = "usl" if distinct >= SIZES_FOR_USL else "amdahl"
    values = np.array([rate.value for rate in rates])
    # Log-normal; an interval of no width would outweigh all others.
    widths = np.array([max(rate.half_width, 1e-3) for rate in rates]) / 1.96
    fitted = _solve(n, values, widths, law)
    misfit = np.abs(values / np.array([_evaluate(fitted[None, :], one)[0] for one in n]) - 1).max()
    draws = np.random.default_rng(1).normal(size=(REFITS, len(n))) * widths
    refits = np.array([_solve(n, values * np.exp(draw), widths, law) for draw in draws])
    rate, serial, crosstalk = (float(one) for one in fitted)
    rivals = np.empty((0, 0, 3)) if law == "usl" else _find_rivals(n, values, widths, draws[:RIVAL_REFITS])
    return ScalingFit(law, rate, serial, crosstalk, float(n.max()), float(misfit), refits, rivals)


def _find_rivals(
    n: NDArray[np.float64],
    values: NDArray[np.float64],
    widths: NDArray[np.float64],
    draws: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(shapes, fits, 3): the shapes whose misfit is within the 95 % of chi-squared of the best one's, each refitted."""
    shapes = np.linspace(0, 1, SHAPES)
    misfits = np.array([_shape(n, values, widths, shape)[1] for shape in shapes])
    kept = shapes[misfits <= misfits.min() + CHI_SQUARED]
    return np.array(
        [[_shape(n, values * np.exp(draw), widths, shape)[0] for draw in draws] for shape in kept]
    )


def _shape(
    n: NDArray[np.float64], values: NDArray[np.float64], widths: NDArray[np.float64], crosstalk: float
) -> tuple[NDArray[np.float64], float]:
    """(rate, serial, crosstalk), and chi-squared, of a fit whose loss at the largest N is `crosstalk` by that share."""
    largest = n.max()
    parts = np.array([(1 - crosstalk) / (largest - 1), crosstalk / (largest * (largest - 1))])
    loss = parts[0] * (n - 1) + parts[1] * n * (n - 1)
    times = n / values
    weights = 1 / (times * widths)
    (inverse, lost), distance = nnls(
        np.column_stack([np.ones_like(n), loss]) * weights[:, None], times * weights
    )
    if inverse <= 0:
        return np.array([np.inf, 0, 0]), math.inf
    return np.array([1 / inverse, *(parts * lost / inverse)]), float(distance**2)


def _solve(
    n: NDArray[np.float64], values: NDArray[np.float64], widths: NDArray[np.float64], law: str
) -> NDArray[np.float64]:
    """(rate, serial, crosstalk) by non-negative least squares of relative errors of N / X."""
    times = n / values
    columns = [np.ones_like(n), n - 1] + ([n * (n - 1)] if law == "usl" else [])
    weights = 1 / (times * widths)
    found, _ = nnls(np.column_stack(columns) * weights[:, None], times * weights)
    inverse, *losses = (*found, 0.0)[:3]
    return (
        np.array([1 / inverse, *(loss / inverse for loss in losses)])
        if inverse > 0
        else np.array([np.inf, 0, 0])
    )


def karp_flatt(speed_up: float, n: float) -> float:
    """The experimentally determined serial fraction, (1/S - 1/N) / (1 - 1/N) (Karp & Flatt 1990).

    Raises:
        ValueError: N is not above 1, or the speed-up not above 0.
    """
    if n <= 1 or speed_up <= 0:
        raise ValueError(f"a speed-up of {speed_up} on {n} has no serial fraction")
    return (1 / speed_up - 1 / n) / (1 - 1 / n)
