"""A job in an image, on the real Slurm with real ranks over MPI; Apptainer itself is a stand-in."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cluster.commands import SITE, Person

if TYPE_CHECKING:
    from types import ModuleType

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]
STAND_IN = ROOT / "tests" / "faults" / "stand_ins" / "apptainer"
CONTAINER = """
STAND_IN_LOG = "{shared}/log"
PYTHONPATH = "{root}"

[setup]
lines = ['export PATH="{shared}/bin:$PATH"']

[container]
runtime = "apptainer"
image = "{shared}/hpcdl.sif"
python = "{python}"
"""


@pytest.fixture
def person(cluster: ModuleType, shared_dir: Path) -> Person:
    (shared_dir / "bin").mkdir()
    shutil.copy(STAND_IN, shared_dir / "bin")
    (shared_dir / "hpcdl.sif").write_text("an image")
    table = CONTAINER.format(shared=shared_dir, root=ROOT, python=sys.executable)
    (shared_dir / "site.toml").write_text(SITE + table)
    return Person(shared_dir)


@pytest.mark.horovod
def test_ranks_over_mpi_in_an_image(person: Person, shared_dir: Path) -> None:
    length = ["--batch", "8", "--steps", "3", "--warmup", "1", "--probe", "never"]
    person.hpcdl("submit", "--nodes", "2", "--model", "lenet", *length, "--wait")
    run = person.store.find("last")
    [launch] = run.launches()
    environment = launch.environment()
    assert environment is not None
    assert (environment.world_size, environment.transport) == (2, "mpi")
    assert {finding.outcome for finding in environment.findings} == {"held"}
    found = environment.delivery
    assert found is not None
    assert (found.runtime, found.image, found.image_bytes) == ("apptainer", f"{shared_dir}/hpcdl.sif", 8)
    assert [record.outcome for record in launch.exits()] == ["completed", "completed"]
    # Slurm's own PMIx named its folder, and the stand-in found it where it should be mounted.
    words = (shared_dir / "log").read_text().split("\0")
    assert any("pmix" in word for word in words if word.startswith("/"))
    [row] = person.report(run)["software"]
    assert (row["runtime"], row["image_bytes"]["value"]) == ("apptainer", 8)


# Takes the options of pyxis, and starts the step on the host as if there were no image.
DEAF_SRUN = """#!/bin/bash
for word; do
    shift
    case $word in --container-* | --no-container-*) ;; *) set -- "$@" "$word" ;; esac
done
exec {srun} "$@"
"""


def test_ranks_that_pyxis_did_not_start_are_refused(person: Person, shared_dir: Path) -> None:
    """The opening, a step of its own under pyxis, is run by the real srun; ranks see that they are on the host."""
    deaf = shared_dir / "bin" / "srun"
    deaf.write_text(DEAF_SRUN.format(srun=shutil.which("srun")))
    deaf.chmod(0o755)
    site = shared_dir / "site.toml"
    site.write_text(site.read_text().replace('"apptainer"', '"pyxis"'))
    length = ["--steps", "3", "--probe", "never", "--engine", "ddp"]
    person.hpcdl("submit", "--nodes", "2", "--model", "lenet", *length, "--wait", code=1)
    [launch] = person.store.find("last").launches()
    assert launch.environment() is None
    # Whichever is refused first ends the other.
    reasons = {record.outcome: record.reason for record in launch.exits()}
    assert "was asked for, and this rank runs on the host itself" in reasons["refused"]


def test_an_image_that_is_not_there_costs_no_node_hour(person: Person, shared_dir: Path) -> None:
    (shared_dir / "hpcdl.sif").unlink()
    done = person.hpcdl("submit", "--nodes", "2", "--model", "lenet", code=2)
    assert f"there is no image {shared_dir}/hpcdl.sif" in " ".join(done.stderr.split())
    assert person.store.runs() == []
