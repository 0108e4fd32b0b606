"""What pictures made of lying bars share: their rows, labels and numbers. Labels are words, and words lie."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from hpcdl.report.drawing.axes import complete
from hpcdl.report.drawing.words import TIP

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROW = 36
BAR = 18
LABEL_WIDTH = 20
LINE, MOST_LINES = 13, 5
# Pixels of an average letter of a number at a bar.
LETTER = 6.3
Rows = list[dict[str, Any]]


def leave_room(
    x: dict[str, Any], rows: Rows, fields: Sequence[str], text: str, *, zero: bool = True
) -> dict[str, Any]:
    """A linear channel that ends far enough beyond its bars for what is written at their ends, at any width."""
    places = [row[field] for row in rows for field in fields if row[field] is not None] + [0.0] * zero
    low, high = min(places, default=0.0), max(places, default=0.0)
    pixels = 12 + LETTER * max((len(row[text]) for row in rows), default=0)
    length = (high - low) or abs(high) or 1.0
    beyond = f"{length!r} * {pixels} / max(width - {pixels if zero else 2 * pixels}, 60)"
    # Numbers of bars below zero stand to the right of them too.
    begin: Any = low if zero else {"expr": f"{low!r} - {beyond}"}
    scale = {"domainMin": begin, "domainMax": {"expr": f"{high!r} + {beyond}"}, "nice": False, "zero": zero}
    # A number of the axis that would stick out is left out.
    return x | {"scale": scale, "axis": x["axis"] | {"labelBound": True}}


def take(field: str, kind: str = "nominal") -> dict[str, Any]:
    """A channel that takes what stands in the data as it is."""
    return {"field": field, "type": kind, "scale": None, "legend": None}


def write_numbers(colours: Mapping[str, str], field: str) -> dict[str, Any]:
    """The number of each bar at its end."""
    mark = {"type": "text", "align": "left", "dx": 7, "color": colours["ink"]}
    return {
        "mark": mark,
        "encoding": {"x": {"field": field, "type": "quantitative"}, "text": {"field": "text"}},
    }


def write_key(place: int, label: str) -> str:
    """What tells a bar from others of the same label, and its label in lines that leave room for the bar."""
    return "\n".join([str(place), *textwrap.wrap(label, LABEL_WIDTH, max_lines=MOST_LINES, placeholder=" …")])


def assemble(labels: Sequence[str], rows: Rows, layers: Rows) -> dict[str, Any]:
    keys = [write_key(place, label) for place, label in enumerate(labels)]
    several = [
        {"test": f"length(split(datum.label, '\\n')) == {lines + 1}", "value": -LINE * (lines - 1) / 2}
        for lines in range(2, MOST_LINES + 1)
    ]
    y = {
        "field": "key",
        "type": "nominal",
        "title": None,
        "sort": None,
        "scale": {"domain": keys},
        "axis": {
            "labelExpr": "slice(split(datum.label, '\\n'), 1)",
            "labelLimit": 0,
            "labelLineHeight": LINE,
            # Several lines are centred on their bar.
            "labelOffset": {"condition": several, "value": 0},
            "grid": False,
        },
    }
    return {
        "height": max(ROW * len(keys), ROW),
        "data": {"values": rows},
        "layer": [complete(layer, {"y": y, "tooltip": TIP}) for layer in layers],
    }
