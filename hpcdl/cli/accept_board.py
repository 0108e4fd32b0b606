"""The live board of an acceptance, on stderr: nodes x checks on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from hpcdl.cli import screen
from hpcdl.report.numbers import format_number
from hpcdl.report.wording import count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from hpcdl.campaign.course import Watcher
    from hpcdl.campaign.sight import Cell, Sight

# More nodes than this are told by number, and only the odd ones by name.
MANY_NODES = 30
STYLES = {
    "looked": "green",
    "could not look": "yellow",
    "lost": "bold red",
    "waiting": "dim",
    "running": "cyan",
}
WORDS = {
    "looked": "ok",
    "could not look": "could not look",
    "lost": "lost",
    "waiting": "·",
    "running": "running",
}
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@contextlib.contextmanager
def watch() -> Iterator[Watcher]:
    """A board where there is a terminal; else lines."""
    if not screen.talk.is_terminal:
        yield Lines()
        return
    with Live(console=screen.talk, auto_refresh=True, refresh_per_second=8, transient=False) as live:
        yield Board(live)


class Board:
    """All nodes and checks in a table that changes."""

    def __init__(self, live: Live) -> None:
        self._live = live
        # One for all cells, so that they turn together.
        self._spinner = Spinner("dots", style="cyan")

    def say(self, words: str) -> None:
        self._live.console.print(words, style="dim", soft_wrap=True)

    def show(self, sight: Sight) -> None:
        jobs = [Text(f"{what}: {one.word}", style="dim") for what, one in sight.standings]
        parts: list[RenderableType] = [self._draw(sight)] if sight.nodes else []
        if len(sight.nodes) > MANY_NODES:
            parts.insert(0, self._count(sight))
        self._live.update(Group(*parts, *jobs[:5]))

    def _draw(self, sight: Sight) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("node")
        for column in sight.columns:
            table.add_column(column)
        for node in _choose_nodes(sight):
            table.add_row(node, *(self._render(sight.cell(node, column)) for column in sight.columns))
        return table

    def _count(self, sight: Sight) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for title in (count(len(sight.nodes), "node"), *WORDS):
            table.add_column(title)
        for column in sight.columns:
            looks = [sight.cell(node, column).look for node in sight.nodes]
            table.add_row(column, *(str(looks.count(look) or "") for look in WORDS))  # type: ignore[arg-type]
        return table

    def _render(self, cell: Cell) -> RenderableType:
        if cell.look == "running":
            return self._spinner
        return Text(tell(cell), style=STYLES[cell.look])


class Lines:
    """For a log: what changes, node by node, once."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def say(self, words: str) -> None:
        screen.talk.print(words, soft_wrap=True)

    def show(self, sight: Sight) -> None:
        if len(sight.nodes) > MANY_NODES:
            self._show_counts(sight)
            return
        for node in sight.nodes:
            cells = {column: sight.cell(node, column) for column in sight.columns}
            done = {
                column: tell(cell)
                for column, cell in cells.items()
                if cell.look not in {"waiting", "running"}
            }
            for column, word in done.items():
                # A number that changes with each repeat is told once.
                if self._told.get(key := f"{node} {column}") != cells[column].look:
                    self._told[key] = cells[column].look
                    reason = cells[column].reason
                    self.say(f"{node}: {column}: {word}" + (f" ({reason})" if reason else ""))

    def _show_counts(self, sight: Sight) -> None:
        for column in sight.columns:
            looks = [sight.cell(node, column).look for node in sight.nodes]
            told = ", ".join(f"{looks.count(look)} {look}" for look in STYLES if look in looks)
            if self._told.get(column) != told:
                self._told[column] = told
                self.say(f"{column}: {told}")


def tell(cell: Cell) -> str:
    """A cell in words: 'ok', '1.2 k images/s'."""
    if cell.look != "looked" or cell.value is None:
        return WORDS[cell.look]
    if cell.unit.startswith("images"):
        return f"{format_number(cell.value, 3)} img/s"
    scale, prefix = next(((s, p) for s, p in _PREFIXES if cell.value >= s), (1.0, ""))
    return f"{format_number(cell.value / scale, 3)} {prefix}{cell.unit.replace('bytes', 'B')}"


def _choose_nodes(sight: Sight) -> list[str]:
    """All of a few; of many those where something could not be looked at, or was lost."""
    if len(sight.nodes) <= MANY_NODES:
        return list(sight.nodes)
    odd = [
        node
        for node in sight.nodes
        if any(sight.cell(node, column).look in {"could not look", "lost"} for column in sight.columns)
    ]
    return odd[:MANY_NODES]
