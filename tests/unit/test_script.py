"""The batch script: kept texts, quoting through a real bash, refusals, and what it does when signals come."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpcdl import script
from hpcdl.errors import Mistake
from hpcdl.plan import Job, NodeCheck, hash_plan
from tests.check_launches import as_check
from tests.golden import keep_or_read
from tests.golden.jobs import KEPT, RUN_ID, make_job

HOSTILE = [
    "$(touch CANARY)",
    "`touch CANARY`",
    "'; touch CANARY; '",
    '"; touch CANARY; "',
    "a b  c",
    "\\",
    "\\'",
    "!!",
    "~root",
    "$HOME",
    "*",
    "#x",
    "naïve — 数",
    "HPCDL_JOB",
    "{{ 7 * 7 }}",
    "%j",
    "-rf",
]
printable = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=30)
hostile = st.one_of(
    st.sampled_from(HOSTILE),
    printable,
    st.lists(st.sampled_from(HOSTILE), min_size=2, max_size=3).map("".join),
)
# A folder's name: no slash, not one of the two that every folder has.
hostile_name = hostile.map(lambda text: "x" + text.replace("/", "")).filter(
    lambda text: len(text.encode()) < 200
)


def bash(text: str, *, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a text in a real bash that inherits nothing."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/home/nobody", "LC_ALL": "C.UTF-8"} | variables
    return subprocess.run(
        ["bash", "-c", text],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def payload_of(text: str) -> str:
    match = re.search(r"<<'HPCDL_JOB' \|\| exit\n(.*?\n)HPCDL_JOB\n", text, re.DOTALL)
    assert match is not None
    return match[1]


# ---- Kept texts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KEPT)
def test_scripts_are_as_they_were(name: str) -> None:
    text = script.render(KEPT[name])
    # The job's own schema has its own tests.
    shown = text.replace(payload_of(text), "{ the job, as JSON }\n")
    assert shown == keep_or_read(name, shown)


@pytest.mark.parametrize("name", KEPT)
def test_scripts_are_clean_to_bash_and_shellcheck(name: str, tmp_path: Path) -> None:
    path = tmp_path / "script.sbatch"
    path.write_text(script.render(KEPT[name]), encoding="utf-8")
    subprocess.run(["bash", "-n", path], check=True)
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    found = subprocess.run(["shellcheck", path], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def test_directives_stand_before_the_first_command() -> None:
    lines = script.render(KEPT["full.sbatch"]).splitlines()
    directives = [number for number, line in enumerate(lines) if line.startswith("#SBATCH")]
    first_command = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    assert len(directives) > 20
    assert max(directives) < first_command


def test_a_job_asks_for_its_largest_launch() -> None:
    job = make_job(nodes=(1, 4), site={"node": {"cores": 8}}, tasks_per_node=4)
    asked = script.directives(job)
    assert {"--nodes=4", "--ntasks-per-node=4", "--cpus-per-task=2"} <= set(asked)
    assert not any(line.startswith("--gpus") for line in asked)


# ---- Quoting ---------------------------------------------------------------------------------------------------


@given(st.lists(hostile, min_size=1, max_size=20))
@settings(max_examples=40, deadline=None)
@example(HOSTILE)
def test_bash_reads_every_quoted_value_back(values: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        done = bash("printf '%s\\0' " + " ".join(script.quote(value) for value in values), cwd=Path(folder))
        assert done.stdout.split("\0")[:-1] == values
        assert list(Path(folder).iterdir()) == []


@given(hostile)
@settings(max_examples=40, deadline=None)
@example("/envs/$HOME x")
@example("$(touch CANARY)/x")
@example("~root/x")
@example("${HOME:-$(touch CANARY)}/x")
def test_a_path_expands_its_leading_variable_and_nothing_else(rest: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = ["~/" + rest, "$PLACE/" + rest, "${PLACE}/" + rest, "/" + rest, "x" + rest]
        words = " ".join(script.quote_path(path) for path in paths)
        done = bash(f"printf '%s\\0' {words}", cwd=Path(folder), PLACE="/a b")
        assert done.stdout.split("\0")[:-1] == [
            "/home/nobody/" + rest,
            "/a b/" + rest,
            "/a b/" + rest,
            "/" + rest,
            "x" + rest,
        ]
        assert list(Path(folder).iterdir()) == []


def test_a_path_of_a_variable_that_is_not_set_ends_the_script() -> None:
    done = bash(f"echo {script.quote_path('$NOWHERE/bin')}; echo went on")
    assert done.returncode != 0
    assert "NOWHERE" in done.stderr
    assert "went on" not in done.stdout


def read_directive(text: str) -> str:
    """What sbatch would read, by its rules as seen with 22.05; the cluster's tests ask the real one."""
    value, quote, escaped = "", "", False
    for char in text:
        if escaped:
            value, escaped = value + char, False
        elif char == "\\":
            escaped = True
        elif quote:
            value, quote = (value, "") if char == quote else (value + char, quote)
        elif char in "\"'":
            quote = char
        elif char.isspace() or char == "#":
            break
        else:
            value += char
    assert not quote
    assert not escaped
    return value


@given(hostile)
@example("a # b \" ' \\ c")
def test_slurm_reads_every_directive_back(value: str) -> None:
    assert read_directive(script.quote_directive(value)) == value


@given(name=printable, about=st.text(max_size=40), value=hostile)
@settings(max_examples=40, deadline=None)
@example(name="x", about="HPCDL_JOB\nHPCDL_JOB\n$(touch CANARY)", value="HPCDL_JOB")
def test_the_job_in_the_script_is_the_job(name: str, about: str, value: str) -> None:
    job = make_job(about=about, sources={name: value}, python=value)
    payload = payload_of(script.render(job))
    assert payload.isascii()
    assert Job.model_validate(json.loads(payload)) == job
    # None of its lines could be taken for the end.
    assert all(line[0] in " {}" for line in payload.splitlines())


def contain(**changes: object) -> dict[str, Any]:
    return {"container": {"runtime": "apptainer", "image": "/x.sif"} | changes}


# Every place of a job that a person's text can reach, and how it gets there.
PLACES = {
    "partition": lambda text: {"site": {"slurm": {"partition": text}}},
    "nodelist": lambda text: {"site": {"slurm": {"nodelist": text}}},
    "cpu_bind": lambda text: {"site": {"slurm": {"cpu_bind": text}}},
    "pmi": lambda text: {"site": {"slurm": {"pmi": text}}},
    "option": lambda text: {"site": {"slurm": {"options": {"comment": text}}}},
    "network": lambda text: {"site": {"node": {"network": text}}},
    "module": lambda text: {"site": {"setup": {"modules": [text]}}},
    "venv": lambda text: {"site": {"setup": {"venv": text}}},
    "environment": lambda text: {"site": {"setup": {"environment": {"NAME": text}}}},
    "spack": lambda text: {"site": {"setup": {"spack": text}}},
    "spack_root": lambda text: {"site": {"setup": {"spack": "x", "spack_root": text}}},
    "image": lambda text: {"site": contain(image="/" + text)},
    "mount": lambda text: {"site": contain(mounts=["/" + text])},
    "container option": lambda text: {"site": contain(options=[text])},
    "python": lambda text: {"python": text},
    "run_dir": lambda text: {"run_dir": text},
    "run_id": lambda text: {"run_id": text},
}


@pytest.mark.parametrize("char", ["\n", "\r", "\x00", "\x1b", "\x7f", "\x85", "\ud800"])
@pytest.mark.parametrize("place", PLACES)
def test_control_characters_are_refused_everywhere(place: str, char: str) -> None:
    with pytest.raises((Mistake, ValueError)):
        script.render(make_job(**PLACES[place](f"a{char}b")))


RECORD = """#!/bin/bash
# Stands in for a program: writes down its words, its standard input, and some of its environment.
{{ printf '%s\\0' {name} "$@"; printf '%s\\0' "NAME=$NAME" "NET=$NCCL_SOCKET_IFNAME" "$SRUN_CPUS_PER_TASK"; }} >>{log}
{then}
"""


def make_program(path: Path, log: Path, then: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(RECORD.format(name=shlex.quote(path.name), log=shlex.quote(str(log)), then=then))
    path.chmod(0o755)


@given(
    values=st.fixed_dictionaries(dict.fromkeys(("network", "module", "cpu_bind", "value"), hostile)),
    folder=hostile_name,
)
@settings(max_examples=25, deadline=None)
@example(
    values=dict.fromkeys(("network", "module", "cpu_bind", "value"), "$(touch CANARY)"),
    folder="$(touch CANARY)'\" x",
)
def test_hostile_values_go_through_a_whole_script_unharmed(values: dict[str, str], folder: str) -> None:
    with tempfile.TemporaryDirectory() as root:
        here, log = Path(root) / "here", Path(root) / "log"
        run_dir, venv = here / folder / RUN_ID, here / folder / "venv"
        run_dir.mkdir(parents=True)
        for program in (venv / "bin" / "python", here / "bin" / "srun", here / "bin" / "module"):
            make_program(program, log)
        (venv / "bin" / "activate").touch()
        job = make_job(
            site={
                "slurm": {"cpu_bind": values["cpu_bind"]},
                "node": {"network": values["network"]},
                "setup": {
                    "venv": str(venv),
                    "modules": [values["module"]],
                    "environment": {"NAME": values["value"]},
                },
            },
            run_dir=str(run_dir),
            python=str(venv / "bin" / "python"),
        )
        path = f"{here / 'bin'}:{os.environ['PATH']}"
        done = bash(script.render(job), cwd=here, SLURM_JOB_ID="7", PATH=path)
        assert (done.returncode, done.stderr) == (0, "")
        words = log.read_text().split("\0")
        net, name = f"NET={values['network']}", f"NAME={values['value']}"
        assert words[:5] == ["module", "load", values["module"], "NAME=", net]
        assert words[6:11] == ["python", "-m", "hpcdl.worker.opening", name, net]
        srun = words[12:-4]
        assert f"--cpu-bind={values['cpu_bind']}" in srun
        assert srun[-4:] == [job.python, "-m", "hpcdl.worker.supervisor", f"{run_dir}/{job.launches[0].name}"]
        assert words[-4:] == [name, net, "2", ""]
        assert {entry.name for entry in here.iterdir()} == {"bin", folder}
        assert {entry.name for entry in run_dir.iterdir()} == {"slurm.out"}


# ---- Refusals --------------------------------------------------------------------------------------------------


def test_the_ranks_of_a_check_end_neither_each_other_nor_the_job() -> None:
    job = make_job(nodes=(2, 4), probe="never", bracket=False)
    check = NodeCheck(checks=("identity",))
    first, second = job.launches
    checking = as_check(first, check).model_copy(update={"first_node": 2, "power": second.power})
    text = script.render(job.model_copy(update={"launches": (checking, second)}))
    steps = [
        line for line in text.replace("\\\n", " ").splitlines() if re.search(r"\b(launch|sample) 00", line)
    ]
    alone = {"--kill-on-bad-exit=0", "--wait=0", "--no-kill"}
    by_name = {tuple(line.split()[1:3]): set(line.split()) for line in steps}
    checked = by_name["launch", checking.name]
    assert alone | {"--relative=2", "--mpi=none"} <= checked
    assert {"--relative=2", "--no-kill"} <= by_name["sample", checking.name]
    trained = by_name["launch", second.name]
    assert "--relative=0" in trained
    assert not alone & trained
    # srun takes the last word, and what holds for all launches stands before.
    assert text.index("--kill-on-bad-exit=1") < text.index("--kill-on-bad-exit=0 --wait=0 --no-kill")
    assert "#SBATCH --no-kill\n" in text
    assert "no-kill" not in script.render(job).replace("no-kill=", "")
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0


@pytest.mark.parametrize("name", ["nodes", "output", "job-name", "export", "no-requeue", "array"])
def test_options_that_the_script_relies_on_are_refused(name: str) -> None:
    with pytest.raises(Mistake, match=name):
        script.render(make_job(site={"slurm": {"options": {name: "1"}}}))


@pytest.mark.parametrize("name", ["N", "--mem-per-cpu", "Comment"])
def test_options_are_written_by_their_long_names(name: str) -> None:
    with pytest.raises(Mistake, match="long name"):
        script.render(make_job(site={"slurm": {"options": {name: "1"}}}))


def site_with_template(path: Path, text: str) -> dict[str, Any]:
    path.write_text(text)
    return {"slurm": {"template": str(path)}}


def test_a_site_has_its_own_template(tmp_path: Path) -> None:
    site = site_with_template(
        tmp_path / "own.j2", "#!/bin/bash\n{{ job.run_id }} {{ job.benchmark.about }}\n"
    )
    assert script.render(make_job(site=site, about="a b")) == f"#!/bin/bash\n{RUN_ID} 'a b'\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{% if %}", "line 1"),
        ("\n\n{{ job.run_id", "line 3"),
        ("{{ jbo }}", "'jbo' is undefined"),
        ("{{ slurm.queue }}", "queue"),
        ("{{ slurm.partition }}", "None"),
        ("{{ slurm.exclusive }}", "True"),
    ],
)
def test_a_template_that_cannot_be_filled_is_named(text: str, words: str, tmp_path: Path) -> None:
    site = site_with_template(tmp_path / "own.j2", text)
    with pytest.raises(Mistake, match=words):
        script.render(make_job(site=site))


def test_a_template_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"none\.j2"):
        script.render(make_job(site={"slurm": {"template": str(tmp_path / "none.j2")}}))


def test_the_wheel_carries_the_template_inside_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "_jobscripts" / script.TEMPLATE
    inside.parent.mkdir()
    inside.write_text("from the wheel: {{ job.run_id }}")
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path)
    assert script.render(make_job()) == f"from the wheel: {RUN_ID}"


# ---- What it does ----------------------------------------------------------------------------------------------

# Where it stands, the stand-in for srun takes its part from files: `exit-NAME` is how that launch ends; where
# `hold-NAME` lies it runs until USR2, and answers TERM as srun does: by killing without a record.
SRUN = """
launch=$(basename "${@: -1}")
here=$(dirname "$0")
trap 'echo closed >"$here/closed-$launch"; exit 3' USR2
trap 'exit 137' TERM
touch "$here/began-$launch"
while [ -e "$here/hold-$launch" ]; do sleep 0.05; done
exit "$(cat "$here/exit-$launch" 2>/dev/null || echo 0)"
"""


class Playing:
    """The batch script of a job of two launches, in a real bash, with stand-ins for srun and Python."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run_dir = folder / "run"
        self.run_dir.mkdir()
        job = make_job(
            nodes=(1, 2),
            bracket=False,
            probe="never",
            run_dir=str(self.run_dir),
            python=str(folder / "python"),
        )
        self.first, self.second = (launch.name for launch in job.launches)
        make_program(folder / "python", folder / "log")
        make_program(folder / "srun", folder / "log", SRUN)
        (folder / "script").write_text(script.render(job))

    def start(self, **variables: str) -> subprocess.Popen[bytes]:
        environment = {"PATH": f"{self.folder}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"} | variables
        return subprocess.Popen(["bash", self.folder / "script"], env=environment, process_group=0)

    def play(self, **variables: str) -> int:
        return self.start(**variables).wait(timeout=60)

    def interrupt(self, number: signal.Signals) -> int:
        """Start, hold the first launch, send a signal to the batch shell alone once that launch is under way."""
        (self.folder / f"hold-{self.first}").touch()
        shell = self.start()
        while not (self.folder / f"began-{self.first}").exists():
            assert shell.poll() is None
            time.sleep(0.02)
        shell.send_signal(number)
        return shell.wait(timeout=60)

    def began(self, launch: str) -> bool:
        return (self.folder / f"began-{launch}").exists()

    @property
    def said(self) -> str:
        return (self.run_dir / "slurm.out").read_text()


@pytest.fixture
def playing(tmp_path: Path) -> Playing:
    return Playing(tmp_path)


def test_all_launches_run_and_the_script_ends_well(playing: Playing) -> None:
    assert playing.play() == 0
    assert playing.began(playing.first)
    assert playing.began(playing.second)


def test_a_failed_launch_does_not_stop_the_next_and_is_what_slurm_hears(playing: Playing) -> None:
    (playing.folder / f"exit-{playing.first}").write_text("42")
    (playing.folder / f"exit-{playing.second}").write_text("43")
    assert playing.play() == 42
    assert playing.began(playing.second)


def test_the_failure_of_the_last_launch_is_heard_too(playing: Playing) -> None:
    (playing.folder / f"exit-{playing.second}").write_text("5")
    assert playing.play() == 5


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT])
def test_a_signal_closes_the_launch_under_way_and_no_other_begins(
    playing: Playing, number: signal.Signals
) -> None:
    assert playing.interrupt(number) == 128 + number
    assert (playing.folder / f"closed-{playing.first}").exists()
    assert not playing.began(playing.second)
    assert f"got {number.name.removeprefix('SIG')}" in playing.said


@pytest.mark.parametrize("record", ["summary.json", "probe.json"])
def test_what_was_completed_before_a_restart_is_not_measured_again(playing: Playing, record: str) -> None:
    (playing.run_dir / playing.first).mkdir()
    (playing.run_dir / playing.first / record).write_text("{}")
    assert playing.play(SLURM_RESTART_COUNT="1") == 0
    assert not playing.began(playing.first)
    assert playing.began(playing.second)
    assert f"launch {playing.first} was completed before the job was restarted" in playing.said


def test_without_a_restart_every_launch_begins(playing: Playing) -> None:
    (playing.run_dir / playing.first).mkdir()
    (playing.run_dir / playing.first / "summary.json").write_text("{}")
    assert playing.play() == 0
    assert playing.began(playing.first)


def test_a_script_that_slurm_did_not_start_says_so(playing: Playing) -> None:
    assert playing.play(SLURM_JOB_ID="") == 1
    assert not playing.began(playing.first)


def test_a_folder_that_cannot_be_opened_ends_the_script_before_the_first_launch(playing: Playing) -> None:
    make_program(playing.folder / "python", playing.folder / "log", "exit 2")
    assert playing.play() == 2
    assert not playing.began(playing.first)


@pytest.mark.parametrize(
    ("node", "tasks", "slurm", "bind"),
    [
        ({"cores": 64, "gpus": 8}, None, {}, "none"),  # they bind themselves, near their GPUs
        ({"cores": 64, "gpus": 8}, 1, {}, "cores"),
        ({"cores": 64}, 8, {}, "cores"),
        ({"cores": 64, "gpus": 8}, None, {"cpu_bind": "ldoms"}, "ldoms"),  # a site has its own word
    ],
)
def test_tasks_of_several_gpus_are_left_to_bind_themselves(node, tasks, slurm, bind) -> None:
    job = make_job(site={"node": node, "slurm": slurm}, tasks_per_node=tasks)
    steps = [line for line in script.render(job).splitlines() if "--relative=0 --ntasks-per-node=" in line]
    assert steps
    assert {line.partition("--cpu-bind=")[2] for line in steps} == {bind}


def test_what_nobody_said_of_binding_does_not_change_what_was_asked() -> None:
    jobs = [make_job(site={"slurm": {"cpu_bind": word}}) for word in (None, "cores", "none")]
    hashes = [hash_plan(job.benchmark, job.site, job.launches) for job in jobs]
    assert hashes[0] == hashes[1] != hashes[2]


def test_binding_of_a_surrounding_step_is_forgotten(playing: Playing) -> None:
    seen = 'env | grep -c -E "^SLURM_(CPU|MEM)_BIND" >"$(dirname "$0")/leaked"; exit 0'
    make_program(playing.folder / "srun", playing.folder / "log", seen)
    playing.play(
        SLURM_CPU_BIND="quiet,mask_cpu:0x1", SLURM_CPU_BIND_TYPE="mask_cpu:", SLURM_MEM_BIND_LIST="0"
    )
    assert (playing.folder / "leaked").read_text() == "0\n"
