"""`hpcdl list`, `hpcdl history` and `--tag` on the command line."""

from __future__ import annotations

import json
import os
import shutil
import sys

import pytest

from hpcdl import cli
from hpcdl.durable import publish_record
from tests.unit.records_maker import KILLED, Recording, record, write_run


@pytest.fixture(autouse=True)
def _at_home(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith(("HPCDL_", "SLURM_", "XDG_")):
            monkeypatch.delenv(name)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HPCDL_STORE", str(tmp_path / "runs"))
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def hpcdl(monkeypatch, capsys):
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["hpcdl", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return left.value.code, *capsys.readouterr()

    return call


def make(root, number, *, tags=(), recording=None, **asked):
    run = write_run(root, run_id=f"20261122-14120{number}-aaa{number}", **asked)
    record(run, 1, Recording(**(recording or {})))
    publish_record(run.job_path, run.job().model_copy(update={"tags": tags}))
    return run


def listed(answer):
    code, out, err = answer
    assert code == 0, err
    return [row["run"][-4:] for row in json.loads(out)["runs"]]


def test_the_newest_are_listed_and_how_many_there_are_is_told(hpcdl, tmp_path):
    for number in range(5):
        make(tmp_path / "runs", number)
    assert listed(hpcdl("list", "-n", "2", "--json")) == ["aaa3", "aaa4"]
    assert "the newest 2 of 5 runs; --all shows all" in hpcdl("list", "-n", "2")[1]
    assert len(listed(hpcdl("list", "--all", "--json"))) == 5
    assert "the newest" not in hpcdl("list")[1]


def test_a_query(hpcdl, tmp_path):
    make(tmp_path / "runs", 1, nodes=(2,))
    make(tmp_path / "runs", 2, recording={"outcomes": {0: KILLED}, "summarised": False})
    assert listed(hpcdl("list", "--where", "nodes>1", "--json")) == ["aaa1"]
    assert listed(hpcdl("list", "--where", "state='failed'", "--json")) == ["aaa2"]
    code, out, err = hpcdl("list", "--where", "nodes>5")
    assert (code, out) == (2, "")
    assert "There are 2 launches: model alexnet (2); nodes " in err
    assert "state completed (1), failed (1)" in err
    assert hpcdl("list", "--where", "nods>5")[0] == 2
    assert "Did you mean 'nodes'?" in hpcdl("list", "--where", "nods>5")[2]


def test_launches_with_their_energy(hpcdl, tmp_path):
    make(tmp_path / "runs", 1)
    code, out, _ = hpcdl("list", "--launches", "--json")
    [row] = json.loads(out)["launches"]
    assert code == 0
    assert row["images_per_s"]["value"] == pytest.approx(1000.0)
    assert "power was not sampled" in row["average_w"]["missing"]
    assert hpcdl("list", "--launches", "--where", "nodes>5")[0] == 2


def test_several_stores(hpcdl, tmp_path):
    run = make(tmp_path / "runs", 1)
    make(tmp_path / "more", 2)
    shutil.copytree(run.path, tmp_path / "more" / run.run_id)
    both = ["--store", tmp_path / "runs", "--store", tmp_path / "more"]
    assert listed(hpcdl("list", *both, "--json")) == ["aaa1", "aaa2"]
    (tmp_path / "more" / run.run_id / "job.json").write_text("{}")
    code, _, err = hpcdl("list", *both)
    assert code == 2
    assert str(tmp_path / "runs" / run.run_id) in err
    assert str(tmp_path / "more" / run.run_id) in err


def test_tags_find_runs(hpcdl, tmp_path):
    make(tmp_path / "runs", 1, tags=("nightly",))
    make(tmp_path / "runs", 2)
    make(tmp_path / "runs", 3, tags=("nightly", "v2"))
    assert listed(hpcdl("list", "nightly", "--json")) == ["aaa1", "aaa3"]
    assert listed(hpcdl("list", "v2", "aaa1", "--json")) == ["aaa1", "aaa3"]
    assert hpcdl("status", "v2")[0] == 0
    code, _, err = hpcdl("status", "nightly")
    assert code == 2
    assert "'nightly' is 2 runs" in err


def test_tags_are_recorded_and_ask_nothing(hpcdl):
    jobs = [
        json.loads(hpcdl("run", "smoke", *words, "--dry-run")[1])
        for words in ([], ["--tag", "a", "--tag", "b"])
    ]
    assert [job["tags"] for job in jobs] == [[], ["a", "b"]]
    assert jobs[0]["plan_hash"] == jobs[1]["plan_hash"]
    assert jobs[0]["benchmark_id"] == jobs[1]["benchmark_id"]


@pytest.mark.parametrize("tag", ["last", "123", "a b", "", "-x", "ä"])
def test_words_that_are_no_tags(hpcdl, tag):
    code, _, err = hpcdl("run", "smoke", f"--tag={tag}", "--dry-run")
    assert code == 2
    assert "a tag is letters" in err


def test_history(hpcdl, tmp_path):
    for number in range(3):
        make(tmp_path / "runs", number)
    code, out, _ = hpcdl("history", "scaling")
    assert code == 0
    assert "3 runs with images/s are too few to see a change: 10 are needed" in out
    assert json.loads(hpcdl("history", "aaa1", "--json")[1])["kind"] == "history"
    assert hpcdl("history", "scaling", "--format", "markdown")[1].startswith("# scaling over time")
    for words, told in (
        (["scalign"], "no benchmark that was run"),
        (["scaling", "--metric", "image/s"], "Did you mean 'images/s'?"),
        (["scaling", "--since", "soon"], "Write --since 2026-11-01, or --since 30d"),
        (["scaling", "--since", "1d"], "The last one was at 2026-11-22"),
    ):
        code, out, err = hpcdl("history", *words)
        assert (code, out) == (2, "")
        assert told in err


def test_a_long_list_shows_the_newest_and_gives_programs_all(hpcdl, tmp_path, monkeypatch):
    monkeypatch.setattr("hpcdl.report.listing.ROWS_SHOWN", 2)
    for number in range(4):
        make(tmp_path / "runs", number)
    text = hpcdl("list", "--all")[1]
    assert "… and 2 older (--format json shows all)" in text
    assert ("aaa3" in text, "aaa1" in text) == (True, False)
    assert len(listed(hpcdl("list", "--all", "--json"))) == 4


def test_a_long_history_shows_the_newest_and_gives_programs_all(hpcdl, tmp_path, monkeypatch):
    monkeypatch.setattr("hpcdl.report.histories.POINTS_SHOWN", 1)
    for number in range(3):
        make(tmp_path / "runs", number)
    text = hpcdl("history", "scaling")[1]
    assert ("aaa2" in text, "aaa1" in text) == (True, False)
    data = json.loads(hpcdl("history", "scaling", "--json")[1])
    assert (len(data["runs"]), len(data["newest"])) == (3, 1)
