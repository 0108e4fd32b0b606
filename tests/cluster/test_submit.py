"""`hpcdl submit` on a real cluster: the main job, over every engine, with every network."""

from __future__ import annotations

import re
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from tests.cluster.commands import Person, is_over, until

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from hpcdl.store import RunFolder

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

HOSTS = {"node1", "node2", "node3", "node4"}


@pytest.fixture
def person(cluster: ModuleType, shared_dir: Path) -> Person:
    return Person.arrive(shared_dir)


@pytest.fixture
def tiles(cluster: ModuleType) -> Path:
    """Tiles of two real photographs as a JPEG tree, where all nodes see it; made again where the cluster was."""
    from tests.cluster import layout
    from tests.photographs import make_tree

    root = layout.SHARED / "tiles"
    if not root.exists():
        make_tree(root, classes=4, per_class=24, size=256)
    return root


def check_completed(run: RunFolder, *, engine: str, transport: str) -> None:
    """Four hosts, one world of four, and every rank's own word that it completed."""
    [launch] = run.launches()
    environment = launch.environment()
    assert environment is not None
    assert environment.world_size == 4
    assert {host.host for host in environment.hosts} == HOSTS
    assert (environment.engine, environment.transport) == (engine, transport)
    assert [(record.rank, record.outcome) for record in launch.exits()] == [
        (rank, "completed") for rank in range(4)
    ]
    assert launch.summary() is not None
    assert {finding.outcome for finding in environment.findings} == {"held"}


ENGINES = {
    "horovod-mpi": ([], ("horovod", "mpi")),
    "horovod-gloo": (["--transport", "gloo"], ("horovod", "gloo")),
    "ddp": (["--engine", "ddp"], ("ddp", "gloo")),
}


@pytest.mark.horovod
@pytest.mark.dali
@pytest.mark.parametrize("name", ENGINES)
def test_alexnet_on_photographs_over_each_engine(person: Person, tiles: Path, name: str) -> None:
    flags, (engine, transport) = ENGINES[name]
    data = ["--data", str(tiles), "--batch", "4", "--steps", "2", "--warmup", "1"]
    done = person.hpcdl("submit", "--nodes", "4", "--model", "alexnet", *data, *flags, "--wait")
    check_completed(person.store.find("last"), engine=engine, transport=transport)
    assert "REHEARSAL" in done.stdout
    assert re.search(r"AlexNet .* 4 ranks on 4 hosts", done.stdout)


@pytest.mark.horovod
def test_overfeat(person: Person) -> None:
    size = ["--batch", "1", "--steps", "1", "--warmup", "1"]
    person.hpcdl("submit", "--nodes", "4", "--model", "overfeat", *size, "--wait")
    check_completed(person.store.find("last"), engine="horovod", transport="mpi")


@pytest.mark.horovod
@pytest.mark.dali
def test_lenet_scaling_in_one_allocation(person: Person) -> None:
    """One job of 4 nodes, launches on 1, 2 and 4 of them, between a probe and the base again."""
    length = ["--steps", "5", "--warmup", "2", "--global-batch", "64"]
    done = person.hpcdl(
        "submit", "--nodes", "1,2,4", "--model", "lenet", "--data", "digits", *length, "--wait"
    )
    run = person.store.find("last")
    plans = [launch.plan() for launch in run.launches()]
    assert [plan.kind for plan in plans] == ["probe", *["train"] * 4]
    assert [plan.world_size for plan in plans[1:]] == [1, 2, 4, 1]
    jobs = {launch.environment().slurm["SLURM_JOB_ID"] for launch in run.launches()}
    assert jobs == {str(run.submission().slurm_job_id)}
    assert "REHEARSAL" in done.stdout
    assert "speed-up" in done.stdout
    assert "expected" in done.stdout
    # Five steps are too few for any number; who asks for them all the same sees them struck through.
    assert "5 steps are too few for an interval" in " ".join(done.stdout.split())
    assert "~~" not in done.stdout
    forced = person.hpcdl("report", run.run_id, "--force").stdout
    assert "REHEARSAL" in forced
    assert "~~100.0 %~~" in forced


def test_the_printed_script_is_complete(person: Person, cluster: ModuleType) -> None:
    """`hpcdl submit --dry-run | sbatch`: nothing was touched before, and the records are all there after."""
    flags = [
        "--nodes",
        "2",
        "--model",
        "lenet",
        "--steps",
        "3",
        "--warmup",
        "1",
        "--engine",
        "ddp",
        "--time",
        "5",
    ]
    script = person.hpcdl("submit", *flags, "--dry-run").stdout
    assert not person.store.root.exists()
    done = subprocess.run(
        ["sbatch", "--wait"], input=script, text=True, check=False, capture_output=True, cwd=person.home
    )
    assert done.returncode == 0, done.stderr
    [launch] = person.store.find("last").launches()
    assert [record.outcome for record in launch.exits()] == ["completed", "completed"]
    again = subprocess.run(
        ["sbatch", "--wait"], input=script, text=True, check=False, capture_output=True, cwd=person.home
    )
    assert again.returncode != 0
    assert len(launch.exits()) == 2


def test_asking_slurm_first_touches_nothing(person: Person) -> None:
    done = person.hpcdl("submit", "--nodes", "4", "--model", "lenet", "--test-only")
    assert "to start at" in done.stdout
    assert not person.store.root.exists()


def test_two_submits_at_once(person: Person) -> None:
    """Two runs with folders, jobs and meetings of their own, side by side on the same two nodes."""
    flags = ["--nodes", "2", "--model", "lenet", "--steps", "5", "--engine", "ddp", "--shared", "--time", "5"]
    flags += ["--nodelist", "node1,node2"]
    found: list[RunFolder] = []
    threads = [threading.Thread(target=lambda: found.append(person.submit(*flags))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({run.path for run in found}) == 2
    assert len({run.submission().slurm_job_id for run in found}) == 2
    for run in found:
        until(lambda run=run: is_over(run), "the job's end", timeout_s=240)
        assert [record.outcome for record in run.launches()[0].exits()] == ["completed", "completed"]
    meetings = {run.launches()[0].rendezvous_path(0).read_text() for run in found}
    assert len(meetings) == 2
    assert not any("127.0." in meeting for meeting in meetings)


def test_status_logs_and_list_by_job_id(person: Person) -> None:
    run = person.submit(
        "--nodes", "1", "--model", "lenet", "--steps", "3", "--engine", "single", "--time", "5"
    )
    job = str(run.submission().slurm_job_id)
    until(lambda: is_over(run), "the job's end")
    assert run.run_id in person.hpcdl("status", job).stdout
    assert "launch 001-lenet-1n ended with 0" in person.hpcdl("logs", job).stdout
    assert "completed" in person.hpcdl("list").stdout


def test_without_accounting(unaccounted_cluster: ModuleType, shared_dir: Path) -> None:
    person = Person.arrive(shared_dir)
    flags = ["--nodes", "2", "--model", "lenet", "--steps", "3", "--engine", "ddp", "--time", "5", "--wait"]
    assert "REHEARSAL" in person.hpcdl("submit", *flags).stdout
