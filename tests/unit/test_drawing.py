"""Pictures drawn: every form has the marks that its data has, nothing that matters is thinned away, text stays text."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from itertools import combinations
from math import nan
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcdl.errors import UnknownName
from hpcdl.report.content import Report
from hpcdl.report.drawing import FORMS, draw, draw_all, specify
from hpcdl.report.drawing.axes import choose_ticks, write_value
from hpcdl.report.drawing.looks import COLOURS, LOOKS, SERIES, name_colours, name_series, pick_colours
from hpcdl.report.drawing.tables import tabulate
from hpcdl.report.drawing.thinning import MOST_COLUMNS, MOST_ROWS, condense, thin_dots
from hpcdl.report.numbers import format_cell
from hpcdl.report.pictures import (
    Axis,
    Bars,
    Dot,
    HeatMap,
    Lines,
    Picture,
    Scatter,
    Series,
    Stack,
    Swing,
    Tornado,
    Waterfall,
)
from tests.unit import pictures_maker

PICTURES = {picture.key: picture for picture in pictures_maker.make_all()}
# Marks of each kind that the data of the pictures have, counted by hand from what pictures_maker says.
MARKS = {
    # Six courses; dots of those that no model worked out: 5 + 4 + 5 + 5; an interval at each of Horovod's 5.
    "speed-up": {"line": 6, "symbol": 19, "rule": 5},
    # The CPU's course has a gap, so its band has two parts in one path; one window.
    "power": {"line": 2, "area": 1, "rect": 1},
    "tradeoff": {"symbol": 4, "rule": 2},
    "ranks": {"rect": 64 * 40},
    "pairs": {"rect": 20, "text": 20},
    "shares": {"rect": 8},
    "sides": {"rect": 6 + 2 * 3, "rule": 3, "text": 6},
    "cost": {"rect": 5, "rule": 4, "text": 5},
    "sensitivity": {"rect": 6, "rule": 1},
}
HOSTILE = (
    "</script><script>alert(1)</script> ${x} \"'`]]>&lt;<b>\u2028\u2029 {{ 7 * 7 }} datum.x #strong[x] $a$"
)
SVG = "{http://www.w3.org/2000/svg}"
MARK_TAGS = {f"{SVG}path", f"{SVG}line", f"{SVG}text"}


def make_picture(form, **words):
    return Picture(**{"key": "k", "title": "t", "subtitle": "s", "alt": "a"} | words, form=form)


def read_svg(picture, *, dark=False):
    return ET.fromstring(draw(picture, "svg", dark=dark))  # noqa: S314 - our own


def count_marks(root):
    """Marks of the data by kind: no axes, no legends, no titles."""
    counts = Counter()
    for group in root.iter(f"{SVG}g"):
        match = re.match(r"mark-(\w+) role-mark", group.get("class", ""))
        if match:
            counts[match[1]] += sum(1 for _ in group.iter() if _.tag in MARK_TAGS)
    return counts


def read_texts(root):
    return ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("key", PICTURES)
def test_every_form_is_drawn_with_the_marks_that_its_data_have(key):
    counts = count_marks(read_svg(PICTURES[key]))
    assert {kind: counts[kind] for kind in MARKS[key]} == MARKS[key]


def test_every_form_has_a_picture_here():
    assert {type(picture.form) for picture in PICTURES.values()} == set(FORMS)


@pytest.mark.parametrize("key", PICTURES)
def test_specifications_follow_the_schema(key):
    import altair as alt

    spec = specify(PICTURES[key], pick_colours())
    # Some rows stand for all.
    spec["data"]["values"] = spec["data"]["values"][:3]
    alt.Chart.from_dict(spec, validate=True)


@pytest.mark.parametrize("key", PICTURES)
def test_title_and_subtitle_stand_in_the_picture(key):
    text = " ".join(read_texts(read_svg(PICTURES[key])))
    for words in (PICTURES[key].title, PICTURES[key].subtitle):
        assert words in text


def test_kinds_of_files():
    picture = PICTURES["shares"]
    png = draw(picture, "png")
    assert png.startswith(b"\x89PNG")
    # The width stands in the header: twice that of the picture.
    assert int.from_bytes(png[16:20], "big") == 2 * 760
    assert draw(picture, "pdf").startswith(b"%PDF")
    assert draw(picture, "svg") != draw(picture, "svg", dark=True)
    with pytest.raises(UnknownName, match="Did you mean 'png'"):
        draw(picture, "pngs")
    report = Report("runs", "t", pictures=(picture, PICTURES["cost"]))
    files = draw_all(report, "svg")
    assert list(files) == ["shares.svg", "cost.svg"]
    assert all(content.startswith(b"<svg") for content in files.values())


def test_the_same_picture_is_the_same_file():
    assert draw(PICTURES["speed-up"], "svg") == draw(PICTURES["speed-up"], "svg")


@pytest.mark.parametrize(
    ("unit", "values", "wanted"),
    [
        ("fraction", (0.0, 1.0), {"0 %", "20 %", "100 %"}),
        ("s", (0.0, 0.2), {"0", "100 ms", "200 ms"}),
        ("s", (0.0, 3.0), {"0", "1 s", "2 s"}),
        ("bytes", (0.0, 4e9), {"1 GB", "2 GB"}),
        ("bytes/s", (0.0, 4e6), {"2 MB/s"}),
        ("W", (0.0, 4000.0), {"2,000 W"}),
        ("W", (0.0, 40000.0), {"20 kW"}),
        ("images/s", (0.0, 50000.0), {"20,000"}),
        ("times", (0.0, 4.0), {"2 x"}),
    ],
)
def test_numbers_of_axes_are_in_hpcdls_units(unit, values, wanted):
    form = Lines(
        Axis("x"), Axis("y", unit), (Series("a", "measured", tuple(Dot(i, v) for i, v in enumerate(values))),)
    )
    assert wanted <= set(read_texts(read_svg(make_picture(form))))


def test_units_that_numbers_do_not_say_stand_in_the_title():
    form = Bars(Axis("cost", "money", currency="EUR"), (("a", "measured", Dot(0, 12.5)),))
    texts = read_texts(read_svg(make_picture(form)))
    assert {"cost (EUR)", "12.50 EUR"} <= set(texts)
    assert write_value(1234.5, Axis("throughput", "images/s")) == "1,234 images/s"


def test_ticks_of_logarithmic_axes():
    assert choose_ticks([1, 3, 16], "number") == [1, 2, 4, 8, 16]
    assert choose_ticks([1e3, 1e9], "bytes") == [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9]
    assert choose_ticks([0.03, 0.6], "s") == pytest.approx([0.05, 0.1, 0.2, 0.5])


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("form", [
    Lines(Axis("x", log=True), Axis("y", log=True), (Series("a", "measured", (Dot(0, 0), Dot(1, -1), Dot(2, nan))),)),
    Lines(Axis("x"), Axis("y"), ()),
    Scatter(Axis("x"), Axis("y"), ()),
    HeatMap(Axis("x"), Axis("y"), Axis("v"), (), (), ()),
    HeatMap(Axis("x"), Axis("y"), Axis("v"), ("a",), ("b",), ((None,),)),
    Stack(Axis("v"), ()),
    Stack(Axis("v"), (("a", ()),)),
    Bars(Axis("v"), ()),
    Bars(Axis("v"), (("a", "measured", Dot(0, nan)), ("b", "measured", Dot(0, -5.0, -6.0, -4.0)))),
    Bars(Axis("v", log=True), (("a", "measured", Dot(0, 10.0)), ("b", "measured", Dot(0, 0.0)))),
    Waterfall(Axis("v"), ()),
    Tornado(Axis("v"), 0.0, ()),
    Tornado(Axis("v"), 5.0, (Swing("a", 5.0, 5.0, "x", "y"),)),
])  # fmt: skip
def test_what_is_empty_or_cannot_be_drawn_breaks_nothing(form, dark):
    picture = make_picture(form)
    assert read_svg(picture, dark=dark).tag == f"{SVG}svg"
    json.dumps(specify(picture, name_colours()), allow_nan=False)
    tabulate(picture)


def test_no_line_bridges_a_gap():
    dots = tuple(Dot(x, nan if x == 3 else 1.0) for x in range(6))
    root = read_svg(make_picture(Lines(Axis("x"), Axis("y"), (Series("a", "measured", dots),))))
    [line] = [g for g in root.iter(f"{SVG}g") if g.get("class", "").startswith("mark-line role-mark")]
    [path] = line.iter(f"{SVG}path")
    assert path.get("d").count("M") == 2


# Roles


def test_roles_are_told_apart_without_colour():
    looks = [(look.dash, look.hollow, look.inside) for look in LOOKS.values()]
    assert len(set(looks)) == len(looks)


def test_roles_are_said_in_names():
    assert name_series("DGX-1", "published") == "DGX-1 (published)"
    assert name_series("ideal", "ideal") == "ideal"
    assert name_series("Horovod", "measured") == "Horovod"
    assert "DGX-1 (published)" in read_texts(read_svg(PICTURES["speed-up"]))


# Colours


def to_linear(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def luminance(colour):
    return sum(
        weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), to_linear(colour), strict=True)
    )


def contrast(one, other):
    """WCAG 2.2's contrast ratio."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_contrast(dark):
    colours = pick_colours(dark=dark)
    for name in ("ink", "muted", "warning", *SERIES):
        for ground in ("paper", "panel"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)


# Viénot, Brettel & Mollon 1999, on linear RGB: what a colour becomes for those without L or M cones.
BLINDNESS = {
    "protan": ((0.11238, 0.88762, 0.0), (0.11238, 0.88762, 0.0), (0.00401, -0.00401, 1.0)),
    "deutan": ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0)),
}


def to_lab(linear):
    rows = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    white = (0.9505, 1.0, 1.089)
    x, y, z = (
        sum(weight * max(part, 0) for weight, part in zip(row, linear, strict=True)) / ground
        for row, ground in zip(rows, white, strict=True)
    )
    fx, fy, fz = (part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116 for part in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("kind", BLINDNESS)
def test_series_are_apart_for_the_colour_blind(kind, dark):
    """By colour alone; marks and dashes tell them apart as well. 2.3 is just noticeable."""
    labs = []
    for name in SERIES:
        linear = to_linear(COLOURS[name][dark])
        seen = [sum(a * b for a, b in zip(row, linear, strict=True)) for row in BLINDNESS[kind]]
        labs.append(to_lab(seen))
    for one, other in combinations(labs, 2):
        assert sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 > 10


# Thinning

HEIGHTS = st.floats(-1e6, 1e6) | st.just(nan)


@given(st.lists(HEIGHTS, max_size=400), st.integers(4, 60))
def test_thinning_keeps_extremes_and_ends(heights, most):
    dots = tuple(Dot(float(place), height) for place, height in enumerate(heights))
    kept = thin_dots(dots, most)
    assert len(kept) <= max(most, 4)
    assert [dot.x for dot in kept] == sorted(dot.x for dot in kept)
    assert set(map(id, kept)) <= set(map(id, dots))
    known = [dot.y for dot in dots if dot.y == dot.y]
    if known:
        left = [dot.y for dot in kept if dot.y == dot.y]
        assert (min(left), max(left)) == (min(known), max(known))
    if dots:
        assert (kept[0].x, kept[-1].x) == (dots[0].x, dots[-1].x)


def test_a_spike_and_a_label_survive_thinning():
    dots = [Dot(x, 1.0) for x in range(20_000)]
    dots[12_345] = Dot(12_345, 9.0)
    dots[777] = Dot(777, 1.0, label="here")
    kept = thin_dots(dots)
    assert dots[12_345] in kept
    assert dots[777] in kept
    assert len(kept) <= 501


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.data())
def test_grouping_keeps_the_worst_of_each_cell(data):
    height, width = data.draw(st.integers(1, 14)), data.draw(st.integers(1, 14))
    value = st.none() | st.floats(-1e3, 1e3)
    rows = data.draw(
        st.lists(st.lists(value, min_size=width, max_size=width).map(tuple), min_size=height, max_size=height)
    )
    worst = data.draw(st.sampled_from(["highest", "lowest"]))
    heat = HeatMap(
        Axis("x"),
        Axis("y"),
        Axis("v"),
        tuple(map(str, range(width))),
        tuple(map(str, range(height))),
        tuple(rows),
        worst,
    )
    small = condense(heat, rows=5, columns=4)
    assert len(small.rows) == len(small.values) <= 5
    assert len(small.columns) == len(small.values[0]) <= 4
    down, across = -(-height // 5), -(-width // 4)
    for r, row in enumerate(small.values):
        for c, cell in enumerate(row):
            block = [
                v for line in rows[r * down : (r + 1) * down] for v in line[c * across : (c + 1) * across]
            ]
            known = [v for v in block if v is not None]
            assert cell == ((max if worst == "highest" else min)(known) if known else None)


def test_a_slow_rank_among_thousands_is_seen_and_found():
    heat = pictures_maker.make_ranks(steps=170).form
    small = condense(heat)
    assert len(small.rows) <= MOST_ROWS
    assert len(small.columns) <= MOST_COLUMNS
    highest = max(range(len(small.rows)), key=lambda row: sum(small.values[row]))
    assert small.rows[highest] == "4992–5055"  # noqa: RUF001 - rank 5003 is among them
    picture = pictures_maker.make_ranks(1000, 200, 999)
    assert "each cell: the highest of up to 8 x 2 values" in " ".join(read_texts(read_svg(picture)))


def test_ranges_are_named():
    names = (*tuple(f"node{place}" for place in range(4)), "login")
    heat = HeatMap(Axis("x"), Axis("y"), Axis("v"), ("a",), names, ((1.0,),) * 5)
    assert condense(heat, rows=3).rows == ("node0–1", "node2–3", "login")  # noqa: RUF001


# The numbers behind them


def test_the_table_behind_a_picture_has_its_numbers():
    table = tabulate(PICTURES["sides"])
    texts = [[format_cell(cell, with_unit=True) for cell in row] for row in table.rows]
    assert texts[0] == ["4 x H100, this machine", "45,910 images/s"]
    assert texts[1] == ["8 x P100 (DGX-1)", "17,820 images/s (published)"]
    cost = [[format_cell(cell) for cell in row] for row in tabulate(PICTURES["cost"]).rows]
    assert cost[-1] == ["total", "381.0 EUR"]
    ranks = tabulate(pictures_maker.make_ranks(300, 200, 7))
    assert [column.key for column in ranks.columns] == ["row", "lowest", "median", "highest"]
    assert len(ranks.rows) == 100


# Text stays text


def make_hostile(text):
    dot = Dot(1.0, 2.0, 1.5, 2.5, label=text)
    series = (Series(text, "measured", (dot, Dot(2.0, 3.0))), Series(text + "2", "published", (dot,)))
    axis = Axis(text)
    forms = (
        Lines(axis, axis, series),
        Scatter(axis, axis, series),
        HeatMap(axis, axis, axis, (text, "b"), (text, "d"), ((1.0, 2.0), (3.0, None))),
        Stack(axis, ((text, ((text, 1.0), ("b", 2.0))),)),
        Bars(axis, ((text, "measured", dot), (text, "estimated", dot))),
        Waterfall(axis, ((text, 1.0), (text, -0.5))),
        Tornado(axis, 1.0, (Swing(text, 0.5, 2.0, text, text),)),
    )
    return [make_picture(form, title=text, subtitle=text, alt=text, caption=text) for form in forms]


TEXTS = st.one_of(
    st.just(HOSTILE),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.lists(
        st.sampled_from(
            ["<", "]]>", "'", '"', "\\", "\n", "datum", "${", "}", "\u2028", "+1", "[", "\x00", "-->"]
        )
    ).map("".join),
)


@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(TEXTS)
def test_no_text_becomes_markup_or_an_expression(text):
    for picture in make_hostile(text):
        root = read_svg(picture)
        assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
            "svg", "g", "path", "text", "rect", "defs", "clipPath", "linearGradient", "stop", "line", "title", "tspan",
        }  # fmt: skip


def test_hostile_words_are_drawn_as_they_are():
    picture = make_picture(
        Stack(Axis("v"), (("a", (("b", 1.0),)),)), title="<b>bold</b> & ${1+1}", subtitle="]]>"
    )
    texts = read_texts(read_svg(picture))
    assert "<b>bold</b> & ${1+1}" in texts
    assert "]]>" in texts


def test_colours_are_not_written_where_the_page_has_its_own():
    text = json.dumps(specify(PICTURES["speed-up"], name_colours()))
    assert "var(--series-1)" in text
    assert not [pair for pair in COLOURS.values() if pair[0] in text]


def test_two_bars_of_one_label_stay_two():
    form = PICTURES["sides"].form
    twice = replace(form, bars=(form.bars[0], form.bars[0]))
    assert count_marks(read_svg(make_picture(twice)))["text"] == 2
