"""Long tables: a person is shown what is newest, and programs get all of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.report.content import Table


def show_some(table: Table, shown: Sequence[bool]) -> tuple[Table, ...]:
    """The table; where not all of its rows are shown, the whole of it hidden, and those rows as one called 'newest'."""
    left_out = len(shown) - sum(shown)
    if not left_out:
        return (table,)
    rows = tuple(row for row, is_shown in zip(table.rows, shown, strict=True) if is_shown)
    told = f"… and {left_out:,} older (--format json shows all)"
    newest = replace(table, key="newest", rows=rows, captions=(told, *table.captions))
    return (replace(table, hidden=True), newest)


def show_newest(table: Table, count: int) -> tuple[Table, ...]:
    """The same for the last `count` rows."""
    hidden = max(0, len(table.rows) - count)
    return show_some(table, [False] * hidden + [True] * (len(table.rows) - hidden))
