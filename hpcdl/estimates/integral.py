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
    low_w: float
    high_w: float


def count_energy(
    at_s: NDArray[np.float64], energy_j: NDArray[np.float64], begin_s: float, end_s: float
) -> float | None:
    """The difference of a counter between two times, (looks,) each, interpolated linearly; NaN readings are skipped.

    None where the readings do not reach from one end to the other, or the counter ran backwards in between.
    """
    good = np.isfinite(energy_j)
    at_s, energy_j = at_s[good], energy_j[good]
    if len(at_s) < 2 or begin_s < at_s[0] or end_s > at_s[-1]:
        return None
    first = max(0, int(np.searchsorted(at_s, begin_s, side="right")) - 1)
    last = int(np.searchsorted(at_s, end_s, side="left")) + 1
    if np.any(np.diff(energy_j[first:last]) < 0):
        return None
    low, high = np.interp([begin_s, end_s], at_s, energy_j)
    return float(high - low)


def integrate_power(
    at_s: NDArray[np.float64],
    power_w: NDArray[np.float64],
    begin_s: float,
    end_s: float,
    *,
    longest_gap_s: float,
) -> Integral | None:
    """Power over time by the trapezoidal rule, its ends interpolated; NaN readings are skipped.

    What lies between two readings further apart than `longest_gap_s` is not covered, and adds nothing. None where
    there are no two readings that cover anything of the window.
    """
    good = np.isfinite(power_w)
    at_s, power_w = at_s[good], power_w[good]
    if len(at_s) < 2:
        return None
    starts, ends = np.maximum(at_s[:-1], begin_s), np.minimum(at_s[1:], end_s)
    used = (ends > starts) & (np.diff(at_s) <= longest_gap_s)
    if not used.any():
        return None
    starts, ends = starts[used], ends[used]
    low, high = np.interp(starts, at_s, power_w), np.interp(ends, at_s, power_w)
    return Integral(
        energy_j=float(((low + high) / 2 * (ends - starts)).sum()),
        covered_s=float((ends - starts).sum()),
        low_w=float(min(low.min(), high.min())),
        high_w=float(max(low.max(), high.max())),
    )


def find_update_period(
    at_s: NDArray[np.float64], values: NDArray[np.float64], *, least: int = 3
) -> float | None:
    """The median time between two changes of a reading, s; None where it changed fewer than `least` + 1 times."""
    good = np.isfinite(values)
    at_s, values = at_s[good], values[good]
    changed_s = at_s[1:][np.diff(values) != 0]
    return float(np.median(np.diff(changed_s))) if len(changed_s) > least else None
