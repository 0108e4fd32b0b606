"""A report as Markdown (GitHub's tables), for a page, an issue or a mail."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hpcdl.report.folding import fold
from hpcdl.report.footnotes import explain_bars, write_list, write_rows
from hpcdl.report.numbers import format_cell, split_headline
from hpcdl.report.ordering import KINDS, part_notes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hpcdl.report.content import Fact, Note, Report, Table


def render(report: Report) -> str:
    """The report as Markdown, with a newline at its end."""
    return "\n".join(_write(report)) + "\n"


def _write(report: Report) -> Iterator[str]:
    yield f"# {escape(report.title)}"
    # A stamp says what the badges say.
    if report.stamp or report.badge:
        yield from ("", f"**{escape(report.stamp or report.badge)}**")
    for line in report.about:
        yield from ("", escape(line))
    if report.headline:
        yield ""
        yield from (f"- {escape(fact.title)}: **{_write_fact(fact)}**" for fact in report.headline)
    first, later = part_notes(report.notes)
    yield from _list_notes(first)
    for table in map(fold, report.shown):
        yield from ("", f"## {escape(table.title)}", "", *_write_table(table))
    if later and report.shown:
        yield from ("", "## Notes")
    yield from _list_notes(later)
    if report.more:
        yield ""
        yield from (f"- {_mark_command(line)}" for line in report.more)


def _write_fact(fact: Fact) -> str:
    return escape(" ".join(part for part in split_headline(fact.cell) if part))


def _list_notes(notes: Sequence[Note]) -> Iterator[str]:
    if notes:
        yield ""
        yield from (f"- **{KINDS[note.kind]}:** {escape(note.text)}" for note in notes)


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
