"""Rendered job scripts from their first line to their last, each way to the software, with stand-ins for the tools.

Real are bash, the script, the opening of the run, the supervisor and its rank, virtual environments. Stand-ins are
srun, Apptainer, pyxis, Spack and, beside the real ones where they are installed, the modules. Ranks do not train.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hpcdl import script
from hpcdl.preparation import choose_python
from hpcdl.records import Missing
from hpcdl.site import Site
from hpcdl.store import RunFolder
from tests.golden.jobs import RUN_ID, make_job

if TYPE_CHECKING:
    from hpcdl.records import Delivery, Exit

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STAND_INS = HERE / "stand_ins"


@dataclass
class Job:
    """A batch script of one launch of one rank, on this machine."""

    folder: Path
    site: dict
    changes: dict = field(default_factory=dict)

    @property
    def run(self) -> RunFolder:
        return RunFolder(self.folder / "runs" / RUN_ID)

    def text(self) -> str:
        site = {"node": {"network": "lo"}} | self.site
        job = make_job(
            site=site,
            probe="never",
            run_dir=str(self.run.path),
            python=choose_python(Site.model_validate(site)),
        )
        train = job.launches[0].train.model_copy(update={"steps": 3, "warmup": 1})
        launch = job.launches[0].model_copy(update={"power": None, "train": train} | self.changes)
        return script.render(job.model_copy(update={"launches": (launch,)}))

    def start(self, act: str = "complete", **variables: str) -> subprocess.Popen[str]:
        (self.folder / "script").write_text(self.text())
        environment = {
            "PATH": f"{STAND_INS}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "PYTHONPATH": f"{HERE / 'stage'}:{ROOT}",
            "SLURM_JOB_ID": "7",
            "HPCDL_ACT": act,
            "STAND_IN_LOG": str(self.folder / "log"),
            "STAND_IN_ROOT": str(self.folder / "enroot"),
        }
        return subprocess.Popen(
            ["bash", self.folder / "script"],
            env=environment | variables,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def play(self, **variables: str) -> tuple[int, str]:
        """Exit code, and all that was said."""
        child = self.start(**variables)
        said, _ = child.communicate(timeout=60)
        output = self.run.output_path
        return child.returncode, said + (output.read_text() if output.exists() else "")

    def told(self, program: str) -> list[list[str]]:
        """The words of each call of a stand-in."""
        words = (self.folder / "log").read_text().split("\0")[:-1]
        starts = [*(at for at, word in enumerate(words) if word.startswith("CALL ")), len(words)]
        calls = [words[begin:end] for begin, end in itertools.pairwise(starts)]
        return [call for call in calls if call[0] == f"CALL {program}"]

    def exit(self) -> Exit:
        [record] = self.run.launches()[0].exits()
        return record

    def delivery(self) -> Delivery:
        environment = self.run.launches()[0].environment()
        assert environment is not None
        assert environment.delivery is not None
        return environment.delivery

    def completed(self, **variables: str) -> Delivery:
        code, said = self.play(**variables)
        assert code == 0, said
        assert self.exit().outcome == "completed"
        return self.delivery()

    def refused(self, **variables: str) -> str:
        """The reason for which the rank was refused, before anything was measured."""
        code, said = self.play(**variables)
        assert code == 3, said
        assert self.exit().outcome == "refused"
        assert self.run.launches()[0].environment() is None
        return self.exit().reason


def make_image(folder: Path, name: str = "hpcdl.sif") -> Path:
    path = folder / name
    path.write_text("an image")
    os.utime(path, (1_790_000_000, 1_790_000_000))
    return path


def contain(runtime: str, image: object, **changes: object) -> dict:
    return {"container": {"runtime": runtime, "image": str(image), "python": sys.executable} | changes}


# ---- Apptainer -------------------------------------------------------------------------------------------------


def test_apptainer_runs_the_opening_and_the_ranks_inside(tmp_path: Path) -> None:
    image = make_image(tmp_path, "it's $(mine).sif")
    note = "it's $(touch CANARY) `touch CANARY` $HOME"
    site = contain("apptainer", image, mounts=["/etc/hosts:/h:ro"], options=["--writable-tmpfs"])
    site["setup"] = {"environment": {"NCCL_DEBUG": "WARN", "NOTE": note}}
    job = Job(tmp_path, site)
    # Where Slurm's PMIx waits for a rank, as it tells each of them.
    (tmp_path / "pmix.7.0").mkdir()
    found = job.completed(HPCDL_ACT="tell", PMIX_SERVER_TMPDIR=str(tmp_path / "pmix.7.0"))
    assert f"NCCL_DEBUG=WARN; NOTE={note}\n" in job.run.output_path.read_text()
    assert (found.runtime, found.image, found.image_bytes) == ("apptainer", str(image), 8)
    assert not isinstance(found.image_modified_utc, Missing | None)
    assert found.image_modified_utc.timestamp() == 1_790_000_000
    opening, rank = job.told("apptainer")
    store = str(tmp_path / "runs")
    options = [
        "exec",
        "--bind",
        str(tmp_path / "pmix.7.0"),
        "--bind",
        f"{store}:{store}",
        "--bind",
        "/etc/hosts:/h:ro",
        "--writable-tmpfs",
    ]
    for call, module in ((opening, "opening"), (rank, "supervisor")):
        assert call[1:] == [*options, str(image), sys.executable, "-m", f"hpcdl.worker.{module}", *call[13:]]
    assert not list(tmp_path.glob("**/CANARY"))


def test_gpus_and_data_reach_the_inside(tmp_path: Path) -> None:
    data = tmp_path / "data of mine"
    data.mkdir()
    job = make_job(site=contain("apptainer", make_image(tmp_path)) | {"node": {"cores": 8, "gpus": 2}})
    launch = job.launches[0]
    train = launch.train.model_copy(update={"data": "images", "data_dir": str(data)})
    text = script.render(job.model_copy(update={"launches": (launch.model_copy(update={"train": train}),)}))
    assert f"--bind '{data}':'{data}'" in text
    assert '"$runtime" --nv' in text


@pytest.mark.parametrize(("runtime", "number"), [("apptainer", signal.SIGUSR2), ("pyxis", signal.SIGTERM)])
def test_signals_reach_the_supervisor_inside(runtime: str, number: signal.Signals, tmp_path: Path) -> None:
    needs_root(runtime)
    job = Job(tmp_path, contain(runtime, make_image(tmp_path)))
    with job.start("train for ever") as shell:
        deadline = time.monotonic() + 60
        while not (job.run.path.exists() and job.run.launches() and len(job.run.launches()[0].steps()) > 2):
            assert shell.poll() is None, shell.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        shell.send_signal(number)
        assert shell.wait(timeout=30) == 128 + number
    assert job.exit().outcome == "stopped"
    assert job.exit().signal is None


def test_singularity_serves_where_there_is_no_apptainer(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    text = (STAND_INS / "apptainer").read_text().replace("APPTAINER", "SINGULARITY")
    (programs / "singularity").write_text(text)
    shutil.copy(STAND_INS / "srun", programs / "srun")
    (programs / "singularity").chmod(0o755)
    job = Job(tmp_path, contain("apptainer", make_image(tmp_path)))
    found = job.completed(PATH=f"{programs}:/usr/bin:/bin")
    assert (found.runtime, found.image) == ("apptainer", str(tmp_path / "hpcdl.sif"))


def test_an_image_that_is_not_on_the_node_ends_the_job_before_its_first_launch(tmp_path: Path) -> None:
    job = Job(tmp_path, contain("apptainer", tmp_path / "none.sif"))
    code, said = job.play()
    assert code == 1
    assert f"there is no image '{tmp_path / 'none.sif'}'" in said
    assert not job.run.path.exists()


def test_a_rank_that_is_not_in_the_image_is_refused(tmp_path: Path) -> None:
    """A runtime that starts the command without entering anything: a wrapper of the site's that has gone wrong."""
    broken = tmp_path / "bin" / "apptainer"
    broken.parent.mkdir()
    broken.write_text('#!/bin/bash\nwhile [ "$1" != -m ]; do shift; done\nexec "$STAND_IN_PYTHON" "$@"\n')
    broken.chmod(0o755)
    path = f"{broken.parent}:{STAND_INS}:{os.environ['PATH']}"
    job = Job(tmp_path, contain("apptainer", make_image(tmp_path)))
    reason = job.refused(PATH=path, STAND_IN_PYTHON=sys.executable)
    assert "was asked for, and this rank runs on the host itself" in reason


# ---- pyxis -----------------------------------------------------------------------------------------------------


def needs_root(runtime: str = "pyxis") -> None:
    """The stand-in for pyxis makes a root of its own."""
    if runtime != "pyxis":
        return
    done = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("the stand-in for pyxis needs the right to make mounts")


def test_pyxis_runs_every_step_in_the_image(tmp_path: Path) -> None:
    needs_root()
    image = make_image(tmp_path, "hpcdl.sqsh")
    site = contain("pyxis", image, mounts=["/etc/hosts:/h:ro"], options=["--container-writable"])
    site["setup"] = {"environment": {"NCCL_DEBUG": "WARN"}}
    job = Job(tmp_path, site)
    found = job.completed(HPCDL_ACT="tell")
    assert "NCCL_DEBUG=WARN;" in job.run.output_path.read_text()
    assert (found.runtime, found.image, found.image_bytes) == ("pyxis", str(image), 8)
    opening, rank = job.told("srun")
    store = tmp_path / "runs"
    for call in (opening, rank):
        assert f"--container-image={image}" in call
        assert f"--container-mounts={store}:{store},/etc/hosts:/h:ro" in call
        assert {"--no-container-mount-home", "--container-writable"} <= set(call)
        [kept] = [word for word in call if word.startswith("--container-env=")]
        assert {"NCCL_DEBUG", "NCCL_SOCKET_IFNAME", "PYTHONNOUSERSITE"} <= set(
            kept.partition("=")[2].split(",")
        )
    assert {"--overlap", "--ntasks=1"} <= set(opening)


def test_a_rank_that_pyxis_did_not_start_is_refused(tmp_path: Path) -> None:
    """An srun that takes the options of pyxis and does nothing with them."""
    deaf = tmp_path / "bin" / "srun"
    deaf.parent.mkdir()
    text = (STAND_INS / "srun").read_text().replace("--container-image=*)", "--nothing=*)")
    deaf.write_text(text)
    deaf.chmod(0o755)
    job = Job(tmp_path, contain("pyxis", make_image(tmp_path)))
    assert "runs on the host itself" in job.refused(PATH=f"{deaf.parent}:{os.environ['PATH']}")


# ---- Virtual environments, modules, Spack ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real one, which finds the packages of this one."""
    path = tmp_path_factory.mktemp("software") / "a venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", path], check=True)
    [packages] = path.glob("lib/python*/site-packages")
    here = next(entry for entry in sys.path if entry.endswith("site-packages"))
    (packages / "other.pth").write_text(f"{here}\n")
    return path


def test_a_virtual_environment_is_the_one_of_the_rank(venv: Path, tmp_path: Path) -> None:
    found = Job(tmp_path, {"setup": {"venv": str(venv)}}).completed()
    assert (found.prefix, found.venv, found.runtime) == (str(venv), str(venv), None)
    assert found.hpcdl == str(ROOT / "hpcdl")


def test_a_rank_outside_of_its_virtual_environment_is_refused(venv: Path, tmp_path: Path) -> None:
    """Its Python is a script that starts another."""
    wrong = tmp_path / "venv"
    (wrong / "bin").mkdir(parents=True)
    (wrong / "bin" / "activate").write_text(f"export VIRTUAL_ENV={wrong}\n")
    (wrong / "bin" / "python").write_text(f'#!/bin/bash\nexec "{venv}/bin/python" "$@"\n')
    (wrong / "bin" / "python").chmod(0o755)
    reason = Job(tmp_path, {"setup": {"venv": str(wrong)}}).refused()
    assert f"virtual environment {wrong} was asked for, and this rank runs in {venv}" in reason


MODULE = """
module() {
    [ "$1" = load ] || return 0
    [ "$2" != none/1 ] || { echo "unknown module" >&2; return 1; }
    export LOADEDMODULES="${LOADEDMODULES:+$LOADEDMODULES:}$2"
}
"""


def test_modules_are_found_where_the_environment_says(tmp_path: Path) -> None:
    (tmp_path / "init").mkdir()
    (tmp_path / "init" / "bash").write_text(MODULE)
    site = {"setup": {"modules": ["gcc/13", "openmpi"], "python": sys.executable}}
    found = Job(tmp_path, site).completed(MODULESHOME=str(tmp_path))
    assert found.modules == ("gcc/13", "openmpi")


def test_a_module_that_cannot_be_loaded_ends_the_job(tmp_path: Path) -> None:
    (tmp_path / "init").mkdir()
    (tmp_path / "init" / "bash").write_text(MODULE)
    job = Job(tmp_path, {"setup": {"modules": ["none/1"], "python": sys.executable}})
    code, said = job.play(MODULESHOME=str(tmp_path))
    assert code == 1
    assert "a module could not be loaded: none/1" in said


SPACK = """
spack() {
    [ "$1 $2" = "env activate" ] || return 1
    if [ -d "$3" ]; then export SPACK_ENV=$3
    elif [ -d "$SPACK_ROOT/var/spack/environments/$3" ]; then export SPACK_ENV=$SPACK_ROOT/var/spack/environments/$3
    else echo "==> Error: No such environment: '$3'" >&2; return 1
    fi
    export PATH="$SPACK_ENV/.spack-env/view/bin:$PATH"
}
"""


def make_spack(root: Path, environment: Path) -> None:
    """Its setup-env.sh, and an environment whose view holds a Python."""
    setup = root / "share" / "spack" / "setup-env.sh"
    setup.parent.mkdir(parents=True)
    setup.write_text(f"export SPACK_ROOT='{root}'\n{SPACK}")
    view = environment / ".spack-env" / "view" / "bin"
    view.mkdir(parents=True)
    (view / "python3").write_text(f'#!/bin/bash\nexec {sys.executable} "$@"\n')
    (view / "python3").chmod(0o755)


@pytest.mark.parametrize("by", ["folder", "SPACK_ROOT"])
def test_a_spack_environment_is_entered(by: str, tmp_path: Path) -> None:
    root = tmp_path / "spack of mine"
    where = tmp_path / "env" if by == "folder" else root / "var" / "spack" / "environments" / "hpcdl"
    make_spack(root, where)
    setup = {"spack": str(where) if by == "folder" else "hpcdl"}
    variables = {"SPACK_ROOT": str(root)} if by == "SPACK_ROOT" else {}
    if not variables:
        setup["spack_root"] = str(root)
    assert Job(tmp_path, {"setup": setup}).completed(**variables).spack == str(where)


@pytest.mark.parametrize(
    ("setup", "words"),
    [
        ({"spack": "other"}, "there is no Spack environment other"),
        ({"spack": "hpcdl", "spack_root": "/nowhere"}, "there is no Spack in /nowhere"),
    ],
)
def test_spack_that_is_not_there_ends_the_job(setup: dict, words: str, tmp_path: Path) -> None:
    make_spack(tmp_path / "spack", tmp_path / "env")
    job = Job(tmp_path, {"setup": {"spack_root": str(tmp_path / "spack")} | setup})
    code, said = job.play()
    assert code == 1
    assert words in said
