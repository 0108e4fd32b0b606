"""`hpcdl accept` as it is typed, where there is no Slurm: what it prints, and what it refuses."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from io import StringIO

import pytest
from rich.console import Console
from rich.live import Live

from hpcdl import cli
from hpcdl.campaign.sight import Cell, Sight
from hpcdl.cli import accept_board, screen
from hpcdl.cli.accept_size import write_bound
from hpcdl.jobs import Standing
from tests.unit.acceptances_maker import write_acceptance


@pytest.fixture(autouse=True)
def _at_home(monkeypatch, tmp_path):
    """A person without Slurm, without a site file, with an empty store."""
    for name in list(os.environ):
        if name.startswith(("HPCDL_", "SLURM_", "SBATCH_")):
            monkeypatch.delenv(name)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HPCDL_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)


@dataclass(frozen=True)
class Done:
    """What a command left: on stdout, and on stderr."""

    stdout: str
    stderr: str


@pytest.fixture
def run(monkeypatch, capsys):
    """`hpcdl accept …` in this process."""

    def call(*words: str, code: int = 0) -> Done:
        monkeypatch.setattr(sys, "argv", ["hpcdl", "accept", *words])
        with pytest.raises(SystemExit) as left:
            cli.main()
        done = Done(*capsys.readouterr())
        assert left.value.code == code, done.stderr
        return done

    return call


def test_a_dry_run_tells_the_size_and_prints_the_script_without_slurm(tmp_path, run):
    done = run("run", "smoke", "--nodes", "1000", "--dry-run", "--cores", "64")
    assert "on 1,000 nodes" in done.stderr
    assert "node-hours" in done.stderr
    assert "#SBATCH --nodes=1000\n" in done.stdout
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("run", "smok", "--nodes", "4"), "there is no suite 'smok'"),
        (("run", "./none.toml", "--nodes", "4"), "there is no such file"),
        (("run", "smoke"), "how many nodes are to be accepted?"),
        (("run", "smoke", "--nodes", "4"), "there is no Slurm on this machine"),
        (("run", "smoke", "--local", "--nodes", "4"), "--local is this machine alone"),
        (("run", "smoke", "--local", "--no-wait"), "--local is this machine alone"),
        (("run", "smoke", "--nodes", "4", "--per-node-jobs", "--no-wait", "--dry-run"), "--no-wait leaves"),
        (("run", "smoke", "--nodes", "4", "--patience", "soon"), "--patience soon: a time is needed"),
        (("run", "smoke", "--nodes", "4", "--baseline", "none.toml"), "there is no baseline none.toml"),
        (
            ("run", "smoke", "--nodes", "4", "--junit", "none/j.xml", "--dry-run"),
            "--junit none/j.xml: there is no folder none",
        ),
        (("run", "bin", "--nodes", "4"), "bin is a folder. Name a suite's file in it"),
        (("resume",), "there are no acceptances in"),
        (("suspects", "x"), "there are no acceptances in"),
        (("suites", "smok"), "there is no suite 'smok'"),
    ],
)
def test_mistakes_are_told_with_what_to_do(tmp_path, run, argv, words):
    done = run(*argv, code=2)
    assert words in " ".join(done.stderr.split())
    # Nothing that was refused is left behind.
    assert not list((tmp_path / "store").glob("acceptances/*"))


def test_a_forgotten_baseline_is_told_before_anything_runs(tmp_path, run):
    (tmp_path / "mine.toml").write_text(
        'extends = "smoke"\nname = "mine"\n[[criteria]]\nname = "as-before"\n'
        'metric = "train.lenet.images_per_s"\nat_least = "95 %"\nof = "reference"\n'
    )
    done = run("run", "mine.toml", "--nodes", "4", "--dry-run")
    assert (
        "without --baseline FILE there is nothing to hold against, and no evidence on: as-before"
        in done.stderr
    )
    assert "--baseline" not in run("run", "smoke", "--nodes", "4", "--dry-run").stderr


@pytest.mark.parametrize(
    ("hours", "words"), [(10750.0, "10,750"), (31.2, "32"), (9.01, "9.1"), (3.0, "3"), (1 / 12, "0.084")]
)
def test_a_bound_is_written_in_full_and_never_rounded_down(hours, words):
    assert write_bound(hours) == words


def test_an_empty_store_says_how_to_begin(run):
    assert "hpcdl accept run smoke" in run("list").stdout


def test_a_suite_that_is_not_what_it_was_is_not_gone_on_with(tmp_path, run):
    folder = write_acceptance(tmp_path / "store")
    done = run("resume", folder.accept_id[-4:], code=2)
    assert "is no longer at" in done.stderr


def test_the_acceptances_of_a_store(tmp_path, run):
    folder = write_acceptance(tmp_path / "store", nodes=4)
    told = json.loads(run("list", "--json").stdout)
    [row] = told["acceptances"]
    assert row["accept"] == folder.accept_id
    assert row["jobs"] == 1


def test_the_suites_are_explained(run):
    text = run("suites").stdout
    assert all(name in text for name in ("smoke", "standard", "burn-in"))
    told = json.loads(run("suites", "--json").stdout)
    assert all(isinstance(suite["minutes"], int) for suite in told["suites"])
    listed = json.loads(run("suites", "--metrics", "--json").stdout)["metrics"]
    assert {"metric": "health.temperature_c", "unit": "°C, C"}.items() <= {
        one["metric"]: one for one in listed
    }["health.temperature_c"].items()
    text = run("suites", "smoke").stdout
    assert "at least 1\n" in text
    assert "lenet-speed" in text
    assert "train.lenet.images_per_s" in text


def test_suspects_are_named_and_not_touched(tmp_path, run):
    write_acceptance(
        tmp_path / "store",
        nodes=4,
        changes={"node2": {"identity": {"words": {"kernel": "5.4.0"}}}},
        here=True,
    )
    assert "node2" in run("suspects", "last").stdout
    lines = run("suspects", "last", "--slurm").stdout.splitlines()
    assert [line.startswith("scontrol update NodeName=node2 State=DRAIN Reason=") for line in lines] == [True]


def test_that_nobody_is_named_is_no_all_clear(tmp_path, run):
    # One node alone is nobody's median.
    write_acceptance(tmp_path / "store", nodes=1, here=True)
    done = run("suspects")
    assert "nobody is named" in done.stdout
    assert "INSUFFICIENT EVIDENCE" in done.stdout
    assert "hpcdl accept report" in done.stdout
    done = run("suspects", "--slurm")
    assert not done.stdout
    assert "has not passed" in done.stderr


# ---- The board ----


def make_sight(count: int) -> Sight:
    nodes = tuple(f"n{number:03d}" for number in range(count))
    cells = {(node, "identity"): Cell("looked") for node in nodes}
    cells[nodes[1], "identity"] = Cell("could not look", reason="no NVML")
    cells[nodes[2], "train"] = Cell("lost")
    cells[nodes[0], "train"] = Cell("looked", 1234.5, "images/s")
    return Sight(
        ("identity", "train"), nodes, cells, (("first: node", Standing(over=False, word="RUNNING")),)
    )


def draw(sight: Sight) -> str:
    console = Console(file=StringIO(), force_terminal=True, width=120, color_system=None)
    with Live(console=console, auto_refresh=False) as live:
        accept_board.Board(live).show(sight)
        live.refresh()
    return console.file.getvalue()


def test_a_board_of_a_few_shows_every_node():
    text = draw(make_sight(4))
    assert all(
        word in text for word in ("n000", "n003", "1,234", "could not look", "lost", "RUNNING", "·")
    ) or ("1,230" in text)


def test_a_board_of_many_counts_and_names_the_odd_ones():
    text = draw(make_sight(100))
    assert "n001" in text
    assert "n002" in text
    assert "n050" not in text
    assert "100 nodes" in text
    assert "99" in text


def test_lines_tell_each_thing_once(monkeypatch):
    console = Console(file=StringIO(), width=120)
    monkeypatch.setattr(screen, "talk", console)
    lines = accept_board.Lines()
    for _ in range(2):
        lines.show(make_sight(4))
    told = console.file.getvalue().splitlines()
    assert "n001: identity: could not look (no NVML)" in told
    assert len(told) == len(set(told)) == 6
