"""How a node is wired: the whole of it as the node's own record, and how many of each thing as numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.records import Missing
from hpcdl.worker.check.post import Seen
from hpcdl.worker.reporter import Wired
from hpcdl.worker.topology import read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sized

    from hpcdl.plan import Training
    from hpcdl.records import Reading
    from hpcdl.worker.check.post import Post


def look(post: Post, training: Training | None) -> Iterator[Seen]:  # noqa: ARG001
    """Numbers of NUMA nodes, GPUs and adapters; `topology-<host>.json` has the rest."""
    found = read(host=post.place.host)
    post.reporter.say(Wired(topology=found))
    yield Seen(
        numbers={
            "numa_nodes": _count(found.numa),
            "gpus": _count(found.gpus),
            "nics": _count(found.nics),
        }
    )


def _count(found: Sized | Missing) -> Reading:
    return found if isinstance(found, Missing) else float(len(found))
