"""The pace of a launch: its step periods, where they are steady, and the throughput that follows with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpcdl.estimates.intervals import Interval, invert
from hpcdl.estimates.steady import NoSteadyState, SteadyState, find_steady_state
from hpcdl.records import Missing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpcdl.columns import StepTable
    from hpcdl.plan import Launch
    from hpcdl.records import Stretch, Window

UNBOUNDED = "the steps scatter so widely that the throughput has no upper bound"


@dataclass(frozen=True)
class Pace:
    """Step periods of the measured window, (steps,), and what was found in them.

    `rate` is images/s of all ranks over the steady steps, with its 95 % interval. `first_steady` and `last` bound
    the steady steps: numbers as recorded, the last one not included.
    """

    periods_s: NDArray[np.float64]
    steady: SteadyState | NoSteadyState
    rate: Interval | Missing
    first_steady: int
    last: int

    @property
    def steady_steps(self) -> int:
        return self.last - self.first_steady


def measure_pace(plan: Launch, window: Window, steps: StepTable) -> Pace | Missing:
    """Steady state and throughput of a window; Missing where the records do not hold its steps.

    Throughput is the images of the steady steps over the time from the begin of the first of them to the barrier
    that ends the window, on rank 0's clock: global batch / mean period. Where ranks do not exchange, each runs
    at its own pace, and the mean period over the ranks stands for all.
    """
    periods_s = _read_periods(plan, window, steps)
    if isinstance(periods_s, Missing):
        return periods_s
    steady = find_steady_state(periods_s)
    last = window.first_step + window.steps
    if isinstance(steady, NoSteadyState):
        return Pace(periods_s, steady, Missing(missing=tell_unsteady(steady)), window.first_step, last)
    rate = invert(steady.mean, plan.train.global_batch)
    return Pace(
        periods_s,
        steady,
        rate if rate.bounded else Missing(missing=UNBOUNDED),
        window.first_step + steady.start,
        last,
    )


def tell_unsteady(state: NoSteadyState) -> str:
    """Why there is no throughput: 'no steady state: the step time changed by +12 % at step 34'."""
    return state.detail if state.kind == "too few steps" else f"no steady state: {state.detail}"


def _read_periods(plan: Launch, window: Window, steps: StepTable) -> NDArray[np.float64] | Missing:
    synchronous = plan.train.exchange or plan.world_size == 1
    parts = []
    for stretch in window.stretches:
        within = steps.between(stretch.first_step, stretch.first_step + stretch.steps)
        part = _periods_of_rank_0(within, stretch) if synchronous else _mean_periods(within, stretch)
        if part is None:
            return Missing(missing="step records of the measured window are missing")
        parts.append(part)
    return np.concatenate(parts)


def _periods_of_rank_0(steps: StepTable, stretch: Stretch) -> NDArray[np.float64] | None:
    """From barrier to barrier, so that the periods add up to what passed."""
    begins_s = steps.of_rank(0).begin_s
    if len(begins_s) != stretch.steps:
        return None
    return np.diff(np.concatenate([[stretch.begin_s], begins_s[1:], [stretch.end_s]]))


def _mean_periods(steps: StepTable, stretch: Stretch) -> NDArray[np.float64] | None:
    """Each rank's periods, averaged over the ranks; after its last step a rank only waits for the others."""
    if not len(steps) or len(steps) % stretch.steps:
        return None
    begins_s = steps.begin_s.reshape(-1, stretch.steps)
    durations_s = steps.step_s.reshape(-1, stretch.steps)
    periods_s = np.concatenate([np.diff(begins_s, axis=1), durations_s[:, -1:]], axis=1)
    mean_s: NDArray[np.float64] = periods_s.mean(axis=0)
    return mean_s
