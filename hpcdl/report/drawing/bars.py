"""Bars and stacks as Vega-Lite."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from hpcdl.report.drawing.axes import encode, title_axis, write_interval, write_value
from hpcdl.report.drawing.looks import LOOKS, SERIES, colour_parts, name_series
from hpcdl.report.drawing.rows import (
    BAR,
    Rows,
    assemble,
    leave_room,
    take,
    write_key,
    write_numbers,
)
from hpcdl.report.drawing.words import write_tip

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hpcdl.report.pictures import Bars, Stack

# A part of a stack that is at least so much of the longest has room for its number.
ROOM = 0.09
_WHOLE = "isValid(datum.low) && isValid(datum.high)"


def specify_bars(bars: Bars, colours: Mapping[str, str]) -> dict[str, Any]:
    """One bar each, with its interval and its number; on a logarithmic axis dots, as lengths would lie there."""
    labels = [name_series(label, role) for label, role, _ in bars.bars]
    rows = list(_tabulate_bars(bars, labels, colours))
    x = encode(bars.value, "x_value", [row["x_end"] for row in rows])
    if not bars.value.log:
        x = leave_room(x, rows, ("x_value", "x_end"), "text")
    mark = {"type": "point", "size": 90} if bars.value.log else {"type": "bar", "height": BAR}
    style = {
        "fill": take("colour"),
        "stroke": take("colour"),
        "strokeDash": take("dash"),
        "fillOpacity": take("inside", "quantitative"),
        "opacity": take("opacity", "quantitative"),
    }
    layers = [
        {"mark": {**mark, "strokeWidth": 1.5}, "encoding": {"x": x, **style}},
        *(_draw_intervals(x, colours) if any(row["low"] is not None for row in rows) else []),
        write_numbers(colours, "x_end"),
    ]
    return assemble(labels, rows, layers)


def _tabulate_bars(bars: Bars, labels: Sequence[str], colours: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for place, (_, role, dot) in enumerate(bars.bars):
        look, ends = LOOKS[role], (dot.low, dot.high)
        known = isfinite(dot.y) and not (bars.value.log and dot.y <= 0)
        whole = known and all(end is not None and isfinite(end) for end in ends)
        yield {
            "key": write_key(place, labels[place]),
            "name": labels[place],
            "x_value": dot.y if known else None,
            "x_end": max(0.0, dot.y, dot.high or 0.0) if known else 0.0,
            "low": dot.low if whole else None,
            "high": dot.high if whole else None,
            "text": write_value(dot.y, bars.value) if known else "no value",
            "tip": write_tip(
                ("of", labels[place]),
                (title_axis(bars.value), write_value(dot.y, bars.value) if known else "no value"),
                ("95 % interval", write_interval(dot, bars.value)),
            ),
            "colour": colours["muted"] if look.plain else colours[SERIES[0]],
            "dash": list(look.dash) or [1, 0],
            "inside": look.inside,
            "opacity": look.opacity,
        }


def _draw_intervals(x: dict[str, Any], colours: Mapping[str, str]) -> Rows:
    style = {"strokeWidth": 1.5, "color": colours["ink"]}
    whole = [{"filter": _WHOLE}]
    rule = {"x": x | {"field": "low"}, "x2": {"field": "high"}}
    caps: Rows = [
        {
            "transform": whole,
            "mark": {
                "type": "tick",
                "orient": "vertical",
                "size": 9,
                "thickness": 1.5,
                "color": colours["ink"],
            },
            "encoding": {"x": x | {"field": end}},
        }
        for end in ("low", "high")
    ]
    return [{"transform": whole, "mark": {"type": "rule", **style}, "encoding": rule}, *caps]


def specify_stack(stack: Stack, colours: Mapping[str, str]) -> dict[str, Any]:
    """What wholes are made of, each part with its number where there is room; one order of parts everywhere."""
    names = list(dict.fromkeys(name for _, parts in stack.bars for name, _ in parts))
    labels = [label for label, _ in stack.bars]
    rows = list(_tabulate_stack(stack))
    x = encode(stack.value, "x_begin")
    colour = {
        "field": "part",
        "type": "nominal",
        "title": None,
        "scale": {
            "domain": names,
            "range": [colours[name] for name in map(colour_parts(names).__getitem__, names)],
        },
        "legend": {"columns": {"expr": "room < 480 ? 2 : 4"}, "symbolType": "square"},
    }
    layers: Rows = [
        {
            # A line of paper between neighbours: they are two, whatever the eye makes of their colours.
            "mark": {"type": "bar", "height": BAR, "stroke": colours["paper"], "strokeWidth": 1},
            "encoding": {"x": x, "x2": {"field": "x_end"}, "color": colour},
        },
        {
            "transform": [{"filter": "datum.roomy"}],
            "mark": {
                "type": "text",
                "color": colours["paper"],
                "opacity": {"expr": "width > 360 ? 1 : 0"},
            },
            "encoding": {"x": x | {"field": "x_middle"}, "text": {"field": "text"}},
        },
    ]
    return assemble(labels, rows, layers)


def _tabulate_stack(stack: Stack) -> Iterator[dict[str, Any]]:
    """Parts beside each other, those below zero to its left."""
    longest = max((sum(abs(_finite(value)) for _, value in parts) for _, parts in stack.bars), default=0.0)
    for place, (label, parts) in enumerate(stack.bars):
        reached = {True: 0.0, False: 0.0}
        for name, value in parts:
            begin = reached[value >= 0]
            end = begin + _finite(value)
            yield {
                "key": write_key(place, label),
                "name": label,
                "part": name,
                "x_begin": begin,
                "x_end": end,
                "x_middle": (begin + end) / 2,
                "text": write_value(value, stack.value),
                "tip": write_tip(
                    ("of", label), ("part", name), (title_axis(stack.value), write_value(value, stack.value))
                ),
                "roomy": longest > 0 and abs(_finite(value)) >= ROOM * longest,
            }
            reached[value >= 0] = end


def _finite(value: float) -> float:
    return value if isfinite(value) else 0.0
