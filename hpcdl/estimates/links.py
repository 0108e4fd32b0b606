"""Which links between nodes are slow, and whose fault that may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# A link below this part of the upper quartile is slow: clean links that share two cores scatter less.
SLOW_LINK = 0.4
# Two nodes have one link, and it has nothing to be compared with.
FEWEST_NODES = 3


def find_slow_links(bandwidth: NDArray[np.float64]) -> tuple[tuple[int, int], ...]:
    """Links far below the upper quartile of all.

    Args:
        bandwidth: (nodes, nodes), symmetric, NaN on the diagonal, bytes/s.

    Where one node is slow, so are its N - 1 of N (N - 1) / 2 links, which is half of them among four nodes: then
    the upper quartile stands for what a link can do, not the median.
    """
    nodes = len(bandwidth)
    if nodes < FEWEST_NODES:
        return ()
    usual = float(np.nanpercentile(bandwidth, 75))
    rows, columns = np.nonzero(np.triu(bandwidth < SLOW_LINK * usual, 1))
    return tuple((int(a), int(b)) for a, b in zip(rows, columns, strict=True))


def find_suspects(slow: Sequence[tuple[int, int]], nodes: int) -> tuple[int, ...]:
    """Nodes all of whose links are slow, while those of others are not."""
    counts = np.bincount([node for link in slow for node in link], minlength=nodes)
    suspects = tuple(int(node) for node in np.flatnonzero(counts == nodes - 1))
    # Where all are slow to all, it is nobody's fault.
    return suspects if len(suspects) < nodes else ()
