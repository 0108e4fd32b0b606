"""Slurm itself, away, late, or of another mind: real daemons stopped and started again, real jobs requeued."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from hpcdl import jobs
from tests.cluster import daemons
from tests.cluster.commands import Person, is_over, until

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from hpcdl.store import LaunchFolder, RunFolder

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

SILENCE = "Slurm does not answer; the job goes on"
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


def scontrol(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["scontrol", *argv], capture_output=True, text=True, check=False)


def state(job: str) -> str:
    asked = ["squeue", "--noheader", "--jobs", job, "--format=%T"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def test_a_controller_and_a_munge_that_are_away_for_a_while(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One job, to which much happens: it trains on, and somebody who follows it goes on when Slurm is back.

    The caller's SBATCH_ variables count for nothing; a requeue is refused, as the job does not allow it; a warning
    to the batch shell alone closes the records; and nothing of the caller's environment is written down.
    """
    for name, value in {
        "SBATCH_PARTITION": "nowhere",
        "SBATCH_REQUEUE": "1",
        "SBATCH_EXPORT": "NONE",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HPCDL_CANARY", "a-canary-that-nobody-may-write-down")
    watcher = follow(person)
    until(lambda: person.store.runs() and person.store.find("last").submission(), "the submission")
    run = person.store.find("last")
    launch = await_steps(run)
    standing = jobs.look([run])[run.run_id]

    daemons.stop_controller()
    try:
        here = len(launch.steps())
        until(lambda: SILENCE in said(person), "the watcher's word")
        assert len(launch.steps()) > here
    finally:
        daemons.start_controller()
    daemons.stop_munge()
    try:
        assert jobs.look_patiently(run, standing).reason == SILENCE
    finally:
        daemons.start_munge()
    until(lambda: jobs.look([run])[run.run_id].word == "RUNNING", "the word of both")

    assert watcher.poll() is None
    watcher.send_signal(signal.SIGINT)
    assert watcher.wait(timeout=30) == 130
    assert "Traceback" not in said(person)
    assert f"hpcdl cancel {run.run_id}" in said(person)
    job = str(run.submission().slurm_job_id)
    assert scontrol("requeue", job).returncode != 0
    assert not is_over(run)
    warn(run)
    until(lambda: is_over(run), "the end", timeout_s=60)
    assert [(record.rank, record.exit_code) for record in launch.exits()] == [(0, 140), (1, 140)]
    assert "got USR2" in run.output_path.read_text()
    for path in (path for path in run.path.rglob("*") if path.is_file()):
        assert b"a-canary-that" not in path.read_bytes(), path


def follow(person: Person) -> subprocess.Popen[bytes]:
    """Submit and stay; what is said meanwhile can be read by `said`."""
    with (person.home / "watched").open("w") as watched:
        return subprocess.Popen(
            person.argv("submit", "--nodes", "2", *ENDLESS, "--time", "10", "--wait"),
            env=person.environment(),
            cwd=person.home,
            stdout=watched,
            stderr=watched,
            process_group=0,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )


def warn(run: RunFolder) -> None:
    """The warning before the walltime, as Slurm sends it."""
    job = str(run.submission().slurm_job_id)
    subprocess.run(["scancel", "--batch", "--signal=USR2", job], check=True)


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
        environment = launch.environment()
        return environment is not None and environment.slurm.get("SLURM_RESTART_COUNT") == "1"

    # Slurm lets a requeued job wait for two minutes, which a test need not; but its credentials count whole seconds,
    # and a start in the second of the end is taken for the one that was revoked.
    until(lambda: state(job) == "PENDING", "its place in the queue", timeout_s=60)
    time.sleep(2)
    assert scontrol("update", f"jobid={job}", "starttime=now").returncode == 0
    until(is_back, "the second start", timeout_s=120)
    warn(run)
    until(lambda: is_over(run), "the end", timeout_s=60)
    assert sorted((record.rank, record.restart) for record in launch.exits()) == [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
    ]
    told = " ".join(person.hpcdl("report", run.run_id).stdout.split())
    assert "restarted once: a restarted measurement is not a measurement" in told


def test_an_answer_that_is_lost_ends_in_exactly_one_job(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    flags = ["--nodes", "1", "--model", "lenet", "--engine", "single", "--steps", "3", "--time", "5"]
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
