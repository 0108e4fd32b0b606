"""A layer table made into a torch module, initialised as its recipe says."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hpcdl.networks import layers
from hpcdl.worker.models.conv import Conv2d
from hpcdl.worker.models.fused import fuse
from hpcdl.worker.models.lrn import LocalResponseNorm, Window

if TYPE_CHECKING:
    from hpcdl.networks import Network, Row


def build(network: Network, *, seed: int, dropout: bool = True) -> nn.Sequential:
    """The network as a module on the CPU: (N, C, H, W) -> (N, classes) of logits.

    Children carry the names of the table's layers. The weights follow from `seed` alone: neither torch's
    global generator nor the number of threads has a part in them. Without `dropout` two runs over the same
    samples see the same losses, whatever their number of ranks.
    """
    # On 'meta' nothing is allocated or drawn: torch's own initialisation would be thrown away.
    with torch.device("meta"):
        model = nn.Sequential(_arrange(_modules(network, dropout=dropout)))
    model.to_empty(device="cpu")
    initialise(model, network, seed)
    model.to(memory_format=memory_format(network, "cpu"))  # type: ignore[call-overload]
    return model


def memory_format(network: Network, device: str | torch.device) -> torch.memory_format:  # noqa: ARG001
    """The layout that this network's weights and images should have on a device.

    channels_last everywhere: on CPUs oneDNN then works on the tensors as they are, where NCHW is reordered
    into blocks and back around every convolution (1.3 to 1.7 times slower over a step); on GPUs it is what
    the tensor cores want.
    """
    return torch.channels_last


def initialise(model: nn.Module, network: Network, seed: int) -> None:
    """Fill the weights and biases of the layers, in the order of the table."""
    generator = torch.Generator().manual_seed(seed)
    parameters = dict(model.named_parameters())
    for row in network.rows:
        if isinstance(row.layer, layers.Conv | layers.Linear):
            fan_in = row.layer.fan_in(row.input_shape)
            _fill(parameters[f"{row.name}.weight"], row.layer.weight, fan_in, generator)
            _fill(parameters[f"{row.name}.bias"], row.layer.bias, fan_in, generator)


@torch.no_grad()
def _fill(tensor: Tensor, filler: layers.Filler, fan_in: int, generator: torch.Generator) -> None:
    match filler:
        case layers.Constant(value):
            tensor.fill_(value)
        case layers.Gaussian(std):
            tensor.normal_(0.0, std, generator=generator)
        case layers.UniformFanIn(gain):
            bound = math.sqrt(gain / fan_in)
            tensor.uniform_(-bound, bound, generator=generator)


def _modules(network: Network, *, dropout: bool) -> OrderedDict[str, nn.Module]:
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for row in network.rows:
        if isinstance(row.layer, layers.Linear) and len(row.input_shape) > 1:
            modules["flatten"] = nn.Flatten()
        if dropout or not isinstance(row.layer, layers.Dropout):
            modules[row.name] = _module(row)
    return modules


def _module(row: Row) -> nn.Module:
    match row.layer:
        case layers.Conv() as conv:
            return Conv2d(
                row.input_shape[0], conv.channels, conv.kernel, conv.stride, conv.padding, groups=conv.groups
            )
        case layers.Linear() as linear:
            return nn.Linear(linear.fan_in(row.input_shape), linear.features)
        case layers.MaxPool() as pool:
            return nn.MaxPool2d(pool.kernel, pool.stride)
        case layers.LRN() as lrn:
            return LocalResponseNorm(Window(lrn.size, lrn.alpha, lrn.beta, lrn.k))
        case layers.Dropout() as dropout:
            return nn.Dropout(dropout.probability)
        case layers.ReLU():
            return nn.ReLU(inplace=True)


def _arrange(modules: OrderedDict[str, nn.Module]) -> OrderedDict[str, nn.Module]:
    """The same function with fewer passes over memory.

    ReLU, LRN and pooling in a row become one module. A ReLU followed by pooling changes places with it:
    the maximum of rectified values is the rectified maximum, gradient included, and is smaller.
    """
    arranged: OrderedDict[str, nn.Module] = OrderedDict()
    waiting = list(modules.items())
    while waiting:
        match [module for _, module in waiting[:3]]:
            case [nn.ReLU(), LocalResponseNorm() as norm, nn.MaxPool2d() as pool]:
                arranged["-".join(name for name, _ in waiting[:3])] = fuse(norm, pool)
                waiting = waiting[3:]
            case [nn.ReLU() as relu, nn.MaxPool2d() as pool, *_]:
                arranged[waiting[1][0]], arranged[waiting[0][0]] = pool, relu
                waiting = waiting[2:]
            case _:
                name, module = waiting.pop(0)
                arranged[name] = module
    return arranged
