"""Numbers that look like normalised images, made once on the device: training without any input cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from hpcdl.worker.data.source import Batch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcdl.worker.data.source import Progress, Request, Verified


class Synthetic:
    """The same batch in each step, from the run's seed and the rank; the network's own classes."""

    name = "synthetic"
    images: int | None = None
    held_out = 0

    def __init__(self, request: Request) -> None:
        self._request = request
        self.classes = request.network.classes

    def listing_digest(self) -> str | None:
        """None: there are no files."""
        return None

    def verify(self, progress: Progress | None = None) -> Verified | None:  # noqa: ARG002
        """None: there is nothing to verify."""
        return None

    def open(self, steps: int) -> Iterator[Batch]:
        """One batch, `steps` times."""
        batch = self._draw()
        return (batch for _ in range(steps))

    def validation(self) -> Iterator[Batch] | None:
        """None: there is nothing to be right about."""
        return None

    def close(self) -> None:
        """Nothing to let go of."""

    def _draw(self) -> Batch:
        """Drawn on the CPU, whose generator gives the same numbers on every machine, and copied once."""
        request = self._request
        generator = torch.Generator().manual_seed(request.training.seed * 1_000_003 + request.rank)
        count = request.training.local_batch
        images = torch.randn(count, *request.network.input_shape, generator=generator)
        labels = torch.randint(self.classes, (count,), generator=generator)
        return Batch(
            images=images.to(request.device, memory_format=request.memory_format),
            labels=labels.to(request.device),
        )
