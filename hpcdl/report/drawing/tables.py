"""The numbers behind a picture as a table, for those who cannot see it or want to have them."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from hpcdl.records import Missing
from hpcdl.report.content import Column, Quantity, Table
from hpcdl.report.drawing.axes import title_axis
from hpcdl.report.drawing.thinning import condense, thin_dots
from hpcdl.report.pictures import Bars, HeatMap, Lines, Scatter, Stack, Tornado, Waterfall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hpcdl.report.content import Cell
    from hpcdl.report.pictures import Axis, Dot, Picture, Role

Rows = tuple[tuple["Cell", ...], ...]


def tabulate(picture: Picture) -> Table:
    """What is drawn, in numbers: courses thinned and heat maps grouped as they are in the picture."""
    columns, rows = _FORMS[type(picture.form)](picture.form)
    return Table(f"{picture.key}-data", f"Data: {picture.title}", columns, rows)


def _quantify(
    value: float | None, axis: Axis, *, role: Role = "measured", dot: Dot | None = None
) -> Quantity:
    reading = Missing(missing="no value") if value is None or not isfinite(value) else value
    return Quantity(
        reading,
        axis.unit,
        "" if role in {"measured", "ideal"} else role,
        low=dot.low if dot else None,
        high=dot.high if dot else None,
        currency=axis.currency,
    )


def _list_series(form: Lines | Scatter) -> tuple[tuple[Column, ...], Rows]:
    columns = (
        Column("series", "series", left=True),
        Column("x", title_axis(form.x)),
        Column("y", title_axis(form.y)),
        Column(
            "label", "label", left=True, hidden=not any(dot.label for one in form.series for dot in one.dots)
        ),
    )
    rows = tuple(
        (one.name, _quantify(dot.x, form.x), _quantify(dot.y, form.y, role=one.role, dot=dot), dot.label)
        for one in form.series
        for dot in thin_dots(one.dots)
    )
    return columns, rows


def _list_map(form: HeatMap) -> tuple[tuple[Column, ...], Rows]:
    """A small map as it is; a large one by the lowest, middle and highest value of each row."""
    heat = condense(form)
    if len(heat.columns) <= 12:
        named = tuple(Column(f"column_{place}", name) for place, name in enumerate(heat.columns))
        rows = tuple(
            (name, *(None if value is None else _quantify(value, heat.value) for value in values))
            for name, values in zip(heat.rows, heat.values, strict=True)
        )
        return (Column("row", title_axis(heat.y), left=True), *named), rows
    columns = (
        Column("row", title_axis(heat.y), left=True),
        Column("lowest", "lowest"),
        Column("median", "median"),
        Column("highest", "highest"),
    )
    return columns, tuple(_sum_up(heat))


def _sum_up(heat: HeatMap) -> Iterator[tuple[Cell, ...]]:
    for name, values in zip(heat.rows, heat.values, strict=True):
        known = sorted(value for value in values if value is not None and isfinite(value))
        ends = (known[0], known[len(known) // 2], known[-1]) if known else (None, None, None)
        yield (name, *(_quantify(value, heat.value) for value in ends))


def _list_stack(form: Stack) -> tuple[tuple[Column, ...], Rows]:
    columns = (
        Column("bar", "bar", left=True),
        Column("part", "part", left=True),
        Column("value", title_axis(form.value)),
    )
    return columns, tuple(
        (label, name, _quantify(value, form.value)) for label, parts in form.bars for name, value in parts
    )


def _list_bars(form: Bars) -> tuple[tuple[Column, ...], Rows]:
    columns = (Column("bar", "bar", left=True), Column("value", title_axis(form.value)))
    return columns, tuple(
        (label, _quantify(dot.y, form.value, role=role, dot=dot)) for label, role, dot in form.bars
    )


def _list_waterfall(form: Waterfall) -> tuple[tuple[Column, ...], Rows]:
    columns = (Column("part", "part", left=True), Column("value", title_axis(form.value)))
    steps = (*form.parts, ("total", sum(amount for _, amount in form.parts)))
    return columns, tuple((label, _quantify(amount, form.value)) for label, amount in steps)


def _list_tornado(form: Tornado) -> tuple[tuple[Column, ...], Rows]:
    columns = (
        Column("assumption", "assumption", left=True),
        Column("low_text", "low end", left=True),
        Column("at_low", f"{title_axis(form.value)} at the low end"),
        Column("high_text", "high end", left=True),
        Column("at_high", f"{title_axis(form.value)} at the high end"),
    )
    return columns, tuple(
        (
            swing.label,
            swing.low_text,
            _quantify(swing.at_low, form.value),
            swing.high_text,
            _quantify(swing.at_high, form.value),
        )
        for swing in form.swings
    )


# Any: each function takes the form that stands beside it.
_FORMS: dict[type, Callable[[Any], tuple[tuple[Column, ...], Rows]]] = {
    Lines: _list_series,
    Scatter: _list_series,
    HeatMap: _list_map,
    Stack: _list_stack,
    Bars: _list_bars,
    Waterfall: _list_waterfall,
    Tornado: _list_tornado,
}
