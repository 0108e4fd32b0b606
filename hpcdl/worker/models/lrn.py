"""Local response normalisation across channels, fast: y = x * s^-beta with s = k + alpha / n * sum x^2.

torch's own goes through a three-dimensional average pooling and a general power, and on a CPU takes longer
than all of AlexNet's convolutions. Here the sum over a window of n channels is made of few additions of the
same numbers shifted against themselves, the power 3/4 of square roots, and both run over pieces of the batch
that stay in the cache, so that main memory is read once and written once. The gradient is the closed form

    dx = g * s^-beta - 2 * beta * alpha / n * x * window_sum(g * x * s^(-beta - 1)),

whose s is computed again rather than kept (models.fused keeps s^-1/2). The definition, padding with zero
channels included, is torch.nn.LocalResponseNorm's, which is Caffe's.
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
            y[piece] = part * power_of(scale(part, window).rsqrt(), window)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        result = torch.empty_like(x)
        for piece in pieces(x):
            part = x[piece].to(wide(x))
            root = scale(part, ctx.window).rsqrt()
            result[piece] = gradient_of(gradient[piece].to(wide(x)), part, root, ctx.window)
        return result, None


def pieces(x: Tensor) -> Iterator[slice]:
    """The batch in runs of images that fit the cache; on an accelerator the whole batch at once."""
    images = len(x) if x.device.type != "cpu" else max(1, PIECE_BYTES * len(x) // max(1, 4 * x.numel()))
    return (slice(at, at + images) for at in range(0, len(x), max(1, images)))


def wide(x: Tensor) -> torch.dtype:
    """The type to compute in: half precision is widened to fp32."""
    return torch.promote_types(x.dtype, torch.float32)


def scale(x: Tensor, window: Window) -> Tensor:
    """The sums s = k + alpha / n * (sum of x^2 over n channels), in x's shape; their memory may have gaps."""
    # k comes with the summands, which saves a pass over the sums.
    return window_sum(x, x, window.size, window.alpha / window.size, window.k / window.size)


def power_of(root: Tensor, window: Window) -> Tensor:
    """s^-beta, from s^-1/2."""
    return root.sqrt().mul_(root) if window.beta == 0.75 else root.pow(2 * window.beta)


def gradient_of(gradient: Tensor, x: Tensor, root: Tensor, window: Window) -> Tensor:
    """The gradient of x, given that of y, x and s^-1/2; all of one shape and layout."""
    direct = power_of(root, window).mul_(gradient)
    factor = -2.0 * window.beta * window.alpha / window.size
    through_sum = window_sum(root.square().mul_(direct), x, window.size, factor)
    return direct.addcmul_(x, through_sum)


def window_sum(x: Tensor, y: Tensor, size: int, factor: float, offset: float = 0.0) -> Tensor:
    """Sums of (factor * x * y + offset) over the `size` channels around each one; x and y are 0 beyond the ends.

    x and y, of one shape (N, C, H, W) and layout. The sums have that shape; their memory may have gaps.
    """
    images, channels, height, width = x.shape
    pitch = channels + size - 1
    if not x.is_contiguous(memory_format=torch.channels_last):
        padded = x.new_empty(images, pitch, height, width)
        _write_summands(padded, x, y, factor, offset)
        return _running_sums(padded, size, 1)
    # All channels of all pixels in one long row: additions along it are the fastest that there are. Between
    # pixels stand the margins, so that no window sees another pixel; sums that do are made too, and left out.
    padded = x.new_empty(images, height, width, pitch).permute(0, 3, 1, 2)
    _write_summands(padded, x, y, factor, offset)
    sums = _running_sums(padded.permute(0, 2, 3, 1).view(-1), size, 0)
    return sums.as_strided(x.shape, padded.stride())


def _write_summands(padded: Tensor, x: Tensor, y: Tensor, factor: float, offset: float) -> None:
    """Write factor * x * y + offset in the middle channels of `padded`, and the offset in the margins."""
    first = (padded.shape[1] - x.shape[1]) // 2
    end = first + x.shape[1]
    padded[:, :first] = offset
    padded[:, end:] = offset
    torch.addcmul(x.new_full((), offset), x, y, value=factor, out=padded[:, first:end])


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
