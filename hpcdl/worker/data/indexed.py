"""What all finite sources share: images that have an index, a training part and a held-out part."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from hpcdl.worker.data.pipeline import Stream, load
from hpcdl.worker.data.sampler import Sampler
from hpcdl.worker.data.split import share

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from hpcdl.worker.data.pipeline import Dali, Items
    from hpcdl.worker.data.source import Batch, Progress, Request, Verified

    Indices = NDArray[np.int64]


class Indexed(ABC):
    """A finite source. Which images a rank reads is decided here; how they are read, by what is derived from it.

    Args:
        request: What the rank needs.
        labels: (samples,), the labels of all images of both parts.
        training: Indices into them that are trained on.
        held_out: Indices into them that are validated on.

    Raises:
        Mistake: More ranks, or a larger global batch, than there are training images; or DALI is missing.
    """

    name: str
    classes: int

    def __init__(self, request: Request, labels: Indices, training: Indices, held_out: Indices) -> None:
        load()  # DALI missing is said now, and its version is known when the ranks compare theirs
        self._request = request
        self._labels = labels
        self._training = training
        self._held_out = held_out
        self._closing = ExitStack()
        self._sampler = Sampler(
            samples=len(training),
            global_batch=request.training.global_batch,
            rank=request.rank,
            world_size=request.world_size,
            seed=request.training.seed,
        )

    @abstractmethod
    def _pick(self, indices: Indices) -> Items:
        """What the pipeline starts from, for each of these images."""

    @abstractmethod
    def _lay_out(self, dali: Dali, items: Any, *, augment: bool) -> Any:
        """The node of normalised images that follows from the node of items."""

    @property
    def images(self) -> int | None:
        """Images to train on, over all ranks."""
        return len(self._training)

    @property
    def held_out(self) -> int:
        """Images to validate on, over all ranks."""
        return len(self._held_out)

    def listing_digest(self) -> str | None:
        """None, unless there are files."""
        return None

    def verify(self, progress: Progress | None = None) -> Verified | None:  # noqa: ARG002
        """None, unless there are files."""
        return None

    def open(self, steps: int) -> Iterator[Batch]:
        """Batches of this rank for `steps` steps, augmented where the training asks for it."""
        drawn = (self._training[self._sampler.draw(step)] for step in range(steps))
        return self._stream(drawn, augment=self._request.training.augment)

    def validation(self) -> Iterator[Batch] | None:
        """The part of this rank in what was held out, in order and as it is; None: nothing was."""
        if not self.held_out:
            return None
        part = share(self.held_out, self._request.rank, self._request.world_size)
        mine = self._held_out[part.start : part.stop]
        size = self._request.training.local_batch
        return self._stream((mine[i : i + size] for i in range(0, len(mine), size)), augment=False)

    def close(self) -> None:
        """Let go of all pipelines."""
        self._closing.close()

    def _stream(self, drawn: Iterable[Indices], *, augment: bool) -> Iterator[Batch]:
        feed = ((self._pick(indices), self._labels[indices]) for indices in drawn)
        stream = Stream(
            self._request,
            feed,
            lambda dali, items: self._lay_out(dali, items, augment=augment),
            batch=self._request.training.local_batch,
        )
        self._closing.callback(stream.close)
        return stream
