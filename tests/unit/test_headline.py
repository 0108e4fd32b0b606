"""How a report begins: the result, the run and its date, and what no reader may miss; all else comes after it."""

from __future__ import annotations

import re

import pytest

from hpcdl import report
from hpcdl.analysis.job import analyse_run
from hpcdl.records import Missing
from hpcdl.report import as_html, as_json, as_markdown, as_pdf, as_terminal
from hpcdl.report.content import Column, Fact, Note, Quantity, Report, Shares, Source, Table
from hpcdl.report.drawing import specify
from hpcdl.report.drawing.looks import PHASES, SERIES, colour_parts, pick_colours
from hpcdl.report.folding import fold
from hpcdl.report.numbers import split_headline
from hpcdl.report.ordering import count_notes, part_notes
from hpcdl.report.pictures import Axis, Picture, Stack
from tests.unit.cost_runs import write_cpu, write_gpu
from tests.unit.records_maker import Recording, record, write_run
from tests.unit.test_html import read, sections
from tests.unit.test_pdf import read_pages, squeeze
from tests.unit.test_report import RUNS, build, short_run, two_runs

NOTES = (
    Note("info", "a sensor cannot be read"),
    Note("warning", "the machine was busy"),
    Note("rehearsal", "one machine in disguise"),
    Note("failure", "a rank was killed"),
)


def tell(content):
    """The headline as it is read."""
    return [
        (fact.title, " ".join(part for part in split_headline(fact.cell) if part))
        for fact in content.headline
    ]


def test_the_largest_size_that_is_published(tmp_path):
    # Two repeats of 3,700 images/s (1 + 0.003 and 1 + 0.007): their harmonic mean is 3,718; of 1,000 four at one rank.
    assert tell(build(RUNS["scaling"], tmp_path)) == [
        ("throughput", "3,718 images/s ±0.3 %"),
        ("on", "4 ranks on 4 nodes"),
        ("scaling efficiency", "92.1 % ±1.3 %"),
    ]


def test_energy_beside_it(tmp_path):
    # 2 boards of (300 + 320 + 2 x 20) W on each of two nodes, over 1,950 images/s: the table has the same number.
    content = build(RUNS["energy"], tmp_path)
    [energy] = [table for table in content.sections if table.key == "energy"]
    keys = [column.key for column in energy.columns]
    last = [
        row
        for row in energy.rows
        if row[keys.index("ranks")] == 2 and row[keys.index("boundary")] == "device"
    ]
    fact = content.headline[-1]
    assert fact.title == "J/image, device"
    assert fact.cell.value == last[0][keys.index("j_per_image")].value
    assert fact.cell.mark == last[0][keys.index("j_per_image")].mark


@pytest.mark.parametrize(("make", "reason"), [(RUNS["killed"], "7 of 40 steps"), (short_run, "too few")])
def test_a_withheld_rate_is_not_in_the_headline(make, reason, tmp_path):
    for force in (False, True):
        content = build(make, tmp_path / str(force), force=force)
        (title, text), (_, size) = tell(content)
        assert title == "throughput"
        assert text.startswith("not published: ")
        assert reason in text
        assert re.match(r"\d ranks?", size)


def test_a_larger_size_that_is_withheld_is_named(tmp_path):
    found = dict(tell(build(RUNS["rehearsal"], tmp_path)))
    assert found["on"] == "2 ranks on 2 nodes; 4 ranks on 4 nodes: not published"
    assert found["scaling efficiency"].startswith("not published: 4 hosts share one boot id")
    forced = dict(tell(build(RUNS["rehearsal"], tmp_path / "forced", force=True)))
    assert forced["scaling efficiency"].endswith("(rehearsal)")


def test_several_networks_have_a_number_each(tmp_path):
    assert [title for title, _ in tell(build(two_runs, tmp_path))] == [
        "AlexNet, 2 ranks on 2 nodes",
        "OverFeat, accurate, 1 rank",
    ]


def test_two_machines_with_one_network_are_told_apart(tmp_path):
    titles = [title for title, _ in tell(build(lambda store: [write_cpu(store), write_gpu(store)], tmp_path))]
    assert len(set(titles)) == len(titles) == 2


def test_of_many_questions_the_first_few(tmp_path):
    runs = []
    for place in range(6):
        run = write_run(tmp_path, nodes=(1,), batch=8 * (place + 1), run_id=f"20261122-14120{place}-aaaa")
        record(run, 1, Recording())
        runs.append(run)
    content = report.build([analyse_run(run) for run in runs])
    assert len(content.headline) == 4
    assert tell(content)[-1] == ("besides", "3 results more, in the tables")
    assert len(content.about) == 4
    assert content.about[-1] == "and 3 runs more"


def test_which_run_and_when(tmp_path):
    content = build(RUNS["energy"], tmp_path)
    [line] = content.about
    assert line.startswith(
        "run 20261122-141200-k3f9 · 22 Nov 2026 14:12 UTC · benchmark scaling · site juno · plan "
    )
    assert line in as_markdown.render(content)
    assert line in " ".join(read(content).text.split())
    assert as_json.as_dict(content)["about"] == [line]
    pages = read_pages(content)
    assert squeeze(line) in pages[0]
    # A page may come loose.
    assert all(squeeze("run 20261122-141200-k3f9 · 22 Nov 2026 14:12 UTC") in page for page in pages)
    assert "about" not in as_terminal.write(content)


def test_json_has_the_unrounded_headline(tmp_path):
    facts = as_json.as_dict(build(RUNS["scaling"], tmp_path))["headline"]
    assert [set(fact) for fact in facts] == [{"title", "value"}] * 3
    assert facts[0]["value"]["value"] == pytest.approx(3718.485, abs=0.001)
    killed = as_json.as_dict(build(RUNS["killed"], tmp_path / "killed"))["headline"]
    assert "value" not in killed[0]["value"]


def test_intervals_of_the_headline():
    assert split_headline(Quantity(100.0, "W", "estimated", low=80.0, high=110.0)) == (
        "100.0 W",
        "±20.0 % (estimated)",
    )
    assert split_headline(Quantity(100.0, "W", low=80.0, high=float("inf"))) == ("100.0 W", "")
    assert split_headline(Quantity(0.0, "W", low=0.0, high=1.0)) == ("0 W", "")
    assert split_headline(Quantity(Missing(missing="no meter"), "W")) == ("not published: no meter", "")
    assert split_headline("4 ranks") == ("4 ranks", "")


def make_report(**more):
    table = Table("t", "A table", (Column("a", "number"),), ((17,), (18,)))
    headline = (Fact("x", "throughput", Quantity(5.0, "images/s")),)
    return Report("runs", "t", ("FAILED", "REHEARSAL"), (table,), NOTES, headline=headline, **more)


def test_order_of_markdown_and_pdf():
    order = [
        "throughput",
        "a rank was killed",
        "one machine in disguise",
        "17",
        "the machine was busy",
        "a sensor cannot be read",
    ]
    content = make_report()
    for text in (as_markdown.render(content), "".join(read_pages(content))):
        places = [text.index(word if word in text else squeeze(word)) for word in order]
        assert places == sorted(places)


def test_order_of_html():
    root = read(make_report())
    found = sections(root)
    shown = [
        li.attributes["class"]
        for child in found["notes"].children
        if getattr(child, "tag", "") == "ul"
        for li in child.find("li")
    ]
    assert shown == ["failure", "rehearsal"]
    [folded] = found["notes"].find("details")
    assert next(folded.find("summary")).words == "1 warning, 1 note"
    assert [li.attributes["class"] for li in folded.find("li")] == ["warning", "info"]
    assert found["headline"].words == "Result throughput5.000 images/s"
    # On paper, after the results.
    [printed] = root.find("section", class_="paper")
    assert [li.attributes["class"] for li in printed.find("li")] == ["warning", "info"]


def test_notes_are_parted_by_weight():
    loud, quiet = part_notes(NOTES)
    assert [note.kind for note in (*loud, *quiet)] == ["failure", "rehearsal", "warning", "info"]
    assert count_notes(quiet) == "1 warning, 1 note"
    assert count_notes([NOTES[1]] * 2) == "2 warnings"
    assert count_notes([]) == ""


def test_paper_has_no_json_and_says_where_it_is():
    source = Source("plan", "Plan: what was asked", '{"a": "nobody reads this on paper"}')
    content = make_report(sources=(source,), about=("run r · 1 Jan 2026 00:00 UTC · plan abc",))
    checks = Table("checks", "Checks", (Column("a", "check"),), (("held well",),), hidden=True)
    content = Report(**{**vars(content), "sections": (*content.sections, checks)})
    text = "".join(read_pages(content))
    assert "nobodyreads" not in text
    assert "heldwell" not in text
    assert squeeze("The HTML form has plan, script and environment") in text
    assert "planabc" in text


def test_no_form_advertises_itself(tmp_path):
    content = build(RUNS["digits"], tmp_path)
    assert "the same with pictures" in as_markdown.render(content)
    assert "the same with pictures" not in as_html.render(content)
    assert squeeze("the same with pictures") not in "".join(read_pages(content))
    assert squeeze("records: ") in "".join(read_pages(content))


def make_table(*rows):
    return Table(
        "t",
        "T",
        (Column("host", "host", left=True), Column("basis", "basis", left=True), Column("n", "n")),
        rows,
    )


LONG = "from a specification of 1999"


def test_what_every_row_says_is_said_once():
    table = fold(make_table(("a", LONG, 1), ("b", LONG, 2)))
    assert [table.columns[index].key for index in table.visible] == ["host", "n"]
    assert table.captions == (f"basis: {LONG}",)
    content = Report("runs", "t", (), (make_table(("a", LONG, 1), ("b", LONG, 2)),))
    for text in (as_markdown.render(content), read(content).text, "".join(read_pages(content))):
        assert squeeze(text).count(squeeze(LONG)) == 1
    # Programs have their column.
    assert [row["basis"] for row in as_json.as_dict(content)["t"]] == [LONG, LONG]


@pytest.mark.parametrize(
    "rows",
    [
        [("a", LONG, 1)],
        [("a", LONG, 1), ("b", LONG + "!", 2)],
        [("a", LONG, 1), ("b", None, 2)],
        [("a", "measured", 1), ("b", "measured", 2)],
        [],
    ],
)
def test_other_columns_stay(rows):
    table = make_table(*rows)
    assert fold(table) == table


def test_a_table_is_never_folded_away():
    table = Table("t", "T", (Column("a", "a", left=True),), ((LONG,), (LONG,)))
    assert fold(table) == table


def test_a_phase_has_one_colour_in_tables_and_pictures():
    words = ["input wait", "compute", "exchange wait", "update"]
    colours = pick_colours()
    stack = Stack(Axis("share", "fraction"), (("a", tuple((word, 0.25) for word in reversed(words))),))
    scale = specify(Picture("p", "P", "", "", stack), colours)["layer"][0]["encoding"]["color"]["scale"]
    drawn = dict(zip(scale["domain"], scale["range"], strict=True))
    shares = Shares(tuple((word, word, Quantity(0.25, "fraction")) for word in words))
    table = Table("t", "T", (Column("a", "phases"),), ((shares,), (shares,)))
    root = read(Report("runs", "t", (), (table,)))
    bar = next(root.find("svg", role="img"))
    classes = [rect.attributes["class"].removeprefix("part-") for rect in bar.find("rect")]
    assert [colours[name] for name in classes] == [drawn[word] for word in words]
    swatches = [
        rect.attributes["class"].removeprefix("part-")
        for key in root.find("p", class_="key")
        for rect in key.find("rect")
    ]
    assert swatches == classes
    [cell] = as_pdf.gather(Report("runs", "t", (), (table,)))["sections"][0]["table"]["rows"][0]
    assert [part["colour"] for part in cell["parts"]] == classes


def test_parts_of_one_whole_differ():
    assert colour_parts(["x", "y"]) == {"x": SERIES[0], "y": SERIES[1]}
    mixed = colour_parts(["compute", "x", "update", "y"])
    assert mixed["compute"] == PHASES["compute"]
    assert len(set(mixed.values())) == 4
    assert PHASES["exchange wait"] == PHASES["exposed communication"]


def test_long_words_stay_on_the_page():
    word = "Processor" * 30
    table = Table("t", "T", (Column("a", "CPU", left=True), Column("n", "n")), ((word, 1), (word + "2", 2)))
    text = "".join(read_pages(Report("runs", word, ("published",), (table,), (Note("failure", word),))))
    # What runs off is not cut from the text: its lines tell that it was broken, and nothing is put into the word.
    assert text.count(word) >= 3
