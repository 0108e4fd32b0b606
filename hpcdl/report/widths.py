"""Which columns of a table there is room for, and how wide each is. No number, unit or id is ever cut.

Columns that do not fit are left out whole, and named. A table whose first columns do not fit either stands upright:
each row as a list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len

from hpcdl.report.content import Quantity, Span
from hpcdl.report.footnotes import Footnotes, write_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.report.content import Column, Table

INDENT = 2
GAP = 2
# A cell that is longer is prose: it may stand in several lines where nothing could be left out for it.
PROSE = 32
# A word that is longer is a path, an address or a digest: the only ones that are folded.
LONGEST_WORD = 40
# So few rows rather stand upright than without a column of rank 0.
FEW_ROWS = 3
_NUMBER = re.compile(r"[-+±~<>—\d▁▂▃▄▅▆▇█▒░▓]")


@dataclass(frozen=True)
class Layout:
    """A table as it fits.

    `kept` are the indices of the columns that are shown, `rows` their texts, `lines` what belongs below, `reasons`
    what was told so far. `widths` are those of the columns, in characters; None: each row stands upright.
    """

    kept: tuple[int, ...]
    rows: list[list[str]]
    lines: list[str]
    reasons: tuple[str, ...]
    widths: tuple[int, ...] | None


@dataclass(frozen=True)
class _Size:
    """How wide a column would be, and how narrow it may be."""

    wanted: int
    least: int


def fit_table(table: Table, width: int, told: Sequence[str] = ()) -> Layout:
    """The columns that fit into so many characters, with their texts; the highest ranks are left out first.

    Args:
        table: What to show.
        width: Of the terminal, in characters.
        told: Reasons that stand under earlier tables.
    """
    kept = list(table.visible)
    while True:
        # A letter takes room, and which cells have one depends on which columns are shown.
        notes = Footnotes(told)
        rows, lines = write_rows(table, kept, notes)
        widths = _find_widths([table.columns[index] for index in kept], rows, width)
        if widths is not None:
            return Layout(tuple(kept), rows, lines, notes.texts, widths)
        least = _find_least(table, kept)
        if least is None:
            return _stand_upright(table, told)
        kept.remove(least)


def _stand_upright(table: Table, told: Sequence[str]) -> Layout:
    kept = [index for index in table.visible if not table.columns[index].rank] or list(table.visible)
    notes = Footnotes(told)
    rows, lines = write_rows(table, kept, notes)
    return Layout(tuple(kept), rows, lines, notes.texts, None)


def _find_widths(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int
) -> tuple[int, ...] | None:
    """Of each column; None where they do not fit."""
    sizes = [_measure_column(column, [row[place] for row in rows]) for place, column in enumerate(columns)]
    room = width - INDENT - GAP * (len(columns) - 1)
    if any(column.rank for column in columns):
        # Words are not wrapped as long as there is a column to leave out, except where they are many.
        needed = sum(
            size.wanted if column.rank else max(size.least, min(size.wanted, PROSE))
            for column, size in zip(columns, sizes, strict=True)
        )
    else:
        needed = sum(size.least for size in sizes)
    return _share_out(sizes, room) if needed <= room else None


def _share_out(sizes: Sequence[_Size], room: int) -> tuple[int, ...]:
    """What each is given: the widest gives way first, none below its least."""
    widths = [size.wanted for size in sizes]
    for _ in range(sum(widths) - room):
        widest = max(
            (place for place, size in enumerate(sizes) if widths[place] > size.least),
            key=lambda place: widths[place],
        )
        widths[widest] -= 1
    return tuple(widths)


def _measure_column(column: Column, texts: Sequence[str]) -> _Size:
    titles = [column.title] if column.left else column.title.split(" ")
    wanted = max(map(cell_len, [*titles, *texts]))
    if not column.left:
        return _Size(wanted, wanted)
    return _Size(wanted, max(_find_longest_word(column.title), *map(measure_least, texts), 0))


def measure_least(text: str) -> int:
    """How narrow a text may be: a number stays beside its unit, prose is wrapped between words."""
    if _NUMBER.match(text) and len(text) <= PROSE:
        return cell_len(text)
    return min(_find_longest_word(text), LONGEST_WORD)


def _find_longest_word(text: str) -> int:
    return max(map(cell_len, text.split()), default=0)


def _find_least(table: Table, kept: Sequence[int]) -> int | None:
    """The column that is missed least; None where each row had better stand upright."""
    ranks = {index: table.columns[index].rank for index in kept}
    least = max(kept, key=lambda index: (ranks[index], index))
    if ranks[least]:
        return least if len(kept) > 1 else None
    if len(table.rows) <= FEW_ROWS:
        return None
    return max((index for index in kept if index not in _find_anchors(table)), default=None)


def _find_anchors(table: Table) -> set[int]:
    """What always stays: what tells rows apart and the first result; and what has no title to be missed by."""
    plain = [index for index in table.visible if not table.columns[index].rank]
    results = (
        index for index in plain[1:] if any(isinstance(row[index], Quantity | Span) for row in table.rows)
    )
    last = next(results, plain[-1])
    return {index for index in plain if index <= last or not table.columns[index].title}
