"""The law that was fitted to a scaling table, in words, and where by it more ranks stop paying."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hpcdl.analysis.prediction import FARTHEST, predict
from hpcdl.analysis.readings import withhold
from hpcdl.errors import Mistake
from hpcdl.estimates.fits import FEWEST_SIZES, SIZES_FOR_USL
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
    if prediction.fit.law != "usl":
        yield f"where more ranks stop paying cannot be told from {prediction.sizes} sizes: {SIZES_FOR_USL} are needed"
        return
    half, peak = find_knee(prediction)
    told = f"beyond {FARTHEST} times the largest size measured"
    ends = "" if half.low is None or half.high is None else f" ({half.low:,.0f} to {half.high:,.0f})"
    yield f"by this law half of the efficiency is left {_place(half.value, told)}{ends}"
    if not isinstance(peak.value, Missing):
        yield f"by this law throughput falls {_place(peak.value, told)}"


def _place(ranks: Reading, told: str) -> str:
    return told if isinstance(ranks, Missing) else f"at {ranks:,.0f} ranks"


def find_knee(prediction: Prediction) -> tuple[Quantity, Quantity]:
    """Ranks at which half of the efficiency is left, and beyond which throughput falls; where the law is trusted."""
    fit, base = prediction.fit, prediction.scaling.base.ranks
    half, low, high = fit.half_efficient
    at = _trust(prediction, half, base)
    ends = (None, None) if isinstance(at, Missing) or not math.isfinite(high) else (low * base, high * base)
    return Quantity(at, "number", "", *ends), Quantity(_trust(prediction, fit.peak, base), "number")


def _trust(prediction: Prediction, relative: float, base_ranks: int) -> Reading:
    if prediction.withheld:
        return Missing(missing=prediction.withheld)
    if prediction.fit.law != "usl":
        return Missing(
            missing=f"{prediction.sizes} sizes do not tell serial work from crosstalk: {SIZES_FOR_USL} are needed"
        )
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
        Fact("half_efficiency_ranks", "half efficiency at", half),
        Fact("peak_ranks", "peak at", peak),
    )
