"""A report as PDF, by Typst: the pages are a fixed template, which reads all that it says from JSON as strings."""

from __future__ import annotations

import importlib.resources
import json
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from hpcdl import __version__
from hpcdl.report.cells import show_table
from hpcdl.report.drawing import draw
from hpcdl.report.drawing.looks import colour_parts, pick_colours
from hpcdl.report.numbers import split_headline
from hpcdl.report.ordering import KINDS, count_notes, is_wide, part_notes, place_pictures, point_further

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hpcdl.report.cells import ShownCell, ShownTable
    from hpcdl.report.content import Note, Report
    from hpcdl.report.pictures import Picture

TEMPLATE = "report.typ"
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"


def render(report: Report) -> bytes:
    """The report as one PDF, A4, lying where a table is wide. Fonts are Typst's own."""
    with TemporaryDirectory(prefix="hpcdl-") as folder:
        return compile_pages(report, Path(folder))


def compile_pages(report: Report, folder: Path) -> bytes:
    """Write what Typst needs into a folder, and compile it there; it sees no other folder, and no network."""
    import typst

    template = importlib.resources.files("hpcdl.report") / "templates" / TEMPLATE
    (folder / TEMPLATE).write_text(template.read_text(encoding="utf-8"), encoding="utf-8")
    for place, picture in enumerate(report.pictures):
        # PDF in PDF keeps the letters that the picture was laid out with.
        (folder / _name_file(place)).write_bytes(draw(picture, "pdf"))
    (folder / "report.json").write_text(json.dumps(gather(report)), encoding="utf-8")
    return typst.compile(folder / TEMPLATE, root=folder, ignore_system_fonts=True, format="pdf")


def gather(report: Report) -> dict[str, Any]:
    """What the template reads."""
    head, _, tail = report.title.partition(" · ")
    files = {id(picture): _name_file(place) for place, picture in enumerate(report.pictures)}
    first, sections = place_pictures(report)
    loud, quiet = part_notes(report.notes)
    return {
        "title": report.title,
        "head": head,
        "tail": tail,
        "badges": list(report.badges),
        "stamp": report.stamp,
        "wide": is_wide(report),
        "colours": pick_colours(),
        "about": list(report.about),
        "foot": _write_foot(report),
        "headline": [(fact.title, *split_headline(fact.cell)) for fact in report.headline],
        "loud": _gather_notes(loud),
        "quiet": _gather_notes(quiet),
        "quiet-count": count_notes(quiet),
        "pictures": _list_pictures(first, files),
        "sections": [
            {"table": _gather_table(show_table(table)), "pictures": _list_pictures(pictures, files)}
            for table, pictures in sections
        ],
        # Paper cannot fold away plan, script, environment and checks: half of the pages would be these.
        "sources": bool(report.sources),
        "more": point_further(report),
    }


def _gather_notes(notes: Sequence[Note]) -> list[dict[str, str]]:
    return [{"kind": note.kind, "label": KINDS[note.kind], "text": note.text} for note in notes]


def _write_foot(report: Report) -> str:
    """What made this, of which run and when: a page may come loose."""
    runs = [" · ".join(line.split(" · ")[:2]) for line in report.about[:1]]
    others = ["and others"] if len(report.about) > 1 else []
    return " · ".join([f"hpcdl {__version__}", *runs, *others])


def _name_file(place: int) -> str:
    return f"picture-{place}.pdf"


def _list_pictures(pictures: Iterable[Picture], files: dict[int, str]) -> list[dict[str, str]]:
    return [
        {
            "file": files[id(picture)],
            "alt": f"{picture.title}. {picture.alt}",
            "caption": picture.caption or picture.alt,
        }
        for picture in pictures
    ]


def _gather_table(table: ShownTable) -> dict[str, Any]:
    left = [is_left for _, is_left in table.columns]
    hidden = len(table.rows) - len(table.first)
    return {
        "title": table.title,
        "columns": [{"title": title, "left": is_left} for title, is_left in table.columns],
        "rows": [
            [
                _gather_cell(cell, left=is_left, with_ends=table.intervals)
                for cell, is_left in zip(row, left, strict=True)
            ]
            for row in table.first
        ],
        "more": f"… and {hidden:,} more (--format json shows all)" if hidden else "",
        "facts": [(title, _gather_cell(cell, left=True)) for title, cell in table.facts],
        "pairs": [(title, _gather_cell(cell, left=True)) for title, cell in table.pairs],
        "captions": list(table.captions),
        "reasons": list(table.reasons),
        "legends": [
            (title, list(colour_parts([name for _, name in names]).items())) for title, names in table.legends
        ],
    }


def _gather_cell(cell: ShownCell, *, left: bool, with_ends: bool = False) -> dict[str, Any]:
    colours = colour_parts([title for _, title, _, _ in cell.parts])
    below = [cell.mark] if cell.letter and cell.mark else []
    below += [cell.interval] if cell.interval and with_ends else []
    return asdict(cell) | {
        # Words wrap, numbers do not.
        "text": cell.text if left else cell.text.replace(" ", NO_BREAK_SPACE),
        "below": below if left else [line.replace(" ", NO_BREAK_SPACE) for line in below],
        "parts": [{"fraction": fraction, "colour": colours[title]} for _, title, _, fraction in cell.parts],
        "curve": list(cell.curve),
    }
