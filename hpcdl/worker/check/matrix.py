"""Matrix product: FLOP/s of the device, at the type in which it trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.worker.check.post import Seen
from hpcdl.worker.matrix import MatrixProbe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcdl.plan import Training
    from hpcdl.worker.check.post import Post


def look(post: Post, training: Training | None) -> Iterator[Seen]:  # noqa: ARG001
    """One product after the other for a fraction of a second, of which the fastest counts: `flops_per_s`.

    Its memory is let go of between the turns, when it is the training's.
    """
    dtype = post.launch.train.dtype
    while True:
        yield Seen(numbers={"flops_per_s": MatrixProbe(post.device, dtype).measure()}, words={"dtype": dtype})
