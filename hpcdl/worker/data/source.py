"""The one face of all data: what a training loop asks of a source, and what it gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

    from hpcdl.networks import Network
    from hpcdl.plan import Training

Progress = Callable[[int, int], None]  # files done, files in all


@dataclass(frozen=True)
class Batch:
    """Images and labels of one rank for one step, both on the device that was asked for.

    `images` is (batch, channels, height, width), float32, normalised as the network wants it and strided
    in the memory format that was asked for. `labels` is (batch,), int64. Neither is overwritten by later
    batches (a synthetic source hands out the same batch each time).
    """

    images: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Request:
    """What a source needs to know of its rank.

    `threads` may read and decode, beside `training.threads` that compute; `choose_threads` proposes a number.
    """

    network: Network
    training: Training
    rank: int
    world_size: int
    device: torch.device
    threads: int
    memory_format: torch.memory_format


@dataclass(frozen=True)
class Verified:
    """What was decoded without complaint: so many files of this rank, of a listing with this digest."""

    files: int
    digest: str


class Source(Protocol):
    """Where images come from. It is made without pipelines; those are built by `open` and `validation`.

    Attributes:
        name: As in `--data`.
        classes: How many there are, which is what sizes the last layer.
        images: Images in the training part, over all ranks: what an epoch is. None: no end (synthetic).
        held_out: Images in the held-out part, over all ranks; 0: there is none.
    """

    @property
    def name(self) -> str: ...
    @property
    def classes(self) -> int: ...
    @property
    def images(self) -> int | None: ...
    @property
    def held_out(self) -> int: ...

    def listing_digest(self) -> str | None:
        """What the files are by name, size and time of change, without reading them; None: no files."""
        ...

    def verify(self, progress: Progress | None = None) -> Verified | None:
        """Decode this rank's share of all files, training and held-out; None: nothing to verify.

        Raises:
            Mistake: Names the first file that cannot be decoded, and why.
        """
        ...

    def open(self, steps: int) -> Iterator[Batch]:
        """Batches of `training.local_batch` images for this rank, exactly `steps` of them, warm-up included.

        Raises:
            Failure: While iterating, where a file cannot be read or decoded.
        """
        ...

    def validation(self) -> Iterator[Batch] | None:
        """The held-out images of this rank, unaugmented and in order; None: there is no such part.

        Every held-out image comes exactly once over all ranks. The last batch may be short, and a rank
        may have no batch at all where ranks outnumber the images.
        """
        ...

    def close(self) -> None:
        """Let go of pipelines and their threads. Batches that were handed out stay valid."""
        ...


def choose_threads(cores: int, *, computes_on_cpu: bool) -> int:
    """Threads for reading and decoding on a task of `cores` cores.

    Where the cores also compute, one in eight: a core decodes some 350 photographs a second while eight
    cores train AlexNet on half of that. Where a GPU computes, all but the one that launches its kernels.
    """
    return max(1, cores // 8 if computes_on_cpu else cores - 1)
