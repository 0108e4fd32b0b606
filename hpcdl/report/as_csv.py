"""A table of a report as CSV (RFC 4180): one line for each row, numbers unrounded, keys as in JSON.

A number is one column by its key; where a table has any, `KEY_low` and `KEY_high` are the ends of its 95 % interval,
`KEY_mark` qualifies it, and `KEY_missing` is why there is none. Courses are left to JSON.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from hpcdl.errors import Mistake, UnknownName
from hpcdl.report.as_json import as_value
from hpcdl.report.controls import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcdl.report.content import Report, Table


def render(report: Report) -> str:
    """The first of a report's tables that people are shown.

    Raises:
        Mistake: The report has none.
    """
    if not report.shown:
        raise Mistake(
            f"{report.title}: there is no table here to write as CSV.",
            do="--format json has all that there is.",
        )
    return write_table(report.shown[0])


def choose_table(report: Report, key: str) -> Table:
    """The table of this key; the first where there are several.

    Raises:
        UnknownName: The report has none of that key.
    """
    found = next((table for table in report.sections if table.key == key), None)
    if found is None:
        raise UnknownName("table", key, {table.key for table in report.sections})
    return found


def write_all(report: Report) -> dict[str, str]:
    """Every table by the name of its file: 'launches.csv', and 'scaling-2.csv' of several."""
    counts: dict[str, int] = {}
    files = {}
    for table in report.sections:
        counts[table.key] = counts.get(table.key, 0) + 1
        place = "" if counts[table.key] == 1 else f"-{counts[table.key]}"
        files[f"{table.key}{place}.csv"] = write_table(table)
    return files


def write_table(table: Table) -> str:
    """One table, its header first."""
    table = clean(table)
    rows = [
        [dict(_spread(column.key, as_value(cell))) for column, cell in zip(table.columns, row, strict=True)]
        for row in table.rows
    ]
    # By column, so that a number's companions stand beside it.
    header = dict.fromkeys(name for cells in zip(*rows, strict=True) for cell in cells for name in cell)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(header), restval="", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(dict(pair for cell in row for pair in cell.items()) for row in rows)
    return text.getvalue()


def _spread(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A cell of JSON as columns: an object becomes several, named after their place in it."""
    if not isinstance(value, dict):
        yield key, value
        return
    if "values" in value:
        return
    if "unit" in value:
        yield key, value.get("value", "")
    for inner, what in value.items():
        if inner not in {"unit", "value"}:
            yield from _spread(f"{key}_{inner}", what)
