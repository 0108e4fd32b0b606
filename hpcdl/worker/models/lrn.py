"""Local response normalisation across channels, fast: y = x * s^-beta with s = k + alpha / n * sum x^2.

torch's own goes through a three-dimensional average pooling and a general power, and on a CPU takes longer
than all of AlexNet's convolutions. Here the sum over a window of n channels is a product with a banded
matrix, the power 3/4 is made of square roots, and both run over pieces of the batch that stay in the cache,
so that main memory is read once and written once. The gradient is the closed form

    dx = g * s^-beta - 2 * beta * alpha / n * x * window_sum(g * x * s^(-beta - 1)),

whose s is computed again rather than kept. The definition, padding with zero channels included, is
torch.nn.LocalResponseNorm's, which is Caffe's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Iterator

# A piece's share of the cache: with the five scratch buffers of its size it should stay within a core's
# part of the last level, and be long enough that starting an operation costs little beside running it.
PIECE_BYTES = 2 << 20
# Channels of one block of the banded product: wide enough for a matrix product to be efficient, narrow
# enough that little of the work is spent on the zeros beside the band.
BLOCK_CHANNELS = 32


@dataclass(frozen=True)
class Window:
    """The parameters of a normalisation, as torch.nn.LocalResponseNorm names them.

    `size` is odd, as Caffe demands: the window is then symmetric, and so is the gradient's.
    """

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def __post_init__(self) -> None:
        if self.size < 1 or self.size % 2 == 0:
            raise Mistake(
                f"A window of {self.size} channels has no channel in its middle.",
                do="Give an odd number of channels.",
            )


class LocalResponseNorm(nn.Module):
    """Drop-in for torch.nn.LocalResponseNorm on (N, C, H, W), NCHW or channels_last, fp64 to bf16."""

    def __init__(self, window: Window) -> None:
        super().__init__()
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        return normalise(x, self.window)

    def extra_repr(self) -> str:
        return str(self.window)


def normalise(x: Tensor, window: Window) -> Tensor:
    """Normalise x of (N, C, H, W): the same shape, layout and type; computed in at least fp32."""
    # Autocast would turn the sums into bf16 products.
    with torch.autocast(x.device.type, enabled=False):
        normalised: Tensor = _Normalise.apply(x, window)  # type: ignore[no-untyped-call]
    return normalised


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, window: Window) -> Tensor:
        ctx.window = window
        ctx.save_for_backward(x)
        y = torch.empty_like(x)
        for piece in pieces(x):
            part = x[piece].to(wide(x))
            y[piece] = part * power_of(scale(part, window), window)[0]
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        result = torch.empty_like(x)
        for piece in pieces(x):
            part = x[piece].to(wide(x))
            result[piece] = gradient_of(gradient[piece].to(wide(x)), part, ctx.window)
        return result, None


def pieces(x: Tensor) -> Iterator[slice]:
    """The batch in runs of images that fit the cache; on an accelerator the whole batch at once."""
    images = len(x) if x.device.type != "cpu" else max(1, PIECE_BYTES * len(x) // max(1, 4 * x.numel()))
    return (slice(at, at + images) for at in range(0, len(x), max(1, images)))


def wide(x: Tensor) -> torch.dtype:
    """The type to compute in: half precision is widened to fp32."""
    return torch.promote_types(x.dtype, torch.float32)


def scale(x: Tensor, window: Window) -> Tensor:
    """The sums s = k + alpha / n * (sum of x^2 over n channels), in x's shape and layout."""
    return window_sum(x * x, window, window.alpha / window.size, window.k)


def power_of(s: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """(s^-beta, 1 / s); s is used up."""
    if window.beta != 0.75:
        return s.pow(-window.beta), s.reciprocal_()
    root = s.rsqrt_()
    return root.sqrt().mul_(root), root.mul_(root)


def gradient_of(gradient: Tensor, x: Tensor, window: Window) -> Tensor:
    """The gradient of x, given that of y and x; all of one shape and layout."""
    power, inverse = power_of(scale(x, window), window)
    direct = power.mul_(gradient)
    factor = -2.0 * window.beta * window.alpha / window.size
    through_sum = window_sum(inverse.mul_(direct).mul_(x), window, factor, 0.0)
    return direct.addcmul_(x, through_sum)


def window_sum(x: Tensor, window: Window, factor: float, offset: float) -> Tensor:
    """The sums offset + factor * (sum of x over the window of channels around each), in x's shape and layout."""
    if not x.is_contiguous(memory_format=torch.channels_last):
        return _window_sum_nchw(x, window, factor, offset)
    channels = x.shape[1]
    rows = x.permute(0, 2, 3, 1).reshape(-1, channels)
    total = torch.empty_like(x)
    flat = total.permute(0, 2, 3, 1).view(-1, channels)
    reach = window.size // 2
    for first in range(0, channels, BLOCK_CHANNELS):
        block = slice(first, min(channels, first + BLOCK_CHANNELS))
        near = slice(max(0, block.start - reach), min(channels, block.stop + reach))
        band = _band(channels, window.size, factor, x.dtype, x.device)[near, block]
        constant = _constant(channels, offset, x.dtype, x.device)[block]
        torch.addmm(constant, rows[:, near], band, out=flat[:, block])
    return total


def _window_sum_nchw(x: Tensor, window: Window, factor: float, offset: float) -> Tensor:
    images, channels = x.shape[:2]
    band = _band(channels, window.size, factor, x.dtype, x.device).t().expand(images, channels, channels)
    return torch.bmm(band, x.reshape(images, channels, -1)).add_(offset).view(x.shape)


@lru_cache
def _band(channels: int, size: int, factor: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(channels, channels): `factor` where input channel i lies in the window of output channel o."""
    ones = torch.ones(channels, channels, dtype=dtype)
    return ones.triu(-(size // 2)).tril(size // 2).mul_(factor).to(device)


@lru_cache
def _constant(channels: int, value: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.full((channels,), value, dtype=dtype, device=device)
