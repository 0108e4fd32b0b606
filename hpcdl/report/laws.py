"""The law that was fitted to a scaling table, in words, and where by it more ranks stop paying."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hpcdl.analysis.prediction import FARTHEST, predict
from hpcdl.analysis.readings import withhold
from hpcdl.errors import Mistake
from hpcdl.estimates.fits import FEWEST_SIZES
from hpcdl.records import Missing
from hpcdl.report.content import Fact, Quantity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcdl.analysis.prediction import Prediction
    from hpcdl.analysis.scaling import Scaling
    from hpcdl.records import Reading

LAWS = {
    "amdahl": "Amdahl's form, X(N) = X(1) N / (1 + s (N - 1))",
    "usl": "the Universal Scalability Law, X(N) = X(1) N / (1 + s (N - 1) + k N (N - 1))",
}


def fit_law(scaling: Scaling) -> Prediction | None:
    """The law of a table over its own sizes; None where there are too few: through two points it always goes."""
    try:
        prediction = predict(scaling, ())
    except Mistake:
        return None
    return prediction if prediction.sizes >= FEWEST_SIZES else None


def caption_law(prediction: Prediction) -> str:
    """The law in words; its numbers only where they are published."""
    fit = prediction.fit
    law = f"{LAWS[fit.law]}, fitted to {prediction.sizes} sizes"
    if prediction.withheld:
        return law
    k = f", k = {fit.crosstalk:.2g}" if fit.law == "usl" else ""
    return f"{law}: s = {fit.serial:.3g}{k}; wrong by at most {100 * fit.misfit:.1f} % where it was measured"


def caption_knee(prediction: Prediction) -> Iterator[str]:
    """Where half of the efficiency is left, and where more ranks train slower; nothing where that is withheld."""
    if prediction.withheld:
        return
    half, peak = find_knee(prediction)
    told = f"beyond {FARTHEST} times the largest size measured"
    yield f"by this law half of the efficiency is left {_place(half, told)}"
    if not isinstance(peak, Missing):
        yield f"by this law throughput falls {_place(peak, told)}"


def _place(ranks: Reading, told: str) -> str:
    return told if isinstance(ranks, Missing) else f"at {ranks:,.0f} ranks"


def find_knee(prediction: Prediction) -> tuple[Reading, Reading]:
    """Ranks at which half of the efficiency is left, and beyond which throughput falls; where the law is trusted."""
    fit, base = prediction.fit, prediction.scaling.base.ranks
    return _trust(prediction, fit.half_efficient_n, base), _trust(prediction, fit.peak_n, base)


def _trust(prediction: Prediction, relative: float, base_ranks: int) -> Reading:
    if prediction.withheld:
        return Missing(missing=prediction.withheld)
    if not math.isfinite(relative) or relative > FARTHEST * prediction.fit.largest:
        return Missing(missing=f"not within {FARTHEST} times the largest size measured")
    return relative * base_ranks


def tell_law(prediction: Prediction | None) -> tuple[Fact, ...]:
    """The law as facts of its table."""
    if prediction is None:
        return ()
    fit, withheld = prediction.fit, prediction.withheld
    half, peak = find_knee(prediction)
    return (
        Fact("law", "law", fit.law),
        Fact("serial", "s", Quantity(withhold(fit.serial, withheld), "number")),
        Fact("crosstalk", "k", Quantity(withhold(fit.crosstalk, withheld), "number")),
        Fact("misfit", "largest error of the fit", Quantity(withhold(fit.misfit, withheld), "fraction")),
        Fact("half_efficiency_ranks", "half efficiency at", Quantity(half, "number")),
        Fact("peak_ranks", "peak at", Quantity(peak, "number")),
    )
