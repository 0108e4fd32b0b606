"""The command line: one clear message for each mistake, results alone on stdout, and nothing heavy imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpcdl import cli
from hpcdl.cli import app as application
from hpcdl.settings import shipped_benchmarks
from hpcdl.store import Store
from tests.unit.records_maker import Recording, record, write_run

ROOT = Path(__file__).parents[2]
COMMANDS = [
    "submit",
    "run",
    "probe",
    "list",
    "status",
    "logs",
    "report",
    "compare",
    "predict",
    "history",
    "cancel",
    "models",
    "published",
    "completion",
    "doctor",
    "accept",
    "baseline",
    "site",
    "tune",
]
WORKERS = ["torch", "horovod", "nvidia", "mpi4py", "pynvml"]
HEAVY = [*WORKERS, "numpy", "scipy"]


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
    monkeypatch.setenv("HPCDL_STORE", str(tmp_path / "runs"))
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def hpcdl(monkeypatch, capsys):
    """Exit code, stdout, stderr of a command line, in this process."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["hpcdl", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        return left.value.code, out, err

    return call


@pytest.fixture
def finished(tmp_path):
    """A run on two nodes that was completed."""
    run = write_run(tmp_path / "runs", nodes=[2], run_id="20261122-141200-k3f9")
    record(run, 1)
    return run


# ---- Help ----


@pytest.mark.parametrize("words", [["--help"], ["-h"], *([name, "--help"] for name in COMMANDS)])
def test_help(hpcdl, words):
    code, out, err = hpcdl(*words)
    assert (code, err) == (0, "")
    assert "Usage: hpcdl" in out


def test_every_command_is_helped():
    groups = {group.name for group in application.app.registered_groups} - {"data", "power", "estimate"}
    names = {command.name for command in application.app.registered_commands}
    assert names | groups == set(COMMANDS)


def test_the_version(hpcdl):
    assert hpcdl("--version")[1].startswith("hpcdl 0.")


def test_without_words_the_help_and_no_complaint(hpcdl):
    code, out, err = hpcdl()
    assert (code, err) == (2, "")
    assert "Usage: hpcdl" in out


# ---- Mistakes ----

SUBMIT_MISTAKES = {
    "model": (["--model", "alxnet"], "Did you mean 'alexnet'?"),
    "engine": (["--engine", "horovd"], "'horovod'"),
    "transport": (["--transport", "tcp"], "'gloo'"),
    "data": (["--data", "digts"], "Did you mean 'digits'?"),
    "data folder": (["--data", "/nonexistent/images"], "there is no data folder /nonexistent/images"),
    "nodes 0": (["--nodes", "0"], "--nodes 0"),
    "nodes -1": (["--nodes", "-1"], "--nodes -1"),
    "nodes x": (["--nodes", "x"], "--nodes x"),
    "nodes list": (["--nodes", "1,,2"], "--nodes 1,,2"),
    "batch 0": (["--batch", "0"], "train.batch"),
    "batch -1": (["--batch", "-1"], "train.batch"),
    "batch x": (["--batch", "x"], "--batch"),
    "steps 0": (["--steps", "0"], "train.steps"),
    "rate": (["--learning-rate", "nan"], "train.learning_rate"),
    "global batch": (["--nodes", "3", "--global-batch", "64"], "cannot be shared equally by 3 ranks"),
    "both batches": (["--batch", "8", "--global-batch", "64"], "exclude each other"),
    "epochs": (["--epochs", "2"], "synthetic data have no epochs"),
    "walltime": (["--time", "soon"], "'soon' is not one that Slurm reads"),
    "tasks": (["--cores", "4", "--tasks-per-node", "5"], "5 tasks per node do not fit"),
    "single": (["--engine", "single", "--nodes", "2"], "this launch has 2"),
    "newline": (["--partition", "gpu\n#SBATCH --wrap=x"], "control characters"),
    "option": (["--option", "wrap=x"], "wrap"),
    "option name": (["--option", "a b=x"], "'a b'"),
    "site": (["--site", "/nonexistent.toml"], "there is no site file"),
    "template": (["--template", "/nonexistent.j2"], "/nonexistent.j2"),
    "benchmark": (["smok"], "Did you mean 'smoke'?"),
    "benchmark file": (["./mine.toml"], "mine.toml: there is no such file"),
    "flag": (["--modle", "lenet"], "--modle"),
    "argument": (["smoke", "alexnet"], "alexnet"),
    "value": (["--model"], "--model"),
}


def assert_mistake(answer, words):
    code, out, err = answer
    assert code == 2
    assert out == ""
    lines = err.splitlines()
    [first] = [line for line in lines if line.startswith("hpcdl: ")]
    assert all(line.startswith("       ") for line in lines[lines.index(first) + 1 :])
    assert words in err
    assert "Traceback" not in err
    assert "defect" not in err


@pytest.mark.parametrize(("words", "told"), SUBMIT_MISTAKES.values(), ids=SUBMIT_MISTAKES)
def test_mistakes_in_a_submission(hpcdl, tmp_path, words, told):
    assert_mistake(hpcdl("submit", *words, "--dry-run"), told)
    assert not (tmp_path / "runs").exists()


def test_an_empty_data_folder(hpcdl, tmp_path):
    (tmp_path / "images" / "cats").mkdir(parents=True)
    (tmp_path / "images" / "notes.txt").write_text("x")
    assert_mistake(hpcdl("submit", "--data", tmp_path / "images"), "holds no images in the ImageNet layout")
    (tmp_path / "images" / "cats" / "one.JPEG").write_text("x")
    assert hpcdl("submit", "--data", tmp_path / "images", "--batch", "1", "--dry-run")[0] == 0
    assert_mistake(hpcdl("submit", "--data", tmp_path / "images", "--batch", "2"), "has 1 images to train on")


def test_a_mistake_in_a_file_names_it(hpcdl, tmp_path):
    (tmp_path / "mine.toml").write_text("[train]\nbach = 3\n")
    assert_mistake(
        hpcdl("submit", tmp_path / "mine.toml", "--dry-run"), "mine.toml: there is no key 'train.bach'"
    )
    (tmp_path / "mine.toml").write_text("[train\n")
    assert_mistake(hpcdl("submit", tmp_path / "mine.toml", "--dry-run"), "line 1")


@pytest.mark.parametrize("words", [["submit", "smoke"], ["run", "smoke"]])
def test_a_store_that_cannot_be_written(hpcdl, tmp_path, words):
    make_program(tmp_path / "bin" / "sbatch", "echo 'sbatch: it would run' >&2")
    (tmp_path / "file").write_text("")
    code, out, err = hpcdl(*words, "--store", tmp_path / "file" / "runs")
    assert (code, out) == (2, "")
    assert "cannot be written" in err
    assert "--store" in err


def test_without_slurm_submitting_is_a_mistake_that_says_what_to_do(hpcdl, tmp_path):
    code, out, err = hpcdl("submit", "smoke")
    assert (code, out) == (2, "")
    assert "hpcdl: " in err
    assert "sbatch" in err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("command", ["status", "logs", "report", "cancel"])
def test_a_run_that_is_not_there(hpcdl, finished, command):
    assert_mistake(hpcdl(command, "nope"), "there is no run 'nope'")


@pytest.mark.parametrize("command", ["status", "logs", "report", "cancel"])
def test_an_empty_store(hpcdl, command):
    assert_mistake(hpcdl(command), "there are no runs in")


def test_a_report_format_that_is_not_there(hpcdl, finished):
    assert_mistake(hpcdl("report", "--format", "markdwn"), "Did you mean 'markdown'?")


def test_a_launch_that_is_not_there(hpcdl, finished):
    assert_mistake(hpcdl("logs", "--launch", "2"), "has launches 1 to 1, not 2")


def test_a_network_that_is_not_there(hpcdl):
    assert_mistake(hpcdl("models", "overfat"), "Did you mean 'overfeat'?")


def test_a_defect_is_called_one_and_shows_no_traceback(hpcdl, monkeypatch):
    def break_down(self, **_):
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(Store, "names", break_down)
    code, _, err = hpcdl("list")
    assert code == 1
    assert "defect of hpcdl: RuntimeError: nobody thought of this" in err
    assert "Traceback" not in err


def test_ctrl_c_while_the_command_line_is_imported(hpcdl, monkeypatch):
    class Interrupted:
        def __getattr__(self, name):
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "hpcdl.cli.app", Interrupted())
    assert hpcdl("list") == (130, "", "")


# ---- What is printed where ----


def test_a_dry_run_prints_the_script_alone_and_touches_nothing(hpcdl, tmp_path):
    words = ("scaling", "--nodes", "1,2", "--batch", "16")
    code, out, err = hpcdl("submit", *words, "--dry-run")
    assert code == 0
    assert out.startswith("#!/bin/bash\n")
    assert out.rstrip().endswith('exit "$status"')
    told = {line.split()[0]: line.rstrip() for line in err.splitlines()}
    assert told["nodes"].endswith("--nodes")
    assert told["batch"].endswith("--batch")
    assert told["model"].endswith("benchmarks/scaling.toml")
    assert told["engine"].endswith("default")
    assert "estimated" in told["walltime"]
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_here_prints_the_job_alone(hpcdl, tmp_path):
    code, out, err = hpcdl("run", "smoke", "--ranks", "2", "--dry-run")
    assert code == 0
    assert json.loads(out)["launches"][0]["tasks_per_node"] == 2
    assert "--ranks" in err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", shipped_benchmarks())
def test_every_shipped_benchmark_makes_a_script(hpcdl, name):
    code, out, _ = hpcdl("submit", name, "--dry-run")
    assert code == 0
    assert "hpcdl.worker.supervisor" in out


def test_options_of_the_flag_stand_beside_those_of_the_site(hpcdl, tmp_path):
    site = tmp_path / "site.toml"
    site.write_text('[slurm.options]\ncomment = "of the site"\nmail-type = "END"\n')
    words = ("--site", site, "--option", "comment=mine", "--option", "spread-job", "--dry-run")
    code, out, _ = hpcdl("submit", *words)
    assert code == 0
    directives = [line for line in out.splitlines() if line.startswith("#SBATCH")]
    assert "#SBATCH --comment=mine" in directives
    assert "#SBATCH --mail-type=END" in directives
    assert "#SBATCH --spread-job" in directives


@pytest.mark.parametrize(
    "words", [["list"], ["status"], ["report"], ["models"], ["models", "lenet"], ["report", "k3f9", "k3f9"]]
)
def test_json_is_json_and_stands_alone(hpcdl, finished, words):
    code, out, err = hpcdl(*words, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)


def test_a_report_into_a_file(hpcdl, finished, tmp_path):
    path = tmp_path / "report.md"
    code, out, _ = hpcdl("report", "--format", "markdown", "--output", path)
    assert (code, out) == (0, "")
    assert "AlexNet" in path.read_text()
    code, out, err = hpcdl("report", "--output", tmp_path / "absent" / "report.md")
    assert (code, out) == (2, "")
    assert "could not be written" in err


def test_a_torn_run_does_not_hide_the_others(hpcdl, finished, tmp_path):
    torn = write_run(tmp_path / "runs", run_id="20261122-141201-zzzz")
    torn.job_path.write_text('{"run_id": ')
    (tmp_path / "runs" / "foreign").mkdir()
    code, out, _ = hpcdl("list")
    assert code == 0
    assert "20261122-141200-k3f9" in out
    code, _, err = hpcdl("status", "zzzz")
    assert code == 2
    assert "job.json" in err


def test_logs_print_what_the_ranks_printed(hpcdl, finished):
    assert_mistake(hpcdl("logs"), "has printed nothing yet")
    finished.launches()[0].output_path.write_bytes(b"said by a rank \xff\n")
    code, out, _ = hpcdl("logs")
    assert code == 0
    assert "said by a rank" in out


def test_an_incomplete_run_is_reported_as_such(hpcdl, tmp_path):
    run = write_run(tmp_path / "runs")
    record(
        run, 1, Recording(outcomes={0: {"outcome": "killed", "signal": 9, "last_step": 7}}, summarised=False)
    )
    code, out, _ = hpcdl("report")
    assert code == 0
    assert "killed by signal 9" in out
    assert "not published" in out


@pytest.mark.parametrize("words", [["models"], ["list"], ["report"]])
def test_no_colour_where_none_is_wanted(hpcdl, finished, monkeypatch, words):
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in "".join(hpcdl(*words)[1:])


@pytest.mark.parametrize(
    "words", [["list"], ["list", "--json"], ["models"], ["submit", "--dry-run"], ["logs"], ["--help"]]
)
def test_a_reader_that_has_gone_away_gets_no_complaint(finished, words):
    """`hpcdl list | head`: as quiet as any other program, whoever notices first."""
    finished.launches()[0].output_path.write_text("said by a rank\n")
    reader, writer = os.pipe()
    os.close(reader)
    argv = [sys.executable, "-m", "hpcdl", *words]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, stdout=writer, stderr=subprocess.PIPE, text=True, env=environ, check=False)
    os.close(writer)
    assert done.returncode == 1
    assert not set(done.stderr.split()) & {"Traceback", "Exception", "BrokenPipeError:", "hpcdl:"}


# ---- Light ----


@pytest.mark.parametrize(
    ("words", "unwanted"),
    [
        (["--help"], HEAVY),
        (["models"], HEAVY),
        (["models", "overfeat"], HEAVY),
        (["submit", "scaling", "--dry-run"], HEAVY),
        # Its images/s are those of a report: nothing is published that was not analysed.
        (["list"], WORKERS),
    ],
)
def test_nothing_heavy_is_imported(finished, words, unwanted):
    code = (
        "import sys; from hpcdl.cli import main; sys.argv = ['hpcdl', *sys.argv[1:]]\n"
        "try: main()\nexcept SystemExit as left: code = left.code\n"
        f"print([name for name in {unwanted} if name in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    argv = [sys.executable, "-c", code, *words]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, capture_output=True, text=True, env=environ, check=False)
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == "[]"


# ---- Doctor ----

ROWS = ["torch", "Horovod", "MPI", "DALI", "NVML", "CPU power", "Slurm", "topology"]


def test_doctor_has_a_row_for_everything(hpcdl, monkeypatch, tmp_path):
    """With libraries that do not load, so that the test is quick: each row is there, and says what to do."""
    for module in ("torch", "horovod", "mpi4py", "pynvml"):
        (tmp_path / f"{module}.py").write_text(f"raise ImportError('{module} is broken here')\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    code, out, _ = hpcdl("doctor", "--json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(out)}
    assert list(rows) == ROWS
    assert rows["torch"]["value"] == "does not load: torch is broken here"
    assert not any(rows[name]["ok"] for name in ("torch", "Horovod", "MPI", "NVML", "Slurm"))
    assert all(row["do"] for row in rows.values() if not row["ok"])
    # How this machine is wired needs none of them.
    wiring = rows["topology"]["topology"]
    assert wiring["cpus"] == os.cpu_count()
    assert "NUMA node" in rows["topology"]["value"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--partition", "gpu"], "--partition is about a job, and none was asked for"),
        (["--nodes", "2", "--run", "last"], "--nodes asks for a new look, and --run for an old one"),
        (["--nodes", "0"], "--nodes 0 is no number of nodes"),
        (["--nodes", "2"], "there is no Slurm here to look at nodes with"),
    ],
)
def test_a_doctor_who_cannot_look_says_why(hpcdl, monkeypatch, argv, words):
    monkeypatch.setattr("hpcdl.slurm.is_here", lambda: False)
    code, out, err = hpcdl("doctor", *argv)
    assert (code, out) == (2, "")
    assert words in " ".join(err.split())


def test_a_run_that_recorded_nothing_of_its_nodes_is_no_picture(hpcdl, tmp_path):
    write_run(tmp_path / "runs")
    code, _, err = hpcdl("doctor", "--run", "last", "--store", str(tmp_path / "runs"))
    assert code == 2
    assert "has recorded nothing of how its nodes are wired" in " ".join(err.split())


def test_doctor_survives_a_library_that_ends_the_process(hpcdl, monkeypatch, tmp_path):
    (tmp_path / "torch.py").write_text("import os; os._exit(41)\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    code, out, _ = hpcdl("doctor")
    assert code == 0
    assert "ended with 41" in out
    assert "Slurm" in out


def make_program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


# ---- Conclusions ----


def write_two(store, first, second, **asked):
    """Two runs of these rates each; returns their ids."""
    ids = ("20261122-141200-aaaa", "20261122-151200-bbbb")
    for run_id, rates in zip(ids, (first, second), strict=True):
        run = write_run(store / "runs", run_id=run_id, repeat=len(rates), **asked)
        for index, rate in enumerate(rates, start=1):
            record(run, index, Recording(images_per_s=rate))
    return ids


EVEN = (1000.0, 1004.0, 998.0, 1002.0)


@pytest.mark.parametrize(
    ("factor", "flags", "code"),
    [
        (0.9, [], 0),
        (0.9, ["--fail-slower", "3%"], 1),
        (0.9, ["--fail-slower", "0.15"], 0),
        (1.1, ["--fail-slower", "3%"], 0),
    ],
)
def test_compare_is_for_ci_too(hpcdl, tmp_path, factor, flags, code):
    first, second = write_two(tmp_path, EVEN, [factor * rate for rate in EVEN])
    left, out, err = hpcdl("compare", first, second, *flags)
    assert (left, err) == (code, "")
    assert ("slower" if factor < 1 else "faster") in out


def test_compare_as_json(hpcdl, tmp_path):
    first, second = write_two(tmp_path, EVEN, EVEN[::-1])
    code, out, _ = hpcdl("compare", first, second, "--json")
    data = json.loads(out)
    assert code == 0
    assert data["kind"] == "comparison"
    assert data["differences"][0]["verdict"] == "no difference seen"
    assert data["differences"][0]["change"]["low"] < 0 < data["differences"][0]["change"]["high"]


def test_what_cannot_be_told_does_not_pass_for_faster(hpcdl, tmp_path):
    first, second = write_two(tmp_path, [1000.0], [2000.0], steps=20)
    code, _, err = hpcdl("compare", first, second, "--fail-slower", "3%")
    assert code == 1
    assert "cannot be told: 20 steps are too few" in err


@pytest.mark.parametrize(("limit", "code"), [("3%", 1), ("30%", 0)])
def test_a_slowdown_that_cannot_be_excluded_fails(hpcdl, tmp_path, limit, code):
    noisy = (1000.0, 1050.0, 950.0, 1020.0)
    first, second = write_two(tmp_path, noisy, [0.99 * rate for rate in noisy])
    left, out, err = hpcdl("compare", first, second, "--fail-slower", limit)
    assert left == code
    assert "no difference seen" in out
    told = " ".join(err.split())
    assert ("slower by more than 3 % cannot be told: on 1 rank the change is from -" in told) == (code == 1)
    assert ("--repeat 5" in told) == (code == 1)


def test_a_size_that_is_gone_is_no_pass(hpcdl, tmp_path):
    """B lost its largest size: what was compared is equal, and yet nobody may conclude that B is not slower."""
    for run_id, nodes in (("20261122-141200-aaaa", (1, 2)), ("20261122-151200-bbbb", (1,))):
        run = write_run(tmp_path / "runs", run_id=run_id, nodes=nodes)
        for index in range(1, len(nodes) + 1):
            record(run, index, Recording(images_per_s=1000.0))
    code, _, err = hpcdl("compare", "aaaa", "bbbb", "--fail-slower", "3%")
    assert code == 1
    assert "cannot be told: it was not measured there" in " ".join(err.split())
    assert hpcdl("compare", "aaaa", "bbbb")[0] == 0


CONCLUSION_MISTAKES = {
    "one run": (["compare", "aaaa"], "Missing argument"),
    "itself": (["compare", "aaaa", "aaaa"], "with itself"),
    "limit": (["compare", "aaaa", "bbbb", "--fail-slower", "much"], "--fail-slower 3%"),
    "no sweep": (["predict", "aaaa", "--nodes", "8"], "no sweep here"),
    "sizes": (["predict", "aaaa", "--nodes", "none"], "whole numbers"),
    "where": (["probe"], "--nodes N for a cluster, or --ranks N"),
    "both": (["probe", "--nodes", "2", "--ranks", "2"], "--nodes N for a cluster, or --ranks N"),
    "alone": (["probe", "--ranks", "1"], "at least two ranks"),
    "no folder": (["data", "bench", "/nonexistent"], "there is no data folder"),
    "model": (["data", "bench", "/", "--model", "alxnet"], "Did you mean 'alexnet'?"),
    "precision": (["run", "smoke", "--precision", "1"], "less than 1"),
    "engines": (["run", "smoke", "--engine", "ddp,ddp"], "two or more different ones"),
    "max steps": (["run", "smoke", "--max-steps", "10"], "max_steps is only read with a precision"),
}


@pytest.mark.parametrize("name", CONCLUSION_MISTAKES)
def test_mistakes_in_drawing_conclusions(hpcdl, tmp_path, name):
    words, expected = CONCLUSION_MISTAKES[name]
    write_two(tmp_path, EVEN, EVEN)
    code, out, err = hpcdl(*words)
    assert (code, out) == (2, "")
    assert expected in " ".join(err.split())


@pytest.mark.parametrize("engine", ["ddp", "horovod,ddp"])
def test_a_probe_leaves_the_transport_to_engines_that_know_no_mpi(hpcdl, engine):
    """Also where Horovod, mpi4py and mpirun are there."""
    code, out, err = hpcdl("probe", "--ranks", "2", "--engine", engine, "--dry-run")
    assert code == 0, err
    transports = {launch["train"]["transport"] for launch in json.loads(out)["launches"]}
    assert transports == {"auto"}


def test_predict_draws_a_sweep_on(hpcdl, tmp_path):
    run = write_run(tmp_path / "runs", nodes=(1, 2, 4))
    for index, rate in enumerate((1000.0, 1900.0, 3500.0), start=1):
        record(run, index, Recording(images_per_s=rate))
    code, out, _ = hpcdl("predict", "--nodes", "8,64", "--json")
    data = json.loads(out)
    assert code == 0
    [table] = data["predictions"]
    assert table["law"] == "amdahl"
    assert 3500 < table["rows"][3]["images_per_s"]["value"] < 7000
    assert "8 times" in table["rows"][4]["images_per_s"]["missing"]
    assert "withheld" not in table["rows"][4]["images_per_s"]
    forced = json.loads(hpcdl("predict", "--nodes", "8,64", "--json", "--force")[1])
    assert forced["predictions"][0]["rows"][4]["images_per_s"]["withheld"] > 3500


def test_predict_shows_the_good_table_and_tells_of_the_bad_one(hpcdl, tmp_path):
    good = write_run(tmp_path / "runs", nodes=(1, 2), run_id="20261122-141200-aaaa")
    bad = write_run(tmp_path / "runs", nodes=(1, 2), run_id="20261122-151200-bbbb", model="overfeat")
    record(good, 1)
    record(good, 2, Recording(images_per_s=1900.0))
    record(bad, 1)
    code, out, err = hpcdl("predict", bad.run_id, good.run_id, "--nodes", "4", "--json")
    data = json.loads(out)
    assert (code, err) == (0, "")
    assert [table["title"].split(" ")[0] for table in data["predictions"]] == ["AlexNet"]
    assert any("OverFeat" in note["text"] and "needs two" in note["text"] for note in data["notes"])
    code, _, err = hpcdl("predict", bad.run_id, "--nodes", "4")
    assert (code, "1 of the sizes has a throughput" in " ".join(err.split())) == (2, True)


def test_a_precision_that_was_not_reached_is_told(hpcdl, tmp_path):
    run = write_run(tmp_path / "runs", precision="0.01%", max_steps=40)
    record(run, 1)
    code, out, _ = hpcdl("report", run.run_id)
    assert code == 0
    assert "was not reached: it is ±0.1 % after 40 steps" in " ".join(out.split())
