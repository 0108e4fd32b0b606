"""Step records -> the distribution of step periods, their phases, the loss, and how far a launch is."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hpcdl.columns import StepTable
    from hpcdl.records import Stretch

# Of a normal distribution, 1.4826 median absolute deviations are one standard deviation.
MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class StepStatistics:
    """Over all ranks and all steady steps, each on its own host's clock. Shares are fractions of the summed time.

    `jitter` is a robust standard deviation of the periods (1.4826 median absolute deviations) over their median.
    """

    median_s: Reading
    p95_s: Reading
    p99_s: Reading
    jitter: Reading
    input_share: Reading
    compute_share: Reading
    exchange_share: Reading
    update_share: Reading


def missing_statistics(reason: str) -> StepStatistics:
    """Nothing is known of the steps, and why."""
    absent = Missing(missing=reason)
    return StepStatistics(**{field.name: absent for field in fields(StepStatistics)})


NO_STEPS = "no step after warm-up was recorded"


def measure_steps(
    steps: StepTable, *, stretches: Sequence[Stretch] = (), absent: str = NO_STEPS
) -> StepStatistics:
    """The distribution of `steps` (all ranks, after warm-up).

    Args:
        steps: By rank and step.
        stretches: Where the launch paused; across a pause there is no period.
        absent: The reason to give where there are none.
    """
    if not len(steps):
        return missing_statistics(absent)
    phases_s = [steps.input_s, steps.compute_s, steps.exchange_s, steps.update_s]
    totals_s = [float(phase.sum()) for phase in phases_s]
    if sum(totals_s) <= 0:
        return missing_statistics("the recorded steps took no time at all: the clock stood still")
    periods_s = measure_periods(steps, stretches)
    median_s, p95_s, p99_s = (float(value) for value in np.percentile(periods_s, [50, 95, 99]))
    deviation_s = MAD_TO_SIGMA * float(np.median(np.abs(periods_s - median_s)))
    shares = [total_s / sum(totals_s) for total_s in totals_s]
    return StepStatistics(median_s, p95_s, p99_s, deviation_s / median_s if median_s else 0.0, *shares)


def measure_periods(steps: StepTable, stretches: Sequence[Stretch] = ()) -> NDArray[np.float64]:
    """From the begin of each step to that of the same rank's next, (steps,).

    A rank's last step before a pause has no next: it counts from its begin to its own end.
    """
    periods_s = steps.step_s
    if len(steps) < 2:
        return periods_s
    lasts = [stretch.first_step + stretch.steps - 1 for stretch in stretches]
    follows = (np.diff(steps.rank) == 0) & (np.diff(steps.step) == 1) & ~np.isin(steps.step[:-1], lasts)
    periods_s[:-1][follows] = np.diff(steps.begin_s)[follows]
    return periods_s


def find_divergence(steps: StepTable) -> int | None:
    """The first step whose loss was not a number, on any rank; None: there is none."""
    diverged = steps.step[np.isnan(steps.loss)]
    return int(diverged.min()) if len(diverged) else None


def tell_divergence(step: int) -> str:
    """Why there is no loss to show."""
    return f"training diverged: the loss was not a number at step {step}"


def trace_loss(steps: StepTable) -> tuple[float, ...]:
    """The loss of each step in order, warm-up first: the mean over the ranks; it ends where training diverged."""
    diverged = find_divergence(steps)
    if diverged is not None:
        steps = steps.where(steps.step < diverged)
    if not len(steps):
        return ()
    counts = np.bincount(steps.step)
    sums = np.bincount(steps.step, weights=steps.loss)
    return tuple((sums[counts > 0] / counts[counts > 0]).tolist())


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
    steps: StepTable, *, planned: int | None, world_size: int, loss: Sequence[float]
) -> Progress:
    """How far the launch is, by the rank that has recorded most."""
    measured = steps.measured
    counts = np.bincount(measured.rank) if len(measured) else np.zeros(1, dtype=int)
    furthest = measured.of_rank(int(counts.argmax()))
    return Progress(
        steps_done=len(furthest),
        # More than planned were asked for where a precision had to be reached.
        steps_planned=None if planned is None else max(planned, len(furthest)),
        warmup_done=len(np.unique(steps.step[steps.warmup])),
        images_per_s=_live_rate(furthest, world_size),
        loss=_newest_loss(steps, loss),
    )


def _newest_loss(steps: StepTable, losses: Sequence[float]) -> Reading:
    diverged = find_divergence(steps)
    if diverged is not None:
        return Missing(missing=tell_divergence(diverged))
    return losses[-1] if losses else Missing(missing="no loss was recorded yet")


def _live_rate(steps: StepTable, world_size: int) -> Reading:
    """Images/s of all ranks, from one rank's steps on that rank's clock."""
    if not len(steps):
        return Missing(missing="no step after warm-up was recorded yet")
    elapsed_s = float((steps.begin_s + steps.step_s).max() - steps.begin_s.min())
    if elapsed_s <= 0:
        return Missing(missing="the recorded steps took no time at all")
    return world_size * int(steps.images.sum()) / elapsed_s
