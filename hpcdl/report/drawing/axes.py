"""Axes and numbers of pictures, in the units and digits of hpcdl.report.numbers."""

from __future__ import annotations

from math import ceil, floor, isfinite, log2, log10
from typing import TYPE_CHECKING, Any

from hpcdl.report.numbers import format_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hpcdl.report.content import Unit
    from hpcdl.report.pictures import Axis, Dot

_LARGE = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_BASES = {"bytes": "B", "bytes/s": "B/s"}
_SMALL = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"))
_PREFIXED = ("s", "bytes", "bytes/s", "FLOP", "FLOP/s", "MAC", "W", "J", "Wh")
_PLAIN = ("kWh", "h", "kg", "MHz", "°C")
# Units that numbers do not say by themselves, as their columns' titles do.
_SILENT = ("images/s", "J/image", "images/J")
_NUMBER = "format({value}, ',.4~r')"
MOST_DOUBLED = 65536


def write_value(value: float, axis: Axis) -> str:
    """A value of an axis in words, with its unit."""
    unit = axis.currency or (axis.unit if axis.unit in _SILENT else "")
    return f"{format_value(value, axis.unit)} {unit}".rstrip()


def write_interval(dot: Dot, axis: Axis) -> str:
    """The ends of a 95 % interval; empty where there is none."""
    if dot.low is None or dot.high is None:
        return ""
    return f"{write_value(dot.low, axis)} to {write_value(dot.high, axis)}"


def title_axis(axis: Axis) -> str:
    """What stands along an axis: its title, with the unit that its numbers do not say."""
    unit = axis.currency or (axis.unit if axis.unit in _SILENT else "")
    return f"{axis.title} ({unit})" if unit and unit not in axis.title else axis.title


def write_ticks(unit: Unit) -> str:
    """A Vega expression that writes an axis' numbers as format_value does, without zeros at their end."""
    value = "datum.value"
    if unit in {"fraction", "half-width", "change"}:
        sign = "+" if unit == "change" else ""
        return f"format(100 * {value}, '{sign},.4~r') + ' %'"
    if unit in _PREFIXED:
        return _choose_prefix(unit)
    if unit == "times":
        return f"{_NUMBER.format(value=value)} + ' x'"
    suffix = f" + ' {unit}'" if unit in _PLAIN else ""
    return _NUMBER.format(value=value) + suffix


def _choose_prefix(unit: Unit) -> str:
    base = _BASES.get(unit, unit)
    text = f"{_NUMBER.format(value='datum.value')} + ' {base}'"
    for scale, prefix in reversed(_SMALL if unit == "s" else _LARGE):
        # Ten thousand watts are the first that are kilowatts in hpcdl's reports.
        least = 1e4 if (unit, prefix) == ("W", "k") else 0.9999 * scale
        scaled = _NUMBER.format(value=f"datum.value / {scale:g}")
        text = f"abs(datum.value) >= {least:g} ? {scaled} + ' {prefix}{base}' : {text}"
    return f"datum.value == 0 ? '0' : {text}"


def encode(axis: Axis, field: str, values: Iterable[float] = ()) -> dict[str, Any]:
    """A quantitative channel over `values`, which a logarithmic axis takes its ends and ticks from."""
    ticks: dict[str, Any] = {"labelExpr": write_ticks(axis.unit)}
    scale: dict[str, Any] = {"zero": axis.zero, "nice": True}
    places = sorted({value for value in values if value > 0 and isfinite(value)})
    if axis.log:
        scale = {"type": "log", "nice": False}
        if places:
            scale |= {"domain": [places[0] * 0.97, places[-1] * 1.03]}
            ticks |= {"values": choose_ticks(places, axis.unit), "labelOverlap": "greedy"}
    else:
        ticks["tickCount"] = {"expr": "ceil(width / 90)"} if field.startswith("x") else 5
        if axis.whole:
            ticks["tickMinStep"] = 1
    return {"field": field, "type": "quantitative", "title": title_axis(axis), "axis": ticks, "scale": scale}


def complete(layer: dict[str, Any], everywhere: dict[str, Any]) -> dict[str, Any]:
    """A layer with the channels that all have, but for those that it says it has none of."""
    channels = everywhere | layer["encoding"]
    return layer | {"encoding": {name: channel for name, channel in channels.items() if channel is not None}}


def choose_ticks(places: Sequence[float], unit: Unit) -> list[float]:
    """Ticks of a logarithmic axis: powers of two where things are counted in them, else 1, 2, 5 or decades."""
    low, high = places[0], places[-1]
    if unit in {"number", "times", "ratio"} and low >= 0.25 and high <= MOST_DOUBLED:
        return [2.0**power for power in range(ceil(log2(low) - 0.05), floor(log2(high) + 0.05) + 1)]
    steps = (1, 2, 5) if high / low < 1000 else (1,)
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    return [tick for tick in ticks if low * 0.97 <= tick <= high * 1.03]
