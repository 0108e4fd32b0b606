"""Drills of local runs: `hpcdl run`, without Slurm."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.campaign.drill import Seen, Setting, pick
from tests.campaign.tree import Visitor, check_failure_report, check_records
from tests.cluster.commands import until

if TYPE_CHECKING:
    from subprocess import Popen

    from hpcdl.store import LaunchFolder

ENGINES = {
    "horovod-gloo": ["--engine", "horovod", "--transport", "gloo"],
    "ddp": ["--engine", "ddp"],
    "horovod-mpi": ["--engine", "horovod", "--transport", "mpi"],
}
HEALTHY = {
    "horovod-gloo": [*ENGINES["horovod-gloo"], "--ranks", "2"],
    "ddp": [*ENGINES["ddp"], "--ranks", "2", "--data", "digits"],
    "horovod-mpi": [*ENGINES["horovod-mpi"], "--ranks", "2"],
    "single": ["--engine", "single", "--ranks", "1", "--data", "digits"],
}
ENDLESS = ["run", "--model", "lenet", "--ranks", "2", "--batch", "16", "--steps", "1000000", "--warmup", "1"]
SHORT = ["run", "--model", "lenet", "--batch", "16", "--steps", "10", "--warmup", "2"]
START_S = 300.0
LEAVE_S = 90.0
# The moments of Ctrl-C: from a command that has hardly begun to read its arguments to ranks that train.
FIRST_MOMENT_S, LAST_MOMENT_S = 0.5, 30.0
NOBODY_LEFT_S = 10.0


def missing() -> str:
    """A machine can always run; Horovod's absence is a failed trial, since the claims are about it too."""
    return ""


def kill_one_rank(setting: Setting) -> Seen:
    """SIGKILL one rank of two at a random step."""
    variant, flags = pick(ENGINES, setting.number)
    person, chance = Visitor.visit(setting.home), setting.chance
    child = person.start(*ENDLESS, *flags)
    try:
        launch = _await_steps(person, child)
        time.sleep(chance.uniform(0.0, 3.0))
        environment = launch.environment()
        assert environment is not None, "no environment record"
        victim = chance.choice(environment.hosts)
        os.kill(victim.pid, signal.SIGKILL)
        killed_s = time.monotonic()
        _, err = child.communicate(timeout=LEAVE_S)
        elapsed_s = time.monotonic() - killed_s
    finally:
        _sweep(child, setting.home)
    _check_end(child, err, code=1)
    run = person.store.find("last")
    check_failure_report(person.report(run), culprit=f"rank {victim.rank} ({victim.host})")
    check_records(run, 2)
    return Seen(variant, elapsed_s, f"rank {victim.rank}")


def interrupt(setting: Setting) -> Seen:
    """What a terminal does on Ctrl-C: SIGINT to the command and to all of its process group."""
    variant, flags = pick(ENGINES, setting.number)
    moment_s = setting.chance.uniform(FIRST_MOMENT_S, LAST_MOMENT_S)
    person = Visitor.visit(setting.home)
    child = person.start(*ENDLESS, *flags)
    try:
        time.sleep(moment_s)
        assert child.poll() is None, f"it left by itself with {child.returncode}: {child.communicate()[1]}"
        os.killpg(child.pid, signal.SIGINT)
        told_s = time.monotonic()
        _, err = child.communicate(timeout=LEAVE_S)
        until(lambda: not _processes_of(setting.home), "the ranks' end", timeout_s=NOBODY_LEFT_S)
        elapsed_s = time.monotonic() - told_s
    finally:
        _sweep(child, setting.home)
    _check_end(child, err, code=130)
    assert elapsed_s <= NOBODY_LEFT_S, f"it took {elapsed_s:.1f} s"
    return Seen(variant, elapsed_s, f"after {moment_s:.1f} s, {_progress(person)}")


def stay_healthy(setting: Setting) -> Seen:
    """A short run to its end; all who can speak of it must call it completed."""
    variant, flags = pick(HEALTHY, setting.number)
    person = Visitor.visit(setting.home)
    began_s = time.monotonic()
    person.hpcdl(*SHORT, *flags)
    elapsed_s = time.monotonic() - began_s
    run = person.store.find("last")
    report = person.report(run)
    [launch] = report["launches"]
    assert launch["state"] == "completed", f"the report says {launch['state']!r}"
    assert [note for note in report["notes"] if note["kind"] == "failure"] == [], report["notes"]
    assert {record.outcome for record in run.launches()[0].exits()} == {"completed"}
    return Seen(variant, elapsed_s, f"{launch['steps_done']} steps")


def _await_steps(person: Visitor, child: Popen[str]) -> LaunchFolder:
    def trains() -> bool:
        assert child.poll() is None, f"the run left with {child.returncode}: {child.communicate()[1]}"
        runs = person.store.runs()
        return any(len(set(launch.steps().rank.tolist())) == 2 for run in runs for launch in run.launches())

    until(trains, "steps of both ranks", timeout_s=START_S)
    [launch] = person.store.find("last").launches()
    return launch


def _check_end(child: Popen[str], err: str, *, code: int) -> None:
    assert "Traceback" not in err, err
    assert child.returncode == code, f"it left with {child.returncode}: {err}"


def _progress(person: Visitor) -> str:
    """How far the run had come, for the reader of the report."""
    launches = [launch for run in person.store.runs() for launch in run.launches()]
    if not launches:
        return "before the run had a folder"
    return "while it trained" if launches[0].steps() else "before its first step"


def _processes_of(home: Path) -> list[int]:
    """Supervisors and ranks of the runs below a folder: each has its launch's folder as an argument."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and int(process.name) != os.getpid():
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if any(word.startswith(f"{home}/".encode()) for word in words):
                found.append(int(process.name))
    return found


def _sweep(child: Popen[str], home: Path) -> None:
    """Whatever a failed trial has left must not disturb the next."""
    if child.poll() is None:
        child.kill()
        child.communicate()
    for pid in _processes_of(home):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
