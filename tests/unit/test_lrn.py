"""The fast normalisation is torch's, in value and in gradient."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import local_response_norm, max_pool2d

from hpcdl.errors import Mistake
from hpcdl.worker.models import lrn
from hpcdl.worker.models.fused import fuse
from hpcdl.worker.models.lrn import LocalResponseNorm, Window, normalise

LAYOUTS = [torch.channels_last, torch.contiguous_format]
# Caffe's, one whose sums matter, one without square roots, and the widest that still has a middle.
WINDOWS = [Window(), Window(5, 2.0), Window(3, 0.7, 0.5, 2.0), Window(9, 1.0)]


def _images(*shape, layout=torch.channels_last, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator).to(dtype).contiguous(memory_format=layout)


def _value_and_gradient(function, x, weights):
    x = x.clone().requires_grad_()
    y = function(x)
    y.backward(weights)
    return y.detach(), x.grad


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("channels", [2, 5, 96, 200])
def test_equal_to_torchs(channels, window, layout):
    x = _images(3, channels, 7, 5, layout=layout)
    weights = _images(3, channels, 7, 5, layout=layout, seed=1)
    y, gradient = _value_and_gradient(lambda z: normalise(z, window), x, weights)
    expected = _value_and_gradient(
        lambda z: local_response_norm(z, window.size, window.alpha, window.beta, window.k), x, weights
    )
    torch.testing.assert_close(y, expected[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient, expected[1], rtol=1e-5, atol=1e-5)
    assert y.stride() == x.stride()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bf16_is_the_fp32_result_rounded(layout):
    x = _images(2, 64, 6, 6, layout=layout, dtype=torch.bfloat16)
    weights = _images(2, 64, 6, 6, layout=layout, dtype=torch.bfloat16, seed=1)
    window = Window(alpha=1.0)
    got = _value_and_gradient(lambda z: normalise(z, window), x, weights)
    expected = _value_and_gradient(
        lambda z: local_response_norm(z, 5, 1.0, 0.75, 1.0), x.float(), weights.float()
    )
    for mine, theirs in zip(got, expected, strict=True):
        assert mine.dtype == torch.bfloat16
        torch.testing.assert_close(mine.float(), theirs, rtol=2**-8, atol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("window", WINDOWS)
def test_gradient_is_the_derivative(window, layout):
    x = _images(2, 11, 2, 2, layout=layout, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: normalise(z, window), (x,))


def test_result_does_not_depend_on_the_size_of_the_pieces(monkeypatch):
    x = _images(5, 96, 9, 9)
    whole = normalise(x, Window(alpha=1.0))
    monkeypatch.setattr(lrn, "PIECE_BYTES", 1)
    torch.testing.assert_close(normalise(x, Window(alpha=1.0)), whole)


def test_an_empty_batch_stays_empty():
    assert normalise(torch.empty(0, 8, 3, 3), Window()).shape == (0, 8, 3, 3)


def test_a_window_without_a_middle_is_refused():
    with pytest.raises(Mistake, match="odd"):
        Window(size=4)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (2, 2), (3, 3)])
def test_fused_with_relu_and_pooling_equals_one_after_the_other(kernel, stride, layout):
    """Half of the positions are zero after ReLU, whole windows among them, where ties and masks matter."""
    x = _images(4, 96, 12, 12, layout=layout)
    x[:, :, :6] = -x[:, :, :6].abs()
    weights = _images(4, 96, (12 - kernel) // stride + 1, (12 - kernel) // stride + 1, seed=1)
    module = fuse(LocalResponseNorm(Window(alpha=1.0)), torch.nn.MaxPool2d(kernel, stride))
    got = _value_and_gradient(module, x, weights)
    expected = _value_and_gradient(
        lambda z: max_pool2d(local_response_norm(z.relu(), 5, 1.0, 0.75, 1.0), kernel, stride), x, weights
    )
    for mine, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


def test_fused_gradient_is_the_derivative():
    x = _images(2, 7, 4, 4, dtype=torch.float64).requires_grad_()
    module = fuse(LocalResponseNorm(Window(alpha=1.0)), torch.nn.MaxPool2d(2, 2))
    assert torch.autograd.gradcheck(module, (x,))
