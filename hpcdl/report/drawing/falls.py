"""Waterfalls and tornadoes as Vega-Lite: amounts that add up, and assumptions that move a result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpcdl.report.drawing.axes import encode, title_axis, write_value
from hpcdl.report.drawing.rows import (
    BAR,
    Rows,
    assemble,
    leave_room,
    take,
    write_key,
    write_numbers,
)
from hpcdl.report.drawing.words import TIP, write_tip

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hpcdl.report.pictures import Tornado, Waterfall


def specify_waterfall(waterfall: Waterfall, colours: Mapping[str, str]) -> dict[str, Any]:
    """Each part from where the last one ended, and the sum of all."""
    rows = list(_tabulate_waterfall(waterfall, colours))
    x = leave_room(encode(waterfall.value, "x_begin"), rows, ("x_begin", "x_end"), "text")
    layers: Rows = [
        {
            "transform": [{"filter": "isValid(datum.next)"}],
            "mark": {"type": "rule", "color": colours["muted"], "strokeWidth": 1},
            "encoding": {"x": x | {"field": "x_end"}, "y2": {"field": "next"}, "tooltip": None},
        },
        {
            "mark": {"type": "bar", "height": BAR},
            "encoding": {"x": x, "x2": {"field": "x_end"}, "color": take("colour")},
        },
        write_numbers(colours, "x_right"),
    ]
    return assemble([row["name"] for row in rows], rows, layers)


def _tabulate_waterfall(waterfall: Waterfall, colours: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    total = sum(amount for _, amount in waterfall.parts)
    steps = [*waterfall.parts, ("total", total)]
    begin = 0.0
    for place, (label, amount) in enumerate(steps):
        last = place == len(steps) - 1
        start, end = (0.0, total) if last else (begin, begin + amount)
        yield {
            "key": write_key(place, label),
            "next": None if last else write_key(place + 1, steps[place + 1][0]),
            "name": label,
            "x_begin": start,
            "x_end": end,
            "x_right": max(start, end),
            "text": write_value(amount, waterfall.value),
            "tip": write_tip(
                ("of", label), (title_axis(waterfall.value), write_value(amount, waterfall.value))
            ),
            "colour": colours["muted" if last else "series-1" if amount >= 0 else "series-3"],
        }
        begin = end


def specify_tornado(tornado: Tornado, colours: Mapping[str, str]) -> dict[str, Any]:
    """How far each assumption moves the result, the widest at the top, with what is assumed at both ends."""
    swings = sorted(tornado.swings, key=lambda swing: -abs(swing.at_high - swing.at_low))
    rows: Rows = [
        {
            "key": write_key(place, swing.label),
            "name": swing.label,
            "end": end,
            "x_begin": tornado.base,
            "x_value": value,
            "assumed": assumed,
            "tip": write_tip(
                ("of", swing.label),
                ("assumed", assumed),
                (title_axis(tornado.value), write_value(value, tornado.value)),
            ),
            "right": value >= tornado.base,
        }
        for place, swing in enumerate(swings)
        for end, value, assumed in (
            ("low end", swing.at_low, swing.low_text),
            ("high end", swing.at_high, swing.high_text),
        )
    ]
    x = leave_room(encode(tornado.value, "x_value"), rows, ("x_begin", "x_value"), "assumed", zero=False)
    colour = {
        "field": "end",
        "type": "nominal",
        "title": None,
        "scale": {"domain": ["low end", "high end"], "range": [colours["series-1"], colours["series-2"]]},
        "legend": {"symbolType": "square", "offset": 26},
    }
    side = "datum.right ? 'left' : 'right'"
    words = {"type": "text", "align": {"expr": side}, "dx": {"expr": "datum.right ? 5 : -5"}}
    base = [{"x": tornado.base, "tip": f"base {write_value(tornado.base, tornado.value)}"}]
    layers: Rows = [
        {
            "mark": {"type": "bar", "height": BAR},
            "encoding": {"x": x, "x2": {"field": "x_begin"}, "color": colour},
        },
        {"mark": words | {"color": colours["ink"]}, "encoding": {"x": x, "text": {"field": "assumed"}}},
        {
            "data": {"values": base},
            "mark": {"type": "rule", "color": colours["ink"], "strokeWidth": 1.5},
            "encoding": {"x": x | {"field": "x"}, "y": None, "tooltip": TIP},
        },
        {
            "data": {"values": base},
            "mark": {"type": "text", "baseline": "bottom", "dy": -3, "color": colours["ink"]},
            "encoding": {
                "x": x | {"field": "x"},
                "y": {"value": 0},
                "text": {"field": "tip"},
                "tooltip": None,
            },
        },
    ]
    return assemble([swing.label for swing in swings], rows, layers)
