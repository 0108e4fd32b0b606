"""Published series -> rates, speed-up, efficiency and Karp-Flatt, by the code that serves measurements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from hpcdl import networks
from hpcdl.analysis.gains import Rate, compare_rates
from hpcdl.records import Missing, Reading
from hpcdl.references import load_references

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.gains import Gain
    from hpcdl.references import Reference, Row, Series

NO_RATE = Missing(missing="the source gives no images/s")


@dataclass(frozen=True)
class PublishedPoint:
    """One row. `computed` is how `images_per_s` follows from what was read (empty: it was read itself).

    `gain` is over the fewest devices of the series, or over the base of the source's own speed-up; None where the
    series is no scaling.
    """

    row: Row
    images_per_s: Reading
    computed: str
    gain: Gain | None


class PublishedRate(NamedTuple):
    """Throughput that somebody else has published, of the very network that is asked for."""

    label: str
    images_per_s: float
    devices: int | None
    conditions: str


def work_out(series: Series) -> tuple[PublishedPoint, ...]:
    """Every row of a series, with what follows from it."""
    rates = [_read_rate(row, series) for row in series.rows]
    gains = _compare(series, rates) if series.scales else [None] * len(rates)
    return tuple(
        PublishedPoint(row, rate, _tell_how(row, series), gain)
        for row, rate, gain in zip(series.rows, rates, gains, strict=True)
    )


def _read_rate(row: Row, series: Series) -> Reading:
    if row.images_per_s is not None:
        return row.images_per_s
    if row.step_s is not None and series.batch is not None:
        return series.batch / row.step_s
    return Missing(missing=row.missing) if row.missing else NO_RATE


def _tell_how(row: Row, series: Series) -> str:
    if row.step_s is None or series.batch is None:
        return ""
    return f"{series.batch:,} images / {row.step_s:g} s"


def _compare(series: Series, rates: Sequence[Reading]) -> Sequence[Gain | None]:
    """Over the fewest devices; a speed-up that was read is over one device, whose rate is 1 then."""
    relative = [_read_relative(row) for row in series.rows]
    if any(one is not None for one in relative):
        pairs = zip(series.rows, relative, strict=True)
        sizes = [Rate(row.devices or 1, NO_RATE if one is None else one) for row, one in pairs]
        return compare_rates([Rate(1, 1.0), *sizes])[1:]
    sizes = [Rate(row.devices or 1, rate) for row, rate in zip(series.rows, rates, strict=True)]
    return compare_rates(sizes)


def _read_relative(row: Row) -> float | None:
    if row.efficiency is not None:
        return row.efficiency * (row.devices or 1)
    return row.speed_up


def published_rates(model: str) -> tuple[PublishedRate, ...]:
    """What others have published of a network: of the very same one, since AlexNets differ.

    Raises:
        UnknownName: There is no such network.
    """
    name = networks.find(model).name
    return tuple(
        rate
        for reference in load_references().values()
        for series in reference.series
        if series.same_as == name
        for rate in _list_rates(reference, series)
    )


def _list_rates(reference: Reference, series: Series) -> list[PublishedRate]:
    conditions = f"{reference.source.text}; leaves out {reference.conditions.leaves_out}"
    return [
        PublishedRate(
            label=", ".join(part for part in (series.label, point.row.label) if part),
            images_per_s=point.images_per_s,
            devices=point.row.devices,
            conditions=conditions,
        )
        for point in work_out(series)
        if not isinstance(point.images_per_s, Missing)
    ]
