"""The torch modules are the tables: sizes, values and gradients."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from hpcdl import networks
from hpcdl.networks import NETWORKS, layers
from hpcdl.worker.models import build, memory_format
from hpcdl.worker.models.conv import Conv2d


def _plain(network):
    """The same network of torch's own modules, one by one, without dropout."""
    modules = OrderedDict()
    for row in network.rows:
        match row.layer:
            case layers.Conv(_, channels, kernel, stride, padding, groups):
                module = nn.Conv2d(row.input_shape[0], channels, kernel, stride, padding, groups=groups)
            case layers.Linear(_, features):
                if len(row.input_shape) > 1:
                    modules["flatten"] = nn.Flatten()
                module = nn.Linear(row.layer.fan_in(row.input_shape), features)
            case layers.MaxPool(_, kernel, stride):
                module = nn.MaxPool2d(kernel, stride)
            case layers.LRN(_, size, alpha, beta, k):
                module = nn.LocalResponseNorm(size, alpha, beta, k)
            case layers.ReLU():
                module = nn.ReLU()
            case _:
                continue
        modules[row.name] = module
    return nn.Sequential(modules)


def _batch(network, images, scale):
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(images, *network.input_shape, generator=generator) * scale
    y = torch.randint(0, network.classes, (images,), generator=generator)
    return x.contiguous(memory_format=memory_format(network, "cpu")), y


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_to_the_last_digit(name):
    network = NETWORKS[name]
    with torch.device("meta"):
        plain = _plain(network)
    assert sum(p.numel() for p in plain.parameters()) == network.parameters
    model = build(network, seed=0)
    assert sum(p.numel() for p in model.parameters()) == network.parameters
    assert {n: p.shape for n, p in model.named_parameters()} == {
        n: p.shape for n, p in plain.named_parameters()
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_are_those_of_the_table(name):
    """Layer by layer, on tensors without storage: no arithmetic is done."""
    network = NETWORKS[name]
    with torch.device("meta"):
        module, x = _plain(network), torch.empty(2, *network.input_shape)
    sides = dict.fromkeys((row.name for row in network.rows), ())
    for layer, child in module.named_children():
        x = child(x)
        sides[layer] = tuple(x.shape[1:])
    assert all(sides[row.name] in {row.output_shape, ()} for row in network.rows)
    assert tuple(x.shape) == (2, network.classes)


@pytest.mark.parametrize("name", ["lenet", "alexnet"])
def test_losses_and_gradients_are_those_of_plain_torch(name):
    network = networks.find(name).with_classes(10)
    model = build(network, seed=3, dropout=False)
    plain = _plain(network)
    plain.load_state_dict(model.state_dict())
    x, y = _batch(network, 3, scale=1.0 if name == "lenet" else 60.0)
    mine, theirs = cross_entropy(model(x), y), cross_entropy(plain(x.contiguous()), y)
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)
    mine.backward()
    theirs.backward()
    expected = dict(plain.named_parameters())
    for parameter, value in model.named_parameters():
        difference = (value.grad - expected[parameter].grad).norm() / expected[parameter].grad.norm()
        assert difference < 1e-5, parameter


@pytest.mark.parametrize(("stride", "padding", "groups"), [(1, 1, 1), (1, 1, 2), (2, 0, 1), (2, 1, 2)])
def test_convolution_equals_torchs_whatever_way_it_goes(stride, padding, groups):
    layer = Conv2d(32, 512, 3, stride, padding, groups=groups).to(memory_format=torch.channels_last)
    x = torch.randn(5, 32, 11, 11).contiguous(memory_format=torch.channels_last).requires_grad_()
    y = layer(x)
    weights = torch.randn_like(y)
    got = torch.autograd.grad(y, [x, layer.weight, layer.bias], weights)
    again = nn.functional.conv2d(x, layer.weight, layer.bias, stride, padding, 1, groups)
    expected = torch.autograd.grad(again, [x, layer.weight, layer.bias], weights)
    torch.testing.assert_close(y, again)
    for mine, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-3)
    assert got[1].stride() == layer.weight.stride()


def test_the_seed_alone_decides_the_weights():
    network = networks.find("lenet")
    torch.manual_seed(1)
    first = build(network, seed=7).state_dict()
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second = build(network, seed=7, dropout=False).state_dict()
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[key], second[key]) for key in first)
    other = build(network, seed=8).state_dict()
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


def test_initialisation_is_caffes():
    state = build(networks.find("alexnet"), seed=0).state_dict()
    assert state["conv3.weight"].std().item() == pytest.approx(0.01, rel=0.01)
    assert state["fc7.weight"].std().item() == pytest.approx(0.005, rel=0.01)
    tenths = {key for key in state if key.endswith("bias") and (state[key] == 0.1).all()}
    assert tenths == {f"{layer}.bias" for layer in ("conv2", "conv4", "conv5", "fc6", "fc7")}
    assert all((state[f"{layer}.bias"] == 0).all() for layer in ("conv1", "conv3", "fc8"))


def test_xavier_is_uniform_in_caffes_bounds():
    weight = build(networks.find("lenet"), seed=0).state_dict()["ip1.weight"]
    bound = (3 / 800) ** 0.5
    assert weight.abs().max() <= bound
    assert weight.abs().max() > 0.999 * bound
    assert weight.var().item() == pytest.approx(1 / 800, rel=0.01)


def test_dropout_is_there_only_when_asked_for():
    network = networks.find("alexnet")
    with_it, without = build(network, seed=0), build(network, seed=0, dropout=False)
    assert [type(m) for m in with_it.modules()].count(nn.Dropout) == 2
    assert [type(m) for m in without.modules()].count(nn.Dropout) == 0


@pytest.mark.parametrize("name", ["lenet", "alexnet"])
def test_weights_stand_in_the_layout_of_the_images(name):
    model = build(NETWORKS[name], seed=0)
    layout = memory_format(NETWORKS[name], "cpu")
    assert all(p.is_contiguous(memory_format=layout) for p in model.parameters() if p.dim() == 4)


def test_bf16_trains():
    network = networks.find("alexnet").with_classes(4)
    model = build(network, seed=0)
    x, y = _batch(network, 2, scale=60.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(x)
        loss = cross_entropy(logits, y)
    loss.backward()
    assert logits.dtype == torch.bfloat16
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
