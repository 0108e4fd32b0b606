"""The table of engines side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.records import Missing
from hpcdl.report.content import Column, Fact, Quantity, Table
from hpcdl.report.sections import make_half_width, make_rate
from hpcdl.report.wording import name_engine, name_model, name_size

if TYPE_CHECKING:
    from hpcdl.analysis.sides import Side, Sides
    from hpcdl.report.content import Cell


def make_engine_table(sides: Sides) -> Table:
    """One row for each engine, the first of them the measure of the others."""
    columns = (
        Column("name", "engine", left=True),
        Column("engine", "engine", left=True, hidden=True),
        Column("transport", "transport", left=True, hidden=True),
        Column("launches", "launches", rank=2),
        Column("images_per_s", "images/s"),
        Column("interval", "interval"),
        Column("over_first", "over the first"),
        Column("over_first_interval", "its interval", left=True, rank=1),
        Column("exchange_share", "exchange wait", rank=1),
    )
    size = name_size(sides.nodes, sides.ranks)
    title = f"Engines side by side: {name_model(sides.work.model)}, {sides.batch.text}, {size}"
    facts = (
        Fact("model", "model", sides.work.model),
        Fact("nodes", "nodes", sides.nodes),
        Fact("ranks", "ranks", sides.ranks),
    )
    return Table("engines", title, columns, tuple(_make_row(side) for side in sides.sides), facts, many=True)


def _make_row(side: Side) -> tuple[Cell, ...]:
    counted = f"{side.count} of {side.planned}" if side.count != side.planned else str(side.count)
    rate, over = side.rate, side.over_first
    return (
        name_engine(side.engine, side.transport),
        side.engine,
        side.transport,
        counted,
        Quantity(rate, "images/s") if isinstance(rate, Missing) else make_rate(rate.value, rate),
        None if isinstance(rate, Missing) else make_half_width(rate),
        Quantity(over, "ratio")
        if isinstance(over, Missing)
        else Quantity(over.value, "ratio", low=over.low, high=over.high),
        None if isinstance(over, Missing) or over.low == over.high else f"{over.low:.2f} to {over.high:.2f}",
        Quantity(side.exchange_share, "fraction"),
    )
