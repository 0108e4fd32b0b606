"""Published series -> rates, speed-up, efficiency and Karp-Flatt, by the code that serves measurements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from hpcdl import networks
from hpcdl.analysis.gains import Rate, compare_rates, compare_with_base
from hpcdl.records import Missing, Reading
from hpcdl.references import load_references

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.gains import Gain
    from hpcdl.references import Reference, Row, Series

NO_RATE = Missing(missing="the source gives no images/s")
NO_BASE = Missing(missing="the source does not say over how many devices")


@dataclass(frozen=True)
class PublishedGain:
    """One row over the base. `relative` is N: devices over those of the base; Missing where that is not given."""

    relative: Reading
    speed_up: Reading
    efficiency: Reading
    karp_flatt: Reading


@dataclass(frozen=True)
class PublishedPoint:
    """One row. `computed` is how `images_per_s` follows from what was read (empty: it was read itself).

    `gain` is over the fewest devices of the series, or over the base of the source's own speed-up or efficiency,
    without which nothing more than that follows; None where the series is no scaling.
    """

    row: Row
    images_per_s: Reading
    computed: str
    gain: PublishedGain | None


class PublishedRate(NamedTuple):
    """Throughput that somebody else has published, of the very network that is asked for."""

    label: str
    images_per_s: float
    devices: int | None
    conditions: str


def work_out(series: Series) -> tuple[PublishedPoint, ...]:
    """Every row of a series, with what follows from it."""
    rates = [_read_rate(row, series) for row in series.rows]
    gains: Sequence[PublishedGain | None] = [None] * len(rates)
    if series.scales:
        gains = _read_gains(series) if series.relative else _compare(series, rates)
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


def _compare(series: Series, rates: Sequence[Reading]) -> list[PublishedGain]:
    """Over the fewest devices."""
    sizes = [Rate(row.devices or 1, rate) for row, rate in zip(series.rows, rates, strict=True)]
    return [_keep(gain) for gain in compare_rates(sizes)]


def _read_gains(series: Series) -> list[PublishedGain]:
    """Of a speed-up or an efficiency that was read: over the source's base, where it names one."""
    base = series.base_devices
    if base is None:
        return [_read_alone(row) for row in series.rows]
    return [
        _keep(compare_with_base(Rate(row.devices or base, _read_relative(row, base)), Rate(base, 1.0)))
        for row in series.rows
    ]


def _read_relative(row: Row, base: int) -> Reading:
    """The rate over that of the base."""
    if row.efficiency is not None:
        return row.efficiency * (row.devices or base) / base
    return NO_RATE if row.speed_up is None else row.speed_up


def _read_alone(row: Row) -> PublishedGain:
    lacking = NO_BASE if row.speed_up or row.efficiency else NO_RATE
    return PublishedGain(NO_BASE, row.speed_up or lacking, row.efficiency or lacking, lacking)


def _keep(gain: Gain) -> PublishedGain:
    return PublishedGain(gain.relative, gain.speed_up, gain.efficiency, gain.karp_flatt)


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
