"""Energy over a window, from what a meter read at irregular times: by its counter, and by integrating its power."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Integral:
    """Joules within a window, of which `covered_s` seconds lie between readings that are near enough."""

    energy_j: float
    covered_s: float


@dataclass(frozen=True)
class Count:
    """Joules by a counter; `edges_s` are the times between the looks around the begin, and around the end."""

    energy_j: float
    edges_s: tuple[float, float]


def count_energy(
    at_s: NDArray[np.float64], energy_j: NDArray[np.float64], begin_s: float, end_s: float
) -> Count | None:
    """The difference of a counter between two times, (looks,) each, interpolated linearly; NaN readings are skipped.

    None where the readings do not reach from one end to the other, or the counter ran backwards in between.
    """
    good = np.isfinite(energy_j)
    at_s, energy_j = at_s[good], energy_j[good]
    if len(at_s) < 2 or begin_s < at_s[0] or end_s > at_s[-1]:
        return None
    # The look at or before the begin, and the one at or after the end.
    first = int(np.searchsorted(at_s, begin_s, side="right")) - 1
    last = int(np.searchsorted(at_s, end_s, side="left"))
    if np.any(np.diff(energy_j[first : last + 1]) < 0):
        return None
    low_j, high_j = np.interp([begin_s, end_s], at_s, energy_j)
    edges_s = (at_s[min(first + 1, len(at_s) - 1)] - at_s[first], at_s[last] - at_s[max(last - 1, 0)])
    return Count(float(high_j - low_j), (float(edges_s[0]), float(edges_s[1])))


def integrate_power(
    at_s: NDArray[np.float64],
    power_w: NDArray[np.float64],
    begin_s: float,
    end_s: float,
    *,
    longest_gap_s: float,
) -> Integral | None:
    """Power over time by the trapezoidal rule, its ends interpolated; NaN readings are skipped.

    What lies between two readings further apart than `longest_gap_s` is not covered, and adds nothing. The first and
    the last reading of all hold for as long at the most. None where nothing of the window is covered.
    """
    good = np.isfinite(power_w)
    at_s, power_w = _hold_ends(at_s[good], power_w[good], longest_gap_s)
    if len(at_s) < 2:
        return None
    starts, ends = np.maximum(at_s[:-1], begin_s), np.minimum(at_s[1:], end_s)
    # Held readings have neighbours that are exactly so far away, but for rounding.
    used = (ends > starts) & (np.diff(at_s) <= longest_gap_s * (1 + 1e-9))
    if not used.any():
        return None
    starts, ends = starts[used], ends[used]
    low, high = np.interp(starts, at_s, power_w), np.interp(ends, at_s, power_w)
    return Integral(
        energy_j=float(((low + high) / 2 * (ends - starts)).sum()),
        covered_s=float((ends - starts).sum()),
    )


def _hold_ends(
    at_s: NDArray[np.float64], power_w: NDArray[np.float64], held_s: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if not len(at_s):
        return at_s, power_w
    return (
        np.concatenate([[at_s[0] - held_s], at_s, [at_s[-1] + held_s]]),
        np.concatenate([power_w[:1], power_w, power_w[-1:]]),
    )


def cumulate_power(at_s: NDArray[np.float64], power_w: NDArray[np.float64]) -> NDArray[np.float64]:
    """Joules since the first reading at each of them, (looks,), by the trapezoidal rule."""
    parts = (power_w[1:] + power_w[:-1]) / 2 * np.diff(at_s)
    return np.concatenate([[0.0], np.cumsum(parts)])


def find_update_period(
    at_s: NDArray[np.float64], values: NDArray[np.float64], *, least: int = 3
) -> float | None:
    """The median time between two changes of a reading, s; None where it changed fewer than `least` + 1 times."""
    good = np.isfinite(values)
    at_s, values = at_s[good], values[good]
    changed_s = at_s[1:][np.diff(values) != 0]
    return float(np.median(np.diff(changed_s))) if len(changed_s) > least else None
