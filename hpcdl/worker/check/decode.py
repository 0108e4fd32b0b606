"""DALI's decode rate: how fast images come from the data set, while nothing trains on them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from hpcdl import networks
from hpcdl.worker.check.data import count_training, find_data
from hpcdl.worker.check.post import Seen
from hpcdl.worker.data import Request, choose_threads, make
from hpcdl.worker.data.bench import READY_OF_DALI, measure_window
from hpcdl.worker.training import ENDLESS, choose_layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcdl.plan import Training
    from hpcdl.worker.check.post import Post

SECONDS = 1.0


def look(post: Post, training: Training | None) -> Iterator[Seen]:  # noqa: ARG001
    """`images_per_s` of one window after the other, cropped and resized as the first of the networks wants them.

    What the pipeline made ready since the last one is no work of this window's, and is taken out first.

    Raises:
        Mistake: There is no such folder, no image in it, or DALI is missing.
        Failure: A file cannot be decoded.
    """
    request = _request(post)
    with contextlib.closing(make(request)) as source:
        stream = source.open(ENDLESS)
        words = {"batch": str(request.training.local_batch), "threads": str(request.threads)}
        while True:
            rate = measure_window(stream, READY_OF_DALI, request.training.local_batch, SECONDS)
            yield Seen(numbers={"images_per_s": rate}, words=words)


def _request(post: Post) -> Request:
    training = (post.check.trainings or (post.launch.train,))[0]
    network = networks.find(training.model)
    found = find_data(post)
    batch = min(training.local_batch, count_training(found))
    asked = {
        "data": found.format,
        "data_dir": str(found.root),
        "local_batch": batch,
        "global_batch": batch,
        "augment": True,
    }
    return Request(
        network=network,
        training=training.model_copy(update=asked),
        rank=0,
        world_size=1,
        device=post.device,
        # Nothing computes beside it.
        threads=choose_threads(post.launch.cpus_per_task, computes_on_cpu=False),
        memory_format=choose_layout(training, network, post.device),
    )
