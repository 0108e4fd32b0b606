"""The formats that a report can be had in. A new one is a module with `Report -> str`, and one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.report import as_json, as_markdown, as_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcdl.report.content import Report

# The terminal's form as plain text; onto a console, in colour, it is printed by as_terminal.render.
FORMATS: dict[str, Callable[[Report], str]] = {
    "terminal": as_terminal.write,
    "markdown": as_markdown.render,
    "json": as_json.render,
}
