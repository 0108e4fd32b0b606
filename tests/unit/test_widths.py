"""Tables on terminals of every width: nothing is cut, and what is left out is named."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcdl.records import Missing
from hpcdl.report import as_terminal
from hpcdl.report.content import Column, Quantity, Report, Table
from hpcdl.report.footnotes import Footnotes
from hpcdl.report.listing import LAUNCH_COLUMNS
from hpcdl.report.numbers import format_cell
from hpcdl.report.widths import LONGEST_WORD, fit_table
from tests.unit.test_report import RUNS, build

WIDTHS = range(30, 201)
ID = "20261122-141200-k3f9"


def write(table, width):
    return as_terminal.write(Report("list", "", sections=(table,)), width=width)


def find_left_out(text):
    """The titles of the columns that are not shown."""
    told = " ".join(text.split()).rpartition("not shown at this width: ")[2]
    return told.split(", ") if "not shown at this width: " in " ".join(text.split()) else []


def check(table, width):
    """Each number whole and in its place, each word whole, and each reason that is referred to below, in order."""
    text = write(table, width)
    assert max(map(len, text.splitlines())) <= width
    left_out = find_left_out(text)
    kept = [index for index in table.visible if table.columns[index].title not in left_out]
    assert kept
    place = 0
    for row in table.rows[: table.limit]:
        for index in kept:
            shown = format_cell(row[index], absent="—")
            if table.columns[index].left:
                assert_words(shown, text)
            elif shown:
                found = re.compile(rf"(?<!\S){re.escape(shown)}(?!\S)").search(text, place)
                assert found, f"{width}: {table.columns[index].title} is cut: {shown}\n{text}"
                place = found.end()
    check_letters(text)


def assert_words(shown, text):
    for word in shown.split():
        assert len(word) > LONGEST_WORD or word in text.split(), f"{word} is broken:\n{text}"


def check_letters(text):
    above, below = [], []
    for line in text.splitlines():
        told = re.match(r" \(([a-z]{1,2})\) (?:not published|withheld|partial|rehearsal|estimated)\b", line)
        if told:
            below.append(told[1])
        elif not below:
            above.extend(re.findall(r"(?:—|[\d%~A-Za-z]) \(([a-z]{1,2})\)(?:\s|$)", line))
    assert below == list(dict.fromkeys(above)), text
    assert below == sorted(below, key=lambda letter: (len(letter), letter))


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", RUNS)
def test_nothing_is_cut_at_any_width(name, force, tmp_path):
    content = build(RUNS[name], tmp_path, force=force)
    for table in content.shown:
        if table.upright:
            continue
        seen = None
        for width in WIDTHS:
            # Widths that lay the table out alike differ in nothing that could be cut.
            layout = fit_table(table, width)
            if layout.widths is None or (layout.kept, layout.widths) != seen:
                check(table, width)
            seen = (layout.kept, layout.widths)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", RUNS)
def test_no_line_is_longer_than_the_terminal(name, force, tmp_path):
    content = build(RUNS[name], tmp_path, force=force)
    for width in (30, 37, 44, 60, 100, 200):
        lines = as_terminal.write(content, width=width).splitlines()
        assert max(map(len, lines)) <= width


VALUES = st.builds(
    Quantity,
    st.one_of(
        st.floats(1e-6, 1e12),
        st.builds(
            lambda reason: Missing(missing=reason), st.sampled_from(["never", "lost", "nobody looked"])
        ),
    ),
    st.sampled_from(["s", "images/s", "J", "fraction", "half-width", "bytes/s"]),
    st.sampled_from(["", "partial", "estimated"]),
    struck=st.sampled_from(["", "too few", "others were busy"]),
)
WORDS = st.lists(st.text("abcdefgh-", min_size=1, max_size=22), min_size=1, max_size=9).map(" ".join)


@st.composite
def tables(draw):
    """One column that names rows, and others of numbers and of words, of any rank."""
    kinds = draw(st.lists(st.booleans(), min_size=1, max_size=9))
    columns = [Column("name", "name", left=True)]
    columns += [
        Column(f"c{place}", f"title{place} x", draw(st.integers(0, 3)), left)
        for place, left in enumerate(kinds)
    ]
    rows = draw(
        st.lists(st.tuples(WORDS, *(WORDS if left else VALUES for left in kinds)), min_size=2, max_size=12)
    )
    return Table("rows", "Rows", tuple(columns), tuple(rows))


@settings(max_examples=50, deadline=None)
@given(tables(), st.integers(40, 160))
def test_nothing_is_cut_of_any_table(table, width):
    check(table, width)


def test_what_is_missed_least_goes_first_and_what_tells_rows_apart_stays():
    columns = (
        Column("run", "run", left=True),
        Column("rate", "images/s"),
        Column("power", "W", rank=2),
        Column("interval", "interval", rank=1),
    )
    row = (ID, Quantity(1950.0, "images/s"), Quantity(640.0, "W"), Quantity(0.01, "half-width"))
    table = Table("runs", "Runs", columns, (row,) * 5)
    # 2 + 20 + 2 + 8 + 2 + 7 + 2 + 8 = 51 characters for all four.
    assert [fit_table(table, width).kept for width in (51, 50, 41, 32)] == [
        (0, 1, 2, 3),
        (0, 1, 3),
        (0, 1),
        (0, 1),
    ]
    upright = fit_table(table, 31)
    assert (upright.kept, upright.widths) == ((0, 1), None)
    assert write(table, 31).count(f" run       {ID}\n images/s  1,950\n\n") == 5
    assert write(table, 30).count(f" run\n   {ID}\n images/s\n   1,950\n\n") == 5


def test_what_has_no_title_is_never_left_out():
    columns = (*(Column(f"c{place}", f"c{place}") for place in range(8)), Column("mark", "", left=True))
    row = (*(Quantity(1234.0 + place, "images/s") for place in range(8)), "REHEARSAL")
    text = write(Table("rows", "Rows", columns, (row,) * 4), 40)
    assert text.count("REHEARSAL") == 4
    assert "not shown at this width: c4, c5, c6, c7" in " ".join(text.split())


def test_reasons_of_columns_that_are_left_out_are_not_told():
    columns = (Column("a", "a", left=True), Column("b", "b", rank=1), Column("c", "c"))
    row = ("x" * 20, Quantity(Missing(missing="one"), "s"), Quantity(Missing(missing="two"), "s"))
    table = Table("rows", "Rows", columns, (row, row))
    assert "(b) not published: two" in write(table, 80)
    narrow = write(table, 34)
    assert "(a) not published: two" in narrow
    assert "one" not in narrow


def test_a_reason_under_an_earlier_table_is_not_told_again_but_a_mark_is():
    first, second = Footnotes(), None
    absent = Quantity(Missing(missing="nobody looked"), "s")
    estimated = Quantity(1.0, "W", "estimated")
    assert first.write_row([absent, estimated]) == ["— (a)", "1.000 W (b)"]
    second = Footnotes(first.texts)
    other = Quantity(Missing(missing="lost"), "s")
    assert second.write_row([other, absent, estimated]) == ["— (c)", "— (a)", "1.000 W (b)"]
    assert [line[:26] for line in second.lines] == [
        "(a): as above",
        "(b) estimated: from a spec",
        "(c) not published: lost",
    ]


def test_ids_are_not_wrapped_and_launches_are_told_apart_at_80():
    cells = {
        "run": ID,
        "launch": "003-lenet-1n-resident",
        "state": "completed",
        "benchmark": "custom",
        "model": "lenet",
        "variant": "resident",
        "engine": "Horovod/MPI",
        "size": "4 ranks on 4 nodes",
        "images_per_s": Quantity(1786.0, "images/s"),
        "mark": "REHEARSAL",
    }
    row = tuple(cells.get(column.key) for column in LAUNCH_COLUMNS)
    text = write(Table("launches", "Launches", LAUNCH_COLUMNS, (row, row)), 80)
    assert text.count(f"  {ID}  003-lenet-1n-resident  completed     1,786  REHEARSAL\n") == 2
