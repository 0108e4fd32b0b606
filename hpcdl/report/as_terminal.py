"""A report on a terminal: the result first, as wide as there is room, in colour only where that is wanted.

Whether there is colour is the console's to know: rich leaves it out off a terminal and where NO_COLOR is set.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from hpcdl.report.content import Shares
from hpcdl.report.controls import clean
from hpcdl.report.footnotes import explain_bars, write_list, write_rows
from hpcdl.report.numbers import SHADES, find_missing, find_strike, format_cell, measure_bar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.report.content import Cell, Fact, Note, Report, Table

BADGE_STYLES = {
    "published": "bold green",
    "partial": "bold yellow",
    "stopped": "bold yellow",
    "withheld": "bold yellow",
    "FAILED": "bold red",
    "REHEARSAL": "bold magenta",
}
NOTE_STYLES = {"failure": "red", "rehearsal": "magenta", "warning": "yellow", "info": ""}
STATE_STYLES = {"completed": "green", "running": "cyan", "planned": "dim", "stopped": "yellow"}
PHASE_STYLES = {"input": "yellow", "compute": "green", "exchange": "red", "update": "blue"}
NARROWEST = 40
# For consoles that are not UTF-8: what stands for the characters that they lack.
_BLOCKS = dict(zip("▁▂▃▄▅▆▇█▒░▓", "..--==##=-+", strict=True))
_PLAIN = str.maketrans({"·": "-", "—": "-", "…": "~", "µ": "u", "±": "+-", "°": "o"} | _BLOCKS)


def render(report: Report, console: Console) -> None:
    """Print a report onto a console, in its width; characters that its encoding lacks are replaced."""
    with console.capture() as capture:
        console.print(_lay_out(clean(report), max(console.width, NARROWEST)), soft_wrap=False)
    text = "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"
    console.file.write(_fit(text, console.encoding))
    console.file.flush()


def write(report: Report, *, width: int = 100) -> str:
    """The report as plain text, `width` characters wide."""
    file = io.StringIO()
    console = Console(file=file, width=width, color_system=None, force_terminal=False, legacy_windows=False)
    render(report, console)
    return file.getvalue()


def _fit(text: str, encoding: str) -> str:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return text.translate(_PLAIN).encode("ascii", "replace").decode("ascii")
    return text


def _lay_out(report: Report, width: int) -> RenderableType:
    failures = [note for note in report.notes if note.kind == "failure"]
    others = [note for note in report.notes if note.kind != "failure"]
    parts: list[RenderableType] = [_draw_header(report), *(_draw_note(note) for note in failures)]
    for table in report.shown:
        parts.extend(["", *_draw_section(table, width, titled=len(report.shown) > 1)])
    if others:
        parts.extend(["", *(_draw_note(note) for note in others)])
    if report.more:
        parts.extend(["", *(Text(line, style="dim", overflow="fold") for line in report.more)])
    return Group(*parts)


def _draw_header(report: Report) -> RenderableType:
    grid = Grid.grid(expand=True, padding=(0, 2, 0, 0))
    grid.add_column(ratio=1)
    grid.add_column(justify="right", no_wrap=True)
    badge = Text(" · ").join(Text(badge, style=BADGE_STYLES[badge]) for badge in report.badges)
    grid.add_row(Text(report.title, style="bold"), badge)
    return grid


def _draw_note(note: Note) -> RenderableType:
    return Text(note.text, style=NOTE_STYLES[note.kind], overflow="fold")


def _draw_section(table: Table, width: int, *, titled: bool) -> Iterator[RenderableType]:
    if titled and table.key != "launches":
        yield Text(table.title, style="bold")
    if table.upright:
        yield _draw_list(table)
        return
    if table.facts and not table.many:
        yield _draw_facts(table.facts)
        yield ""
    rows, below = write_rows(table)
    kept = list(range(len(table.visible)))
    grid = _draw_grid(table, rows, kept)
    while not _fits(grid, width) and (least := _least(table, kept)) is not None:
        kept.remove(least)
        grid = _draw_grid(table, rows, kept)
    yield grid
    below = [*below, *explain_bars(table, [table.visible[place] for place in kept])]
    left_out = [table.columns[index].title for place, index in enumerate(table.visible) if place not in kept]
    for line in (*table.captions, *below):
        yield Padding(Text(line, style="dim", overflow="fold"), (0, 0, 0, 1))
    if left_out:
        yield Padding(Text(f"not shown at this width: {', '.join(left_out)}", style="dim"), (0, 0, 0, 1))


def _draw_facts(facts: Sequence[Fact]) -> RenderableType:
    grid = _start_list()
    for fact in facts:
        grid.add_row(f" {fact.title}", format_cell(fact.cell, with_unit=True))
    return grid


def _start_list() -> Grid:
    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def _least(table: Table, kept: Sequence[int]) -> int | None:
    """The column that is missed least, of those that may be left out."""
    ranks = {place: table.columns[table.visible[place]].rank for place in kept}
    least = max(ranks, key=lambda place: (ranks[place], place))
    return least if ranks[least] else None


def _fits(grid: Grid, width: int) -> bool:
    console = Console(width=1000, file=io.StringIO())
    return Measurement.get(console, console.options, grid).maximum <= width


def _draw_grid(table: Table, rows: Sequence[Sequence[str]], kept: Sequence[int]) -> Grid:
    grid = Grid(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim", show_edge=False)
    grid.add_column("")
    columns = [table.columns[index] for index in table.visible]
    for place in kept:
        column = columns[place]
        # Numbers are narrower than what they are called: a title of several words stands in several lines.
        title = column.title if column.left else column.title.replace(" ", "\n")
        # The last resort of a table that does not fit is to wrap its words, never its numbers.
        grid.add_column(
            Text(title),
            justify="left" if column.left else "right",
            no_wrap=not column.left,
            overflow="fold",
            vertical="bottom",
        )
    for row, cells in zip(rows, table.rows, strict=False):
        drawn = [_draw_cell(cells[table.visible[place]], row[place]) for place in kept]
        grid.add_row("", *drawn)
    return grid


def _draw_cell(cell: Cell, text: str) -> Text:
    if isinstance(cell, Shares) and find_missing(cell) is None:
        return draw_bar(cell)
    if find_strike(cell):
        return Text(text, style="strike")
    if isinstance(cell, str) and cell in {"failed", "lost", "refused", *STATE_STYLES}:
        return Text(text, style=STATE_STYLES.get(cell, "red"))
    return Text(text)


def _draw_list(table: Table) -> RenderableType:
    grid = _start_list()
    cells = {table.columns[index].upright_title: table.rows[0][index] for index in table.visible}
    for title, text in write_list(table):
        cell = cells[title]
        if isinstance(cell, Shares) and find_missing(cell) is None:
            grid.add_row(f" {title}", draw_bar(cell))
            grid.add_row("", _draw_legend(cell))
        else:
            grid.add_row(f" {title}", Text(text, style="" if find_missing(cell) is None else "yellow"))
    return grid


def draw_bar(shares: Shares) -> Text:
    """The parts of a step as a bar, each as long as its share."""
    bar = Text()
    for key, length in measure_bar(shares).items():
        bar.append(SHADES.get(key, "█") * length, style=PHASE_STYLES.get(key, ""))
    return bar


def _draw_legend(shares: Shares) -> Text:
    """A line for each part: its shade, its name, its share."""
    room = max(len(title) for _, title, _ in shares.parts)
    lines = []
    for key, title, share in shares.parts:
        text = f" {title:{room}}  {format_cell(share):>7}{f' ({share.mark})' if share.mark else ''}"
        lines.append(Text(SHADES.get(key, "█"), style=PHASE_STYLES.get(key, "")) + Text(text))
    return Text("\n").join(lines)
