"""The scaling curve drawn on: from what was measured, with the uncertainty of the fit, and not too far."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.analysis.readings import Withheld
from hpcdl.errors import Mistake
from hpcdl.estimates.fits import fit_scaling
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.scaling import Scaling
    from hpcdl.estimates.fits import ScalingFit
    from hpcdl.estimates.intervals import Interval

# A curve through a few points says little about a machine of many times their size.
FARTHEST = 8


@dataclass(frozen=True)
class Forecast:
    """Throughput and efficiency on `nodes`; `interval` is of the throughput. `measured` where it was one."""

    nodes: int
    ranks: int
    images_per_s: Reading
    interval: Interval | None
    efficiency: Reading
    measured: Reading


@dataclass(frozen=True)
class Prediction:
    """One scaling table drawn on. `sizes` is how many different ones the law was fitted to.

    `withheld` is why the law's own parameters are not published: they are an efficiency by another name.
    """

    scaling: Scaling
    fit: ScalingFit
    sizes: int
    forecasts: tuple[Forecast, ...]
    withheld: str | None


@dataclass(frozen=True)
class Refusal:
    """A scaling table that cannot be drawn on, and why."""

    scaling: Scaling
    reason: str


def predict_tables(
    tables: Sequence[Scaling], nodes: Sequence[int]
) -> tuple[tuple[Prediction, ...], tuple[Refusal, ...]]:
    """All tables that can be drawn on, and the others with their reasons: one bad table hides no good one.

    Raises:
        Mistake: None of them can; in the words of the first.
    """
    predictions, mistakes = [], []
    for scaling in tables:
        try:
            predictions.append(predict(scaling, nodes))
        except Mistake as mistake:
            mistakes.append((scaling, mistake))
    if mistakes and not predictions:
        raise mistakes[0][1]
    return tuple(predictions), tuple(Refusal(scaling, mistake.what) for scaling, mistake in mistakes)


def predict(scaling: Scaling, nodes: Sequence[int]) -> Prediction:
    """The law of a scaling table, at other numbers of nodes.

    Args:
        scaling: With at least two sizes that have a throughput.
        nodes: Where to look, each divided as the largest size is; what was measured is taken in beside them.

    Raises:
        Mistake: Fewer than two sizes have a throughput with an interval, or no law fits them.
    """
    fit, sizes = fit_table(scaling)
    measured = {(point.nodes, point.ranks): point.images_per_s for point in scaling.points if point.interval}
    asked = {(count, count * ranks_per_node(scaling)) for count in nodes}
    forecasts = tuple(
        forecast(fit, scaling, *size, measured.get(size))
        for size in sorted({*asked, *measured}, key=lambda size: size[::-1])
    )
    return Prediction(scaling, fit, sizes, forecasts, withheld=why_rehearsed(scaling))


def fit_table(scaling: Scaling) -> tuple[ScalingFit, int]:
    """The law of a scaling table over N, and to how many different sizes it was fitted.

    Raises:
        Mistake: Fewer than two sizes have a throughput with an interval, or no law fits them.
    """
    points = [point for point in scaling.points if point.interval is not None]
    # As many ranks on more nodes are no other size: the law knows N alone.
    sizes = len({point.relative for point in points})
    if sizes < 2 or scaling.base.interval is None:
        have = "1 of the sizes has" if sizes == 1 else f"{sizes} of the sizes have"
        raise Mistake(
            f"{have} a throughput with an interval, and a law needs two, the base among them.",
            do="See `hpcdl report` for why the others have none.",
        )
    fit = fit_scaling(
        [point.relative for point in points], [point.interval for point in points if point.interval]
    )
    if not math.isfinite(fit.rate):
        raise Mistake(
            "the throughput falls so steeply that no law of scaling fits it.",
            do="See `hpcdl report` for what was measured.",
        )
    return fit, sizes


def ranks_per_node(scaling: Scaling) -> int:
    """Of the largest size: the base may be a single rank (--per gpu), and locally each size is one node."""
    largest = scaling.points[-1]
    return largest.ranks // largest.nodes


def forecast(
    fit: ScalingFit, scaling: Scaling, nodes: int, ranks: int, measured: Reading | None = None
) -> Forecast:
    """One size by the law of a scaling table; withheld where it would be said too much."""
    relative = ranks / scaling.base.ranks
    rate = fit.predict(relative)
    efficiency = rate.value / (relative * fit.predict(1).value)
    reason = _why_withheld(fit, scaling, relative, rate)
    return Forecast(
        nodes=nodes,
        ranks=ranks,
        images_per_s=Withheld(missing=reason, value=rate.value) if reason else rate.value,
        interval=None if reason else rate,
        efficiency=Withheld(missing=reason, value=efficiency) if reason else efficiency,
        measured=measured if measured is not None else Missing(missing="it was not measured"),
    )


def why_rehearsed(scaling: Scaling) -> str | None:
    """Why nothing that follows from how it scales is published; None: it is no rehearsal, or was asked for."""
    return f"{scaling.rehearsal} (--force shows it)" if scaling.rehearsal and not scaling.forced else None


def _why_withheld(fit: ScalingFit, scaling: Scaling, relative: float, rate: Interval) -> str | None:
    if rehearsed := why_rehearsed(scaling):
        return rehearsed
    if not rate.bounded:
        return "the measurements scatter so widely that the law has no upper bound"
    if relative > FARTHEST * fit.largest:
        return f"more than {FARTHEST} times the largest size measured (--force shows it)"
    return None
