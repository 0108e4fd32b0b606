"""One launch: how it ended, and the numbers that it earned."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from hpcdl.analysis import steps as step_numbers
from hpcdl.analysis.ending import judge
from hpcdl.analysis.energy import Electricity, measure_energy, withhold_energy
from hpcdl.analysis.gate import Check, Evidence, examine, why_withheld
from hpcdl.analysis.machines import find_disguise, gather_checked, gather_machines
from hpcdl.analysis.pace import Pace, measure_pace
from hpcdl.analysis.readings import Withheld, derive, withhold
from hpcdl.analysis.steps import StepStatistics
from hpcdl.analysis.telling import (
    find_lost,
    list_findings,
    tell_far_ranks,
    tell_restart,
    tell_story,
    why_unfinished,
)
from hpcdl.columns import EMPTY
from hpcdl.plan import NO_TRAINING
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.ending import Ending, JobState, State
    from hpcdl.analysis.energy import EnergyResult
    from hpcdl.analysis.machines import Machine
    from hpcdl.analysis.steps import Progress
    from hpcdl.checks import Checked
    from hpcdl.columns import StepTable
    from hpcdl.estimates.intervals import Interval
    from hpcdl.plan import Launch
    from hpcdl.probes import Probe
    from hpcdl.records import Conditions, Environment, Exit, Summary
    from hpcdl.store import LaunchFolder, Torn
    from hpcdl.trace import Trace


NO_LOSS = "no loss was recorded"


@dataclass(frozen=True)
class LaunchResult:
    """What a launch's records say.

    `story` tells what went wrong (empty: nothing did). `rehearsal` is the reason why it is one, or None.
    `checks` are the gate's; `images_per_s` is of all ranks over the steady steps, withheld where a check says so,
    and `interval` its 95 % interval, where it is published. `pace` holds the step periods behind it; a launch
    that trains nothing has none, and a `probe` instead. `energy` is of the same steps as the throughput. `partial`
    marks step statistics that come from a launch which did not complete. `losses` holds one value for each
    recorded step, warm-up included. `findings` are sentences on what a reader should know before trusting the
    numbers.
    """

    plan: Launch
    ending: Ending
    story: str
    environment: Environment | None
    machines: tuple[Machine, ...]
    rehearsal: str | None
    restarts: int
    progress: Progress
    checks: tuple[Check, ...]
    images_per_s: Reading
    interval: Interval | None
    pace: Pace | Missing
    steps: StepTable | None
    conditions: tuple[Conditions, ...]
    probe: Probe | None
    energy: EnergyResult | Missing
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
    probe: Probe | None
    checks: Sequence[Checked]
    exits: Sequence[Exit]
    steps: StepTable | None
    traces: Sequence[Trace]
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
    known: Electricity | None = None,
) -> LaunchResult:
    """What the records of a launch say, whether it has ended or not.

    Args:
        folder: The launch's files; all but the plan may be missing, torn or still growing.
        plan: The launch as planned, where the caller has it; else it is read from the folder.
        job: What the executor says of the job; see `ending.judge`.
        with_steps: False leaves the records of steps and power unread, for lists of many runs.
        known: What site and Slurm say of power and energy.

    Raises:
        Mistake: The plan was not given and cannot be read.
    """
    plan = plan or folder.plan()
    records = _read(folder, with_steps=with_steps)
    began = bool(records.environment or records.summary) or _has_begun(folder)
    ending = judge(
        plan.world_size,
        records.exits,
        summary=_find_word(plan, records),
        began=began,
        job=job,
        alone=plan.kind == "check",
    )
    return _assemble(plan, ending, records, known or Electricity())


def _find_word(plan: Launch, records: _Records) -> Summary | Probe | Sequence[Checked] | None:
    """What says that the launch was completed."""
    if plan.kind == "check":
        return records.checks
    return records.probe if plan.kind == "probe" else records.summary


def _read(folder: LaunchFolder, *, with_steps: bool) -> _Records:
    torn: list[Torn] = []
    return _Records(
        environment=folder.environment(torn),
        summary=folder.summary(torn),
        probe=folder.probe(torn),
        checks=folder.checks(torn),
        exits=folder.exits(torn),
        steps=folder.steps(torn) if with_steps else None,
        traces=folder.traces(torn) if with_steps else (),
        torn=torn,
    )


def _has_begun(folder: LaunchFolder) -> bool:
    return folder.path.is_dir() and folder.began()


def _assemble(plan: Launch, ending: Ending, records: _Records, known: Electricity) -> LaunchResult:
    steps = EMPTY if records.steps is None else records.steps
    machines = gather_machines(records.environment) or gather_checked(records.checks)
    losses = step_numbers.trace_loss(steps)
    progress = step_numbers.find_progress(
        steps, planned=_planned_steps(plan, records), world_size=plan.world_size, loss=losses
    )
    unfinished = why_unfinished(
        ending, progress, restarts=records.restarts, with_steps=records.steps is not None
    )
    pace = _measure_pace(plan, records, unfinished)
    checks = examine(Evidence(plan, unfinished, records.environment, records.summary, records.steps, pace))
    withheld = why_withheld(checks)
    rate = pace.rate if isinstance(pace, Pace) else pace
    published = None if withheld or isinstance(rate, Missing) else rate
    return LaunchResult(
        plan=plan,
        ending=ending,
        story=tell_story(ending, progress, find_lost(ending, records.environment)),
        environment=records.environment,
        machines=machines,
        rehearsal=find_disguise(machines, local=plan.launcher != "srun"),
        restarts=records.restarts,
        progress=progress,
        checks=checks,
        images_per_s=_withhold_rate(pace, plan, withheld),
        interval=published,
        pace=pace,
        steps=records.steps,
        conditions=records.summary.conditions if records.summary else (),
        probe=records.probe,
        energy=withhold_energy(_measure_energy(plan, records, pace, known), withheld),
        statistics=_withhold_statistics(_measure_steps(records, pace, unfinished), withheld, unfinished),
        losses=losses,
        loss_first=losses[0] if losses else Missing(missing=unfinished or NO_LOSS),
        loss_last=_last_loss(records, losses, unfinished),
        accuracy=_read_accuracy(records, unfinished),
        torn=tuple(records.torn),
        findings=tuple(
            list_findings(
                checks,
                restarts=records.restarts,
                diverged=step_numbers.find_divergence(steps),
                finished=records.summary is not None,
            )
        )
        + tell_far_ranks(records.environment)
        if plan.kind == "train"
        else (),
    )


def _measure_pace(plan: Launch, records: _Records, unfinished: str | None) -> Pace | Missing:
    if plan.kind in NO_TRAINING:
        return Missing(missing=NO_TRAINING[plan.kind])
    if records.summary is None:
        return Missing(missing=unfinished or "there is no summary")
    if records.steps is None:
        return Missing(missing="the step records were not read")
    return measure_pace(plan, records.summary.window, records.steps)


def _measure_energy(
    plan: Launch, records: _Records, pace: Pace | Missing, known: Electricity
) -> EnergyResult | Missing:
    if isinstance(pace, Missing):
        return pace
    if isinstance(pace.rate, Missing):
        return pace.rate
    if records.environment is None or records.summary is None or records.steps is None:
        return Missing(missing="the records of this launch are not complete")
    return measure_energy(
        plan,
        records.environment,
        records.summary,
        steps=records.steps,
        pace=pace,
        traces=records.traces,
        known=known,
    )


def _withhold_rate(pace: Pace | Missing, plan: Launch, withheld: str | None) -> Reading:
    """Images/s; where it is withheld, the number that would be: over all steps, if there is no steady state."""
    if isinstance(pace, Missing):
        return Missing(missing=withheld or pace.missing)
    if not isinstance(pace.rate, Missing):
        return withhold(pace.rate.value, withheld)
    mean_s = float(pace.periods_s.mean())
    reason = withheld or pace.rate.missing
    return (
        Withheld(missing=reason, value=plan.train.global_batch / mean_s)
        if mean_s > 0
        else Missing(missing=reason)
    )


def _read_accuracy(records: _Records, unfinished: str | None) -> Reading:
    """What the network has learnt does not depend on how fast it did."""
    if unfinished or records.summary is None:
        return Missing(missing=unfinished or "there is no summary")
    return records.summary.accuracy


def _planned_steps(plan: Launch, records: _Records) -> int | None:
    return records.environment.steps if records.environment else plan.train.steps


def _measure_steps(records: _Records, pace: Pace | Missing, unfinished: str | None) -> StepStatistics:
    """Of the steady steps; where there is no steady state, of all that were measured."""
    if records.steps is None:
        return step_numbers.missing_statistics("the step records were not read")
    if records.restarts:
        return step_numbers.missing_statistics(tell_restart(records.restarts))
    measured = records.steps.measured
    if isinstance(pace, Pace):
        measured = measured.between(pace.first_steady, pace.last)
    stretches = records.summary.window.stretches if records.summary else ()
    absent = unfinished or step_numbers.NO_STEPS
    return step_numbers.measure_steps(measured, stretches=stretches, absent=absent)


def _withhold_statistics(
    found: StepStatistics, withheld: str | None, unfinished: str | None
) -> StepStatistics:
    """What the gate withholds: the time of a step is its throughput. What an unfinished launch shows is marked so."""
    if withheld is None or unfinished is not None:
        return found
    names = [field.name for field in fields(found)]
    return StepStatistics(**{name: withhold(getattr(found, name), withheld) for name in names})


def _last_loss(records: _Records, losses: Sequence[float], withheld: str | None) -> Reading:
    """The mean over the ranks at the last recorded step; rank 0's own where no steps were read."""
    summary = records.summary
    diverged = None if records.steps is None else step_numbers.find_divergence(records.steps)
    if diverged is not None:
        return Missing(missing=step_numbers.tell_divergence(diverged))
    if losses:
        return losses[-1]
    if summary is not None and summary.final_loss is not None:
        return summary.final_loss
    return Missing(missing=withheld or NO_LOSS)
