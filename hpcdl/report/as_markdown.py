"""A report as Markdown (GitHub's tables), for a page, an issue or a mail."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hpcdl.report.footnotes import explain_bars, write_list, write_rows
from hpcdl.report.numbers import format_cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hpcdl.report.content import Report, Table

KINDS = {"failure": "Failed", "rehearsal": "REHEARSAL", "warning": "Warning", "info": "Note"}


def render(report: Report) -> str:
    """The report as Markdown, with a newline at its end."""
    return "\n".join(_write(report)) + "\n"


def _write(report: Report) -> Iterator[str]:
    yield f"# {escape(report.title)}"
    if report.badge:
        yield from ("", f"**{escape(report.badge)}**")
    if report.notes:
        yield ""
        yield from (f"- **{KINDS[note.kind]}:** {escape(note.text)}" for note in report.notes)
    for table in report.shown:
        yield from ("", f"## {escape(table.title)}", "", *_write_table(table))
    if report.more:
        yield ""
        yield from (f"- {_mark_command(line)}" for line in report.more)


def _write_table(table: Table) -> Iterator[str]:
    if not table.many:
        yield from (
            f"- {escape(fact.title)}: {escape(format_cell(fact.cell, with_unit=True))}"
            for fact in table.facts
        )
        if table.facts:
            yield ""
    below: list[str] = []
    if table.upright:
        yield from _draw([" ", " "], [True, True], write_list(table))
    else:
        rows, below = write_rows(table)
        below = [*below, *explain_bars(table, table.visible)]
        columns = [table.columns[index] for index in table.visible]
        yield from _draw([column.title for column in columns], [column.left for column in columns], rows)
    for line in (*table.captions, *below):
        yield from ("", escape(line))


def _draw(titles: Sequence[str], left: Sequence[bool], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield _join(titles)
    yield "|" + "|".join(":---" if is_left else "---:" for is_left in left) + "|"
    for row in rows:
        yield _join(row)


def _join(cells: Iterable[str]) -> str:
    return f"| {' | '.join(escape(cell) for cell in cells)} |"


def escape(text: str) -> str:
    """Text as it is: nothing in it becomes markup, a link, HTML or another cell."""
    flat = " ".join(text.split())
    return re.sub(r"([\\`*_|\[\]<>#])", r"\\\1", flat)


def _mark_command(line: str) -> str:
    what, _, rest = line.partition(": ")
    return f"{escape(what)}: `{rest.replace('`', '')}`" if rest else escape(line)
