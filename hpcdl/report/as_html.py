"""A report as one HTML file: pictures, tables and what is behind them, without a network, on screens and on paper.

Whatever comes from records is data in it. Jinja2 escapes all text; specifications of pictures are JSON without `<`,
which the page's own script reads; and the page's Content-Security-Policy lets nothing run but the scripts whose
hashes it names, and nothing be loaded at all.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from hpcdl import __version__
from hpcdl.report.cells import show_table
from hpcdl.report.drawing import specify
from hpcdl.report.drawing.looks import COLOURS, SERIES, colour_parts, configure, name_colours, pick_colours
from hpcdl.report.drawing.tables import tabulate
from hpcdl.report.numbers import split_headline
from hpcdl.report.ordering import (
    CHECKS,
    KINDS,
    count_notes,
    is_wide,
    part_notes,
    place_pictures,
    point_further,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hpcdl.report.cells import ShownCell, ShownTable
    from hpcdl.report.content import Report
    from hpcdl.report.pictures import Picture

TEMPLATES = importlib.resources.files("hpcdl.report") / "templates"


@dataclass(frozen=True)
class _Drawn:
    """A picture with what the page needs of it."""

    place: int
    picture: Picture
    spec: Markup
    table: ShownTable


@dataclass(frozen=True)
class _Section:
    table: ShownTable
    drawn: tuple[_Drawn, ...]


@dataclass(frozen=True)
class _Part:
    """A part of a bar: its colour, and where it lies, in hundredths of the whole."""

    colour: str
    x: float
    width: float


def render(report: Report) -> str:
    """The report as the text of one HTML file."""
    drawn = {id(picture): _prepare(place, picture) for place, picture in enumerate(report.pictures)}
    style = _write_palette() + _fill_parts() + _read("report.css")
    style += _read("stamp.css") if report.stamp else ""
    scripts = [*([_load_runtime(), _read("pictures.js")] if drawn else []), _read("sort.js")]
    head, _, tail = report.title.partition(" · ")
    first, sections = place_pictures(report)
    loud, quiet = part_notes(report.notes)
    page = _environment().get_template("report.html.j2")
    return page.render(
        report=report,
        version=__version__,
        lying=is_wide(report),
        head=head,
        tail=tail,
        headline=[(fact, *split_headline(fact.cell)) for fact in report.headline],
        kinds=KINDS,
        loud=loud,
        quiet=quiet,
        quiet_count=count_notes(quiet),
        drawn=bool(drawn),
        first=[drawn[id(picture)] for picture in first],
        sections=[
            _Section(show_table(table), tuple(drawn[id(picture)] for picture in pictures))
            for table, pictures in sections
        ],
        checks=[show_table(table) for table in report.sections if table.key in CHECKS],
        more=point_further(report),
        settings=_write_json(_settings()) if drawn else "",
        # Both are files of ours, written for the places where they stand.
        style=Markup(style),  # noqa: S704
        scripts=[Markup(script) for script in scripts],  # noqa: S704
        policy=_write_policy(style, scripts),
    )


def _prepare(place: int, picture: Picture) -> _Drawn:
    spec = specify(picture, name_colours())
    return _Drawn(place, picture, _write_json(spec), show_table(tabulate(picture)))


def _settings() -> dict[str, Any]:
    config = configure(
        name_colours(), font="system-ui, Liberation Sans, Roboto, Helvetica, Arial, sans-serif"
    )
    return {"config": config}


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"stack": _stack, "trace": _trace, "colour_parts": colour_parts}
    return environment


@cache
def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


@cache
def _load_runtime() -> str:
    """Vega, Vega-Lite and vega-embed as one script; making it takes seconds, so it is made once."""
    import vl_convert

    # Neither may end the element that the script stands in, nor begin a comment there.
    return (
        vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
        .replace("</script", "<\\/script")
        .replace("<!--", "<\\!--")
    )


def _write_palette() -> str:
    """Both schemes as CSS variables; on paper it is light."""
    light, dark = (_declare(pick_colours(dark=dark)) for dark in (False, True))
    return (
        f":root{{color-scheme:light dark;{light}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
    )


def _declare(colours: dict[str, str]) -> str:
    return "".join(f"--{name}:{colours[name]};" for name in COLOURS)


def _fill_parts() -> str:
    """A class for each colour that a part of a bar may have."""
    return "".join(f".part-{name}{{fill:var(--{name})}}\n" for name in SERIES)


def _write_json(data: dict[str, Any]) -> Markup:
    """JSON for a script element: ASCII, and without what HTML could take for its own."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)  # noqa: S704


def _write_policy(style: str, scripts: Iterable[str]) -> str:
    allowed = " ".join(_hash(script) for script in scripts)
    return f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _stack(cell: ShownCell) -> list[_Part]:
    parts, begin = [], 0.0
    colours = colour_parts([title for _, title, _, _ in cell.parts])
    for _, title, _, fraction in cell.parts:
        width = round(100 * fraction, 2)
        parts.append(_Part(colours[title], round(begin, 2), width))
        begin += width
    return parts


def _trace(values: Sequence[float]) -> str:
    """Points of a line that is 100 wide and 20 high."""
    low, high = min(values), max(values)
    height, last = (high - low) or 1.0, max(len(values) - 1, 1)
    return " ".join(
        f"{100 * place / last:.1f},{20 - 20 * (value - low) / height:.1f}"
        for place, value in enumerate(values)
    )
