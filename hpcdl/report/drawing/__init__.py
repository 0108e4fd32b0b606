"""Pictures drawn: data and words -> Vega-Lite, and from that SVG, PNG and PDF, without a browser or a network."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, Literal, get_args

from hpcdl.errors import UnknownName
from hpcdl.report.drawing.bars import specify_bars, specify_stack
from hpcdl.report.drawing.courses import specify_lines, specify_scatter
from hpcdl.report.drawing.falls import specify_tornado, specify_waterfall
from hpcdl.report.drawing.looks import configure, pick_colours
from hpcdl.report.drawing.maps import specify_map, tell_groups
from hpcdl.report.drawing.words import clean_picture
from hpcdl.report.pictures import Bars, HeatMap, Lines, Scatter, Stack, Tornado, Waterfall

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hpcdl.report.content import Report
    from hpcdl.report.pictures import Picture

Kind = Literal["svg", "png", "pdf"]
WIDTH = 760
# Pixels of an average letter of title and subtitle, as configure() sizes them: they do not wrap by themselves.
TITLE_LETTER, SUBTITLE_LETTER = 7.7, 5.9
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
VERSION = "6.4"
SHARPNESS = 2.0
# Any: each function takes the form that stands beside it.
FORMS: dict[type, Callable[[Any, Mapping[str, str]], dict[str, Any]]] = {
    Lines: specify_lines,
    Scatter: specify_scatter,
    HeatMap: specify_map,
    Stack: specify_stack,
    Bars: specify_bars,
    Waterfall: specify_waterfall,
    Tornado: specify_tornado,
}


def specify(picture: Picture, colours: Mapping[str, str], *, width: int = WIDTH) -> dict[str, Any]:
    """A picture as a Vega-Lite specification, without its config.

    Args:
        picture: What to draw.
        colours: By the names of looks.COLOURS; they may be CSS variables.
        width: Of the whole picture, in pixels.
    """
    picture = clean_picture(picture)
    return {
        "$schema": SCHEMA,
        "width": width,
        # Of the whole, and not Vega's own `width` of the plot: that is known only after what depends on it is laid out.
        "params": [{"name": "room", "value": width}],
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": 8,
        "title": _write_title(picture, width),
        **FORMS[type(picture.form)](picture.form, colours),
    }


def _write_title(picture: Picture, width: int) -> dict[str, Any]:
    groups = tell_groups(picture.form) if isinstance(picture.form, HeatMap) else ""
    subtitle = " · ".join(part for part in (picture.subtitle, groups) if part)
    lines = {"text": textwrap.wrap(picture.title, int(width / TITLE_LETTER)) or [""]}
    return lines | {"subtitle": textwrap.wrap(subtitle, int(width / SUBTITLE_LETTER))} if subtitle else lines


def draw(picture: Picture, kind: Kind, *, dark: bool = False) -> bytes:
    """A picture as the bytes of an image file; SVG is UTF-8.

    Args:
        picture: What to draw.
        kind: svg, png (two dots for each pixel of the width) or pdf (one page of the picture's size).
        dark: Light on dark.

    Raises:
        UnknownName: There is no such kind.
    """
    import vl_convert

    if kind not in get_args(Kind):
        raise UnknownName("kind of picture", kind, get_args(Kind))

    colours = pick_colours(dark=dark)
    paper = {"background": colours["paper"]}
    spec = specify(picture, colours) | {"config": configure(colours) | paper}
    # No address is allowed: a picture holds its data.
    fixed: dict[str, Any] = {"vl_version": VERSION, "allowed_base_urls": []}
    if kind == "png":
        return vl_convert.vegalite_to_png(spec, scale=SHARPNESS, **fixed)
    if kind == "pdf":
        return vl_convert.vegalite_to_pdf(spec, **fixed)
    return vl_convert.vegalite_to_svg(spec, **fixed).encode()


def draw_all(report: Report, kind: Kind, *, dark: bool = False) -> dict[str, bytes]:
    """Each picture of a report by the name of its file: KEY.png or KEY.svg.

    Raises:
        UnknownName: There is no such kind.
    """
    return {f"{picture.key}.{kind}": draw(picture, kind, dark=dark) for picture in report.pictures}
