"""Ten thousand hostile names, paths and values through whole job scripts in a real bash, and a hundred through sbatch.

Each must come out as it went in, at the place where it belongs, and must have done nothing on its way.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hpcdl import script
from hpcdl.site import EMPTYING
from tests.golden.jobs import RUN_ID, make_job

if TYPE_CHECKING:
    from types import ModuleType

    from hpcdl.plan import Job

EACH = 150  # values in one script
SCRIPTS = 67  # 67 * 150 > 10,000
# What a shell, sbatch, Jinja, JSON or a here-document could take for its own.
HOSTILE = (
    "$(touch CANARY)",
    "`touch CANARY`",
    "'; touch CANARY; '",
    '"; touch CANARY; "',
    '\\"; touch CANARY; \\"',
    "$'\\x27; touch CANARY'",
    "|touch CANARY",
    "&touch CANARY&",
    ">CANARY",
    "<(touch CANARY)",
    "${HOME:-$(touch CANARY)}",
    "${!x@}",
    "$((x[$(touch CANARY)]))",
    "x[$(touch CANARY)]",
    "\\",
    "\\'",
    "\\$(touch CANARY)",
    "!!",
    "~root",
    "~",
    "$HOME",
    "$IFS",
    "*",
    "?",
    "[a-z]*",
    "{a,b}",
    "#x",
    " # x",
    "#SBATCH --nodes=9",
    "naïve — 数",
    "\u202e",
    "\u2028",
    "HPCDL_JOB",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "%j",
    "-rf",
    "--help",
    "--",
    "=",
    " ",
    "a b  c",
)
printable = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=12)
hostile = st.one_of(
    st.sampled_from(HOSTILE), st.tuples(st.sampled_from(HOSTILE), printable).map("".join), printable
)


def as_name(value: str) -> str:
    """A name that a folder can have, shorter than file systems allow."""
    return "x" + value.replace("/", "")[:60]


# Shell functions that stand in for the tools, where a name is looked up; each writes down its words.
TOOLS = """
note() { printf '%s\\0' "$@" >>"$LOG"; }
module() { note module "$@"; }
spack() { note spack "$@"; }
srun() {
    note srun "$@"
    while [[ $1 == -* ]]; do shift; done
    [ "$1" != bash ] || "$@"
}
"""
# Programs, where a file is looked for: each writes down its words, and the variables that the site file set.
PROGRAM = """#!/bin/bash
printf '%s\\0' {name} "$@" >>"$LOG"
for name in ${{!V_@}} ${{!APPTAINERENV_V_@}} NCCL_SOCKET_IFNAME; do
    printf '%s\\0' "$name" "${{!name}}" >>"$VARIABLES"
done
"""


def make_program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PROGRAM.format(name=path.name))
    path.chmod(0o755)
    return path


class Trial:
    """One script with hostile values, run in a folder in which nothing may appear."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cwd = root / "cwd"
        self.cwd.mkdir()
        self.log, self.variables = root / "log", root / "variables"

    def run(self, job: Job) -> None:
        (self.root / "script").write_text(TOOLS + script.render(job), encoding="utf-8")
        environment = {
            "PATH": f"{self.root / 'bin'}:/usr/bin:/bin",
            "HOME": str(self.root / "home"),
            "LC_ALL": "C.UTF-8",
            "SLURM_JOB_ID": "7",
            "LOG": str(self.log),
            "VARIABLES": str(self.variables),
        }
        done = subprocess.run(
            ["bash", self.root / "script"],
            cwd=self.cwd,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert list(self.cwd.iterdir()) == []
        assert not list(self.root.rglob("CANARY"))

    def words(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").split("\0")[:-1]

    def values(self) -> dict[str, str]:
        pairs = self.variables.read_text(encoding="utf-8").split("\0")[:-1]
        return dict(zip(pairs[::2], pairs[1::2], strict=True))


def follows(words: list[str], wanted: list[str]) -> bool:
    """Whether these stand in the list, one after the other."""
    size = len(wanted)
    return any(words[at : at + size] == wanted for at in range(len(words) - size + 1))


def place(trial: Trial, values: list[str], site: dict, *, python: str) -> Job:
    """A job whose run, launch and directives have hostile names too: takes six values."""
    run_dir = trial.root / as_name(values[0]) / RUN_ID
    run_dir.mkdir(parents=True)
    site["slurm"] = {"cpu_bind": values[1], "options": {"comment": values[2]}}
    site["node"] = {"network": values[3]}
    job = make_job(site=site, run_dir=str(run_dir), python=python, run_id=values[4])
    launch = job.launches[0].model_copy(update={"name": as_name(values[5])})
    (run_dir / launch.name).mkdir()
    return job.model_copy(update={"launches": (launch,)})


def check_place(trial: Trial, values: list[str], job: Job) -> None:
    words = trial.words()
    assert f"--cpu-bind={values[1]}" in words
    assert f"{job.run_dir}/{job.launches[0].name}" in words
    assert trial.values()["NCCL_SOCKET_IFNAME"] == values[3]
    assert {entry.name for entry in Path(job.run_dir).iterdir()} == {"slurm.out", job.launches[0].name}


def try_host(trial: Trial, values: list[str]) -> None:
    """Modules, Spack, a virtual environment and variables."""
    venv = trial.root / as_name(values[6])
    python = make_program(venv / "bin" / "python")
    (venv / "bin" / "activate").touch()
    modules, variables = values[8:64], values[64:]
    setup = {
        "modules": modules,
        "spack": as_name(values[7]),
        "venv": str(venv),
        "environment": {f"V_{at}": value for at, value in enumerate(variables)},
    }
    job = place(trial, values, {"setup": setup}, python=str(python))
    trial.run(job)
    check_place(trial, values, job)
    words = trial.words()
    loaded = [word for module in modules for word in ("module", "load", module)]
    assert words[: len(loaded)] == loaded
    assert follows(words, ["spack", "env", "activate", as_name(values[7])])
    assert follows(words, [str(python), "-m", "hpcdl.worker.supervisor"])
    assert [trial.values()[f"V_{at}"] for at in range(len(variables))] == variables


def contain(trial: Trial, values: list[str], runtime: str, mounts: list[str]) -> dict:
    image = trial.root / as_name(values[6])
    image.touch()
    # These few are refused by name, which has a test of its own.
    values[16:66] = [f"x{value}" if value.partition("=")[0] in EMPTYING else value for value in values[16:66]]
    options, variables = values[16:66], values[66:]
    return {
        "setup": {"environment": {f"V_{at}": value for at, value in enumerate(variables)}},
        "container": {
            "runtime": runtime,
            "image": str(image),
            "python": values[7],
            "mounts": mounts,
            "options": options,
        },
    }


def try_apptainer(trial: Trial, values: list[str]) -> None:
    """An image, its Python, its mounts, options, and variables."""
    make_program(trial.root / "bin" / "apptainer")
    mounts = ["/" + "".join(char for char in value if char not in ",:\\") for value in values[8:16]]
    # The folder of the runs is mounted by its name, too.
    values[0] = "".join(char for char in values[0] if char not in ",:\\")
    site = contain(trial, values, "apptainer", mounts)
    job = place(trial, values, site, python=values[7])
    trial.run(job)
    check_place(trial, values, job)
    store = str(Path(job.run_dir).parent)
    bound = [word for mount in (store, *mounts) for word in ("--bind", f"{mount}:{mount}")]
    image = site["container"]["image"]
    call = ["apptainer", "exec", *bound, *values[16:66], image, values[7], "-m"]
    assert follows(trial.words(), [*call, "hpcdl.worker.opening"])
    assert follows(trial.words(), [*call, "hpcdl.worker.supervisor", f"{job.run_dir}/{job.launches[0].name}"])
    found = trial.values()
    for at, value in enumerate(values[66:]):
        assert found[f"V_{at}"] == found[f"APPTAINERENV_V_{at}"] == value


def try_pyxis(trial: Trial, values: list[str]) -> None:
    """The same for pyxis, whose mounts take few characters only."""
    values[0] = "x"
    mounts = ["/" + "".join(char for char in value if char.isalnum()) for value in values[8:16]]
    site = contain(trial, values, "pyxis", mounts)
    job = place(trial, values, site, python=values[7])
    trial.run(job)
    words = trial.words()
    store = str(Path(job.run_dir).parent)
    mounted = ",".join(f"{mount}:{mount}" for mount in (store, *mounts))
    image = site["container"]["image"]
    start = words.index(f"--container-image={image}")
    assert words[start + 1] == f"--container-mounts={mounted}"
    names = [f"V_{at}" for at in range(len(values[66:]))]
    assert words[start + 2].startswith("--container-env=PYTHONSAFEPATH,")
    assert words[start + 2].endswith("," + ",".join(names))
    assert words[start + 4 : start + 54] == values[16:66]
    assert follows(words, [values[7], "-m", "hpcdl.worker.opening"])
    assert follows(words, [values[7], "-m", "hpcdl.worker.supervisor"])


WAYS = (try_host, try_apptainer, try_pyxis)


def test_ten_thousand_hostile_values_go_through_bash_unharmed() -> None:
    tried = 0

    @given(st.lists(hostile, min_size=EACH, max_size=EACH), st.sampled_from(WAYS))
    @settings(
        max_examples=SCRIPTS, deadline=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck)
    )
    def go_through(values: list[str], way: object) -> None:
        nonlocal tried
        with tempfile.TemporaryDirectory() as folder:
            way(Trial(Path(folder)), list(values))
        tried += len(values)

    go_through()
    assert tried >= 10_000


@pytest.mark.parametrize("way", WAYS)
def test_every_hostile_value_in_every_place(way: object) -> None:
    """The known ones, each at each place that a single value has."""
    for shift in range(0, len(HOSTILE), 6):
        values = [HOSTILE[(at + shift) % len(HOSTILE)] for at in range(EACH)]
        with tempfile.TemporaryDirectory() as folder:
            way(Trial(Path(folder)), values)


# ---- The real sbatch -------------------------------------------------------------------------------------------


def submit_held(job: Job, cwd: Path) -> str:
    done = subprocess.run(
        ["sbatch", "--parsable", "--hold"],
        input=script.render(job),
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip().partition(";")[0]


def read_back(number: str, form: str) -> str:
    argv = ["squeue", "--noheader", "--jobs", number, f"--format={form}"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.removesuffix("\n")


@pytest.mark.cluster
@pytest.mark.parametrize("half", [0, 1])
def test_a_hundred_hostile_values_go_through_sbatch_unharmed(
    cluster: ModuleType, tmp_path: Path, half: int
) -> None:
    values = [(one + other).strip() for one in HOSTILE for other in HOSTILE[::17]][half::2]
    values = [value for value in values if value][:50]
    assert len(values) == 50
    numbers = []
    for value in values:
        site = {"slurm": {"exclusive": False, "options": {"comment": value, "mail-user": value}}}
        job = make_job(site=site, run_id=value)
        numbers.append(submit_held(job, tmp_path))
        assert read_back(numbers[-1], "%D %j %k") == f"1 hpcdl-{value} {value}"
    subprocess.run(["scancel", *numbers], check=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.cluster
@pytest.mark.parametrize("value", HOSTILE[:12])
def test_a_partition_of_that_name_is_refused_by_its_name(
    cluster: ModuleType, tmp_path: Path, value: str
) -> None:
    text = script.render(make_job(site={"slurm": {"partition": value}}))
    done = subprocess.run(
        ["sbatch", "--test-only"], input=text, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "invalid partition" in done.stderr.lower()
    assert list(tmp_path.iterdir()) == []
