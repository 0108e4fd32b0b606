"""Which image stands at which place of which step. Pure, and independent of the number of ranks.

The stream is endless: a permutation of all images for each epoch, one after another. Global step s takes
the positions from s * global_batch up to (s + 1) * global_batch, and rank r its r-th equal part of them. So the
ranks never overlap, the tail of an epoch is not lost (it shares a step with the head of the next), and
at equal global batch the same images meet in the same step whatever the number of ranks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Sampler:
    """The part of one rank in the stream over `samples` images.

    Raises:
        Mistake: More ranks than images, a global batch larger than the data set, or one that the ranks
            cannot share equally.
    """

    samples: int
    global_batch: int
    rank: int
    world_size: int
    seed: int

    def __post_init__(self) -> None:
        if self.world_size > self.samples:
            raise Mistake(
                f"{self.world_size} ranks are more than the {self.samples} training images: some would have none.",
                do="Use fewer ranks or more data, or --data synthetic, which has no end.",
            )
        if self.global_batch > self.samples:
            raise Mistake(
                f"a global batch of {self.global_batch} is larger than the training part, {self.samples} images.",
                do="Lower --batch or --global-batch, use fewer ranks, or take more data.",
            )
        if self.global_batch % self.world_size:
            raise Mistake(
                f"a global batch of {self.global_batch} cannot be shared equally by {self.world_size} ranks.",
                do="Choose a multiple of the number of ranks.",
            )

    @property
    def local_batch(self) -> int:
        """Images of one rank in one step."""
        return self.global_batch // self.world_size

    def first(self, step: int) -> int:
        """The position in the stream at which this rank's images of a global step (from 0) begin."""
        return step * self.global_batch + self.rank * self.local_batch

    def draw(self, step: int) -> Indices:
        """Indices, (local_batch,), of this rank's images in a global step (from 0)."""
        return read_stream(self.samples, self.seed, self.first(step), self.local_batch)


def read_stream(samples: int, seed: int, first: int, count: int) -> Indices:
    """`count` entries of the stream from position `first` on, across the ends of epochs; (count,)."""
    epochs = range(first // samples, (first + count - 1) // samples + 1)
    stretch = np.concatenate([permute(samples, seed, epoch) for epoch in epochs])
    offset = first - epochs.start * samples
    return stretch[offset : offset + count]


@lru_cache(maxsize=2)
def permute(samples: int, seed: int, epoch: int) -> Indices:
    """The order of one epoch: every index from 0 up to `samples` once; read-only, (samples,)."""
    order = np.random.default_rng((seed, epoch)).permutation(samples)
    order.flags.writeable = False
    return order
