"""A job's life, over either executor: claim, submit once, look, cancel."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hpcdl import local, script, slurm
from hpcdl.analysis.ending import JobState
from hpcdl.durable import publish_record
from hpcdl.errors import Failure, HpcdlError, Mistake
from hpcdl.metering import SlurmEnergy, StepEnergy
from hpcdl.records import Cancellation, Submission
from hpcdl.store import RunFolder, lay_out

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpcdl.plan import Job


def submit(job: Job) -> RunFolder:
    """Hand the job to Slurm, once. The folder is claimed first, so that nothing that ran can be unrecorded.

    Raises:
        RefusedJob: Slurm's own words; the folder is taken back, as there is no job.
        Failure: Slurm did not answer; where a job may exist all the same, the folder is kept and named.
        Mistake: The output cannot be where it should; srun does not know the PMI; or the job would be of several
            clusters, or heterogeneous.
    """
    text = script.render(job)
    slurm.require_pmi(launch.pmi for launch in job.launches)
    slurm.test(text)
    folder = lay_out(job, text)
    try:
        job_id = slurm.submit(folder.script_path)
    except (slurm.Ambiguous, KeyboardInterrupt) as silence:
        job_id = _find_submitted(job, folder, silence)
    except HpcdlError:
        shutil.rmtree(folder.path)
        raise
    _record_submission(folder, slurm_job_id=job_id)
    return folder


def _find_submitted(job: Job, folder: RunFolder, silence: BaseException) -> int:
    """The job whose submission was not answered, or was interrupted: looked for by its name, never sent again."""
    name = script.job_name(job)
    try:
        found = slurm.find_by_name(name)
    except Failure:
        found = None
    if found is None:
        raise Failure(
            f"the submission was not answered ({str(silence) or 'interrupted'}), and Slurm shows no job {name!r} yet.",
            do=f"The run is kept in {folder.path}. Look with `squeue --name {name}` before you submit again.",
        ) from None
    if isinstance(silence, KeyboardInterrupt):
        _record_submission(folder, slurm_job_id=found)
        raise silence
    return found


def _record_submission(folder: RunFolder, *, slurm_job_id: int | None = None, pid: int | None = None) -> None:
    record = Submission(
        slurm_job_id=slurm_job_id,
        pid=pid,
        process_start=read_start(pid) if pid else None,
        host=socket.gethostname(),
        submitted_utc=_now_utc(),
    )
    publish_record(folder.submission_path, record)


def _now_utc() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


class LocalRun:
    """A job running on this machine, in the background of this process."""

    def __init__(self, job: Job) -> None:
        self.folder = lay_out(job, script=None)
        _record_submission(self.folder, pid=os.getpid())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=local.run_job, args=(job, self.folder.path, self._stop))

    def start(self) -> None:
        self._thread.start()

    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def stop(self) -> None:
        """End the ranks, close their records, mark the run as cancelled; returns when that is done."""
        self._stop.set()
        try:
            publish_record(self.folder.cancelled_path, Cancellation(requested_utc=_now_utc()))
        finally:
            self._thread.join()


# How long Slurm's books and the nodes' last writes may lag behind.
SETTLE_S = 90.0
# After a job that went wrong a rank may have left no record at all: then there is nothing to wait for.
SETTLE_BADLY_S = 15.0
SETTLE_TICK_S = 0.5
# Ranks that have not written how they ended may still do so.
UNDER_WAY = JobState(over=False)
# A run of this machine whose process has left.
OVER = JobState(over=True)


@dataclass(frozen=True)
class Standing:
    """What the executor says of a job: `word` is its own; `reason` is why it waits, or why it ended.

    `nodes` are those that Slurm gave it, as a host list.

    `well` is Slurm's opinion that all went well. It is never the reason to believe so; it only tells how
    long to wait for records.
    """

    over: bool
    word: str
    reason: str = ""
    slurm_job_id: int | None = None
    well: bool = False
    nodes: str = ""

    @property
    def job_state(self) -> JobState:
        return JobState(over=self.over, words=self.word)


def look(folders: list[RunFolder]) -> Mapping[str, Standing]:
    """Where each run stands, by run id: one question to Slurm for all of them."""
    submissions = {folder.run_id: folder.submission() or _adopt(folder) for folder in folders}
    wanted = [s.slurm_job_id for s in submissions.values() if s and s.slurm_job_id is not None]
    states = slurm.states(wanted) if wanted and slurm.is_here() else None
    return {run_id: _stand(submission, states) for run_id, submission in submissions.items()}


def _adopt(folder: RunFolder) -> Submission | None:
    """A job whose submission stayed unanswered, found by its name after all; its record is then made up for."""
    if not folder.script_path.exists() or not slurm.is_here():
        return None
    try:
        found = slurm.find_by_name(script.job_name(folder.job()))
    except Failure:
        return None
    if found is not None:
        _record_submission(folder, slurm_job_id=found)
    return folder.submission()


def _stand(submission: Submission | None, states: Mapping[int, slurm.JobState] | None) -> Standing:
    if submission is None:
        return Standing(over=False, word="not submitted")
    if submission.slurm_job_id is None:
        return _stand_local(submission)
    if states is None:
        return Standing(over=False, word="no Slurm here to ask", slurm_job_id=submission.slurm_job_id)
    state = states.get(submission.slurm_job_id)
    if state is None:
        # Slurm answered, and neither its queue nor its books hold the job: what vanished does not run.
        old = _age_s(submission) > SETTLE_S
        return Standing(over=old, word="unknown to Slurm", slurm_job_id=submission.slurm_job_id)
    return Standing(
        over=state.is_over,
        word=state.word,
        reason=state.reason,
        slurm_job_id=submission.slurm_job_id,
        well=state.state is slurm.State.COMPLETED,
        nodes=state.nodes,
    )


def _age_s(submission: Submission) -> float:
    return (datetime.now(UTC) - submission.submitted_utc).total_seconds()


def _stand_local(submission: Submission) -> Standing:
    if submission.host != socket.gethostname():
        return Standing(over=False, word=f"on {submission.host}")
    alive = submission.pid is not None and read_start(submission.pid) == submission.process_start
    return Standing(over=not alive, word="running here" if alive else "its process is gone")


def read_start(pid: int) -> str | None:
    """When a process started: boot id and clock ticks since then (man 5 proc). None: there is no such process.

    A number alone may have been given to another process since; the two together name one for ever.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return f"{boot} {stat.rpartition(')')[2].split()[19]}"


def _end_process(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        raise Mistake(f"process {pid} has just left by itself.") from None
    except PermissionError:
        raise Mistake(f"process {pid} belongs to somebody else.", do="Ask them to cancel the run.") from None


def look_patiently(folder: RunFolder, before: Standing) -> Standing:
    """Where a run stands; while Slurm does not answer, where it stood, with that said."""
    try:
        return look([folder])[folder.run_id]
    except Failure:
        return replace(before, reason="Slurm does not answer; the job goes on")


def settle(folder: RunFolder, standing: Standing) -> None:
    """Slurm says that the job has ended: wait until the records say it too, for longer where all went well."""
    from hpcdl.analysis.job import analyse_run  # which is heavy: submitting does without

    deadline = time.monotonic() + (SETTLE_S if standing.well else SETTLE_BADLY_S)
    while time.monotonic() < deadline:
        states = {launch.state for launch in analyse_run(folder, UNDER_WAY, with_steps=False).launches}
        if "running" not in states and not (standing.well and states - {"completed"}):
            return
        time.sleep(SETTLE_TICK_S)


def keep_energy(folder: RunFolder, standing: Standing) -> None:
    """Keep what Slurm has counted of a job's energy, once it is over: its accounts may be gone one day."""
    if not standing.over or standing.slurm_job_id is None or folder.slurm_energy() or not slurm.is_here():
        return
    counted = slurm.energies(standing.slurm_job_id)
    if counted:
        steps = tuple(
            StepEnergy(step=step, energy_j=joules, elapsed_s=seconds)
            for step, (joules, seconds) in counted.items()
        )
        # A store that cannot be written can still be reported on.
        with contextlib.suppress(Failure):
            publish_record(folder.slurm_energy_path, SlurmEnergy(steps=steps))


def cancel(folder: RunFolder) -> str:
    """Ask for the end of a run; returns what was asked of whom.

    Raises:
        Mistake: There is nothing to cancel: the run is over, was never submitted, or runs elsewhere.
    """
    standing = look([folder])[folder.run_id]  # which may find a job that nobody had recorded
    submission = folder.submission()
    if submission is None:
        raise Mistake(f"run {folder.run_id} was never submitted.")
    if standing.over:
        raise Mistake(f"run {folder.run_id} is over ({standing.word}).")
    if submission.slurm_job_id is not None:
        slurm.cancel(submission.slurm_job_id)
        asked = f"Slurm to end job {submission.slurm_job_id}"
    elif submission.host == socket.gethostname() and submission.pid is not None:
        _end_process(submission.pid)
        asked = f"process {submission.pid} to end"
    else:
        raise Mistake(f"run {folder.run_id} runs on {submission.host}.", do="Cancel it there.")
    publish_record(folder.cancelled_path, Cancellation(requested_utc=_now_utc()))
    return asked
