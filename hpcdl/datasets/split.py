"""Parts of a data set: what is held out from training, and which rank validates what. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Indices = NDArray[np.int64]

# Beside the seed, so that this draw and the order of epoch 0 have nothing in common.
_HOLD_OUT = 0x401D


def hold_out(labels: Indices, count: int, seed: int) -> tuple[Indices, Indices]:
    """Indices of what stays for training and of what is held out, both ascending.

    Each class gives in proportion to its size, and keeps at least one image: so fewer than `count` are
    held out where classes are too small to give that many.

    Args:
        labels: (samples,), from 0.
        count: How many to hold out.
        seed: The same seed and labels give the same split.
    """
    quotas = apportion(np.bincount(labels), count)
    rng = np.random.default_rng((seed, _HOLD_OUT))
    held = np.zeros(len(labels), dtype=bool)
    by_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(np.bincount(labels))[:-1])
    for members, quota in zip(by_class, quotas, strict=True):
        held[rng.choice(members, quota, replace=False)] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def apportion(sizes: Indices, count: int) -> Indices:
    """How many each class gives so that `count` come together: in proportion, by largest remainder.

    No class gives its last member. Returns integers of the shape of `sizes`.
    """
    exact = sizes * (count / sizes.sum())
    most = np.maximum(sizes - 1, 0)
    quotas: Indices = np.minimum(np.floor(exact).astype(np.int64), most)
    while (lacking := min(count, int(most.sum())) - int(quotas.sum())) > 0:
        open_classes = np.flatnonzero(quotas < most)
        order = open_classes[np.argsort(quotas[open_classes] - exact[open_classes], kind="stable")]
        quotas[order[:lacking]] += 1
    return quotas


def share(samples: int, rank: int, world_size: int) -> range:
    """The contiguous part of one rank: over all ranks every index comes once, and parts differ by one at most."""
    return range(samples * rank // world_size, samples * (rank + 1) // world_size)
