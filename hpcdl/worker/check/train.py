"""Training alone: one window after the other of the same model, each with what surrounded it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from hpcdl import networks
from hpcdl.worker import data
from hpcdl.worker.check.post import Seen
from hpcdl.worker.measuring import measure
from hpcdl.worker.training import ENDLESS, Trainer, choose_layout, count_steps, request_data

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from hpcdl.plan import Training
    from hpcdl.worker.check.post import Post
    from hpcdl.worker.measuring import Measurement


def look(post: Post, training: Training | None) -> Iterator[Seen]:
    """`images_per_s` of one window after the other.

    Raises:
        ValueError: There is nothing to be trained.
    """
    if training is None:
        raise ValueError("a check of training needs a network")
    for measured in train_on(post, training):
        seen = tell(post, measured)
        if seen.conditions is not None:
            post.conditions.append(seen.conditions)
        yield seen


def train_on(post: Post, training: Training) -> Generator[Measurement]:
    """The model is built once; before each window it warms up again, since something else came in between."""
    rank = post.stand_alone(training)
    network = networks.find(training.model)
    layout = choose_layout(training, network, rank.device)
    request = request_data(rank, network, layout)
    with contextlib.closing(data.make(request)) as source:
        trainer = Trainer(rank, network.with_classes(source.classes), layout, source.images)
        batches = data.feed(source, request, ENDLESS)
        steps = count_steps(training, source.images)
        while True:
            yield measure(trainer, rank, batches, steps)


def tell(post: Post, measured: Measurement) -> Seen:
    """A window on this host's own clock, by which others read its power."""
    window = measured.window
    told = {"rank": post.place.rank, "stretches": window.stretches}
    return Seen(
        numbers={"images_per_s": window.images / window.elapsed_s},
        conditions=measured.conditions.model_copy(update=told),
        begin_s=window.stretches[0].begin_s,
        end_s=window.stretches[-1].end_s,
    )
