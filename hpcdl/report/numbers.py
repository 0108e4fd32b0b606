"""How numbers look: one place for digits, prefixes and units, and for what stands where there is no number."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import floor, isfinite, log10
from typing import TYPE_CHECKING

from hpcdl.report.content import Curve, Quantity, Shares, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hpcdl.report.content import Cell, Unit

DIGITS = 4
_BARS = "▁▂▃▄▅▆▇█"
# The phases of a step, told apart by shade where there is no colour.
SHADES = {"input": "▒", "compute": "█", "exchange": "░", "update": "▓"}
BAR_WIDTH = 24
_PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def format_number(value: float, digits: int = DIGITS) -> str:
    """A number with so many significant digits, thousands separated, never in exponents."""
    if value == 0 or not isfinite(value):
        return "0" if value == 0 else str(value)
    exponent = floor(log10(abs(value)))
    decimals = digits - 1 - exponent
    rounded = round(value, decimals)
    # Rounding may have carried into the next decade: 9.9996 has four digits as 10.00.
    if rounded and floor(log10(abs(rounded))) > exponent:
        decimals -= 1
    return f"{rounded:,.{max(decimals, 0)}f}"


def format_value(value: float, unit: Unit) -> str:
    """A number with its unit, except where a column's title says it (images/s) or there is none."""
    return _FORMATS.get(unit, format_number)(value)


def _format_percent(fraction: float) -> str:
    percent = 100 * fraction
    if 0 < abs(percent) < 0.05:
        return f"{'<' if percent > 0 else '>-'}0.1 %"
    return f"{percent:.1f} %"


def _format_seconds(value: float) -> str:
    for scale, name in _SECONDS:
        # 0.9996 s has three digits as 1.00 s, not as 1000 ms.
        if abs(value) >= 0.9995 * scale:
            return f"{format_number(value / scale, 3)} {name}"
    return "0 s" if value == 0 else f"{format_number(value / 1e-6, 3)} µs"


def _format_prefixed(value: float, unit: str) -> str:
    for scale, prefix in _PREFIXES:
        if abs(value) >= scale:
            return f"{format_number(value / scale)} {prefix}{unit}"
    return f"{format_number(value)} {unit}"


_FORMATS: dict[Unit, Callable[[float], str]] = {
    "fraction": _format_percent,
    "half-width": lambda value: f"±{_format_percent(value)}",
    "change": lambda value: f"{100 * value:+.1f} %",
    "times": lambda value: f"{value:.2f} x" if value >= 0.1 else f"{format_number(value, 3)} x",
    "p": lambda value: f"{value:.3f}" if value >= 0.0005 else "<0.001",
    "number": lambda value: f"{value:g}".replace("e-0", "e-"),
    "nodes": lambda value: f"{value:,.0f}",
    "ratio": lambda value: f"{value:,.2f}",
    "serial": lambda value: f"{value:.3f}",
    "s": _format_seconds,
    "bytes": lambda value: _format_prefixed(value, "B"),
    "bytes/s": lambda value: _format_prefixed(value, "B/s"),
    "bits/s": lambda value: _format_prefixed(value, "bit/s"),
    "FLOP": lambda value: _format_prefixed(value, "FLOP"),
    "FLOP/s": lambda value: _format_prefixed(value, "FLOP/s"),
    "MAC": lambda value: _format_prefixed(value, "MAC"),
    "W": lambda value: _format_prefixed(value, "W") if abs(value) >= 1e4 else f"{format_number(value)} W",
    "J": lambda value: _format_prefixed(value, "J"),
    "Wh": lambda value: _format_prefixed(value, "Wh"),
    "kWh": lambda value: f"{format_number(value)} kWh",
    "h": lambda value: f"{format_number(value)} h",
    "days": lambda value: f"{format_number(value)}",
    "kg": lambda value: f"{format_number(value)} kg",
    "MHz": lambda value: f"{value:,.0f} MHz",
    "°C": lambda value: f"{value:.0f} °C",
}


def missing_reason(quantity: Quantity) -> str | None:
    """Why there is no number; None where there is one."""
    # Not by type: that would load pydantic for `hpcdl models`.
    return None if isinstance(quantity.value, int | float) else quantity.value.missing


def format_quantity(quantity: Quantity, *, with_unit: bool = False, absent: str | None = None) -> str:
    """A quantity in words.

    Args:
        quantity: What to show.
        with_unit: Name images/s too, where no title does.
        absent: What stands for a number that is missing; None: 'not published: reason'.
    """
    value = quantity.value
    if not isinstance(value, int | float):
        return f"not published: {value.missing}" if absent is None else absent
    unit = " images/s" if with_unit and quantity.unit == "images/s" else ""
    mark = f" ({quantity.mark})" if quantity.mark and with_unit else ""
    text = format_value(value, quantity.unit) + unit
    if quantity.currency:
        text = f"{text} {quantity.currency}"
    if quantity.shade:
        text = f"{quantity.shade} {text}"
    if quantity.struck:
        why = f" (withheld: {quantity.struck})" if with_unit else ""
        return f"~~{text}~~{why}"
    return text + mark


def split_headline(cell: Cell) -> tuple[str, str]:
    """A fact of the headline: the number, and beside it, smaller, its 95 % interval and what qualifies it."""
    value = cell.value if isinstance(cell, Quantity) else None
    if not isinstance(cell, Quantity) or not isinstance(value, int | float):
        return format_cell(cell, with_unit=True), ""
    beside = [f"({cell.mark})"] if cell.mark else []
    if cell.low is not None and cell.high is not None and isfinite(cell.low + cell.high) and value:
        # As the tables have it: the longer side.
        longer = max(cell.high - value, value - cell.low)
        beside.insert(0, format_value(longer / abs(value), "half-width"))
    return format_quantity(replace(cell, mark=""), with_unit=True), " ".join(beside)


def format_cell(cell: Cell, *, with_unit: bool = False, absent: str | None = None) -> str:
    """Any cell in words; empty where it does not apply."""
    if isinstance(cell, Quantity):
        return format_quantity(cell, with_unit=with_unit, absent=absent)
    if isinstance(cell, Span):
        return _format_span(cell.lowest, cell.highest, with_unit=with_unit, absent=absent)
    if isinstance(cell, Shares):
        return _format_shares(cell, with_unit=with_unit)
    if isinstance(cell, Curve):
        return _format_curve(cell, with_unit=with_unit)
    return f"{cell:,}" if isinstance(cell, int) else cell or ""


def _format_span(lowest: Quantity, highest: Quantity, *, with_unit: bool, absent: str | None) -> str:
    if missing_reason(lowest) is not None:
        return format_quantity(lowest, absent=absent)
    return f"{format_quantity(lowest)} to {format_quantity(highest, with_unit=with_unit)}"


def _format_shares(shares: Shares, *, with_unit: bool) -> str:
    if with_unit:
        return " · ".join(f"{title} {format_quantity(share, absent='-')}" for _, title, share in shares.parts)
    return "".join(SHADES.get(key, "█") * length for key, length in measure_bar(shares).items())


def measure_bar(shares: Shares) -> dict[str, int]:
    """How long each part of a bar is, in characters; what rounding leaves over goes to the largest."""
    known = {key: share.value for key, _, share in shares.parts if isinstance(share.value, int | float)}
    lengths = {key: round(BAR_WIDTH * share) for key, share in known.items()}
    if known:
        lengths[max(known, key=lambda key: known[key])] += BAR_WIDTH - sum(lengths.values())
    return lengths


def explain_bar(shares: Shares) -> str:
    """Which shade is which."""
    return ", ".join(f"{SHADES.get(key, '█')} {title}" for key, title, _ in shares.parts)


def _format_curve(curve: Curve, *, with_unit: bool) -> str:
    line = sparkline(curve.values)
    if not (with_unit and line):
        return line
    first, last = (format_value(value, curve.unit) for value in (curve.values[0], curve.values[-1]))
    return f"{first} {line} {last}"


def find_missing(cell: Cell) -> str | None:
    """Why a cell shows no number; None where it shows one, or was not meant to."""
    match cell:
        case Quantity():
            return missing_reason(cell)
        case Span(lowest=lowest):
            return missing_reason(lowest)
        case Shares(parts=parts):
            return missing_reason(parts[0][2])
        case _:
            return None


def find_mark(cell: Cell) -> str:
    """What qualifies a number that is shown: 'partial', 'rehearsal' or nothing."""
    match cell:
        case Quantity(mark=mark) if missing_reason(cell) is None:
            return mark
        case Span(lowest=Quantity(mark=mark) as lowest) if missing_reason(lowest) is None:
            return mark
        case Shares(parts=((_, _, Quantity(mark=mark) as first), *_)) if missing_reason(first) is None:
            return mark
        case _:
            return ""


def find_strike(cell: Cell) -> str:
    """Why a number is withheld that is shown all the same; empty where none is."""
    match cell:
        case Quantity(struck=struck) | Span(lowest=Quantity(struck=struck)):
            return struck
        case Shares(parts=((_, _, Quantity(struck=struck)), *_)):
            return struck
        case _:
            return ""


def sparkline(values: Sequence[float]) -> str:
    """A course in eighths of a line's height, from the lowest to the highest value."""
    if not values:
        return ""
    lowest, highest = min(values), max(values)
    height = highest - lowest
    if height <= 0:
        return _BARS[0] * len(values)
    return "".join(
        _BARS[min(int((value - lowest) / height * len(_BARS)), len(_BARS) - 1)] for value in values
    )


def thin(values: Sequence[float], count: int) -> tuple[float, ...]:
    """At most `count` values: the means of equal stretches; the first and the last value stay as they are."""
    if len(values) <= count:
        return tuple(values)
    edges = [round(index * len(values) / count) for index in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    return (values[0], *means[1:-1], values[-1])
