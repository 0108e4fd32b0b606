"""How batches reach the step: as the source delivers them, from a few held on the device, or drawn once.

An attribution tells input from the rest by taking it away: resident batches cost no reading and no decoding,
synthetic ones are not even data.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from hpcdl.worker.data.synthetic import Synthetic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcdl.worker.data.source import Batch, Request, Source

# Enough that no cache holds all of them, few enough for any device's memory.
RESIDENT_BATCHES = 4


def feed(source: Source, request: Request, steps: int) -> Iterator[Batch]:
    """Batches for so many steps, in the way that the plan asks for.

    Synthetic ones have the source's classes, so that the network is the same.
    """
    how = request.training.feed
    if how == "streamed":
        return source.open(steps)
    if how == "synthetic":
        network = request.network.with_classes(source.classes)
        return Synthetic(replace(request, network=network)).open(steps)
    held = list(source.open(min(RESIDENT_BATCHES, steps)))
    return itertools.islice(itertools.cycle(held), steps)
