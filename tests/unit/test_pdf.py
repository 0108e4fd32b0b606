"""PDF: read back, page by page."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from pypdf import PdfReader

from hpcdl.report import as_pdf, formats
from hpcdl.report.content import Column, Report, Table
from hpcdl.report.footnotes import write_rows
from tests.unit import pictures_maker
from tests.unit.test_html import HOSTILES, make_hostile_report, make_table
from tests.unit.test_report import RUNS, build, short_run


def read_pages(report):
    reader = PdfReader(io.BytesIO(as_pdf.render(report)))
    return [squeeze(page.extract_text()) for page in reader.pages]


def squeeze(text):
    """Without blanks: where a PDF has them is the reader's guess."""
    return re.sub(r"\s", "", text)


@pytest.mark.parametrize("name", RUNS)
def test_every_number_is_there(name, tmp_path):
    report = build(RUNS[name], tmp_path)
    text = "".join(read_pages(report))
    for table in report.shown:
        if table.upright:
            continue
        for row in write_rows(table)[0]:
            for cell in row:
                number = cell.split(" (")[0]
                if re.search(r"\d", number):
                    assert squeeze(number) in text, number
    for note in report.notes:
        assert squeeze(note.text)[:30] in text


def test_every_page_says_what_it_is(tmp_path):
    report = build(RUNS["killed"], tmp_path)
    long = Table("t", "Long", (Column("a", "number"),), tuple((place,) for place in range(300)))
    pages = read_pages(replace(report, sections=(*report.sections, long)))
    assert len(pages) > 3
    for place, page in enumerate(pages, 1):
        assert "FAILED" in page
        assert "REHEARSAL" in page
        assert f"{place}/{len(pages)}" in page
    # The header row is repeated where a table goes on.
    assert all("number" in page for page in pages[1:-1])


def test_withheld_numbers_have_their_reasons(tmp_path):
    text = "".join(read_pages(build(short_run, tmp_path, force=True)))
    assert "1,000" in text
    assert squeeze("20 steps are too few for an interval: 30 are needed") in text
    text = "".join(read_pages(build(RUNS["rehearsal"], tmp_path / "other")))
    assert squeeze("not published: 4 hosts share one boot id") in text


def test_pictures_keep_their_letters(tmp_path):
    report = replace(build(RUNS["scaling"], tmp_path), pictures=pictures_maker.make_all())
    text = "".join(read_pages(report))
    for picture in report.pictures:
        assert squeeze(picture.title) in text


def test_rows_beyond_the_limit_are_told():
    [text] = read_pages(Report("runs", "t", (), (make_table(*((n, n) for n in range(20)), limit=3),)))
    assert squeeze("… and 17 more (--format json shows all)") in text


def test_wide_tables_lie():
    def orient(columns):
        report = Report("runs", "t", (), (make_table(tuple(range(columns)), tuple(range(columns))),))
        box = PdfReader(io.BytesIO(as_pdf.render(report))).pages[0].mediabox
        return "portrait" if box.width < box.height else "landscape"

    assert (orient(5), orient(16)) == ("portrait", "landscape")


@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(HOSTILES)
def test_no_word_is_typst(text):
    report = replace(make_hostile_report(text), pictures=())
    assert as_pdf.render(report).startswith(b"%PDF")


@pytest.mark.parametrize(
    "text", ["#strong[x]", "$ a^2 $", "= heading", '#panic("no")', "@label <label>", "*b* _i_ `r`", "//c"]
)
def test_words_of_typst_are_words(text):
    [page] = read_pages(
        Report(
            "runs",
            text,
            (),
            (
                make_table(
                    (text, text),
                ),
            ),
        )
    )
    assert squeeze(text) in page


def test_pdf_is_a_format():
    assert formats.render(Report("runs", "t"), "pdf").startswith(b"%PDF")


def test_the_same_report_is_the_same_file(tmp_path):
    report = build(RUNS["digits"], tmp_path)
    assert as_pdf.render(report) == as_pdf.render(report)
