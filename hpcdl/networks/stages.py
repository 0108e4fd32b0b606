"""A network's layers gathered into stages, in the columns of OverFeat's published tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.networks.layers import Conv, Linear, MaxPool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcdl.networks.network import Network, Row


@dataclass(frozen=True)
class Stage:
    """A convolution or fully connected layer with the pooling that follows it.

    Sizes are sides of squares; None is a column that does not apply. `zero_padding` is per side.
    """

    number: int
    kind: str
    channels: int
    filter_size: int | None
    conv_stride: int | None
    pooling_size: int | None
    pooling_stride: int | None
    zero_padding: int | None
    spatial_input: int


def stages(network: Network) -> tuple[Stage, ...]:
    """The stages of a network, numbered from 1, as in tables 1 and 3 of arXiv 1312.6229."""
    return tuple(_stage(number, *pair) for number, pair in enumerate(_pairs(network), start=1))


def _pairs(network: Network) -> Iterator[tuple[Row, MaxPool | None]]:
    """Each row with weights, and the pooling between it and the next such row."""
    head: Row | None = None
    pool: MaxPool | None = None
    for row in network.rows:
        if isinstance(row.layer, Conv | Linear):
            if head is not None:
                yield head, pool
            head, pool = row, None
        elif isinstance(row.layer, MaxPool):
            pool = row.layer
    if head is not None:
        yield head, pool


def _stage(number: int, row: Row, pool: MaxPool | None) -> Stage:
    conv = row.layer if isinstance(row.layer, Conv) else None
    return Stage(
        number=number,
        kind=("conv" if conv else "full") + ("+max" if pool else ""),
        channels=row.output_shape[0],
        filter_size=conv.kernel if conv else None,
        conv_stride=conv.stride if conv else None,
        pooling_size=pool.kernel if pool else None,
        pooling_stride=pool.stride if pool else None,
        zero_padding=conv.padding if conv else None,
        # A fully connected layer sees one position, unless it is the first: then it sees the whole image.
        spatial_input=row.input_shape[-1] if len(row.input_shape) > 1 else 1,
    )
