"""How often something happens, from how often it was seen to."""

from __future__ import annotations

from scipy.special import betaincinv

from hpcdl.estimates.intervals import CONFIDENCE, Interval, TooFew


def estimate_proportion(hits: int, count: int) -> Interval:
    """Hits of `count` independent ones, with the exact 95 % interval of Clopper and Pearson (Biometrika 26, 1934).

    Raises:
        TooFew: None at all.
    """
    if count <= 0:
        raise TooFew("of nothing there is no part")
    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, count - hits + 1, tail))
    high = 1.0 if hits == count else float(betaincinv(hits + 1, count - hits, 1 - tail))
    return Interval(hits / count, low, high, count, float(count))
