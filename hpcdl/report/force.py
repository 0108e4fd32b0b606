"""--force: what is withheld is shown all the same, struck through, with the reason beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hpcdl.analysis.readings import Withheld
from hpcdl.report.content import Quantity, Shares, Span

if TYPE_CHECKING:
    from hpcdl.report.content import Cell, Report, Table


def reveal(report: Report) -> Report:
    """The report with every withheld number struck through in place of its absence."""
    return replace(report, sections=tuple(_reveal_table(table) for table in report.sections))


def _reveal_table(table: Table) -> Table:
    return replace(
        table,
        rows=tuple(tuple(_reveal_cell(cell) for cell in row) for row in table.rows),
        facts=tuple(replace(fact, cell=_reveal_cell(fact.cell)) for fact in table.facts),
    )


def _reveal_cell(cell: Cell) -> Cell:
    match cell:
        case Quantity():
            return _reveal_quantity(cell)
        case Span(lowest=lowest, highest=highest):
            return Span(_reveal_quantity(lowest), _reveal_quantity(highest))
        case Shares(parts=parts):
            return Shares(tuple((key, title, _reveal_quantity(share)) for key, title, share in parts))
        case _:
            return cell


def _reveal_quantity(quantity: Quantity) -> Quantity:
    value = quantity.value
    if not isinstance(value, Withheld):
        return quantity
    return replace(quantity, value=value.value, struck=value.missing)
