"""ReLU, local response normalisation and max pooling in one pass over the batch, for CPUs.

Between two convolutions AlexNet does these three to activations much larger than a cache. One after the
other they read and write main memory seven times forward and ten times backward; here each piece of the
batch stays in the cache from the convolution's output to the pooled one, and back. Beside input and
output only what is dear to compute is kept between them: s^-1/2 of each position, and which one won its pool.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hpcdl.worker.models.lrn import LocalResponseNorm, gradient_of, pieces, power_of, scale

aten = torch.ops.aten
# Padding, dilation, and whether sizes are rounded up.
NO_PADDING = (0, 1, False)


class NormalisedPool(nn.Sequential):
    """ReLU, LocalResponseNorm, MaxPool2d: the same numbers as one after the other, up to rounding."""

    def forward(self, x: Tensor) -> Tensor:
        if not _fits(x):
            return self[2](self[1](self[0](x)))  # type: ignore[no-any-return]
        norm, pool = self[1], self[2]
        pooled: Tensor = _Fused.apply(x, norm.window, pool.kernel_size, pool.stride)  # type: ignore[no-untyped-call]
        return pooled


def fuse(norm: LocalResponseNorm, pool: nn.MaxPool2d) -> NormalisedPool:
    return NormalisedPool(nn.ReLU(), norm, pool)


def _fits(x: Tensor) -> bool:
    """Only where it was measured to win; accelerators and half precision take the three modules."""
    full = x.dtype in {torch.float32, torch.float64}
    usual = full and not torch.is_autocast_enabled("cpu")
    return x.device.type == "cpu" and usual and x.is_contiguous(memory_format=torch.channels_last)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, window: Any, kernel: int, stride: int) -> Tensor:
        pooled = [(side - kernel) // stride + 1 for side in x.shape[2:]]
        y = x.new_empty((*x.shape[:2], *pooled)).to(memory_format=torch.channels_last)
        winners = torch.empty_like(y, dtype=torch.int64)
        roots = torch.empty_like(x)
        for piece in pieces(x):
            positive = x[piece].relu()
            root = torch.rsqrt(scale(positive, window), out=roots[piece])
            normal = power_of(root, window).mul_(positive)
            aten.max_pool2d_with_indices.out(normal, kernel, stride, out=y[piece], indices=winners[piece])
        ctx.settings = (window, kernel, stride)
        ctx.save_for_backward(x, y, winners, roots)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        x, y, winners, roots = ctx.saved_tensors
        window, kernel, stride = ctx.settings
        # ReLU's mask, laid on the pooled gradient, which is smaller: a position that ReLU set to zero wins
        # its pool only where the pooled value is zero, and then this zeroes all the gradient it can get.
        gradient = aten.threshold_backward(gradient, y, 0)
        result = torch.empty_like(x)
        for piece in pieces(x):
            positive = x[piece].relu()
            spread = aten.max_pool2d_with_indices_backward(
                gradient[piece], positive, kernel, stride, *NO_PADDING, winners[piece]
            )
            result[piece] = gradient_of(spread, positive, roots[piece], window)
        return result, None, None, None
