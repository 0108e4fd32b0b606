"""Stochastic gradient descent as Caffe does it, on torch's fused kernel.

Caffe keeps the learning rate inside its momentum: v <- m v + r (g + d w), w <- w - v. torch keeps it
outside: b <- m b + (g + d w), w <- w - r b. With v = r b they are the same as long as r stays the same; when
it changes from r to r', Caffe's v carries on as it is, which in torch's terms means b <- b r / r'. That is
what `set_learning_rate` does, so that the steps here are Caffe's under every policy, at the price of one
pass over the momentum in those steps that change the rate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from hpcdl.errors import Failure, Mistake

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from hpcdl.networks import Recipe


def make_optimizer(model: nn.Module, recipe: Recipe, *, fused: bool = True) -> torch.optim.SGD:
    """SGD over a model's parameters: weights in one group, biases with their multipliers in another.

    Starts at the recipe's rate for iteration 0. `fused`: one kernel for all weights, where torch's default goes
    through them one after the other; its step raises Failure for a gradient whose memory layout is not its weight's.
    """
    weights = [parameter for name, parameter in model.named_parameters() if not name.endswith("bias")]
    biases = [parameter for name, parameter in model.named_parameters() if name.endswith("bias")]
    groups = [
        _group(weights, recipe, lr_multiplier=1.0, decay_multiplier=1.0),
        _group(biases, recipe, recipe.bias_lr_multiplier, recipe.bias_decay_multiplier),
    ]
    optimizer = torch.optim.SGD(groups, lr=recipe.base_lr, momentum=recipe.momentum, fused=fused or None)
    if fused:
        optimizer.register_step_pre_hook(_check_layouts)
    return optimizer


def set_learning_rate(optimizer: torch.optim.SGD, rate: float) -> None:
    """Give the next step this base rate, and keep the momentum that Caffe would keep.

    Raises Mistake for a rate that is not above zero.
    """
    if not rate > 0:
        raise Mistake(f"A learning rate of {rate} trains nothing.", do="Give a rate above 0.")
    for group in optimizer.param_groups:
        wanted = rate * group["lr_multiplier"]
        if wanted != group["lr"]:
            _rescale_momentum(optimizer, group["params"], group["lr"] / wanted)
            group["lr"] = wanted


def learning_rate(optimizer: torch.optim.SGD) -> float:
    """The base rate that the next step will use."""
    group = optimizer.param_groups[0]
    return float(group["lr"] / group["lr_multiplier"])


def _check_layouts(optimizer: torch.optim.Optimizer, *_: object) -> None:
    """The fused kernel walks weight and gradient side by side in memory and does not look at strides."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and _strides(parameter.grad) != _strides(parameter):
                raise Failure(
                    f"A gradient of shape {tuple(parameter.shape)} has another memory layout than its weight.",
                    do="Let the exchange of gradients keep the layout that backward gave them.",
                )


def _strides(tensor: Tensor) -> list[int]:
    """The strides that say something: those of dimensions with more than one element."""
    return [stride for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1]


def _group(
    parameters: Sequence[Tensor], recipe: Recipe, lr_multiplier: float, decay_multiplier: float
) -> dict[str, Any]:
    return {
        "params": parameters,
        "lr": recipe.learning_rate(0) * lr_multiplier,
        "lr_multiplier": lr_multiplier,
        "weight_decay": recipe.weight_decay * decay_multiplier,
    }


def _rescale_momentum(optimizer: torch.optim.SGD, parameters: list[Tensor], factor: float) -> None:
    states = (optimizer.state.get(parameter, {}) for parameter in parameters)
    buffers = [buffer for state in states if (buffer := state.get("momentum_buffer")) is not None]
    if buffers:
        torch._foreach_mul_(buffers, factor)  # torch has no public name for it
