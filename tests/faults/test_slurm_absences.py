"""Slurm itself, away, late, or of another mind: real daemons stopped and started again, real jobs requeued."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from hpcdl import jobs
from hpcdl.store import LaunchFolder, RunFolder
from tests.cluster import daemons
from tests.cluster.commands import Person, is_over, until

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

ENDLESS = ["--model", "lenet", "--batch", "16", "--steps", "100000", "--warmup", "1", "--engine", "ddp"]


@pytest.fixture
def person(cluster: ModuleType, shared_dir: Path) -> Person:
    return Person.arrive(shared_dir)


def await_steps(run: RunFolder, ranks: int = 2) -> LaunchFolder:
    [launch] = run.launches()
    until(lambda: set(launch.steps().rank.tolist()) == set(range(ranks)), "steps of all ranks")
    return launch


def start_endless(person: Person, *flags: str) -> tuple[RunFolder, LaunchFolder]:
    run = person.submit("--nodes", "2", *ENDLESS, "--time", "10", *flags)
    return run, await_steps(run)


def end(person: Person, run: RunFolder) -> None:
    person.hpcdl("cancel", run.run_id)
    until(lambda: is_over(run), "the end", timeout_s=75)


def scontrol(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["scontrol", *argv], capture_output=True, text=True, check=False)


def test_a_controller_and_a_munge_that_are_away_for_a_while(person: Person) -> None:
    """Somebody follows a job meanwhile; the job trains on, and the following goes on when Slurm is back."""
    with (person.home / "watched").open("w") as watched:
        watcher = subprocess.Popen(
            person.argv("submit", "--nodes", "2", *ENDLESS, "--time", "10", "--wait"),
            env=person.environment(),
            cwd=person.home,
            stdout=watched,
            stderr=watched,
        )
    until(lambda: person.store.runs() and person.store.find("last").submission(), "the submission")
    run = person.store.find("last")
    launch = await_steps(run)
    standing = jobs.look([run])[run.run_id]

    daemons.stop_controller()
    try:
        here = len(launch.steps())
        until(lambda: "Slurm does not answer; the job goes on" in said(person), "the watcher's word")
        done = person.hpcdl("submit", "--nodes", "1", "--model", "lenet", "--steps", "1", code=1)
        assert "does not answer" in done.stderr or "not reached" in done.stderr
        assert len(person.store.runs()) == 1, "what Slurm never heard of leaves no run"
        assert len(launch.steps()) > here
    finally:
        daemons.start_controller()
    until(lambda: jobs.look([run])[run.run_id].word == "RUNNING", "the controller's word")

    daemons.stop_munge()
    try:
        assert jobs.look_patiently(run, standing).reason == "Slurm does not answer; the job goes on"
        assert "Traceback" not in person.hpcdl("status", run.run_id, code=1).stderr
    finally:
        daemons.start_munge()
    until(lambda: jobs.look([run])[run.run_id].word == "RUNNING", "the word of all")
    assert watcher.poll() is None
    end(person, run)
    assert watcher.wait(timeout=90) == 1
    assert {record.outcome for record in launch.exits()} <= {"stopped", "failed"}
    assert len(launch.exits()) == 2
    assert "Traceback" not in said(person)


def said(person: Person) -> str:
    return " ".join((person.home / "watched").read_text().split())


def test_a_requeue_is_a_restart_and_is_marked(person: Person) -> None:
    site = person.home / "site.toml"
    site.write_text(f"{site.read_text()}\n[slurm]\nrequeue = true\n")
    run, launch = start_endless(person)
    job = str(run.submission().slurm_job_id)
    assert scontrol("requeue", job).returncode == 0
    until(lambda: len(launch.exits()) == 2, "closed records", timeout_s=60)
    assert {(record.outcome, record.restart) for record in launch.exits()} <= {("stopped", 0), ("failed", 0)}

    def is_back() -> bool:
        # Slurm lets a requeued job wait for two minutes; a person may not want to.
        scontrol("update", f"jobid={job}", "starttime=now")
        environment = launch.environment()
        return environment is not None and environment.slurm.get("SLURM_RESTART_COUNT") == "1"

    until(is_back, "the second start", timeout_s=120)
    end(person, run)
    assert sorted((record.rank, record.restart) for record in launch.exits()) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    told = " ".join(person.hpcdl("report", run.run_id).stdout.split())
    assert "restarted once: a restarted measurement is not a measurement" in told


def test_the_batch_shell_alone_is_warned_and_nothing_of_the_caller_counts(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SBATCH_ variables of the caller; a requeue that the job does not allow; then USR2 to the batch shell only."""
    for name, value in {"SBATCH_PARTITION": "nowhere", "SBATCH_REQUEUE": "1", "SBATCH_EXPORT": "NONE"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HPCDL_CANARY", "a-canary-that-nobody-may-write-down")
    run, launch = start_endless(person)
    job = str(run.submission().slurm_job_id)
    refused = scontrol("requeue", job)
    assert refused.returncode != 0, refused
    assert not is_over(run)
    subprocess.run(["scancel", "--batch", "--signal=USR2", job], check=True)
    until(lambda: is_over(run), "the end", timeout_s=60)
    assert [(record.rank, record.exit_code) for record in launch.exits()] == [(0, 140), (1, 140)]
    assert "got USR2" in run.output_path.read_text()
    for path in (path for path in run.path.rglob("*") if path.is_file()):
        assert b"a-canary-that" not in path.read_bytes(), path


def test_an_answer_that_is_lost_ends_in_exactly_one_job(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """An sbatch that hands the job in, and then says that nobody answered."""
    real, folder = shutil.which("sbatch"), person.home / "bin"
    folder.mkdir()
    (folder / "sbatch").write_text(
        f"""#!/bin/bash
[[ " $* " == *" --parsable "* ]] || exec {real} "$@"
echo once >>{folder}/asked
{real} "$@" >/dev/null
echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2
exit 1
"""
    )
    (folder / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    flags = ["--nodes", "1", "--model", "lenet", "--engine", "single", "--steps", "3", "--time", "5", "--wait"]
    person.hpcdl("submit", *flags)
    [run] = person.store.runs()
    assert (folder / "asked").read_text() == "once\n"
    asked = ["sacct", "--noheader", "--allocations", "--format=JobID", f"--name=hpcdl-{run.run_id}"]
    numbers: list[str] = []

    def is_in_the_books() -> bool:
        numbers[:] = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
        return bool(numbers)

    until(is_in_the_books, "Slurm's books")
    time.sleep(1)
    is_in_the_books()
    assert numbers == [str(run.submission().slurm_job_id)]


def test_two_jobs_whose_first_ranks_are_on_one_node_do_not_meet(person: Person) -> None:
    flags = ["--nodelist", "node1,node2", "--shared"]
    runs = [person.submit("--nodes", "2", *ENDLESS, "--time", "10", *flags) for _ in range(2)]
    launches = [await_steps(run) for run in runs]
    assert not any(is_over(run) for run in runs)
    for launch in launches:
        environment = launch.environment()
        assert environment.world_size == 2
        assert [host.host for host in environment.hosts] == ["node1", "node2"]
    meetings = {launch.rendezvous_path(0).read_text() for launch in launches}
    assert len(meetings) == 2
    assert not any("127.0.0.1" in meeting for meeting in meetings)
    for run in runs:
        end(person, run)
