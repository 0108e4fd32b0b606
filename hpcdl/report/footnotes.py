"""Why cells of a table show no number: each reason once, under the table, by its mark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.report.content import Shares
from hpcdl.report.numbers import explain_bar, find_mark, find_missing, find_strike, format_cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hpcdl.report.content import Cell, Table

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_MISSING = "not published: "
_WITHHELD = "withheld, and shown because it was asked for: "
_ABSENCES = (_MISSING, _WITHHELD)


class Footnotes:
    """Collects reasons while the cells of one table are written.

    `told` are reasons that stand under earlier tables: their letters go on, and they are not told again.
    """

    def __init__(self, told: Sequence[str] = ()) -> None:
        self._reasons: list[str] = list(told)
        self._told = len(told)
        self._again: set[int] = set()

    def write_row(self, cells: Iterable[Cell]) -> list[str]:
        """Cells for a table: the number, or a dash with the letter of the reason that stands below.

        That a row is partial stands once, at its first number; a rehearsal's mark stands at every number.
        """
        return [f"{text} ({letter})" if letter else text for text, letter in self.mark_row(cells)]

    def mark_row(self, cells: Iterable[Cell]) -> list[tuple[str, str]]:
        """The same, with the letter apart: empty where there is nothing to say."""
        said: set[str] = set()
        marked = []
        for cell in cells:
            reason, mark, strike = find_missing(cell), find_mark(cell), find_strike(cell)
            if reason is not None:
                marked.append(("—", self._letter(f"{_MISSING}{reason}")))
            elif strike:
                letter = self._letter(f"{_WITHHELD}{strike}")
                marked.append((format_cell(cell), letter))
            elif mark and not (mark == "partial" and mark in said):
                marked.append((format_cell(cell), self._letter(f"{mark}: {_explain(mark)}")))
            else:
                marked.append((format_cell(cell), ""))
            said.add(mark)
        return marked

    def _letter(self, reason: str) -> str:
        if reason not in self._reasons:
            self._reasons.append(reason)
        place = self._reasons.index(reason)
        if place < self._told:
            self._again.add(place)
        return _name(place)

    @property
    def texts(self) -> tuple[str, ...]:
        """All reasons so far, those of earlier tables too."""
        return tuple(self._reasons)

    @property
    def reasons(self) -> list[tuple[str, str]]:
        """Letters and their reasons, in order."""
        return [(_name(index), reason) for index, reason in enumerate(self._reasons)]

    @property
    def lines(self) -> list[str]:
        """'(c) not published: reason', in the order of their marks.

        What stands under an earlier table is told as '(a), (b): as above'; what qualifies a number is told again.
        """
        above = [place for place in sorted(self._again) if self._reasons[place].startswith(_ABSENCES)]
        full = [place for place in sorted(self._again) if place not in above]
        new = range(self._told, len(self._reasons))
        again = [f"{', '.join(f'({_name(place)})' for place in above)}: as above"] if above else []
        return [*again, *(f"({_name(place)}) {self._reasons[place]}" for place in (*full, *new))]


_EXPLAINED = {
    "partial": "this row is of the steps that were recorded, not of the whole launch",
    "rehearsal": "several hosts are one machine here",
    "as published": "the source says so; nobody measured it here",
    "copies": "independent copies, whose throughput is taken to add up",
    "predicted": "what a model makes of what was measured",
    "computed": "from what the source gives, by arithmetic alone",
    "estimated": "from a specification and how busy the device was; nothing measured it",
    "published": "as others published it, under their conditions; not measured here",
}


def _explain(mark: str) -> str:
    """Each of several marks by itself."""
    return "; ".join(_EXPLAINED.get(one, one) for one in mark.split(" and "))


def _name(index: int) -> str:
    tens, ones = divmod(index, len(_LETTERS))
    return (_LETTERS[tens - 1] if tens else "") + _LETTERS[ones]


def write_rows(
    table: Table, columns: Sequence[int] | None = None, notes: Footnotes | None = None
) -> tuple[list[list[str]], list[str]]:
    """The cells of the rows that people are shown, as text, and the lines that belong below them.

    Args:
        table: What to show.
        columns: Indices of those that there is room for; None: all visible ones.
        notes: Collects the reasons; None: they are of this table alone.
    """
    columns, notes = table.visible if columns is None else columns, notes or Footnotes()
    shown = table.rows if table.limit is None else table.rows[: table.limit]
    rows = [notes.write_row(row[index] for index in columns) for row in shown]
    hidden = len(table.rows) - len(shown)
    more = [f"… and {hidden:,} more (--format json shows all)"] if hidden else []
    return rows, [*more, *notes.lines]


def explain_bars(table: Table, columns: Sequence[int]) -> list[str]:
    """A line for each of the columns that holds bars: what its shades are."""
    bars = {
        index: next((cell for row in table.rows if isinstance(cell := row[index], Shares)), None)
        for index in columns
    }
    return [
        f"{table.columns[index].title}: {explain_bar(bar)}" for index, bar in bars.items() if bar is not None
    ]


def write_list(table: Table) -> list[tuple[str, str]]:
    """The one row of an upright table as (title, text) pairs; what does not apply is left out."""
    row = table.rows[0]
    pairs = [(table.columns[index], row[index]) for index in table.visible]
    return [
        (column.upright_title, format_cell(cell, with_unit=True))
        for column, cell in pairs
        if cell is not None and cell != ""
    ]
