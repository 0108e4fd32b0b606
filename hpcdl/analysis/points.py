"""One run among others of the same: its launches as one number, with its interval where each of them has one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hpcdl.analysis.readings import combine_rates
from hpcdl.analysis.repeats import combine
from hpcdl.estimates.intervals import Interval
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.rows import Row

Metric = Literal["images/s", "images/J", "W"]


@dataclass(frozen=True)
class Point:
    """One run on a line, over its launches there: rates are harmonic means, watts arithmetic ones.

    `value` and `interval` are of the metric, the others beside it. Where its launches were metered differently, it has
    no energy, and neither `boundary` nor `basis`.
    """

    run_id: str
    time: str
    launches: int
    value: Reading
    interval: Interval | None
    images_per_s: Reading
    rate_interval: Interval | None
    average_w: Reading
    j_per_image: Reading
    images_per_j: Reading
    boundary: str | None
    basis: str | None
    rows: tuple[Row, ...]


def sum_up(rows: Sequence[Row], metric: Metric) -> Point:
    """The rows of one run on one line."""
    first, meters = rows[0], _list_meters(rows)
    rate, rate_interval = _combine(rows, "images_per_s", "why_missing")
    efficiency, its_interval = _combine(rows, "images_per_j", "energy_missing")
    watts, joules = _mean(rows, "average_w"), _mean(rows, "j_per_image")
    if len(meters) > 1:
        told = "; ".join(f"{boundary}, {basis}" for boundary, basis in meters)
        watts = joules = efficiency = Missing(missing=f"its launches were metered differently: {told}")
        its_interval = None
    boundary, basis = meters[0] if len(meters) == 1 else (None, None)
    values: dict[Metric, tuple[Reading, Interval | None]] = {
        "images/s": (rate, rate_interval),
        "images/J": (efficiency, its_interval),
        "W": (watts, None),
    }
    value, interval = values[metric]
    return Point(
        run_id=str(first["run_id"]),
        time=str(first["time"]),
        launches=len(rows),
        value=value,
        interval=interval,
        images_per_s=rate,
        rate_interval=rate_interval,
        average_w=watts,
        j_per_image=joules,
        images_per_j=efficiency,
        boundary=boundary,
        basis=basis,
        rows=tuple(rows),
    )


def _list_meters(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """The different boundaries and bases of the launches that have energy: none of them is averaged with another.

    Where no launch has any, those of what is withheld.
    """
    told = [row for row in rows if row["boundary"] is not None]
    valued = [row for row in told if row["average_w"] is not None or row["j_per_image"] is not None]
    return list(dict.fromkeys((str(row["boundary"]), str(row["basis"])) for row in valued or told[:1]))


def _read_text(rows: Sequence[Row], column: str) -> str | None:
    return next((str(row[column]) for row in rows if row[column] is not None), None)


def _numbers(rows: Sequence[Row], column: str) -> list[float]:
    return [float(value) for row in rows if (value := row[column]) is not None]


def _why(rows: Sequence[Row], column: str) -> Missing:
    return Missing(missing=_read_text(rows, column) or "its records do not say")


def _mean(rows: Sequence[Row], column: str) -> Reading:
    """Over launches of equal work."""
    values = _numbers(rows, column)
    return sum(values) / len(values) if values else _why(rows, "energy_missing")


def _combine(rows: Sequence[Row], column: str, why: str) -> tuple[Reading, Interval | None]:
    """A rate over the launches that have it, and its interval where each of them has one."""
    values = _numbers(rows, column)
    if not values:
        return _why(rows, why), None
    lows, highs = _numbers(rows, f"{column}_low"), _numbers(rows, f"{column}_high")
    if len(lows) < len(values) or len(highs) < len(values):
        return combine_rates(values), None
    ends = zip(values, lows, highs, strict=True)
    return combine_rates(values), combine([Interval(value, low, high, 1, 1.0) for value, low, high in ends])
