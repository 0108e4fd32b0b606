"""One run: all launches of a job, and what they amount to together."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.analysis.ending import format_members
from hpcdl.analysis.energy import Electricity
from hpcdl.analysis.launch import LaunchResult, analyse_launch
from hpcdl.analysis.machines import find_disguise
from hpcdl.store import LaunchFolder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.ending import JobState, State
    from hpcdl.plan import Job
    from hpcdl.records import Submission
    from hpcdl.store import RunFolder, Torn


@dataclass(frozen=True)
class RunResult:
    """What a run's records say. `rehearsal` is the reason why it is one, over all launches, or None.

    `story` is why there is a run without launches that ran; empty where the launches tell for themselves.
    """

    run_id: str
    path: str
    job: Job
    submission: Submission | None
    cancelled: bool
    state: State
    story: str
    launches: tuple[LaunchResult, ...]
    rehearsal: str | None
    torn: tuple[Torn, ...] = ()

    @property
    def short_id(self) -> str:
        """The end of the run's own id, whatever its folder is called: it finds the run too, and leaves room."""
        return self.job.run_id.rpartition("-")[2]

    @property
    def trainings(self) -> tuple[LaunchResult, ...]:
        """The launches that train; probes are not among them."""
        return tuple(launch for launch in self.launches if launch.plan.kind == "train")

    @property
    def completed(self) -> bool:
        """All launches, each by its own explicit word."""
        return self.state == "completed"

    @property
    def findings(self) -> tuple[str, ...]:
        """What a reader should know, launch by launch, and what could not be read; what holds for several, once."""
        places: defaultdict[str, list[int]] = defaultdict(list)
        for launch in self.launches:
            for text in _list_findings(launch):
                places[text].append(launch.plan.index)
        told = (
            f"{format_members(indices, 'launch', 'launches')}: {text}" for text, indices in places.items()
        )
        return (*_tell_torn(self.torn), *told)


def _list_findings(launch: LaunchResult) -> list[str]:
    return [*launch.findings, *_tell_torn(launch.torn)]


def _tell_torn(torn: Sequence[Torn]) -> list[str]:
    if not torn:
        return []
    first = torn[0]
    line = f", line {first.line}" if first.line else ""
    records = "1 record" if len(torn) == 1 else f"{len(torn)} records"
    return [f"{records} could not be read and left out; the first: {first.path.name}{line}"]


def analyse_run(run: RunFolder, job_state: JobState | None = None, *, with_steps: bool = True) -> RunResult:
    """What the records of a run say, whether it has ended or not.

    Args:
        run: The run's files.
        job_state: What Slurm or this machine says of the job; it explains only what the records lack.
        with_steps: False leaves the step records unread, for lists of many runs.

    Raises:
        Mistake: The job record is missing or cannot be read.
    """
    job = run.job()
    torn: list[Torn] = []
    known = Electricity(job.site.metered, run.slurm_energy(torn))
    launches = tuple(
        # The job holds every launch as planned, so that a torn plan costs nothing.
        analyse_launch(
            LaunchFolder(run.path / plan.name),
            plan=plan,
            job=job_state,
            with_steps=with_steps,
            known=known,
        )
        for plan in job.launches
    )
    submission = run.submission(torn)
    # Whatever it says, it is written by who asks for the end.
    cancelled = run.cancelled_path.exists()
    run.cancellation(torn)
    refused = submission.refused if submission else None
    machines = [machine for launch in launches for machine in launch.machines]
    local = job.executor == "local"
    return RunResult(
        run_id=run.run_id,
        path=str(run.path),
        job=job,
        submission=submission,
        cancelled=cancelled,
        state="refused" if refused else _sum_up(launches, job_state, cancelled=cancelled),
        story=f"the job was refused: {refused}" if refused else "",
        launches=launches,
        rehearsal=_first_reason(launches) or find_disguise(machines, local=local),
        torn=tuple(torn),
    )


def _first_reason(launches: Sequence[LaunchResult]) -> str | None:
    """The reason of the largest launch that has one."""
    reasons = [(launch.world_size, launch.rehearsal) for launch in launches if launch.rehearsal]
    return max(reasons)[1] if reasons else None


def _sum_up(launches: Sequence[LaunchResult], job_state: JobState | None, *, cancelled: bool) -> State:
    """The worst of the launches; a launch that never started in a job that is over makes the run incomplete."""
    states = {launch.state for launch in launches}
    # A cancelled run was stopped by a person, however its ranks went.
    if cancelled and states - {"completed"}:
        return "stopped" if job_state is None or job_state.over else "running"
    for state in ("failed", "refused", "lost", "stopped", "running"):
        if state in states:
            return state
    if states == {"completed"}:
        return "completed"
    if job_state is not None and job_state.over:
        return "lost"
    return "running" if "completed" in states else "planned"
