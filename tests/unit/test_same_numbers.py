"""One report, the same numbers in every format: each is read back and held against the unrounded ones of JSON."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser

import pytest

from hpcdl import report
from hpcdl.analysis.job import analyse_run
from hpcdl.report import as_csv, as_html, as_markdown, as_terminal
from hpcdl.report.as_json import as_rows
from hpcdl.report.folding import fold
from hpcdl.report.footnotes import write_rows
from tests.unit.test_report import RUNS

PREFIXES = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "m": 1e-3, "µ": 1e-6}
# What stands behind a number and is no prefix of its unit.
PLAIN = {"W", "J", "s", "h", "kWh", "kg", "x", "MHz", "°C", "%"}


def read_back(text, unit):
    """The number in a cell, in SI units; None where the cell shows none."""
    found = re.match(r"(?:[░▒▓█] )?(?:~~)?±?([+-]?[0-9][0-9.,]*)(?: (\S+))?", text.replace("\\", ""))
    if found is None:
        return None
    value, word = float(found[1].replace(",", "")), (found[2] or "").rstrip("~")
    if word == "%":
        return value / 100
    if word and word not in PLAIN and word[0] in PREFIXES and len(word) > 1:
        return value * PREFIXES[word[0]]
    return value


def agree(text, cell):
    """Whether a cell shows JSON's number: to four digits, or to a tenth of a percent."""
    told = read_back(text, cell["unit"])
    if told is None:
        # Less than a tenth of a percent, of either sign.
        return "value" not in cell or (text.startswith(("<", ">")) and abs(cell["value"]) < 0.0005)
    step = 0.00051 if cell["unit"] in {"fraction", "half-width", "change"} else 0.0051
    return told == pytest.approx(cell["value"], rel=0.006, abs=step)


class Tables(HTMLParser):
    """caption -> rows of (data-value, text), of the tables that are not a picture's data."""

    def __init__(self):
        super().__init__()
        self.tables, self._rows, self._cell = {}, None, None
        self._caption, self._inside, self._aside = None, 0, False

    def handle_starttag(self, tag, attributes):
        if tag == "figure":
            self._inside += 1
        if self._inside:
            return
        if tag == "caption":
            self._caption = ""
        elif tag == "tr" and self._rows is not None:
            self._rows.append([])
        elif tag == "td" and self._rows:
            self._cell, self._aside = [dict(attributes).get("data-value"), ""], False
        elif tag != "s":
            # Letters of footnotes and marks stand behind the number.
            self._aside = True

    def handle_endtag(self, tag):
        if tag == "figure":
            self._inside -= 1
        if self._inside:
            return
        if tag == "caption":
            self._rows = self.tables.setdefault(self._caption, [])
            self._caption = None
        elif tag == "td" and self._cell is not None:
            self._rows[-1].append(tuple(self._cell))
            self._cell = None
        elif tag == "table":
            self._rows = None

    def handle_data(self, data):
        if self._caption is not None:
            self._caption += data
        elif self._cell is not None and not self._aside:
            self._cell[1] += data


def numbers_of(content, make=fold):
    """(table, row, place among the visible columns, JSON's cell) of every number that people are shown in a table."""
    for table in map(make, content.shown):
        if table.upright:
            continue
        for index, row in enumerate(as_rows(table)):
            for place, column in enumerate(table.visible):
                cell = row[table.columns[column].key]
                if isinstance(cell, dict) and "unit" in cell and "values" not in cell:
                    yield table, index, place, cell


def build(name, store):
    return report.build([analyse_run(run) for run in RUNS[name](store)], pictured=True)


@pytest.mark.parametrize("name", RUNS)
def test_html_has_the_numbers_of_json(name, tmp_path):
    content = build(name, tmp_path)
    reader = Tables()
    reader.feed(as_html.render(content))
    counted = 0
    for table, index, place, cell in numbers_of(content):
        value, text = [row for row in reader.tables[table.title] if row][index][place]
        assert agree(text.strip(), cell), (table.key, index, place, text, cell)
        if "value" in cell:
            assert float(value) == cell["value"]
        counted += 1
    assert counted or name == "digits"


def split_row(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


@pytest.mark.parametrize("name", RUNS)
def test_markdown_has_the_numbers_of_json(name, tmp_path):
    content = build(name, tmp_path)
    sections = {}
    for section in as_markdown.render(content).split("\n## ")[1:]:
        title, _, body = section.partition("\n")
        rows = [split_row(line) for line in body.splitlines() if line.startswith("|")]
        sections[title.replace("\\", "")] = rows[2:]
    for table, index, place, cell in numbers_of(content):
        text = sections[table.title][index][place]
        assert agree(text, cell), (table.key, index, place, text, cell)


def drop_letters(text):
    """Without the letters of footnotes: on a terminal they go on from table to table."""
    return " ".join(re.sub(r" \([a-z]{1,2}\)", "", text).split())


@pytest.mark.parametrize("name", RUNS)
def test_the_terminal_has_the_texts_of_markdown(name, tmp_path):
    content = build(name, tmp_path)
    wide = drop_letters(as_terminal.write(content, width=500))
    for table, index, _, _ in numbers_of(content, make=lambda table: table):
        rows, _ = write_rows(table)
        assert drop_letters(" ".join(rows[index])) in wide


@pytest.mark.parametrize("name", RUNS)
def test_csv_has_the_numbers_of_json(name, tmp_path):
    content = build(name, tmp_path)
    for table in content.sections:
        read = csv.DictReader(io.StringIO(as_csv.write_table(table)))
        for line, row in zip(read, as_rows(table), strict=True):
            for key, cell in row.items():
                if isinstance(cell, dict) and "value" in cell:
                    assert float(line[key]) == cell["value"]
                elif isinstance(cell, dict) and "missing" in cell:
                    assert (line[key], line[f"{key}_missing"]) == ("", cell["missing"])
