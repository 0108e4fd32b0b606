"""The scaling curve drawn on: from what was measured, with the uncertainty of the fit, and not too far."""

from __future__ import annotations

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
    """One scaling table drawn on. `law` is the form that was fitted, `sizes` how many it was fitted to."""

    scaling: Scaling
    fit: ScalingFit
    sizes: int
    forecasts: tuple[Forecast, ...]


def predict(scaling: Scaling, nodes: Sequence[int]) -> Prediction:
    """The law of a scaling table, at other numbers of nodes.

    Args:
        scaling: With at least two sizes that have a throughput.
        nodes: Where to look; what was measured is taken in beside them.

    Raises:
        Mistake: Fewer than two sizes have a throughput with an interval.
    """
    points = [point for point in scaling.points if point.interval is not None]
    base = scaling.base
    if len(points) < 2 or base.interval is None:
        raise Mistake(
            f"{len(points)} of the sizes have a throughput, and a law needs two, the base among them.",
            do="See `hpcdl report` for why the others have none.",
        )
    fit = fit_scaling(
        [point.relative for point in points], [point.interval for point in points if point.interval]
    )
    each = base.ranks / base.nodes
    measured = {point.nodes: point for point in points}
    asked = sorted({*nodes, *measured})
    forecasts = tuple(
        _forecast(
            fit,
            scaling,
            count,
            int(count * each),
            measured[count].images_per_s if count in measured else None,
        )
        for count in asked
    )
    return Prediction(scaling, fit, len(points), forecasts)


def _forecast(
    fit: ScalingFit, scaling: Scaling, nodes: int, ranks: int, measured: Reading | None
) -> Forecast:
    relative = ranks / scaling.base.ranks
    rate = fit.predict(relative)
    efficiency = rate.value / (relative * fit.predict(1).value)
    reason = _why_withheld(fit, scaling, relative)
    return Forecast(
        nodes=nodes,
        ranks=ranks,
        images_per_s=Withheld(missing=reason, value=rate.value) if reason else rate.value,
        interval=None if reason else rate,
        efficiency=Withheld(missing=reason, value=efficiency) if reason else efficiency,
        measured=measured if measured is not None else Missing(missing="it was not measured"),
    )


def _why_withheld(fit: ScalingFit, scaling: Scaling, relative: float) -> str | None:
    if scaling.rehearsal and not scaling.forced:
        return f"{scaling.rehearsal} (--force shows it)"
    if relative > FARTHEST * fit.largest:
        return f"more than {FARTHEST} times the largest size measured (--force shows it)"
    return None
