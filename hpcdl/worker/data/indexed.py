"""What all finite sources share: images that have an index, a training part and a held-out part."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from hpcdl.datasets.split import share
from hpcdl.worker.data import draws
from hpcdl.worker.data.ahead import read_ahead
from hpcdl.worker.data.pipeline import Stream, load
from hpcdl.worker.data.sampler import Sampler

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from hpcdl.worker.data.pipeline import Dali, Fed, Items
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
    def _lay_out(self, dali: Dali, items: Any, drawn: Any, *, augment: bool) -> Any:
        """The node of normalised images that follows from the node of items, and that of what was drawn for them.

        `drawn` is None where nothing is: not augmented, or by nothing that is random.
        """

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
        sampler, seed = self._sampler, self._request.training.seed
        picked = (self._feed(self._training[sampler.draw(step)]) for step in range(steps))
        if not self._request.training.augment or not self._is_random:
            return self._stream(picked, augment=self._request.training.augment)
        drawn = (draws.draw(seed, sampler.first(step), sampler.local_batch) for step in range(steps))
        fed = ((*batch, numbers) for batch, numbers in zip(picked, drawn, strict=True))
        return self._stream(fed, augment=True, drawn=True)

    def validation(self) -> Iterator[Batch] | None:
        """The part of this rank in what was held out, in order and as it is; None: nothing was."""
        if not self.held_out:
            return None
        part = share(self.held_out, self._request.rank, self._request.world_size)
        mine = self._held_out[part.start : part.stop]
        size = self._request.training.local_batch
        batches = (mine[i : i + size] for i in range(0, len(mine), size))
        return self._stream((self._feed(batch) for batch in batches), augment=False)

    def close(self) -> None:
        """Let go of all pipelines."""
        self._closing.close()

    @property
    def _is_random(self) -> bool:
        """Whether an augmentation draws anything."""
        return True

    @property
    def _stays(self) -> bool:
        """Whether the memory of what is picked stays as it is until the source is closed."""
        return False

    def _feed(self, indices: Indices) -> tuple[Items, Indices]:
        return self._pick(indices), self._labels[indices]

    def _stream(self, fed: Iterable[Fed], *, augment: bool, drawn: bool = False) -> Iterator[Batch]:
        feed = read_ahead(fed)
        stream = Stream(
            self._request,
            feed,
            lambda dali, items, numbers: self._lay_out(dali, items, numbers, augment=augment),
            batch=self._request.training.local_batch,
            drawn=drawn,
            stays=self._stays,
        )
        self._closing.callback(feed.close)
        self._closing.callback(stream.close)
        return stream
