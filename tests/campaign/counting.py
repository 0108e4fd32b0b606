"""How sure a count is."""

from __future__ import annotations

from scipy.stats import binomtest


def clopper_pearson(held: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share (Clopper and Pearson, Biometrika 26, 1934, p. 404).

    It holds the true share in at least `confidence` of all cases; 10 of 10 is 0.69 to 1.

    Raises:
        ValueError: No trials, or more that held than there were.
    """
    interval = binomtest(held, trials).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)
