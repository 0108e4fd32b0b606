"""`hpcdl report` on the command line: what is typed names runs, stores, formats and files, and is repeated as typed."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys

import pytest

from hpcdl import cli
from hpcdl.cli.forms import choose_forms
from hpcdl.errors import Mistake, UnknownName
from hpcdl.report.formats import find_by_suffix, settle_name
from tests.unit.records_maker import KILLED, Recording, record, write_run

RUN = "20261122-141200-k3f9"


@pytest.fixture(autouse=True)
def _at_home(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith(("HPCDL_", "SLURM_", "XDG_")):
            monkeypatch.delenv(name)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HPCDL_STORE", str(tmp_path / "runs"))
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def hpcdl(monkeypatch, capfd):
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["hpcdl", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return left.value.code, *capfd.readouterr()

    return call


@pytest.fixture
def finished(tmp_path):
    run = write_run(tmp_path / "runs", run_id=RUN)
    record(run, 1)
    return run


def told(answer):
    """The lines at the end of a report, by what they tell."""
    code, out, err = answer
    assert (code, err) == (0, "")
    return dict(line.split(": ", 1) for line in json.loads(out)["more"])


# ---- The same again ----


def test_a_run_that_was_named_by_its_folder_is_named_so_again(hpcdl, finished, tmp_path):
    path = f"runs/{RUN}"
    same = told(hpcdl("report", path, "--json"))["the same with pictures"]
    assert same.startswith(f"hpcdl report {path} --format html ")
    other = tmp_path / "a b" / "smoke"
    other.parent.mkdir()
    finished.path.rename(other)
    same = told(hpcdl("report", "a b/smoke", "--json"))["the same with pictures"]
    assert shlex.split(same)[:5] == ["hpcdl", "report", "a b/smoke", "--format", "html"]


@pytest.mark.parametrize("words", [[], ["last"]])
def test_the_last_run_is_called_by_its_id(hpcdl, finished, words):
    same = told(hpcdl("report", *words, "--json"))["the same with pictures"]
    assert same.startswith(f"hpcdl report {RUN} --format html ")


def test_flags_that_were_given_are_given_again(hpcdl, finished, tmp_path, monkeypatch):
    monkeypatch.setenv("HPCDL_STORE", str(tmp_path / "empty"))
    site = tmp_path / "site.toml"
    site.write_text('name = "juno"\n[cost]\ncurrency = "EUR"\nelectricity_per_kwh = 0.3\n')
    words = ["--kind", "run", "--site", str(site), "--store", str(tmp_path / "runs"), "--force"]
    same = told(hpcdl("report", RUN, *words, "--json"))["the same with pictures"]
    typed = shlex.split(same.partition(" --format html")[0])
    assert typed == ["hpcdl", "report", RUN, *words]
    assert told(hpcdl(*typed[1:], "--json"))["the same with pictures"] == same


def test_a_query_is_asked_again(hpcdl, finished):
    query = "model='alexnet' and nodes>0"
    same = told(hpcdl("report", "--where", query, "--json"))["the same with pictures"]
    assert shlex.split(same)[1:4] == ["report", "--where", query]


def test_the_logs_of_a_run_elsewhere_are_found_there(hpcdl, tmp_path):
    run = write_run(tmp_path / "other", run_id=RUN)
    folder = record(run, 1, Recording(outcomes={0: KILLED}, summarised=False))
    folder.output_path.write_text("it was here\n")
    logs = told(hpcdl("report", run.path, "--json"))["logs"]
    assert "it was here" in hpcdl(*shlex.split(logs)[1:])[1]


# ---- Formats and files ----


@pytest.mark.parametrize(
    ("name", "begin"),
    [
        ("y.html", "<!doctype html>"),
        ("y.HTM", "<!doctype html>"),
        ("y.md", "# "),
        ("y.json", "{"),
        ("y.csv", "run,"),
        ("y.txt", "AlexNet"),
        ("y", "AlexNet"),
    ],
)
def test_a_file_is_what_its_name_says(hpcdl, finished, tmp_path, name, begin):
    assert hpcdl("report", "--output", name) == (0, "", "")
    assert (tmp_path / name).read_text().startswith(begin)


def test_a_pdf_too(hpcdl, finished, tmp_path):
    assert hpcdl("report", "-o", "y.pdf") == (0, "", "")
    assert (tmp_path / "y.pdf").read_bytes().startswith(b"%PDF")


def test_a_format_that_is_named_goes_before_the_name(hpcdl, finished, tmp_path):
    assert hpcdl("report", "--format", "md", "-o", "y.html")[0] == 0
    assert (tmp_path / "y.html").read_text().startswith("# ")
    assert hpcdl("report", "--json", "-o", "z.html")[0] == 0
    assert json.loads((tmp_path / "z.html").read_text())["kind"] == "runs"


@pytest.mark.parametrize("words", [["-o", "y.png"], ["-o", "y.svg"], ["--format", "png", "-o", "y"]])
def test_pictures_need_a_folder(hpcdl, finished, tmp_path, words):
    code, out, err = hpcdl("report", *words)
    assert (code, out) == (2, "")
    assert "is one file for each picture" in err
    assert "--out DIR" in err
    assert not list(tmp_path.glob("y*"))


def test_a_dash_is_stdout(hpcdl, finished, tmp_path):
    assert hpcdl("report", "-o", "-")[1] == hpcdl("report")[1]
    assert hpcdl("report", "--format", "html", "-o", "-")[1].startswith("<!doctype html>")
    assert not (tmp_path / "-").exists()


@pytest.mark.parametrize("command", ["report", "list"])
def test_json_and_another_format(hpcdl, finished, command):
    code, out, err = hpcdl(command, "--json", "--format", "md")
    assert (code, out) == (2, "")
    assert "are different formats" in err
    assert hpcdl(command, "--json", "--format", "json")[0] == 0


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("MD", ["markdown"]),
        ("pdf,", ["pdf"]),
        (" Html , ,CSV", ["html", "csv"]),
        ("md,markdown", ["markdown"]),
        (None, ["terminal"]),
    ],
)
def test_formats_as_people_type_them(text, forms):
    assert choose_forms(text, output=None, as_json=False) == forms


@pytest.mark.parametrize("text", ["", " , "])
def test_no_format_at_all(text):
    with pytest.raises(Mistake, match="names no format"):
        choose_forms(text, output=None, as_json=False)


def test_an_unknown_format_is_told_the_names_that_people_type():
    with pytest.raises(UnknownName) as caught:
        settle_name("docx")
    assert "Known: csv, html, json, markdown, md, pdf, png, svg, terminal, text, txt." in str(caught.value)


def test_a_suffix_that_says_nothing():
    assert [find_by_suffix(name) for name in ("a", "a.docx", ".html", "-")] == [None] * 4


# ---- Stores and runs ----


@pytest.mark.parametrize(
    "command", [["report"], ["list"], ["status"], ["history", "x"], ["compare", "a", "b"]]
)
def test_a_store_that_is_named_is_there(hpcdl, finished, tmp_path, command):
    (tmp_path / "file").write_text("x")
    for name, words in (("absent", "no such folder"), ("file", "this is a file"), ("", "no such folder")):
        code, out, err = hpcdl(*command, "--store", name)
        assert (code, out) == (2, "")
        assert words in err
        assert (name or "''") in err


def test_each_of_several_stores_is_there(hpcdl, finished, tmp_path):
    code, _, err = hpcdl("report", "--store", tmp_path / "runs", "--store", tmp_path / "absent")
    assert code == 2
    assert "absent: there is no such folder" in err


def test_a_store_that_nobody_named_may_be_yet_to_come(hpcdl):
    code, _, err = hpcdl("report")
    assert code == 2
    assert "there are no runs in" in err
    assert hpcdl("list")[0] == 0


def test_a_store_is_no_run(hpcdl, finished, tmp_path, monkeypatch):
    monkeypatch.setenv("HPCDL_STORE", str(tmp_path / "absent"))
    code, out, err = hpcdl("report", tmp_path / "runs")
    assert (code, out) == (2, "")
    assert f"{tmp_path}/runs is a store, not a run" in err
    assert f"Write --store {tmp_path}/runs" in err
    assert hpcdl("report", "--store", tmp_path / "runs")[0] == 0
    (tmp_path / "nothing").mkdir()
    assert "there are no runs in" in hpcdl("report", tmp_path / "nothing")[2]


@pytest.mark.parametrize("word", ["", "  "])
def test_an_empty_word_names_nothing(hpcdl, finished, word, monkeypatch):
    # Not even the run whose folder one stands in.
    monkeypatch.chdir(finished.path)
    code, out, err = hpcdl("report", word)
    assert (code, out) == (2, "")
    assert "names no run" in err


# ---- Slurm that does not answer ----


@pytest.fixture
def silent_slurm(tmp_path):
    for name in ("sbatch", "squeue", "sacct", "scontrol"):
        path = tmp_path / "bin" / name
        path.write_text(
            "#!/bin/sh\n"
            f"echo {name} >> {tmp_path}/asked\n"
            "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2\n"
            "exit 1\n"
        )
        path.chmod(0o755)
    return tmp_path / "asked"


LOOKS = [["list"], ["report", "--where", "nodes>0"], ["history", "scaling"]]


@pytest.mark.parametrize("words", LOOKS, ids=["list", "report", "history"])
@pytest.mark.parametrize("how", [Recording(), Recording(outcomes={0: KILLED}, summarised=False)])
def test_of_runs_that_have_ended_nothing_is_told(hpcdl, tmp_path, silent_slurm, words, how):
    record(write_run(tmp_path / "runs", run_id=RUN), 1, how)
    code, out, err = hpcdl(*words)
    assert (code, err) == (0, "")
    assert out


@pytest.mark.parametrize("words", LOOKS[:2], ids=["list", "report"])
def test_of_a_run_that_may_go_on_it_is_told_in_one_line(hpcdl, tmp_path, silent_slurm, words):
    run = write_run(tmp_path / "runs", run_id=RUN)
    record(run, 1, Recording(outcome=None, summarised=False, steps=3))
    code, out, err = hpcdl(*words)
    assert code == 0
    assert "running" in out
    assert err == "Slurm does not answer: a run that goes on by the records may have ended.\n"


def test_a_wrong_query_asks_nobody(hpcdl, tmp_path, silent_slurm):
    write_run(tmp_path / "runs", run_id=RUN)
    for command in ("list", "report"):
        code, _, err = hpcdl(command, "--where", "nodes>1 and")
        assert code == 2
        assert "it ends too early" in err
        assert "Slurm" not in err
    assert not silent_slurm.exists()


# ---- Help, and its interruption ----


def test_the_verb_that_nobody_types_is_not_shown(hpcdl):
    out = hpcdl("report", "--help")[1]
    assert "Usage: hpcdl report [OPTIONS] [RUNS]..." in out
    assert "report show" not in out
    assert "See `hpcdl report --help`" in hpcdl("report", "--nonsense")[2]


def test_ctrl_c_while_a_class_is_made_ends_with_130():
    """CPython notes an interruption within exec() though it is caught, and would die by the signal."""
    program = """
import sys
class Interrupted:
    def __getattr__(self, name):
        exec("raise KeyboardInterrupt")
sys.modules["hpcdl.cli.app"] = Interrupted()
from hpcdl.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")
