"""Heat maps as Vega-Lite."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from hpcdl.report.drawing.axes import title_axis, write_ticks, write_value
from hpcdl.report.drawing.looks import RAMP
from hpcdl.report.drawing.thinning import MOST_COLUMNS, MOST_ROWS, condense, group_size
from hpcdl.report.drawing.words import TIP, write_tip

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hpcdl.report.pictures import Axis, HeatMap

TALLEST_CELL = 30
LEAST_HEIGHT, MOST_HEIGHT = 120, 460
# A map of so few columns has room for the numbers themselves.
WRITTEN_COLUMNS, WRITTEN_ROWS = 10, 16


def specify_map(heat: HeatMap, colours: Mapping[str, str]) -> dict[str, Any]:
    """Cells in the order of their rows and columns; where there is no value, there is no cell."""
    drawn = condense(heat)
    known = [value for row in drawn.values for value in row if value is not None and isfinite(value)]
    layers = [_draw_cells(drawn, colours)]
    if len(drawn.columns) <= WRITTEN_COLUMNS and len(drawn.rows) <= WRITTEN_ROWS and known:
        layers.append(_write_values(drawn, known))
    # Places and not names: two ranks may be called the same.
    return {
        "height": min(max(TALLEST_CELL * len(drawn.rows), LEAST_HEIGHT), MOST_HEIGHT),
        "data": {"values": list(_tabulate(drawn))},
        "encoding": {
            "x": _place("column", drawn.x, drawn.columns),
            "y": _place("row", drawn.y, drawn.rows),
        },
        "layer": layers,
    }


def tell_groups(heat: HeatMap) -> str:
    """What one cell stands for, where it is more than one value."""
    down, across = group_size(len(heat.rows), MOST_ROWS), group_size(len(heat.columns), MOST_COLUMNS)
    if down == across == 1:
        return ""
    return f"each cell: the {heat.worst} of up to {down} x {across} values"


def _tabulate(heat: HeatMap) -> Iterator[dict[str, Any]]:
    across, down, of = title_axis(heat.x), title_axis(heat.y), title_axis(heat.value)
    for row, (name, values) in enumerate(zip(heat.rows, heat.values, strict=True)):
        for column, value in enumerate(values):
            if value is not None and isfinite(value):
                text = write_value(value, heat.value)
                yield {
                    "r": _key(row, name),
                    "c": _key(column, heat.columns[column]),
                    "v": value,
                    "t": text,
                    "tip": write_tip((down, name), (across, heat.columns[column]), (of, text)),
                }


def _key(place: int, name: str) -> str:
    return f"{place}\n{name}"


def _place(kind: str, axis: Axis, names: tuple[str, ...]) -> dict[str, Any]:
    return {
        "field": kind[0],
        "type": "ordinal",
        "title": title_axis(axis),
        "sort": None,
        "scale": {"domain": [_key(place, name) for place, name in enumerate(names)], "padding": 0},
        "axis": {
            "labelExpr": "slice(split(datum.label, '\\n'), 1)",
            "labelOverlap": "greedy",
            "labelAngle": 0,
            "labelSeparation": 8,
            "ticks": False,
            "domain": False,
        },
    }


def _draw_cells(heat: HeatMap, colours: Mapping[str, str]) -> dict[str, Any]:
    # The worst is the brightest, whichever end that is.
    ramp = list(RAMP) if heat.worst == "highest" else list(reversed(RAMP))
    few = len(heat.rows) * len(heat.columns) <= 400
    edge = {"stroke": colours["paper"], "strokeWidth": 1} if few else {}
    return {
        "mark": {"type": "rect", **edge},
        "encoding": {
            "color": {
                "field": "v",
                "type": "quantitative",
                "title": title_axis(heat.value),
                "scale": {"type": "log" if heat.value.log else "linear", "range": ramp, "zero": False},
                "legend": {
                    "labelExpr": write_ticks(heat.value.unit),
                    "gradientLength": {"expr": "min(room - 110, 300)"},
                    "gradientThickness": 10,
                    "tickCount": 3,
                    "labelOverlap": "greedy",
                },
            },
            "tooltip": TIP,
        },
    }


def _write_values(heat: HeatMap, known: list[float]) -> dict[str, Any]:
    """Numbers in the cells, dark on the bright half of the ramp; left out where a cell is too narrow for them."""
    middle = min(known) + 0.6 * (max(known) - min(known))
    dark = f"datum.v {'>' if heat.worst == 'highest' else '<'} {middle!r}"
    room = 7 * max(len(write_value(value, heat.value)) for value in known)
    return {
        "mark": {"type": "text", "opacity": {"expr": f"width / {len(heat.columns)} > {room} ? 1 : 0"}},
        "encoding": {
            "text": {"field": "t"},
            "color": {"condition": {"test": dark, "value": "#000000"}, "value": "#ffffff"},
        },
    }
