"""Local response normalisation across channels, fast: y = x * s^-beta with s = k + alpha / n * sum x^2.

torch's own goes through a three-dimensional average pooling and a general power, and on a CPU takes longer
than all of AlexNet's convolutions. Here the sum over a window of n channels is made of few additions of the
same numbers shifted against themselves, the power 3/4 of square roots, and both run over pieces of the batch
that stay in the cache, so that main memory is read once and written once. The gradient is the closed form

    dx = g * s^-beta - 2 * beta * alpha / n * x * window_sum(g * x * s^(-beta - 1)),

whose s is computed again rather than kept. The definition, padding with zero channels included, is
torch.nn.LocalResponseNorm's, which is Caffe's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Iterator

# A piece's share of the cache: with the five scratch buffers of its size it should stay within a core's
# part of the last level, and be long enough that starting an operation costs little beside running it.
PIECE_BYTES = 2 << 20


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
    return window_sum(x, x, window, window.alpha / window.size).add_(window.k)


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
    through_sum = window_sum(inverse.mul_(direct), x, window, factor)
    return direct.addcmul_(x, through_sum)


def window_sum(x: Tensor, y: Tensor, window: Window, factor: float) -> Tensor:
    """The sums factor * (sum of x * y over the window of channels around each), in x's shape and layout.

    y has the same shape and layout.
    """
    if not x.is_contiguous(memory_format=torch.channels_last):
        return _sum_planes(x, y, window.size).mul_(factor)
    total = torch.empty_like(x)
    # All channels of all pixels in one long row: additions along it are the fastest that there are.
    sums = _sum_rows(_rows(x), _rows(y), window.size)
    torch.mul(sums, factor, out=_rows(total))
    return total


def _rows(x: Tensor) -> Tensor:
    """Channels_last (N, C, H, W) as (N * H * W, C), without a copy."""
    return x.permute(0, 2, 3, 1).view(-1, x.shape[1])


def _sum_rows(x: Tensor, y: Tensor, size: int) -> Tensor:
    """Sums of x * y over windows along each row of (rows, channels). Between rows stand zeros, so that no window
    sees another row's channels; sums that do are made too, and left out of what is returned.
    """
    rows, channels = x.shape
    pitch = channels + size - 1
    padded = x.new_empty(rows, pitch)
    _multiply_into(padded, x, y, size // 2)
    return _running_sums(padded.view(-1), size, 0).as_strided((rows, channels), (pitch, 1))


def _sum_planes(x: Tensor, y: Tensor, size: int) -> Tensor:
    """The same over channels that are planes: (N, C, H, W) contiguous."""
    images, channels, height, width = x.shape
    padded = x.new_empty(images, channels + size - 1, height, width)
    _multiply_into(padded, x, y, size // 2)
    return _running_sums(padded, size, 1)


def _multiply_into(padded: Tensor, x: Tensor, y: Tensor, margin: int) -> None:
    """Write x * y between `margin` channels of zeros on either side; dimension 1 is the channels'."""
    channels = x.shape[1]
    padded[:, :margin] = 0
    padded[:, margin + channels :] = 0
    torch.mul(x, y, out=padded[:, margin : margin + channels])


def _running_sums(values: Tensor, size: int, dim: int) -> Tensor:
    """Sums over `size` neighbours along a dimension, size - 1 fewer than there are values.

    By doubling: two make four, and one more five, so that 5 neighbours take 3 additions rather than 4.
    """
    if size == 1:
        return values
    half = size // 2
    halves = _running_sums(values, half, dim)
    length = halves.shape[dim] - half
    both = halves.narrow(dim, 0, length) + halves.narrow(dim, half, length)
    if size % 2 == 0:
        return both
    return both.narrow(dim, 0, length - 1).add_(values.narrow(dim, size - 1, length - 1))
