"""Tables as people are shown them where there is more than text: cells with their parts, before any markup."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING

from hpcdl.report.content import Curve, Quantity, Shares, Span
from hpcdl.report.footnotes import Footnotes
from hpcdl.report.numbers import (
    find_mark,
    find_missing,
    find_strike,
    format_cell,
    format_quantity,
    format_value,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.report.content import Cell, Table


@dataclass(frozen=True)
class ShownCell:
    """One cell. `text` is what the other formats have, without the signs of Markdown.

    `letter` names the footnote; `mark` qualifies the number; `interval` are the ends of its 95 % interval in words;
    `order` is what rows are sorted by, None if there is nothing to sort by. `parts` are (key, title, text, fraction).
    """

    text: str
    letter: str = ""
    mark: str = ""
    struck: bool = False
    missing: bool = False
    interval: str = ""
    order: float | str | None = None
    parts: tuple[tuple[str, str, str, float], ...] = ()
    curve: tuple[float, ...] = ()
    alt: str = ""


@dataclass(frozen=True)
class ShownTable:
    """One table. `rows` are all; a person is shown the first `limit` of them, and can have the others.

    `pairs` are the rows of an upright table. `legends` tell which colour of a column's bars is what.
    """

    key: str
    title: str
    columns: tuple[tuple[str, bool], ...]
    rows: tuple[tuple[ShownCell, ...], ...]
    limit: int | None
    facts: tuple[tuple[str, ShownCell], ...]
    pairs: tuple[tuple[str, ShownCell], ...]
    captions: tuple[str, ...]
    reasons: tuple[tuple[str, str], ...]
    legends: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]

    @property
    def cut(self) -> bool:
        """Whether there are more rows than a person is shown."""
        return self.limit is not None and self.limit < len(self.rows)

    @property
    def first(self) -> tuple[tuple[ShownCell, ...], ...]:
        return self.rows if self.limit is None else self.rows[: self.limit]

    @property
    def intervals(self) -> bool:
        """Whether intervals stand below their numbers, as no column has them."""
        return not any(cell.text.startswith("±") for row in self.rows for cell in row)


def show_table(table: Table) -> ShownTable:
    """A table with its footnotes, its facts and what its bars mean."""
    notes = Footnotes()
    rows = tuple(_show_row(table, row, notes) for row in table.rows)
    upright = table.upright
    return ShownTable(
        key=table.key,
        title=table.title,
        columns=tuple((table.columns[index].title, table.columns[index].left) for index in table.visible),
        rows=() if upright else rows,
        limit=table.limit,
        # What a table of several is about stands in its title.
        facts=() if table.many else tuple((fact.title, show_alone(fact.cell)) for fact in table.facts),
        pairs=_show_pairs(table) if upright else (),
        captions=table.captions,
        reasons=() if upright else tuple(notes.reasons),
        legends=_explain(table),
    )


def _show_row(table: Table, row: Sequence[Cell], notes: Footnotes) -> tuple[ShownCell, ...]:
    cells = [row[index] for index in table.visible]
    marked = notes.mark_row(cells)
    return tuple(
        replace(_show(cell), text=text.replace("~~", ""), letter=letter)
        for cell, (text, letter) in zip(cells, marked, strict=True)
    )


def _show_pairs(table: Table) -> tuple[tuple[str, ShownCell], ...]:
    pairs = [(table.columns[index].upright_title, table.rows[0][index]) for index in table.visible]
    return tuple((title, show_alone(cell)) for title, cell in pairs if cell is not None and cell != "")


def show_alone(cell: Cell) -> ShownCell:
    """A cell that no column's title explains: with its unit, its mark and its reason."""
    shown, strike = _show(cell), find_strike(cell)
    if strike:
        # The number is struck through, not the reason beside it.
        return replace(shown, text=format_cell(_unstrike(cell), with_unit=True), mark=f"withheld: {strike}")
    return replace(shown, text=format_cell(cell, with_unit=True), mark="")


def _unstrike(cell: Cell) -> Cell:
    match cell:
        case Quantity():
            return replace(cell, struck="")
        case Span(lowest=lowest, highest=highest):
            return Span(replace(lowest, struck=""), replace(highest, struck=""))
        case Shares(parts=parts):
            return Shares(tuple((key, title, replace(share, struck="")) for key, title, share in parts))
        case _:
            return cell


def _show(cell: Cell) -> ShownCell:
    return ShownCell(
        text="",
        mark=find_mark(cell),
        struck=bool(find_strike(cell)),
        missing=find_missing(cell) is not None,
        interval=_write_interval(cell),
        order=_order(cell),
        parts=_part(cell),
        curve=tuple(value for value in cell.values if isfinite(value)) if isinstance(cell, Curve) else (),
        alt=_describe(cell),
    )


def _write_interval(cell: Cell) -> str:
    if (
        not isinstance(cell, Quantity)
        or cell.low is None
        or cell.high is None
        or find_missing(cell) is not None
    ):
        return ""
    if not (isfinite(cell.low) and isfinite(cell.high)):
        return ""
    low, high = (format_value(end, cell.unit) for end in (cell.low, cell.high))
    return f"{low} to {high}{f' {cell.currency}' if cell.currency else ''}"


def _order(cell: Cell) -> float | str | None:
    match cell:
        case Quantity(value=int() | float() as value) | Span(lowest=Quantity(value=int() | float() as value)):
            return float(value) if isfinite(value) else None
        case Curve(values=values):
            return values[-1] if values else None
        case str() | int():
            return cell
        case _:
            return None


def _part(cell: Cell) -> tuple[tuple[str, str, str, float], ...]:
    if not isinstance(cell, Shares) or find_missing(cell) is not None:
        return ()
    return tuple(
        (key, title, format_quantity(share).replace("~~", ""), float(share.value))
        for key, title, share in cell.parts
        if isinstance(share.value, int | float)
    )


def _describe(cell: Cell) -> str:
    """In words what a bar or a curve shows."""
    if isinstance(cell, Shares):
        return format_cell(_unstrike(cell), with_unit=True)
    known = [value for value in cell.values if isfinite(value)] if isinstance(cell, Curve) else []
    if not isinstance(cell, Curve) or not known:
        return ""
    first, last, low, high = (
        format_value(value, cell.unit) for value in (known[0], known[-1], min(known), max(known))
    )
    return f"from {first} to {last}, lowest {low}, highest {high}"


def _explain(table: Table) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    found = []
    for index in table.visible:
        bar = next((cell for row in table.rows if isinstance(cell := row[index], Shares)), None)
        if bar is not None:
            found.append((table.columns[index].title, tuple((key, title) for key, title, _ in bar.parts)))
    return tuple(found)
