"""A report as PDF, by Typst: the pages are a fixed template, which reads all that it says from JSON as strings."""

from __future__ import annotations

import importlib.resources
import json
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from hpcdl import __version__
from hpcdl.report.as_markdown import KINDS
from hpcdl.report.cells import show_table
from hpcdl.report.drawing import draw
from hpcdl.report.drawing.looks import pick_colours
from hpcdl.report.ordering import CHECKS, is_wide, place_pictures, weigh

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hpcdl.report.cells import ShownCell, ShownTable
    from hpcdl.report.content import Report
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
    return {
        "title": report.title,
        "head": head,
        "tail": tail,
        "badges": list(report.badges),
        "wide": is_wide(report),
        "made-by": f"hpcdl {__version__}",
        "colours": pick_colours(),
        "notes": [
            {"kind": note.kind, "label": KINDS[note.kind], "text": note.text} for note in weigh(report.notes)
        ],
        "pictures": _list_pictures(first, files),
        "sections": [
            {"table": _gather_table(show_table(table)), "pictures": _list_pictures(pictures, files)}
            for table, pictures in sections
        ],
        "checks": [_gather_table(show_table(table)) for table in report.sections if table.key in CHECKS],
        "sources": [{"title": source.title, "text": source.text} for source in report.sources],
        "more": [(what, rest) for what, _, rest in (line.partition(": ") for line in report.more)],
    }


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
        "legends": [(title, [name for _, name in names]) for title, names in table.legends],
    }


def _gather_cell(cell: ShownCell, *, left: bool, with_ends: bool = False) -> dict[str, Any]:
    below = [cell.mark] if cell.letter and cell.mark else []
    below += [cell.interval] if cell.interval and with_ends else []
    return asdict(cell) | {
        # Words wrap, numbers do not.
        "text": cell.text if left else cell.text.replace(" ", NO_BREAK_SPACE),
        "below": below if left else [line.replace(" ", NO_BREAK_SPACE) for line in below],
        "parts": [{"fraction": fraction} for _, _, _, fraction in cell.parts],
        "curve": list(cell.curve),
    }
