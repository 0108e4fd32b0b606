"""A criterion and its numbers in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.acceptance.words import read_table, shorten

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcdl.acceptance.metrics import Metric
    from hpcdl.acceptance.suite import Criterion, Of

REFERENCES: dict[Of, str] = {
    "fleet": "the fleet's median",
    "reference": "the baseline",
    "expectation": "what the model expects",
}


def tell_asked(criterion: Criterion) -> str:
    """'at least 80 % of the fleet's median', 'the same as most of the fleet', 'at most 85 °C'."""
    where = "" if criterion.gpu is None else f", on devices named {criterion.gpu}"
    if criterion.equals is not None:
        same = (
            "the same as most of the fleet" if criterion.equals == "fleet" else f"equal to {criterion.equals}"
        )
        return same + where
    side = "at least" if criterion.is_floor else "at most"
    given = criterion.at_least if criterion.is_floor else criterion.at_most
    if criterion.of is None:
        return f"{side} {write_threshold(given)}{where}"
    return f"{side} {tell_part(criterion.threshold)} of {REFERENCES[criterion.of]}{where}"


def write_threshold(given: float | str | None) -> str:
    """As it was written: '85 °C', '1' and not '1.0'."""
    return f"{given:g}" if isinstance(given, float) else str(given)


def tell_part(part: float) -> str:
    """A part of 1 in percent: '80 %', '61.2 %'."""
    return f"{round(100 * part, 1):g} %"


def tell_number(value: float, metric: Metric) -> str:
    """A number with hpcdl's own unit of it."""
    unit = metric.dimension if metric.dimension not in {"count", "ratio"} else ""
    # Neither 5.78371 s nor 2.528e+10 bytes: as much as is needed to see where the line is.
    return f"{value:{',.0f' if abs(value) >= 1000 else '.4g'}} {unit}".rstrip()


def tell_value(value: float, criterion: Criterion) -> str:
    """A part of what it is held against, or the number as it stands."""
    if criterion.of is None:
        return tell_number(value, criterion.what)
    return f"{tell_part(value)} of {REFERENCES[criterion.of]}"


def tell_difference(own: str, usual: str) -> str:
    """'torch 2.9, most have 2.10' where words are tables in JSON, else one word and the other."""
    one, other = read_table(own), read_table(usual)
    if one is None or other is None:
        return f"{shorten(own) or 'nothing'}, most have {shorten(usual) or 'nothing'}"
    return "; ".join(_compare_tables(one, other)) or "written in another way"


def _compare_tables(own: dict[str, object], usual: dict[str, object]) -> Iterator[str]:
    for key in sorted(own.keys() | usual.keys()):
        if key not in own:
            yield f"no {key}, most have {shorten(str(usual[key]))}"
        elif key not in usual:
            yield f"{key} {shorten(str(own[key]))}, most have none"
        elif own[key] != usual[key]:
            yield f"{key} {shorten(str(own[key]))}, most have {shorten(str(usual[key]))}"
