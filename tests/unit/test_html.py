"""HTML: the same numbers as everywhere, nothing hidden that was withheld, no word that becomes markup."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcdl.records import Missing
from hpcdl.report import as_html, formats
from hpcdl.report.content import Column, Curve, Fact, Note, Quantity, Report, Shares, Source, Span, Table
from hpcdl.report.folding import fold
from hpcdl.report.footnotes import write_list, write_rows
from tests.unit import pictures_maker
from tests.unit.test_drawing import HOSTILE, make_hostile
from tests.unit.test_report import RUNS, build, short_run

VOID = {"meta", "link", "br", "hr", "img", "input", "rect", "polyline"}


class Element:
    def __init__(self, tag, attributes):
        self.tag, self.attributes, self.children = tag, dict(attributes), []

    def find(self, tag=None, **wanted):
        """All elements below, in the order of the page."""
        for child in self.children:
            if isinstance(child, Element):
                has = all(
                    value in child.attributes.get(name.rstrip("_"), "").split()
                    for name, value in wanted.items()
                )
                if (tag is None or child.tag == tag) and has:
                    yield child
                yield from child.find(tag, **wanted)

    @property
    def text(self):
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    @property
    def words(self):
        return " ".join(self.text.split())


class Tree(HTMLParser):
    """Reads a page as it is, and finds it wrong where elements do not end as they began."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.root = Element("root", ())
        self.open = [self.root]
        self.feed(text)
        self.close()
        assert [element.tag for element in self.open] == ["root"]

    def handle_starttag(self, tag, attrs):
        element = Element(tag, attrs)
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.open[-1].children.append(Element(tag, attrs))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop().tag == tag

    def handle_data(self, data):
        self.open[-1].children.append(data)


def read(report):
    return Tree(as_html.render(report)).root


def read_cell(td):
    """A cell as Markdown has it: without what stands below the number, with its letter in brackets."""
    if list(td.find("svg")):
        return "(picture)"
    text = "".join(
        child if isinstance(child, str) else child.text
        for child in td.children
        if isinstance(child, str) or child.tag == "s"
    ).strip()
    if list(td.find("s")):
        text = f"~~{text}~~"
    return " ".join([text, *(f"({letter.text})" for letter in td.find("a", class_="letter"))])


def sections(root):
    return {section.attributes.get("aria-labelledby"): section for section in root.find("section")}


@pytest.mark.parametrize("name", [*RUNS, "short"])
def test_the_same_numbers_as_in_markdown(name, tmp_path):
    """Every cell of every table, and every line of every list."""
    make = {**RUNS, "short": short_run}[name]
    report = build(make, tmp_path, force=name == "short")
    found = sections(read(report))
    for place, table in enumerate(map(fold, report.shown), 1):
        section = found[f"section-{place}"]
        if table.upright:
            pairs = {
                dt.words: dd.words for dt, dd in zip(section.find("dt"), section.find("dd"), strict=True)
            }
            for title, text in write_list(table):
                if not re.search("[▁█]", text):
                    plain = text.replace("~~", "")
                    assert (
                        pairs[title].replace(" withheld: ", " (withheld: ") == plain or plain in pairs[title]
                    )
            continue
        wanted, _ = write_rows(table)
        grid = next(section.find("table"))
        rows = [[read_cell(td) for td in tr.find("td")] for tr in next(grid.find("tbody")).find("tr")]
        for row, texts in zip(rows, wanted, strict=True):
            assert [cell for cell in row if cell != "(picture)"] == [
                text.strip() for cell, text in zip(row, texts, strict=True) if cell != "(picture)"
            ]


def test_structure(tmp_path):
    report = replace(build(RUNS["scaling"], tmp_path), pictures=pictures_maker.make_all())
    root = read(report)
    [page] = root.find("html")
    assert page.attributes["lang"] == "en"
    assert [len(list(root.find(tag))) for tag in ("header", "main", "footer", "h1")] == [1, 1, 1, 1]
    levels = [int(element.tag[1]) for element in root.find() if re.fullmatch(r"h[1-6]", element.tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = [element.attributes["id"] for element in root.find() if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    for link in root.find("a"):
        assert link.attributes["href"].removeprefix("#") in ids
    assert len(list(root.find("table"))) == len(list(root.find("caption")))
    for region in root.find("div", role="region"):
        assert region.attributes["tabindex"] == "0"
        assert region.attributes["aria-label"]


def test_each_picture_says_in_words_and_numbers_what_it_shows(tmp_path):
    report = replace(build(RUNS["scaling"], tmp_path), pictures=pictures_maker.make_all())
    root = read(report)
    figures = list(root.find("figure"))
    assert [figure.attributes["id"] for figure in figures[:2]] == ["picture-speed-up", "picture-power"]
    assert len(figures) == len(report.pictures)
    for figure in figures:
        [chart] = figure.find("div", role="img")
        assert chart.attributes["aria-label"].count(".") >= 1
        assert next(figure.find("figcaption")).words
        [data] = figure.find("details")
        assert next(data.find("tbody")).children
    [noscript] = root.find("noscript")
    assert "JavaScript" in noscript.text
    # Where it belongs: beside the table that it names.
    [beside] = [figure for figure in figures if figure.attributes["id"] == "picture-shares"]
    launches = sections(root)["section-1"]
    assert beside in list(launches.find("figure"))


def test_the_runtime_is_there_once_and_only_where_there_are_pictures(tmp_path):
    plain = build(RUNS["energy"], tmp_path)
    assert len(as_html.render(plain)) < 200_000
    with_pictures = as_html.render(replace(plain, pictures=pictures_maker.make_all()))
    assert with_pictures.count("window.vegaEmbed=") == 1
    assert len(with_pictures) < 2_500_000


def test_nothing_is_loaded_and_only_its_own_scripts_run(tmp_path):
    text = as_html.render(replace(build(RUNS["scaling"], tmp_path), pictures=pictures_maker.make_all()))
    root = Tree(text).root
    [policy] = [meta.attributes["content"] for meta in root.find("meta") if "http-equiv" in meta.attributes]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    scripts = [script for script in root.find("script") if "type" not in script.attributes]
    assert len(scripts) == 3
    for element in (*scripts, *root.find("style")):
        digest = b64encode(hashlib.sha256(element.text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    names = {name for element in root.find() for name in element.attributes}
    assert not names & {"src", "srcset", "style", "action"}
    assert not [name for name in names if name.startswith("on")]
    assert all(link.attributes["href"].startswith("#") for link in root.find("a"))


@pytest.mark.parametrize("make", ["rehearsal", "killed", "digits"])
def test_badges_and_notes_by_weight(make, tmp_path):
    report = build(RUNS[make], tmp_path)
    root = read(report)
    assert [badge.words for badge in root.find("li", class_="badge")] == list(report.badges)
    assert "REHEARSAL" in next(root.find("title")).text
    kinds = [li.attributes["class"] for notes in root.find("ul", class_="notes") for li in notes.find("li")]
    weights = ["failure", "rehearsal", "warning", "info"]
    assert kinds == sorted(kinds, key=weights.index)


def make_table(*rows, **more):
    columns = tuple(Column(f"c{place}", f"column {place}") for place in range(len(rows[0])))
    return Table("t", "A table", columns, rows, **more)


def test_what_is_withheld_missing_or_marked_says_so():
    reason = "a < b & c"
    table = make_table(
        (1, Quantity(Missing(missing=reason), "W"), Quantity(5.0, "W", struck="too short")),
        (2, Quantity(7.0, "W", "estimated", low=6.0, high=8.0), Span(Quantity(1.0, "s"), Quantity(2.0, "s"))),
    )
    root = read(Report("runs", "t", ("withheld",), (table,)))
    cells = [td for body in root.find("tbody") for td in body.find("td")]
    assert [cell.attributes.get("data-value") for cell in cells] == ["1", None, "5.0", "2", "7.0", "1.0"]
    assert cells[1].words == "—a"
    assert "missing" in cells[1].attributes["class"]
    assert [struck.text for struck in cells[2].find("s")] == ["5.000 W"]
    assert "estimated" in cells[4].text
    assert cells[4].attributes["title"] == "95 % interval: 6.000 W to 8.000 W"
    assert "6.000 W to 8.000 W" in cells[4].text
    reasons = [li.words for ol in root.find("ol", class_="reasons") for li in ol.find("li")]
    assert reasons[0] == "a not published: a < b & c"
    assert reasons[1].startswith("b withheld, and shown because it was asked for: too short")
    assert reasons[2].startswith("c estimated: from a specification")


def test_bars_and_curves_have_words():
    shares = Shares(
        (
            ("input", "input wait", Quantity(0.25, "fraction")),
            ("compute", "compute", Quantity(0.75, "fraction")),
        )
    )
    root = read(
        Report("runs", "t", (), (make_table((shares, Curve((3.0, 1.0, 2.0), "s")), (None, Curve((), "s"))),))
    )
    bar, curve = root.find("svg", role="img")
    assert bar.attributes["aria-label"] == "input wait 25.0 % · compute 75.0 %"
    assert [rect.attributes["width"] for rect in bar.find("rect")] == ["25.0", "75.0"]
    assert curve.attributes["aria-label"] == "from 3.00 s to 2.00 s, lowest 1.00 s, highest 3.00 s"


def test_rows_beyond_the_limit_can_be_had():
    table = make_table(*((place, place * place) for place in range(20)), limit=3)
    root = read(Report("runs", "t", (), (table,)))
    first, whole = root.find("table")
    assert [len(list(next(one.find("tbody")).find("tr"))) for one in (first, whole)] == [3, 20]
    # To sort a part would mislead: the whole sorts.
    assert "sortable" not in first.attributes["class"]
    assert "sortable" in whole.attributes["class"]
    [folded] = root.find("details")
    assert whole in list(folded.find("table"))
    assert "all 20 rows" in folded.text


def test_hidden_tables_stay_hidden_but_the_checks_are_provenance(tmp_path):
    report = build(RUNS["scaling"], tmp_path)
    other = replace(make_table(("secret",)), key="other", hidden=True)
    report = replace(
        report, sections=(*report.sections, other), sources=(Source("script", "batch script", "srun a < b"),)
    )
    root = read(report)
    assert "secret" not in root.text
    folded = list(sections(root)["provenance"].find("details"))
    assert len(folded) == 2
    assert "steady state" in folded[0].text
    assert next(folded[1].find("pre")).text == "srun a < b"


def test_facts_stand_above_their_table():
    table = make_table((1, 2), facts=(Fact("f", "power", Quantity(5.0, "W")),))
    assert [dd.words for dd in read(Report("runs", "t", (), (table,))).find("dd")] == ["5.000 W"]


def make_hostile_report(text):
    cell = Quantity(1.0, "W", text, struck="")
    rows = (
        (text, cell, Quantity(Missing(missing=text), "W")),
        (text, Quantity(2.0, "W", struck=text), Span(cell, cell)),
    )
    columns = (Column("a", text, left=True), Column("b", text), Column("c", text))
    table = Table("t", text, columns, rows, (Fact("f", text, text),), (text,))
    upright = make_table((text, *range(6)))
    pictures = tuple(replace(picture, key=f"k{place}") for place, picture in enumerate(make_hostile(text)))
    return Report(
        "runs",
        text,
        ("published",),
        (table, upright),
        (Note("failure", text), Note("info", text)),
        (f"what: {text}", text),
        pictures,
        (Source("s", text, text),),
    )


def shape(root):
    """The page without its words: what elements stand where."""
    return [(element.tag, sorted(element.attributes)) for element in root.find()]


SIGNS = [
    "<!--",
    "-->",
    "</style>",
    "</script",
    "<script>",
    '"',
    "'",
    "&lt;",
    "{{",
    "}}",
    "{%",
    "=",
    "`",
    "\u2028",
]
HOSTILES = st.one_of(
    st.just(HOSTILE),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40),
    st.lists(st.sampled_from(SIGNS), min_size=1).map("".join),
)


@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(HOSTILES)
def test_no_word_becomes_markup(text):
    """A page with hostile words has the very elements of one with harmless words."""
    # As long: what is long is set differently.
    harmless = "x" * len(text)
    root = read(make_hostile_report(text))
    assert len(list(root.find("script"))) == 3 + 7 + 1
    tags = {element.tag for element in root.find()}
    assert tags == {element.tag for element in read(make_hostile_report(harmless)).find()}
    if " · " not in text and text.strip() and ": " not in text and len(text) <= 26:
        assert shape(root) == shape(read(make_hostile_report(harmless)))
    for script in root.find("script", type="application/json"):
        assert not re.search("[<>&\u2028\u2029]", script.text)
        json.loads(script.text)


def test_html_is_a_format(tmp_path):
    assert formats.render(build(RUNS["digits"], tmp_path), "html").startswith("<!doctype html>")


def test_a_run_of_8192_ranks_is_small(tmp_path):
    report = replace(build(RUNS["scaling"], tmp_path), pictures=(pictures_maker.make_ranks(),))
    assert len(as_html.render(report).encode()) < 10_000_000
