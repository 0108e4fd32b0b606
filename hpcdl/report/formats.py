"""The formats that a report can be had in. A new one is a module with `Report -> text or bytes`, and a line here.

What draws or sets pages is loaded only when it is asked for: the formats in text are instant.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

from hpcdl.errors import Mistake, UnknownName
from hpcdl.report import as_csv, as_json, as_markdown, as_terminal
from hpcdl.report.controls import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hpcdl.report.content import Report

Content = str | bytes


def _render_html(report: Report) -> str:
    from hpcdl.report import as_html

    return as_html.render(report)


def _render_pdf(report: Report) -> bytes:
    from hpcdl.report import as_pdf

    return as_pdf.render(report)


def _draw(kind: Literal["png", "svg"]) -> Callable[[Report], Mapping[str, Content]]:
    def draw(report: Report) -> Mapping[str, Content]:
        from hpcdl.report import drawing

        return drawing.draw_all(report, kind)

    return draw


@dataclass(frozen=True)
class Format:
    """One way to have a report.

    `render` makes one document of it, whose name ends in `suffix`; None where there is no such thing. `split` makes
    several files, by name, where they belong in a folder. `pictured`: it shows pictures and folds away texts.
    `escapes`: it writes control characters as escapes; for the other formats they are replaced.
    """

    suffix: str
    render: Callable[[Report], Content] | None = None
    split: Callable[[Report], Mapping[str, Content]] | None = None
    pictured: bool = False
    escapes: bool = False


# The terminal's form as plain text; onto a console, in colour, it is printed by as_terminal.render.
FORMATS: dict[str, Format] = {
    "terminal": Format(".txt", as_terminal.write),
    "markdown": Format(".md", as_markdown.render),
    "json": Format(".json", as_json.render, escapes=True),
    "csv": Format(".csv", as_csv.render, as_csv.write_all),
    "html": Format(".html", _render_html, pictured=True),
    "pdf": Format(".pdf", _render_pdf, pictured=True),
    "png": Format(".png", split=_draw("png"), pictured=True),
    "svg": Format(".svg", split=_draw("svg"), pictured=True),
}
# Of the extra `reports`: module -> package.
LIBRARIES = {"vl_convert": "vl-convert-python", "typst": "typst"}
ALIASES = {"md": "markdown", "txt": "terminal", "text": "terminal"}
# How names of files end, where that is not a format's own suffix.
SUFFIXES = {".htm": "html", ".markdown": "markdown"}


def find_format(name: str) -> Format:
    """A format by its name, or by how people shorten it.

    Raises:
        UnknownName: There is no such format.
    """
    return FORMATS[settle_name(name)]


def settle_name(name: str) -> str:
    """The name of a format, its short forms resolved, in whatever case.

    Raises:
        UnknownName: There is no such format.
    """
    lower = name.lower()
    full = ALIASES.get(lower, lower)
    if full not in FORMATS:
        raise UnknownName("report format", name, [*FORMATS, *ALIASES])
    return full


def can_draw() -> bool:
    """Whether what draws pictures is installed: then there is HTML too."""
    return find_spec("vl_convert") is not None


def find_by_suffix(name: str) -> str | None:
    """The format that a file of this name holds; None where its end says nothing."""
    suffix = PurePath(name).suffix.lower()
    known = {form.suffix: found for found, form in FORMATS.items()}
    return SUFFIXES.get(suffix) or known.get(suffix)


def render(report: Report, name: str) -> Content:
    """The report as one document of a format.

    Raises:
        UnknownName: There is no such format.
        Mistake: It is not one document but several.
    """
    found = find_format(name)
    if found.render is None:
        raise Mistake(
            f"{name} is one file for each picture, and no document.", do="Name a folder for them: --out DIR."
        )
    with _libraries_for(name):
        return found.render(report if found.escapes else clean(report))


@contextmanager
def _libraries_for(name: str) -> Iterator[None]:
    """Those that not everybody has: who lacks one is told which."""
    try:
        yield
    except ModuleNotFoundError as absent:
        if absent.name not in LIBRARIES:
            raise
        package = LIBRARIES[absent.name]
        raise Mistake(
            f"--format {name} needs the Python package {package}, which is not installed.",
            do=f"pip install {package}; or take md, csv or json.",
        ) from None


def render_text(report: Report, name: str) -> str:
    """The report as one text.

    Raises:
        UnknownName: There is no such format.
        Mistake: It is no text.
    """
    text = render(report, name)
    if isinstance(text, bytes):
        raise Mistake(
            f"{name} is no text to print.", do="`hpcdl report` writes it into a file: --output FILE."
        )
    return text


def lay_out(report: Report, name: str) -> Mapping[str, Content]:
    """All files of a format by their names in a folder."""
    found = find_format(name)
    if found.split is not None:
        with _libraries_for(name):
            return found.split(clean(report))
    return {f"report{found.suffix}": render(report, name)}
