"""What records say commands no terminal: control characters are replaced in every format, and escaped in JSON."""

from __future__ import annotations

import io
import json
import re
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hpcdl import report
from hpcdl.analysis.job import analyse_run
from hpcdl.cli import say
from hpcdl.errors import Mistake
from hpcdl.records import Missing
from hpcdl.report import as_csv, as_json, as_markdown, as_terminal, formats
from hpcdl.report.content import Column, Fact, Note, Quantity, Report, Shares, Source, Table
from hpcdl.report.controls import clean, replace_controls
from hpcdl.report.pictures import Axis, Dot, Lines, Picture, Series
from tests.unit.records_maker import Recording, record, write_run

EVIL = "no\x1b[31mde\x1b]0;t\x07\x9b2J\x7f\x85\r\nx\ty\u2028z\u202ew\x00"
NAME = EVIL.replace("\x00", "")
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def hostile():
    """A report every word of which is hostile."""
    missing, number = Quantity(Missing(missing=EVIL), "W"), Quantity(1.0, "W", mark=EVIL, struck=EVIL)
    columns = (Column("a", EVIL, left=True), Column("b", EVIL), Column("c", EVIL), Column("d", EVIL))
    shares = Shares(((EVIL, EVIL, Quantity(1.0, "fraction")),))
    table = Table(
        "t",
        EVIL,
        columns,
        ((EVIL, missing, number, shares), ("x", missing, None, 3)),
        facts=(Fact("f", EVIL, EVIL), Fact("g", EVIL, missing)),
        captions=(EVIL,),
    )
    lone = Table("l", EVIL, tuple(Column(f"k{i}", EVIL) for i in range(7)), ((EVIL,) * 7,))
    axis = Axis(EVIL, "W")
    dots = (Dot(0.0, 1.0, label=EVIL), Dot(1.0, 2.0))
    form = Lines(axis, axis, (Series(EVIL, "measured", dots),))
    return Report(
        "runs",
        EVIL,
        badges=("published",),
        sections=(table, lone, replace(table, many=True)),
        notes=(Note("failure", EVIL), Note("info", EVIL)),
        more=(f"records: {EVIL}",),
        pictures=(Picture("p", EVIL, EVIL, EVIL, form, caption=EVIL, beside="t"),),
        sources=(Source("s", EVIL, f"one\n\ttwo {EVIL}"),),
    )


def hostile_records(store):
    """A report of records whose hosts, networks and tags are hostile."""
    run = write_run(store, nodes=(1, 2))
    for index in (1, 2):
        record(run, index, Recording(host={"host": NAME}, cpu=NAME, versions={"torch": NAME}))
    for path in [run.job_path, *run.path.glob("*/*.json")]:
        path.write_text(re.sub('"juno"', lambda _: json.dumps(NAME), path.read_text()))
    return report.build([analyse_run(run)], pictured=True)


@pytest.mark.parametrize("form", ["terminal", "markdown", "csv", "html"])
@pytest.mark.parametrize("make", [lambda _: hostile(), hostile_records], ids=["words", "records"])
def test_no_word_is_a_command(make, form, tmp_path):
    text = formats.render_text(make(tmp_path), form)
    # CSV ends its lines with both.
    assert not COMMANDS.search(text.replace("\r\n", "\n"))
    # The first table of CSV has no words of the records.
    assert form == "csv" or "�[31mde" in " ".join(text.split()).replace("\\", "")


def test_nor_on_a_console(tmp_path):
    file = io.StringIO()
    console = Console(file=file, width=100, force_terminal=True, color_system=None)
    for content in (hostile(), hostile_records(tmp_path)):
        as_terminal.render(content, console)
    assert not COMMANDS.search(file.getvalue())


def test_every_table_of_csv_by_itself():
    content = hostile()
    for text in (*formats.lay_out(content, "csv").values(), as_csv.write_table(content.sections[0])):
        assert not COMMANDS.search(text.replace("\r\n", "\n"))


def test_a_word_that_breaks_lines_begins_no_line_of_markdown():
    text = as_markdown.render(clean(replace(hostile(), title="a\n## b")))
    assert text.startswith("# a")
    assert "\n## b" not in text


def test_json_keeps_what_there_is_as_escapes():
    text = as_json.render(hostile())
    assert not COMMANDS.search(text)
    assert json.loads(text)["notes"][0]["text"] == EVIL
    assert json.loads(as_json.render(replace(hostile(), title="\ud800")))["title"] == "\ud800"


def test_pictures_as_svg_and_pages_as_pdf():
    [svg] = formats.lay_out(hostile(), "svg").values()
    assert not COMMANDS.search(svg if isinstance(svg, str) else svg.decode())
    pages = formats.render(hostile(), "pdf")
    assert isinstance(pages, bytes)
    # What the pages say may be packed; none of it holds the sequence.
    packed = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pages, re.DOTALL)
    opened = [zlib.decompressobj().decompress(part) for part in packed if part[:1] == b"\x78"]
    assert not any(b"\x1b[31m" in part for part in (pages, *opened))


def test_an_error_that_names_it(capsys):
    say(Mistake(f"there is no host {EVIL}.", do=EVIL))
    assert not COMMANDS.search(capsys.readouterr().err)


def test_sources_keep_their_lines():
    [source] = clean(hostile()).sources
    assert source.text.startswith("one\n\ttwo no�[31m")


def test_what_is_clean_is_left_as_it_is(tmp_path):
    run = write_run(tmp_path)
    record(run, 1)
    content = report.build([analyse_run(run)], pictured=True)
    assert clean(content) is content


@given(text=st.text())
def test_replaced_once_is_replaced(text):
    done = replace_controls(text)
    assert not COMMANDS.search(done)
    assert "\n" not in done
    assert "\t" not in done
    assert replace_controls(done) == done
    done.encode()
    assert replace_controls("é ± · µ 你") == "é ± · µ 你"


@given(text=st.text())
def test_lines_stay_lines(text):
    done = replace_controls(text, lines=True)
    assert not COMMANDS.search(done)
    assert replace_controls(done, lines=True) == done
