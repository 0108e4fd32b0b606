"""The noise of each of many units from few samples each: its own variance, drawn towards what all have.

Empirical Bayes with an inverse chi-squared prior, fitted by the moments of the logarithms of the variances, as limma
does (Smyth, Stat. Appl. Genet. Mol. Biol. 3, 2004, doi:10.2202/1544-6115.1027, section 6.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import digamma, polygamma

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# As many degrees of freedom as the prior may have: beyond, a unit's own scatter would no longer count.
FIRMEST = 30.0
# Fewer variances do not tell how far they differ: they are pooled.
FEWEST = 3
# Relative resolution of what is measured, squared: below, a variance is rounding.
SMALLEST = 1e-12
# A variance is at least this part of the median one, as in limma: its logarithm would outweigh all others.
LEAST_PART = 1e-5


@dataclass(frozen=True)
class Noise:
    """Moderated `variances` of one sample and their `degrees` of freedom, (units,); `typical` is the fleet's."""

    variances: Floats
    degrees: Floats
    typical: float


def moderate(variances: Floats, degrees: Floats) -> Noise:
    """Variances, (units,), drawn towards their common value; where `degrees` is 0, a unit has that value alone.

    Not a number, with no degrees of freedom, where no unit tells anything of its noise.
    """
    known = degrees > 0
    total = float(degrees[known].sum())
    if not known.any():
        return Noise(np.full(len(variances), np.nan), np.zeros(len(variances)), float("nan"))
    seen, freedom = variances[known], degrees[known]
    held = np.maximum(seen, max(SMALLEST, LEAST_PART * float(np.median(seen))))
    typical, firmness = _fit_prior(held, freedom)
    own = np.where(known, degrees, 0.0)
    lifted = np.full(len(variances), typical)
    lifted[known] = held
    moderated = (firmness * typical + own * lifted) / (firmness + own)
    return Noise(moderated, np.minimum(firmness + own, total), typical)


def _fit_prior(variances: Floats, degrees: Floats) -> tuple[float, float]:
    """The common variance, and as how many degrees of freedom it counts."""
    pooled = float((variances * degrees).sum() / degrees.sum())
    if len(variances) < FEWEST:
        return pooled, float(degrees.sum())
    logs = np.log(variances) - digamma(degrees / 2) + np.log(degrees / 2)
    mean = float(logs.mean())
    excess = float(logs.var(ddof=1) - polygamma(1, degrees / 2).mean())
    if excess <= 0:
        return pooled, FIRMEST
    firmness = 2 * _invert_trigamma(excess)
    typical = float(np.exp(mean + digamma(firmness / 2) - np.log(firmness / 2)))
    return typical, min(firmness, FIRMEST)


def _invert_trigamma(value: float) -> float:
    """Solve trigamma(x) = value > 0 by Newton's iteration on 1 / trigamma (Smyth 2004, appendix)."""
    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(polygamma(1, x))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, x))
        x += step
        if -step / x < 1e-8:
            break
    return x
