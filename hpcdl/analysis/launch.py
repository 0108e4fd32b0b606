"""One launch: how it ended, and the numbers that it earned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.analysis import steps as step_numbers
from hpcdl.analysis.ending import judge
from hpcdl.analysis.machines import find_disguise, gather_machines
from hpcdl.analysis.readings import derive
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hpcdl.analysis.ending import Ending, JobState, State
    from hpcdl.analysis.machines import Machine
    from hpcdl.analysis.steps import Progress, StepStatistics
    from hpcdl.plan import Launch
    from hpcdl.records import Environment, Exit, Step, Summary
    from hpcdl.store import LaunchFolder, Torn


NO_LOSS = "no loss was recorded"


@dataclass(frozen=True)
class LaunchResult:
    """What a launch's records say.

    `story` tells what went wrong (empty: nothing did). `rehearsal` is the reason why it is one, or None.
    `images_per_s` is of all ranks, from barrier to barrier. `partial` marks step statistics that come
    from a launch which did not complete. `losses` holds one value for each recorded step, warm-up included.
    `findings` are sentences on what a reader should know before trusting the numbers.
    """

    plan: Launch
    ending: Ending
    story: str
    environment: Environment | None
    machines: tuple[Machine, ...]
    rehearsal: str | None
    restarts: int
    progress: Progress
    images_per_s: Reading
    statistics: StepStatistics
    losses: tuple[float, ...]
    loss_first: Reading
    loss_last: Reading
    accuracy: Reading
    torn: tuple[Torn, ...]
    findings: tuple[str, ...]

    @property
    def state(self) -> State:
        return self.ending.state

    @property
    def partial(self) -> bool:
        return self.state != "completed"

    @property
    def world_size(self) -> int:
        return self.plan.world_size

    @property
    def images_per_s_per_rank(self) -> Reading:
        """Images/s of one rank, on average."""
        return derive(lambda rate: rate / self.world_size, self.images_per_s)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The distinct names of the hosts, by first rank."""
        return tuple(machine.host for machine in self.machines)

    @property
    def boot_ids(self) -> frozenset[str]:
        """As many as there are machines."""
        return frozenset(machine.boot_id for machine in self.machines)

    @property
    def engine(self) -> str:
        """As resolved on the nodes; as planned before that."""
        return self.environment.engine if self.environment else self.plan.train.engine

    @property
    def transport(self) -> str:
        return self.environment.transport if self.environment else self.plan.train.transport

    @property
    def device(self) -> str:
        return self.environment.device if self.environment else self.plan.train.device

    @property
    def layout(self) -> str:
        return self.environment.layout if self.environment else self.plan.train.layout


@dataclass(frozen=True)
class _Records:
    """All that a launch left behind. `steps` is None where nobody asked for them."""

    environment: Environment | None
    summary: Summary | None
    exits: Sequence[Exit]
    steps: Sequence[Step] | None
    torn: Sequence[Torn]

    @property
    def restarts(self) -> int:
        return max((record.restart for record in self.exits), default=0)


def analyse_launch(
    folder: LaunchFolder,
    *,
    plan: Launch | None = None,
    job: JobState | None = None,
    with_steps: bool = True,
) -> LaunchResult:
    """What the records of a launch say, whether it has ended or not.

    Args:
        folder: The launch's files; all but the plan may be missing, torn or still growing.
        plan: The launch as planned, where the caller has it; else it is read from the folder.
        job: What the executor says of the job; see `ending.judge`.
        with_steps: False leaves the step records unread, for lists of many runs.

    Raises:
        Mistake: The plan was not given and cannot be read.
    """
    plan = plan or folder.plan()
    records = _read(folder, with_steps=with_steps)
    began = bool(records.environment or records.steps or records.summary) or _has_begun(folder)
    ending = judge(plan.world_size, records.exits, summary=records.summary, began=began, job=job)
    return _assemble(plan, ending, records)


def _read(folder: LaunchFolder, *, with_steps: bool) -> _Records:
    torn: list[Torn] = []
    return _Records(
        environment=folder.environment(torn),
        summary=folder.summary(torn),
        exits=folder.exits(torn),
        steps=folder.steps(torn) if with_steps else None,
        torn=torn,
    )


def _has_begun(folder: LaunchFolder) -> bool:
    return folder.path.is_dir() and folder.began()


def _assemble(plan: Launch, ending: Ending, records: _Records) -> LaunchResult:
    steps = records.steps or ()
    machines = gather_machines(records.environment)
    losses = step_numbers.trace_loss(steps)
    progress = step_numbers.find_progress(
        steps, planned=_planned_steps(plan, records), world_size=plan.world_size, loss=losses
    )
    withheld = _why_withheld(ending, progress, records)
    earned = None if withheld else records.summary
    absent = Missing(missing=withheld or "there is no summary")
    return LaunchResult(
        plan=plan,
        ending=ending,
        story=_tell(ending, progress),
        environment=records.environment,
        machines=machines,
        rehearsal=find_disguise(machines, local=plan.launcher != "srun"),
        restarts=records.restarts,
        progress=progress,
        images_per_s=_measure_rate(earned) if earned else absent,
        statistics=_measure_steps(records, withheld),
        losses=losses,
        loss_first=losses[0] if losses else Missing(missing=withheld or NO_LOSS),
        loss_last=_last_loss(records, losses, withheld),
        accuracy=earned.accuracy if earned else absent,
        torn=tuple(records.torn),
        findings=tuple(_find(plan, records)),
    )


def _planned_steps(plan: Launch, records: _Records) -> int | None:
    return records.environment.steps if records.environment else plan.train.steps


def _why_withheld(ending: Ending, progress: Progress, records: _Records) -> str | None:
    """Why the launch has no throughput to publish; None where it has."""
    if ending.state == "completed":
        return _tell_restart(records.restarts) if records.restarts else None
    done = "" if records.steps is None else f" ({progress.text})"
    after = "" if records.steps is None else f" after {progress.text}"
    return {
        "planned": "the launch has not started",
        "running": f"the launch is still running{done}",
        "refused": "the launch found itself unfit to be measured",
        "lost": f"the launch was lost{after}",
    }.get(ending.state, f"the launch stopped{after}")


def _tell_restart(restarts: int) -> str:
    times = "once" if restarts == 1 else f"{restarts} times"
    return f"the launch was restarted {times}: a restarted measurement is not a measurement"


def _tell(ending: Ending, progress: Progress) -> str:
    ended_early = ending.state in {"failed", "stopped", "lost"}
    if not (ended_early and ending.story and progress.steps_done):
        return ending.story
    kept = "1 step is" if progress.steps_done == 1 else f"{progress.steps_done} steps are"
    return f"{ending.story} {kept} kept, marked partial."


def _measure_rate(summary: Summary) -> Reading:
    """Images of the window over its length from barrier to barrier, on one clock."""
    if summary.window.images <= 0:
        return Missing(missing="the measured window holds no images")
    return summary.window.images / summary.window.elapsed_s


def _measure_steps(records: _Records, withheld: str | None) -> StepStatistics:
    if records.steps is None:
        return step_numbers.missing_statistics("the step records were not read")
    if records.restarts:
        return step_numbers.missing_statistics(_tell_restart(records.restarts))
    measured = [step for step in records.steps if not step.warmup]
    return step_numbers.measure_steps(measured, absent=withheld or step_numbers.NO_STEPS)


def _last_loss(records: _Records, losses: Sequence[float], withheld: str | None) -> Reading:
    """The mean over the ranks at the last recorded step; rank 0's own where no steps were read."""
    summary = records.summary
    diverged = step_numbers.find_divergence(records.steps or ())
    if diverged is not None:
        return Missing(missing=step_numbers.tell_divergence(diverged))
    if losses:
        return losses[-1]
    if summary is not None and summary.final_loss is not None:
        return summary.final_loss
    return Missing(missing=withheld or NO_LOSS)


def _find(plan: Launch, records: _Records) -> Iterable[str]:
    environment = records.environment
    if environment and environment.world_size != plan.world_size:
        yield f"{environment.world_size} ranks found each other where {plan.world_size} were planned"
    for finding in environment.findings if environment else ():
        if finding.outcome != "held":
            yield f"preflight, {finding.check}: {finding.outcome}: {finding.detail}"
    if records.restarts:
        yield _tell_restart(records.restarts)
    diverged = step_numbers.find_divergence(records.steps or ())
    if diverged is not None:
        yield step_numbers.tell_divergence(diverged)
    if records.summary and records.steps is not None:
        recorded = sum(not step.warmup for step in records.steps)
        expected = records.summary.window.steps * plan.world_size
        if recorded != expected:
            yield f"{recorded} of {expected} step records of the measured window could be read"
