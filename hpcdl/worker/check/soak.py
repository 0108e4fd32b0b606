"""Training on and on: whether it grows slower, and how hot it gets."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from hpcdl.errors import Mistake
from hpcdl.records import Missing
from hpcdl.worker.check.post import Seen
from hpcdl.worker.check.train import tell, train_on

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.plan import Training
    from hpcdl.records import Reading
    from hpcdl.worker.check.post import Post

PARTS = 10


def look(post: Post, training: Training | None) -> Iterator[Seen]:
    """Tenths of the time that is asked for, each as it ends; then `drift`, the last one's speed over the first's.

    `temperature_c` is the hottest that was seen at the end of a tenth, or in between where the device is watched.

    Raises:
        Mistake: The plan names no network, or no time.
    """
    if not post.check.trainings or post.check.soak_s is None:
        raise Mistake("a soak needs a network and a time.", do="Name both in the suite's [tests.node].")
    training = post.check.trainings[-1]
    part = {"min_window_s": post.check.soak_s / PARTS, "precision": None, "max_steps": None}
    rates: list[float] = []
    temperatures: list[Reading] = []
    with contextlib.closing(train_on(post, training.model_copy(update=part))) as windows:
        for measured in itertools.islice(windows, PARTS):
            rates.append(measured.window.images / measured.window.elapsed_s)
            temperatures.append(measured.conditions.temperature_c)
            post.conditions.append(measured.conditions)
            yield replace(tell(post, measured), subject=training.model)
    yield Seen(numbers={"drift": rates[-1] / rates[0]}, subject=training.model)
    yield Seen(numbers={"temperature_c": find_hottest(temperatures)}, subject="")


def find_hottest(temperatures: Sequence[Reading]) -> Reading:
    """The highest of those that could be read; missing where none could."""
    known = [one for one in temperatures if not isinstance(one, Missing)]
    if known:
        return max(known)
    reasons = [one for one in temperatures if isinstance(one, Missing)]
    return reasons[0] if reasons else Missing(missing="nothing was trained")
