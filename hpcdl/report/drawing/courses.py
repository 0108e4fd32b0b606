"""Lines and scatter plots as Vega-Lite."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from hpcdl.report.drawing.axes import complete, encode, title_axis, write_interval, write_value
from hpcdl.report.drawing.looks import LOOKS, SERIES, SHAPES, TITLE_ABOVE, name_series
from hpcdl.report.drawing.thinning import thin_dots
from hpcdl.report.drawing.words import TIP, write_tip

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hpcdl.report.pictures import Axis, Dot, Lines, Scatter, Series, Stretch

HEIGHT = 300
# So many dots of a series are still seen one by one; with more, the line and a band say it.
MARKED_DOTS = 40
LINE_SIZE, SCATTER_SIZE = 46, 80
LEGEND_SIZE = 70
CHANNELS = ("color", "stroke", "fill", "shape", "strokeDash", "opacity")


@dataclass(frozen=True)
class _Drawn:
    """A series as it is drawn: its dots thinned, its number, name, colour and shape."""

    place: int
    series: Series
    dots: tuple[Dot, ...]
    name: str
    colour: str
    shape: str

    @property
    def marked(self) -> bool:
        """Whether its dots are to be seen: what was worked out by a model is a line alone."""
        return len(self.dots) <= MARKED_DOTS and self.series.role not in {"ideal", "predicted"}


def specify_lines(lines: Lines, colours: Mapping[str, str]) -> dict[str, Any]:
    """Courses: stretches at the back, then intervals, lines, marks and labels."""
    drawn = _prepare(lines.series, colours)
    layers = [
        *_shade(lines.stretches, colours),
        *_draw_intervals(drawn, lines.y),
        _draw_lines(drawn),
        _draw_marks(drawn, colours, size=LINE_SIZE),
        *_draw_labels(drawn, colours),
        _draw_legend(drawn, colours, lines=True),
    ]
    return _assemble(lines.x, lines.y, drawn, layers)


def specify_scatter(scatter: Scatter, colours: Mapping[str, str]) -> dict[str, Any]:
    """Dots of two measures with their intervals and labels."""
    drawn = _prepare(scatter.series, colours)
    layers = [
        *_draw_intervals(drawn, scatter.y, bands=False),
        _draw_marks(drawn, colours, size=SCATTER_SIZE),
        *_draw_labels(drawn, colours),
        _draw_legend(drawn, colours, lines=False),
    ]
    return _assemble(scatter.x, scatter.y, drawn, layers)


def _prepare(series: Sequence[Series], colours: Mapping[str, str]) -> list[_Drawn]:
    coloured = 0
    drawn: list[_Drawn] = []
    for one in series:
        plain = LOOKS[one.role].plain
        colour = colours["muted"] if plain else colours[SERIES[coloured % len(SERIES)]]
        shape = tuple(SHAPES)[len(drawn) % len(SHAPES)]
        coloured += not plain
        dots = tuple(dot for dot in thin_dots(one.dots) if isfinite(dot.x))
        drawn.append(_Drawn(len(drawn), one, dots, name_series(one.name, one.role), colour, shape))
    return drawn


def _assemble(x: Axis, y: Axis, drawn: Sequence[_Drawn], layers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    rows = [row for one in drawn for row in _tabulate(one, x, y)]
    heights = [row[field] for row in rows for field in ("y", "low", "high") if row[field] is not None]
    vertical = encode(y, "y", heights)
    everywhere = {
        "x": encode(x, "x", [row["x"] for row in rows]),
        "y": vertical | {"axis": vertical["axis"] | TITLE_ABOVE},
        "tooltip": TIP,
    }
    return {
        "height": HEIGHT,
        "data": {"values": rows},
        "layer": [complete(layer, everywhere) for layer in layers if layer],
        "resolve": {part: dict.fromkeys(CHANNELS, "independent") for part in ("scale", "legend")},
    }


def _tabulate(one: _Drawn, x: Axis, y: Axis) -> Iterator[dict[str, Any]]:
    for dot in one.dots:
        if x.log and dot.x <= 0:
            continue
        # A logarithmic axis has no place for what is not above zero: a gap says so.
        known = isfinite(dot.y) and not (y.log and dot.y <= 0)
        yield {
            "place": one.place,
            "name": one.name,
            "x": dot.x,
            "y": dot.y if known else None,
            "low": _end(dot.low, y) if known else None,
            "high": _end(dot.high, y) if known else None,
            "label": dot.label,
            "tip": write_tip(
                ("series", one.name),
                (title_axis(x), write_value(dot.x, x)),
                (title_axis(y), write_value(dot.y, y) if known else "no value"),
                ("95 % interval", write_interval(dot, y)),
                ("label", dot.label),
            ),
        }


def _end(value: float | None, y: Axis) -> float | None:
    if value is None or not isfinite(value) or (y.log and value <= 0):
        return None
    return value


def _by_name(drawn: Sequence[_Drawn], values: Sequence[Any], kind: str = "nominal") -> dict[str, Any]:
    """A channel that follows the series' name: everywhere over all series, or scales would fall apart."""
    scale = {"domain": [one.name for one in drawn], "range": list(values)}
    return {"field": "name", "type": kind, "scale": scale, "legend": None}


def _draw_legend(drawn: Sequence[_Drawn], colours: Mapping[str, str], *, lines: bool) -> dict[str, Any]:
    """Each series by its line and its mark; none for one alone, which the title names.

    Legends of layers do not merge into what the picture shows. So a layer without marks has scales of its own.
    """
    if len(drawn) < 2:
        return {}
    looks = [LOOKS[one.series.role] for one in drawn]
    symbols: dict[str, list[Any]] = {
        "shape": [_sketch(one, line=lines, mark=not lines or one.marked) for one in drawn],
        "stroke": [one.colour for one in drawn],
        "fill": _fill(drawn, colours),
        "strokeDash": [list(look.dash) if lines and look.dash else [1, 0] for look in looks],
        "opacity": [look.opacity for look in looks],
    }
    apart = {"symbolOffset": 8, "labelOffset": 12} if lines else {}
    legend = apart | {"title": None, "offset": 32, "columns": {"expr": "room < 480 ? 1 : room < 720 ? 2 : 3"}}
    encoding = {channel: _by_name(drawn, values) | {"legend": legend} for channel, values in symbols.items()}
    encoding["opacity"] |= {"type": "ordinal"}
    mark = {"type": "point", "size": LEGEND_SIZE}
    nowhere = dict.fromkeys(("x", "y", "tooltip"))
    return {"transform": [{"filter": "false"}], "mark": mark, "encoding": encoding | nowhere}


def _fill(drawn: Sequence[_Drawn], colours: Mapping[str, str]) -> list[str]:
    """What marks are filled with: their colour, or the paper."""
    return [colours["paper"] if LOOKS[one.series.role].hollow else one.colour for one in drawn]


def _sketch(one: _Drawn, *, line: bool, mark: bool) -> str:
    """A path between -2 and 2 that shows what stands in the picture."""
    wings = "M-2.4,0H-0.8M0.8,0H2.4" if mark else "M-2.4,0H2.4"
    return (wings if line else "") + (SHAPES[one.shape] if mark else "")


def _only(drawn: Sequence[_Drawn]) -> dict[str, Any]:
    return {"filter": {"field": "place", "oneOf": [one.place for one in drawn]}}


def _shade(stretches: Sequence[Stretch], colours: Mapping[str, str]) -> list[dict[str, Any]]:
    if not stretches:
        return []
    rows = [{"x": one.begin, "end": one.end, "tip": one.name} for one in stretches]
    ends = {"x": {"field": "x", "type": "quantitative"}, "tooltip": TIP}
    return [
        {
            "data": {"values": rows},
            "mark": {"type": "rect", "color": colours["series-1"], "opacity": 0.1},
            "encoding": {**ends, "x2": {"field": "end"}, "y": None},
        },
        {
            "data": {"values": rows},
            "mark": {
                "type": "text",
                "align": "left",
                "baseline": "top",
                "dx": 5,
                "dy": 5,
                "color": colours["muted"],
            },
            "encoding": {**ends, "text": {"field": "tip"}, "y": {"value": 0}},
        },
    ]


def _draw_intervals(drawn: Sequence[_Drawn], y: Axis, *, bands: bool = True) -> list[dict[str, Any]]:
    """A band along a dense course; a bar with ends at each of a few dots."""
    known = [one for one in drawn if any(dot.low is not None and dot.high is not None for dot in one.dots)]
    dense = [one for one in known if bands and len(one.dots) > MARKED_DOTS]
    single = [one for one in known if one not in dense]
    low = {"field": "low", "type": "quantitative", "title": title_axis(y)}
    both = {"y": low, "y2": {"field": "high"}}
    caps = {"type": "tick", "orient": "horizontal", "size": 9, "thickness": 1.5}
    marks: list[tuple[list[_Drawn], dict[str, Any], dict[str, Any]]] = [
        (dense, {"type": "area", "opacity": 0.18}, both),
        (single, {"type": "rule", "strokeWidth": 1.5}, both),
        (single, caps, {"y": low}),
        (single, caps, {"y": low | {"field": "high"}}),
    ]
    colour = _by_name(drawn, [one.colour for one in drawn])
    whole = {"filter": "isValid(datum.low) && isValid(datum.high)"}
    return [
        # A band has gaps, where bars are left out.
        {
            "transform": [_only(some), *([] if some is dense else [whole])],
            "mark": mark | {"invalid": "break-paths-show-path-domains"},
            "encoding": place | {"tooltip": None, "color": colour},
        }
        for some, mark, place in marks
        if some
    ]


def _draw_lines(drawn: Sequence[_Drawn]) -> dict[str, Any]:
    looks = [LOOKS[one.series.role] for one in drawn]
    # A gap is a gap: no line bridges it.
    mark = {
        "type": "line",
        "strokeWidth": 1.75,
        "strokeJoin": "round",
        "invalid": "break-paths-show-path-domains",
    }
    return {
        "mark": mark,
        "encoding": {
            "color": _by_name(drawn, [one.colour for one in drawn]),
            "strokeDash": _by_name(drawn, [list(look.dash) or [1, 0] for look in looks]),
            "opacity": _by_name(drawn, [look.opacity for look in looks], "ordinal"),
            "tooltip": None,
        },
    }


def _draw_marks(drawn: Sequence[_Drawn], colours: Mapping[str, str], *, size: int) -> dict[str, Any]:
    lines = size < SCATTER_SIZE
    marked = [one for one in drawn if one.marked or not lines]
    if not marked:
        return {}
    looks = [LOOKS[one.series.role] for one in drawn]
    return {
        "transform": [_only(marked)],
        "mark": {"type": "point", "size": size, "strokeWidth": 1.75, "invalid": "filter"},
        "encoding": {
            "stroke": _by_name(drawn, [one.colour for one in drawn]),
            "fill": _by_name(drawn, _fill(drawn, colours)),
            "shape": _by_name(drawn, [one.shape for one in drawn]),
            "opacity": _by_name(drawn, [look.opacity for look in looks], "ordinal"),
        },
    }


def _draw_labels(drawn: Sequence[_Drawn], colours: Mapping[str, str]) -> list[dict[str, Any]]:
    if not any(dot.label for one in drawn for dot in one.dots):
        return []
    return [
        {
            "transform": [{"filter": "datum.label != '' && isValid(datum.y)"}],
            "mark": {
                "type": "text",
                "align": "left",
                "baseline": "bottom",
                "dx": 7,
                "dy": -4,
                "color": colours["ink"],
            },
            "encoding": {"text": {"field": "label"}, "tooltip": None},
        }
    ]
