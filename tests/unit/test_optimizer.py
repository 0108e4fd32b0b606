"""The optimizer's steps are Caffe's, written out."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from hpcdl import networks
from hpcdl.errors import Failure, Mistake
from hpcdl.networks.recipe import AtEpochs, Fixed, Inverse, Recipe, Step
from hpcdl.worker.models import build
from hpcdl.worker.optimizer import learning_rate, make_optimizer, set_learning_rate


def _recipe(policy, **changes):
    settings = {
        "base_lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 0.05,
        "batch": 1,
        "duration": "for a test",
        "bias_lr_multiplier": 2.0,
        "bias_decay_multiplier": 0.0,
    }
    return Recipe(policy=policy, **(settings | changes))


def _gradients(model, step):
    generator = torch.Generator().manual_seed(step)
    return {name: torch.randn(p.shape, generator=generator) for name, p in model.named_parameters()}


def _caffe(parameters, recipe, gradients, rates):
    """SGDSolver::ComputeUpdateValue, in double: v = m v + r (g + d w); w = w - v."""
    state = {name: (value.detach().double(), 0.0) for name, value in parameters.items()}
    for gradient, rate in zip(gradients, rates, strict=True):
        for name, (weight, velocity) in state.items():
            bias = name.endswith("bias")
            local_rate = rate * (recipe.bias_lr_multiplier if bias else 1.0)
            decay = recipe.weight_decay * (recipe.bias_decay_multiplier if bias else 1.0)
            new = recipe.momentum * velocity + local_rate * (gradient[name].double() + decay * weight)
            state[name] = (weight - new, new)
    return {name: weight for name, (weight, _) in state.items()}


@pytest.mark.parametrize(
    "recipe",
    [
        _recipe(Fixed()),
        _recipe(Inverse(gamma=0.5, power=0.75)),
        _recipe(Step(gamma=0.1, every=2)),
        _recipe(AtEpochs(gamma=0.5, epochs=(2, 4)), momentum=0.6, bias_decay_multiplier=1.0),
    ],
    ids=["fixed", "inv", "step", "epochs"],
)
def test_steps_are_caffes_also_where_the_rate_changes(recipe):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(5, 2)).to(memory_format=torch.channels_last)
    rates = [recipe.learning_rate(step, step) for step in range(6)]
    gradients = [_gradients(model, step) for step in range(6)]
    expected = _caffe(dict(model.named_parameters()), recipe, gradients, rates)
    optimizer = make_optimizer(model, recipe)
    for step, rate in enumerate(rates):
        set_learning_rate(optimizer, rate)
        for name, parameter in model.named_parameters():
            parameter.grad = torch.empty_like(parameter).copy_(gradients[step][name])
        optimizer.step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach().double(), expected[name], rtol=1e-5, atol=1e-6)


def test_a_gradient_in_another_layout_is_refused_rather_than_mixed_up():
    """The fused kernel walks the memory of weight and gradient side by side, whatever their strides."""
    model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    optimizer = make_optimizer(model, _recipe(Fixed()))
    model.weight.grad = torch.zeros(4, 3, 3, 3)
    with pytest.raises(Failure, match="layout"):
        optimizer.step()


def test_lenet_learns_a_batch_by_heart():
    """One input channel: strides of a dimension of one element say nothing and are not compared."""
    network = networks.find("lenet")
    model = build(network, seed=0)
    x = torch.rand(16, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    y = torch.arange(16) % 10
    optimizer = make_optimizer(model, network.recipe)
    losses = []
    for step in range(60):
        set_learning_rate(optimizer, network.recipe.learning_rate(step))
        loss = cross_entropy(model(x.contiguous(memory_format=torch.channels_last)), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 10


def test_biases_have_caffes_multipliers():
    model = nn.Linear(3, 2)
    optimizer = make_optimizer(model, networks.find("alexnet").recipe)
    weights, biases = optimizer.param_groups
    assert weights["params"] == [model.weight]
    assert biases["params"] == [model.bias]
    assert (weights["lr"], weights["weight_decay"]) == (0.01, 5e-4)
    assert (biases["lr"], biases["weight_decay"]) == (0.02, 0.0)


def test_lenets_biases_decay_as_caffes_do():
    optimizer = make_optimizer(nn.Linear(3, 2), networks.find("lenet").recipe)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [5e-4, 5e-4]


def test_the_rate_can_be_read_back():
    optimizer = make_optimizer(nn.Linear(3, 2), networks.find("alexnet").recipe)
    assert learning_rate(optimizer) == 0.01
    set_learning_rate(optimizer, 0.003)
    assert learning_rate(optimizer) == 0.003
    assert optimizer.param_groups[1]["lr"] == 0.006


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_rate_that_trains_nothing_is_refused(rate):
    optimizer = make_optimizer(nn.Linear(3, 2), networks.find("lenet").recipe)
    with pytest.raises(Mistake, match="rate"):
        set_learning_rate(optimizer, rate)
