"""What goes wrong on clusters, made to go wrong on a real one: all ends, the culprit is named, nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from hpcdl.walltime import format_walltime, parse_walltime_s
from tests.cluster.commands import Person, is_over, until

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from hpcdl.store import LaunchFolder, RunFolder

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

ENDLESS = ["--nodes", "4", "--model", "lenet", "--batch", "16", "--steps", "100000", "--warmup", "1"]


@pytest.fixture
def person(cluster: ModuleType, shared_dir: Path) -> Person:
    return Person.arrive(shared_dir)


def start_endless(person: Person, *flags: str) -> tuple[RunFolder, LaunchFolder]:
    """A job that trains on four nodes until something happens to it."""
    run = person.submit(*ENDLESS, "--time", "20", *flags)
    [launch] = run.launches()
    until(lambda: len(set(launch.steps().rank.tolist())) == 4, "steps of all ranks", timeout_s=180)
    return run, launch


def leave_a_minute(run: RunFolder) -> None:
    """Cut the job's walltime to a minute or two from now: how long the ranks took to start is then no matter."""
    job = str(run.submission().slurm_job_id)
    told = subprocess.run(
        ["squeue", "--noheader", "--jobs", job, "--Format=TimeUsed"],
        capture_output=True,
        text=True,
        check=True,
    )
    limit_s = parse_walltime_s(told.stdout.strip()) + 60
    limit = f"timelimit={format_walltime(limit_s)}"
    subprocess.run(["scontrol", "update", f"jobid={job}", limit], check=True)


def check_stopped(person: Person, run: RunFolder, launch: LaunchFolder) -> None:
    """Ended from outside, and said so. A rank may find its peers gone before it is told to end itself."""
    outcomes = {record.outcome for record in launch.exits()}
    assert "stopped" in outcomes
    assert outcomes <= {"stopped", "failed"}
    assert "the launch was stopped" in " ".join(person.hpcdl("report", run.run_id).stdout.split())


def rank_on(cluster: ModuleType, node: str) -> int:
    """The process id of the rank that trains on a node."""
    [pid] = [pid for pid, argv in cluster.node_processes(node).items() if "hpcdl.worker.rank" in argv]
    return int(pid)


@pytest.mark.horovod
@pytest.mark.parametrize("flags", [[], ["--engine", "ddp"]], ids=["horovod-mpi", "ddp"])
def test_a_rank_is_killed(person: Person, cluster: ModuleType, flags: list[str]) -> None:
    run, launch = start_endless(person, *flags)
    os.kill(rank_on(cluster, "node3"), signal.SIGKILL)
    killed_s = time.monotonic()
    until(lambda: is_over(run), "the end of all ranks", timeout_s=75)
    assert time.monotonic() - killed_s < 75
    exits = launch.exits()
    if flags:
        assert {record.rank for record in exits} == {0, 1, 2, 3}
    # Under PMIx, Slurm may KILL the other tasks before their supervisors can write (docs/decisions/0001).
    [culprit] = [record for record in exits if record.outcome == "killed" and record.signal == signal.SIGKILL]
    assert culprit.host == "node3"
    done = person.hpcdl("report", run.run_id)
    assert "FAILED" in done.stdout
    assert f"rank {culprit.rank} (node3): killed by signal 9 (SIGKILL)" in " ".join(done.stdout.split())
    assert "not published" in done.stdout
    assert len(launch.steps()) >= 4
    assert launch.summary() is None


@pytest.mark.horovod
def test_a_rank_hangs(person: Person, cluster: ModuleType) -> None:
    run, launch = start_endless(person, "--progress-timeout", "20")
    os.kill(rank_on(cluster, "node2"), signal.SIGSTOP)
    until(lambda: is_over(run), "the end of all ranks", timeout_s=120)
    told = " ".join(person.hpcdl("report", run.run_id).stdout.split())
    assert "(node2): hung" in told
    [culprit] = [record for record in launch.exits() if record.host == "node2"]
    assert (culprit.exit_code, culprit.process_state) == (124, "T")


def test_cancel(person: Person) -> None:
    run, launch = start_endless(person, "--engine", "ddp")
    person.hpcdl("cancel", run.run_id)
    until(lambda: is_over(run), "the end", timeout_s=75)
    check_stopped(person, run, launch)
    assert len(launch.steps()) >= 4


def test_scancel_from_outside(person: Person) -> None:
    run, launch = start_endless(person, "--engine", "ddp")
    subprocess.run(["scancel", str(run.submission().slurm_job_id)], check=True)
    until(lambda: is_over(run), "the end", timeout_s=75)
    assert len(launch.steps()) >= 4
    assert launch.summary() is None
    assert "the launch was stopped" in " ".join(person.hpcdl("report", run.run_id).stdout.split())


def test_walltime_with_its_warning(person: Person) -> None:
    run, launch = start_endless(person, "--engine", "ddp", "--signal", "B:USR2@60")
    leave_a_minute(run)
    until(lambda: is_over(run), "the end", timeout_s=180)
    assert "got USR2" in run.output_path.read_text()
    check_stopped(person, run, launch)
    assert launch.summary() is None


def test_walltime_without_warning(person: Person) -> None:
    """No USR2 comes in time: Slurm's own TERM, and KILL 30 s later, find the records closed."""
    run, launch = start_endless(person, "--engine", "ddp", "--signal", "B:USR2@1")
    leave_a_minute(run)
    until(lambda: is_over(run), "the end", timeout_s=240)
    assert len(launch.exits()) == 4
    check_stopped(person, run, launch)
    assert launch.summary() is None


def test_a_node_is_lost(person: Person, cluster: ModuleType) -> None:
    run, launch = start_endless(person, "--engine", "ddp", "--progress-timeout", "15")
    cluster.stop_node("node4")
    try:
        subprocess.run(["scontrol", "update", "nodename=node4", "state=down", "reason=lost"], check=True)
        until(lambda: is_over(run), "the end", timeout_s=120)
    finally:
        cluster.start_node("node4")
    assert {record.host for record in launch.exits()} <= {"node1", "node2", "node3"}
    told = " ".join(person.hpcdl("report", run.run_id).stdout.split())
    assert "no exit record" in told
    assert launch.summary() is None
    assert "hpcdl submit … --exclude node4" in told
    refused = person.hpcdl("submit", *ENDLESS, "--exclude", "node4", "--test-only", code=2)
    assert "not available" in refused.stderr


@pytest.mark.horovod
def test_a_pmi_that_mpi_does_not_speak(person: Person) -> None:
    """Open MPI ends the ranks before they can say a word; nothing of that may look like a measurement."""
    flags = ["--nodes", "4", "--model", "lenet", "--steps", "3", "--transport", "mpi", "--pmi", "pmi2"]
    done = person.hpcdl("submit", *flags, "--time", "5", "--wait", code=1)
    run = person.store.find("last")
    [launch] = run.launches()
    assert len(launch.steps()) == 0
    assert launch.summary() is None
    assert "while the ranks were to meet; MPI's own words are in `hpcdl logs`" in " ".join(
        done.stdout.split()
    )
    assert "PMI" in person.hpcdl("logs", run.run_id).stdout


def test_no_pmi_is_no_way_to_run_mpi(person: Person) -> None:
    done = person.hpcdl("submit", "--nodes", "4", "--transport", "mpi", "--pmi", "none", code=2)
    assert "world of one" in done.stderr


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--partition", "nowhere"], "invalid partition"),
        (["--account", "nobody"], "Invalid account"),
        (["--nodes", "40"], "more"),
        (["--option", "gres=unicorn:1"], "gres"),
    ],
)
def test_slurm_refuses(person: Person, flags: list[str], words: str) -> None:
    base = ["--model", "lenet"] + ([] if "--nodes" in flags else ["--nodes", "1"])
    done = person.hpcdl("submit", *base, *flags, code=2)
    assert words.lower() in done.stderr.lower()
    assert not list(person.store.root.glob("*"))


def test_watching_can_stop(person: Person) -> None:
    """Ctrl-C while waiting leaves the job alone and says how to stop it."""
    flags = ["--nodes", "1", "--model", "lenet", "--engine", "single", "--steps", "100000", "--time", "10"]
    watcher = person.start("submit", *flags, "--wait")
    until(lambda: person.store.runs() and person.store.find("last").submission(), "the submission")
    run = person.store.find("last")
    [launch] = run.launches()
    until(launch.steps, "steps")
    os.killpg(watcher.pid, signal.SIGINT)
    _, err = watcher.communicate(timeout=30)
    assert watcher.returncode == 130
    assert "Traceback" not in err
    assert f"hpcdl cancel {run.run_id}" in err
    assert not is_over(run)
    person.hpcdl("cancel", run.run_id)
    until(lambda: is_over(run), "the end")
