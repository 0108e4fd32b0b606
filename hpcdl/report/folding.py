"""Words that stand in every row of a column, said once below the table instead. Programs still get the column."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpcdl.report.content import Table

# Shorter ones cost no room worth a line.
LONG = 20


def fold(table: Table) -> Table:
    """The table without the columns of one long text alike in all rows, each of which becomes a caption."""
    alike = [index for index in table.visible if _find_alike(table, index)]
    # A table of nothing but words that agree is still a table.
    if not alike or len(alike) == len(table.visible):
        return table
    columns = tuple(
        replace(column, hidden=True) if index in alike else column
        for index, column in enumerate(table.columns)
    )
    said = (f"{table.columns[index].title}: {table.rows[0][index]}" for index in alike)
    return replace(table, columns=columns, captions=(*table.captions, *said))


def _find_alike(table: Table, index: int) -> bool:
    cells = [row[index] for row in table.rows]
    first = cells[0] if len(cells) > 1 else None
    return isinstance(first, str) and len(first) > LONG and all(cell == first for cell in cells)
