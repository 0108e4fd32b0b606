"""Where images come from: one face over all sources.

A new source is a module with a class that fits `Source`, and one line in SOURCES. How a loop uses it:

    with contextlib.closing(make(request)) as source:
        network = network.with_classes(source.classes)
        steps = training.steps or ceil(training.epochs * source.images / training.global_batch)
        if training.verify_data: source.verify()
        for batch in feed(source, request, steps + training.warmup): ...
        for batch in source.validation() or (): ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.errors import UnknownName
from hpcdl.spec import STORED
from hpcdl.worker.data.digits import Digits
from hpcdl.worker.data.feed import feed
from hpcdl.worker.data.folder import Folder
from hpcdl.worker.data.source import Batch, Request, Source, Verified, choose_threads
from hpcdl.worker.data.stored import Stored
from hpcdl.worker.data.synthetic import Synthetic

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SOURCES", "Batch", "Request", "Source", "Verified", "choose_threads", "feed", "make"]

SOURCES: dict[str, Callable[[Request], Source]] = {
    "synthetic": Synthetic,
    "digits": Digits,
    "folder": Folder,
    **dict.fromkeys(sorted(STORED - {"folder"}), Stored),
}


def make(request: Request) -> Source:
    """The source that `request.training.data` names: its classes and images are known, nothing is built.

    Raises:
        UnknownName: No such source; the nearest is suggested.
        Mistake: The data cannot be used: missing, empty, or fewer images than a global batch.
    """
    name = request.training.data
    if name not in SOURCES:
        raise UnknownName("data source", name, SOURCES)
    return SOURCES[name](request)
