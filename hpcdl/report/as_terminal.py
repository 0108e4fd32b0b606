"""A report on a terminal: the result first, as wide as there is room, in colour only where that is wanted.

Whether there is colour is the console's to know: rich leaves it out off a terminal and where NO_COLOR is set.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rich.align import Align
from rich.cells import cell_len
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from hpcdl.report.content import Shares
from hpcdl.report.controls import clean
from hpcdl.report.footnotes import explain_bars, write_list
from hpcdl.report.numbers import SHADES, find_missing, find_strike, format_cell, measure_bar
from hpcdl.report.widths import GAP, fit_table, measure_least

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import ConsoleOptions, RenderableType, RenderResult

    from hpcdl.report.content import Cell, Note, Report, Table
    from hpcdl.report.widths import Layout

BADGE_STYLES = {
    "published": "bold green",
    "partial": "bold yellow",
    "stopped": "bold yellow",
    "withheld": "bold yellow",
    "FAILED": "bold red",
    "REHEARSAL": "bold magenta",
    "PASS": "bold green",
    "FAIL": "bold red",
    "INSUFFICIENT EVIDENCE": "bold yellow",
    "UNSIGNED": "bold yellow",
    "SIGNED": "bold",
}
NOTE_STYLES = {"failure": "red", "rehearsal": "magenta", "warning": "yellow", "info": ""}
STATE_STYLES = {"completed": "green", "running": "cyan", "planned": "dim", "stopped": "yellow"}
PHASE_STYLES = {"input": "yellow", "compute": "green", "exchange": "red", "update": "blue"}
# Below, lines are longer than the terminal is wide: a number does not get narrower.
NARROWEST = 30
# For consoles that are not UTF-8: what stands for the characters that they lack.
_BLOCKS = dict(zip("▁▂▃▄▅▆▇█▒░▓", "..--==##=-+", strict=True))
_PLAIN = str.maketrans({"·": "-", "—": "-", "…": "~", "µ": "u", "±": "+-", "°": "o"} | _BLOCKS)


@dataclass(frozen=True)
class _Wide:
    """What is laid out in a width of its own: a terminal that is narrower still wraps it, and cuts nothing."""

    inner: RenderableType
    width: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from console.render(self.inner, options.update(width=self.width))


def render(report: Report, console: Console) -> None:
    """Print a report onto a console, in its width; characters that its encoding lacks are replaced."""
    width = max(console.width, NARROWEST)
    with console.capture() as capture:
        console.print(_Wide(_lay_out(clean(report), width), width), soft_wrap=False, crop=False)
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
    parts: list[RenderableType] = [*_draw_header(report, width), *(_draw_note(note) for note in failures)]
    told: list[str] = []
    for table in report.shown:
        parts.extend(["", *_draw_section(table, width, told, titled=len(report.shown) > 1)])
    if others:
        parts.extend(["", *(_draw_note(note) for note in others)])
    if report.more:
        parts.extend(["", *(Text(line, style="dim", overflow="fold") for line in report.more)])
    return Group(*parts)


def _draw_header(report: Report, width: int) -> Iterator[RenderableType]:
    """The title with the badges to its right; below it where they leave it no room."""
    title = Text(report.title, style="bold")
    badge = Text(" · ").join(Text(badge, style=BADGE_STYLES[badge]) for badge in report.badges)
    if badge.cell_len + GAP + NARROWEST > width:
        yield from (title, badge) if badge else (title,)
        return
    grid = Grid.grid(expand=True, padding=(0, GAP, 0, 0))
    grid.add_column(ratio=1)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_row(title, badge)
    yield grid


def _draw_note(note: Note) -> RenderableType:
    return Text(note.text, style=NOTE_STYLES[note.kind], overflow="fold")


def _draw_section(table: Table, width: int, told: list[str], *, titled: bool) -> Iterator[RenderableType]:
    """A table with what belongs around it. `told` are the reasons under the tables above; this table's are added."""
    if titled and table.key != "launches":
        yield Text(table.title, style="bold")
    if table.upright:
        yield _draw_pairs(list(_list_cells(table)), width)
        return
    if table.facts and not table.many:
        facts = [(fact.title, Text(format_cell(fact.cell, with_unit=True))) for fact in table.facts]
        yield from (_draw_pairs(facts, width), "")
    layout = fit_table(table, width, told)
    told[:] = layout.reasons
    yield _draw_upright(table, layout, width) if layout.widths is None else _draw_grid(table, layout)
    left_out = [table.columns[index].title for index in table.visible if index not in layout.kept]
    below = [*table.captions, *layout.lines, *explain_bars(table, layout.kept)]
    if left_out:
        below.append(f"not shown at this width: {', '.join(left_out)}")
    yield from (Padding(Text(line, style="dim", overflow="fold"), (0, 0, 0, 1)) for line in below)


def _draw_pairs(pairs: Sequence[tuple[str, Text]], width: int) -> RenderableType:
    """Titles with their texts beside them; below them where there is no room for both."""
    titles = max(cell_len(title) for title, _ in pairs)
    least = max(measure_least(line) for _, text in pairs for line in text.plain.split("\n"))
    if 1 + titles + GAP + least > width:
        return Group(*_stack(pairs))
    grid = Grid.grid(padding=(0, GAP, 0, 0))
    grid.add_column(style="dim", width=1 + titles)
    grid.add_column(overflow="fold")
    for title, text in pairs:
        grid.add_row(Text(f" {title}"), text)
    return grid


def _stack(pairs: Sequence[tuple[str, Text]]) -> Iterator[RenderableType]:
    for title, text in pairs:
        if title:
            yield Padding(Text(title, style="dim"), (0, 0, 0, 1))
        yield Padding(text, (0, 0, 0, 1 + GAP))


def _draw_upright(table: Table, layout: Layout, width: int) -> RenderableType:
    """Each row as a list with an empty line below it; what does not apply is left out."""
    titles = [table.columns[index].title for index in layout.kept]
    parts: list[RenderableType] = []
    for row, cells in zip(layout.rows, table.rows, strict=False):
        drawn = [_draw_cell(cells[index], text) for index, text in zip(layout.kept, row, strict=True)]
        pairs = [(title, text) for title, text in zip(titles, drawn, strict=True) if text]
        parts.extend([_draw_pairs(pairs, width), ""])
    return Group(*parts)


def _draw_grid(table: Table, layout: Layout) -> Grid:
    grid = Grid(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="dim", show_edge=False)
    grid.add_column("", width=0)
    for index, width in zip(layout.kept, layout.widths or (), strict=True):
        column = table.columns[index]
        # Numbers are narrower than what they are called: a title of several words stands in several lines.
        title = column.title if column.left else column.title.replace(" ", "\n")
        justify: Literal["left", "right"] = "left" if column.left else "right"
        # Titles stand on their rows; of a row each text begins in its first line, beside what it is about.
        head = Align(Text(title, justify=justify), justify, vertical="bottom")
        grid.add_column(head, justify=justify, width=width, overflow="fold", vertical="top")
    for row, cells in zip(layout.rows, table.rows, strict=False):
        grid.add_row(
            "", *(_draw_cell(cells[index], text) for index, text in zip(layout.kept, row, strict=True))
        )
    return grid


def _draw_cell(cell: Cell, text: str) -> Text:
    if isinstance(cell, Shares) and find_missing(cell) is None:
        return draw_bar(cell)
    if find_strike(cell):
        return Text(text, style="strike")
    if isinstance(cell, str) and cell in {"failed", "lost", "refused", *STATE_STYLES}:
        return Text(text, style=STATE_STYLES.get(cell, "red"))
    return Text(text)


def _list_cells(table: Table) -> Iterator[tuple[str, Text]]:
    """The one row of an upright table; a bar with a legend below it."""
    cells = {table.columns[index].upright_title: table.rows[0][index] for index in table.visible}
    for title, text in write_list(table):
        cell = cells[title]
        if isinstance(cell, Shares) and find_missing(cell) is None:
            yield from ((title, draw_bar(cell)), ("", _draw_legend(cell)))
        else:
            yield title, Text(text, style="" if find_missing(cell) is None else "yellow")


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
