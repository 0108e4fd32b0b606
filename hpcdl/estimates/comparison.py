"""Do two sets of samples differ? A test that assumes no distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# Up to here all ways to rank the samples are counted; beyond, the normal approximation is as good.
LARGEST_EXACT = 20


def batch(series: ArrayLike, count: int = 20) -> NDArray[np.float64]:
    """Means of `count` equal stretches of a series, (count,), the oldest rest left out: less correlated than steps."""
    values = np.asarray(series, dtype=np.float64)
    count = min(count, len(values))
    length = len(values) // count
    means: NDArray[np.float64] = values[len(values) - count * length :].reshape(count, length).mean(axis=1)
    return means


def compare_samples(one: ArrayLike, other: ArrayLike) -> float:
    """Two-sided p-value of Mann and Whitney's U test (1947): exact for few samples without ties."""
    # scipy.stats takes a second to import, and only a comparison needs it.
    from scipy.stats import mannwhitneyu

    a, b = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if np.ptp(np.concatenate([a, b])) == 0:
        return 1.0
    tied = len(np.unique(np.concatenate([a, b]))) < len(a) + len(b)
    exact = not tied and max(len(a), len(b)) <= LARGEST_EXACT
    return float(mannwhitneyu(a, b, method="exact" if exact else "asymptotic").pvalue)
