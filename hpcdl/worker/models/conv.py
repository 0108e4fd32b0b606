"""Convolutions whose weight gradient is a matrix product, for CPUs and channels_last."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

aten = torch.ops.aten

# Output channels (of a group) from which on the product pays for unrolling; LeNet's 20 and 50 do not.
ENOUGH_CHANNELS = 96
# Bytes of unrolled patches that one matrix product reads. Long products are faster than patches in the cache:
# from 8 to 48 MB AlexNet's gain 5 to 20 %, and nothing beyond (AMD Zen 3).
PATCH_BYTES = 48 << 20
# Columns of the unrolled patches are filled up to a multiple of an AVX2 register: with AlexNet's 11 * 11 * 3 =
# 363 columns MKL's product takes a quarter longer than with 368.
REGISTER = 8


class Geometry(NamedTuple):
    """How a square kernel slides."""

    stride: int
    padding: int
    groups: int


class Conv2d(nn.Conv2d):
    """torch.nn.Conv2d, except that on a CPU in channels_last its weight gradient is computed faster.

    oneDNN's AVX2 kernel for that gradient reaches 42 to 68 % of the machine's peak in channels_last, where
    the other two directions reach 85 to 100 % (AlexNet and OverFeat, layer by layer). Unrolling patches (im2col)
    of some images at a time and multiplying them with the output's gradient reaches 75 % (AlexNet's conv1) to
    95 % (its conv3). AMD Zen 3, oneDNN 3.12 and MKL 2024.2.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not _fits(x, self):
            return super().forward(x)
        y: Tensor = _Convolve.apply(  # type: ignore[no-untyped-call]
            x, self.weight, self.bias, Geometry(self.stride[0], int(self.padding[0]), self.groups)
        )
        return y


def _fits(x: Tensor, conv: nn.Conv2d) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and conv.weight.requires_grad
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch.is_autocast_enabled("cpu")
        and conv.out_channels // conv.groups >= ENOUGH_CHANNELS
    )


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, geometry: Geometry) -> Tensor:
        ctx.geometry = geometry
        ctx.save_for_backward(x, weight)
        return conv2d(x, weight, bias, geometry.stride, geometry.padding, 1, geometry.groups)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_input = _input_gradient(gradient, x, weight, ctx.geometry) if ctx.needs_input_grad[0] else None
        rows = gradient.permute(0, 2, 3, 1)
        of_weight = weight_gradient(x.permute(0, 2, 3, 1), rows, weight.shape, ctx.geometry)
        return of_input, of_weight, rows.sum((0, 1, 2)), None


def _input_gradient(gradient: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    stride, padding, groups = geometry
    transposed = False
    wanted = [True, False, False]
    result: Tensor = aten.convolution_backward(
        gradient, x, weight, None, [stride] * 2, [padding] * 2, [1, 1], transposed, [0, 0], groups, wanted
    )[0]
    return result


def weight_gradient(x: Tensor, gradient: Tensor, shape: torch.Size, geometry: Geometry) -> Tensor:
    """The gradient of a weight of `shape` (O, I / groups, K, K), in channels_last.

    x is (N, H, W, I) and gradient (N, H', W', O), both contiguous.
    """
    stride, padding, groups = geometry
    outputs, inputs, kernel, _ = shape
    of_group = outputs // groups
    columns = kernel * kernel * inputs
    pitch = columns + -columns % REGISTER
    # Transposed: MKL is 8 to 23 % faster where the product has more rows than columns.
    result = x.new_zeros(groups, pitch, of_group)
    bytes_of_image = gradient.shape[1] * gradient.shape[2] * pitch * x.element_size()
    images = max(1, PATCH_BYTES // bytes_of_image)
    for group, target in enumerate(result):
        source = x[..., group * inputs : (group + 1) * inputs]
        for first in range(0, len(x), images):
            piece = slice(first, first + images)
            rows = gradient[piece].flatten(0, 2)[:, group * of_group : (group + 1) * of_group]
            target.addmm_(patches(source[piece], kernel, stride, padding, pitch).t(), rows)
    weight = result[:, :columns].reshape(groups, kernel, kernel, inputs, of_group).permute(0, 4, 3, 1, 2)
    return weight.reshape(tuple(shape)).contiguous(memory_format=torch.channels_last)


def patches(x: Tensor, kernel: int, stride: int, padding: int, pitch: int) -> Tensor:
    """Unroll x of (N, H, W, C) -> (N * H' * W', pitch): each row is what one output position sees.

    A row holds K * K * C values and, up to `pitch`, zeros.
    """
    if padding:
        x = nn.functional.pad(x, (0, 0, padding, padding, padding, padding))
    view = x.unfold(1, kernel, stride).unfold(2, kernel, stride).permute(0, 1, 2, 4, 5, 3)
    result = x.new_empty(view.shape[:3].numel(), pitch)
    columns = view.shape[3:].numel()
    result[:, :columns].view(view.shape).copy_(view)
    result[:, columns:] = 0
    return result
