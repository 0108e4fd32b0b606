"""Time and energy to an accuracy: of trainings that have reached it, over all their steps, warm-up included."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from hpcdl.analysis import readings
from hpcdl.analysis.amounts import Amount, multiply
from hpcdl.analysis.readings import derive, known
from hpcdl.estimates.intervals import estimate_over_repeats
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.cost import Costs
    from hpcdl.analysis.launch import LaunchResult

NOT_ASKED = "no accuracy was asked for: --accuracy 98%"


def reach_accuracy(costs: Costs, accuracy: float | None) -> tuple[Amount, Amount]:
    """Seconds from the first step to the end of the last, and joules for the images of all steps.

    What is validated is validated at the end only, so that it is the time of the whole training, which may have
    reached the accuracy earlier. Joules are those for an image over the steady steps, times all images. Missing where
    any launch of the configuration has not reached the accuracy: picking those that did would flatter it.

    Args:
        costs: The configuration, with its J/image.
        accuracy: A fraction of 1; None: nobody asks.
    """
    launches = costs.configuration.launches
    lack = _find_lack(launches, accuracy)
    if lack is not None:
        return Amount(lack), Amount(lack)
    images = [_count_images(launch) for launch in launches]
    mean_images = combine([float(count) for count in images]).value
    return combine([measure_time(launch) for launch in launches]), multiply(costs.joules, mean_images)


def _find_lack(launches: Sequence[LaunchResult], accuracy: float | None) -> Missing | None:
    if accuracy is None:
        return Missing(missing=NOT_ASKED)
    for launch in launches:
        seen = launch.accuracy
        if isinstance(seen, Missing):
            return Missing(missing=f"launch {launch.plan.index}: {seen.missing}")
        if seen < accuracy:
            return Missing(
                missing=f"launch {launch.plan.index} has reached {100 * seen:.1f} %, not {100 * accuracy:g} %: more "
                "--epochs or --steps"
            )
    return None


def measure_time(launch: LaunchResult) -> Reading:
    """Seconds from the begin of rank 0's first step to the end of its last, on its own clock."""
    if launch.steps is None or not len(own := launch.steps.of_rank(0)):
        return Missing(missing="the step records were not read")
    reason = launch.images_per_s.missing if isinstance(launch.images_per_s, Missing) else None
    return readings.withhold(float(own.begin_s[-1] + own.step_s[-1] - own.begin_s[0]), reason)


def _count_images(launch: LaunchResult) -> int:
    own = 0 if launch.steps is None else len(launch.steps.of_rank(0))
    return own * launch.plan.train.global_batch


def combine(values: Sequence[Reading]) -> Amount:
    """The mean over launches, with Student's t from three on."""
    mean = derive(lambda *all_of_them: statistics.fmean(all_of_them), *values)
    found = known(values)
    if isinstance(mean, Missing) or len(found) < 3:
        return Amount(mean)
    return Amount(mean, estimate_over_repeats(found))
