"""Step records -> the distribution of steps, their phases, the loss, and how far a launch is."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.analysis.readings import percentile_95
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hpcdl.records import Step


@dataclass(frozen=True)
class StepStatistics:
    """Over all ranks and all steps after warm-up. Shares are fractions of the summed step time."""

    median_s: Reading
    p95_s: Reading
    input_share: Reading
    compute_share: Reading
    exchange_share: Reading
    update_share: Reading


def missing_statistics(reason: str) -> StepStatistics:
    """Nothing is known of the steps, and why."""
    absent = Missing(missing=reason)
    return StepStatistics(absent, absent, absent, absent, absent, absent)


NO_STEPS = "no step after warm-up was recorded"


def measure_steps(steps: Sequence[Step], *, absent: str = NO_STEPS) -> StepStatistics:
    """The distribution of `steps`: those after warm-up, of all ranks, each on its own host's clock.

    `absent` is the reason where there are none.
    """
    if not steps:
        return missing_statistics(absent)
    durations = [step.step_s for step in steps]
    total_s = sum(durations)
    if total_s <= 0:
        return missing_statistics("the recorded steps took no time at all: the clock stood still")
    return StepStatistics(
        median_s=statistics.median(durations),
        p95_s=percentile_95(durations),
        input_share=sum(step.input_s for step in steps) / total_s,
        compute_share=sum(step.compute_s for step in steps) / total_s,
        exchange_share=sum(step.exchange_s for step in steps) / total_s,
        update_share=sum(step.update_s for step in steps) / total_s,
    )


def find_divergence(steps: Iterable[Step]) -> int | None:
    """The first step whose loss was not a number, on any rank; None: there is none."""
    return min((step.step for step in steps if step.loss is None), default=None)


def tell_divergence(step: int) -> str:
    """Why there is no loss to show."""
    return f"training diverged: the loss was not a number at step {step}"


def trace_loss(steps: Sequence[Step]) -> tuple[float, ...]:
    """The loss of each step in order, warm-up first: the mean over the ranks; it ends where training diverged."""
    diverged = find_divergence(steps)
    losses: defaultdict[tuple[bool, int], list[float]] = defaultdict(list)
    for step in steps:
        if step.loss is not None and (diverged is None or step.step < diverged):
            losses[not step.warmup, step.step].append(step.loss)
    return tuple(statistics.fmean(losses[key]) for key in sorted(losses))


@dataclass(frozen=True)
class Progress:
    """How far a launch is. `images_per_s` is provisional: for the eye while it runs, never for a table.

    `steps_done` and `steps_planned` do not count warm-up; `warmup_done` does. A step that any rank has
    finished has been finished by all, since they exchange gradients in it.
    """

    steps_done: int
    steps_planned: int | None
    warmup_done: int
    images_per_s: Reading
    loss: Reading

    @property
    def text(self) -> str:
        """'57 of 200 steps', or '57 steps' where the number planned is not known yet."""
        planned = "" if self.steps_planned is None else f" of {self.steps_planned}"
        return f"{self.steps_done}{planned} steps"


def find_progress(
    steps: Sequence[Step], *, planned: int | None, world_size: int, loss: Sequence[float]
) -> Progress:
    """How far the launch is, by the rank that has recorded most."""
    measured: defaultdict[int, list[Step]] = defaultdict(list)
    warmup: set[int] = set()
    for step in steps:
        if step.warmup:
            warmup.add(step.step)
        else:
            measured[step.rank].append(step)
    furthest = max(measured.values(), key=len, default=[])
    return Progress(
        steps_done=len({step.step for step in furthest}),
        steps_planned=planned,
        warmup_done=len(warmup),
        images_per_s=_live_rate(furthest, world_size),
        loss=_newest_loss(steps, loss),
    )


def _newest_loss(steps: Sequence[Step], losses: Sequence[float]) -> Reading:
    diverged = find_divergence(steps)
    if diverged is not None:
        return Missing(missing=tell_divergence(diverged))
    return losses[-1] if losses else Missing(missing="no loss was recorded yet")


def _live_rate(steps: Sequence[Step], world_size: int) -> Reading:
    """Images/s of all ranks, from one rank's steps on that rank's clock."""
    if not steps:
        return Missing(missing="no step after warm-up was recorded yet")
    elapsed_s = max(step.begin_s + step.step_s for step in steps) - min(step.begin_s for step in steps)
    if elapsed_s <= 0:
        return Missing(missing="the recorded steps took no time at all")
    return world_size * sum(step.images for step in steps) / elapsed_s
