"""Parts of a report, and its tables as CSV."""

from __future__ import annotations

import csv
import io
import json
import sys

import pytest

from hpcdl import report
from hpcdl.analysis.job import analyse_run
from hpcdl.errors import Mistake, UnknownName
from hpcdl.report import as_csv, as_html, as_json
from hpcdl.report.formats import LIBRARIES, render
from hpcdl.report.kinds import KINDS, read_kinds, select
from tests.unit.test_report import RUNS, digits_run, energy_run, killed_run, rehearsal_run, scaling_run


def build(make, store, **how):
    return report.build([analyse_run(run) for run in make(store)], **how)


def test_a_kind_holds_its_own_tables_and_pictures(tmp_path):
    content = select(build(energy_run, tmp_path, pictured=True), ["power"])
    assert {table.key for table in content.sections} == {"energy", "meters", "energy_scaling"}
    keys = {picture.key for picture in content.pictures}
    assert keys == {"power-2", "power-throughput-device", "power-throughput-node"}


def test_kinds_add_up_and_all_is_all(tmp_path):
    content = build(energy_run, tmp_path)
    assert select(content, read_kinds("all")) == content
    both = select(content, read_kinds("scaling, power"))
    assert {table.key for table in both.sections} == {"scaling", "energy", "meters", "energy_scaling"}


@pytest.mark.parametrize("name", [name for name in KINDS if name != "run"])
def test_what_is_not_there_is_said_with_the_way_to_it(name, tmp_path):
    with pytest.raises(Mistake, match=f"nothing on {name}") as raised:
        select(build(digits_run, tmp_path), [name])
    assert raised.value.do == KINDS[name].lacking


def test_an_unknown_kind_is_told_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'scaling'"):
        read_kinds("scalling")


def test_every_table_of_a_report_belongs_to_a_kind(tmp_path):
    known = {key for kind in KINDS.values() for key in kind.tables}
    for name, make in RUNS.items():
        assert {table.key for table in build(make, tmp_path / name).sections} <= known


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("make", [scaling_run, energy_run, killed_run, rehearsal_run])
def test_csv_has_the_numbers_of_json(make, tmp_path):
    content = build(make, tmp_path)
    files = as_csv.write_all(content)
    data = json.loads(as_json.render(content))
    assert {"launches.csv", "checks.csv"} <= files.keys()
    for row, launch in zip(read(files["launches.csv"]), data["launches"], strict=True):
        for key, value in launch.items():
            if isinstance(value, dict) and "value" in value:
                assert float(row[key]) == value["value"]
                assert row.get(f"{key}_low", "") == str(value.get("low", ""))
                assert row.get(f"{key}_mark", "") == value.get("mark", "")
            elif isinstance(value, dict) and "missing" in value:
                assert (row[key], row[f"{key}_missing"]) == ("", value["missing"])


def test_csv_of_a_number_that_is_withheld_has_no_number(tmp_path):
    [first, second, *_] = read(
        as_csv.write_table(as_csv.choose_table(build(rehearsal_run, tmp_path), "scaling"))
    )
    assert first["efficiency"] == second["efficiency"] == ""
    assert "4 hosts share one boot id" in second["efficiency_missing"]


def test_csv_of_the_table_that_is_named(tmp_path):
    content = build(scaling_run, tmp_path)
    assert as_csv.render(content) == as_csv.write_table(content.sections[0])
    with pytest.raises(UnknownName, match="Did you mean 'scaling'"):
        as_csv.choose_table(content, "scalling")


def test_several_tables_of_one_kind_are_several_files(tmp_path):
    from tests.unit.test_report import two_runs

    assert {"scaling.csv", "scaling-2.csv"} <= as_csv.write_all(build(two_runs, tmp_path)).keys()


@pytest.mark.parametrize(("form", "module"), [("html", "vl_convert"), ("pdf", "typst")])
def test_a_library_that_is_not_there_is_named(form, module, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    as_html._load_runtime.cache_clear()
    with pytest.raises(Mistake, match=f"needs the Python package {LIBRARIES[module]}") as raised:
        render(build(scaling_run, tmp_path, pictured=True), form)
    assert "pip install" in raised.value.do
