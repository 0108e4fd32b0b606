"""The formats that a report can be had in. A new one is a module with `Report -> str` or bytes, and one line here.

What draws is loaded when it is used: text is instant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.report import as_json, as_markdown, as_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcdl.report.content import Report


def _render_html(report: Report) -> str:
    from hpcdl.report import as_html

    return as_html.render(report)


def _render_pdf(report: Report) -> bytes:
    from hpcdl.report import as_pdf

    return as_pdf.render(report)


# The terminal's form as plain text; onto a console, in colour, it is printed by as_terminal.render.
FORMATS: dict[str, Callable[[Report], str]] = {
    "terminal": as_terminal.write,
    "markdown": as_markdown.render,
    "json": as_json.render,
    "html": _render_html,
}
# Those that are no text: for files, not for terminals.
BINARY_FORMATS: dict[str, Callable[[Report], bytes]] = {"pdf": _render_pdf}
# Kinds of pictures that drawing.draw_all writes into a folder, one file each.
PICTURE_FORMATS = ("png", "svg")
