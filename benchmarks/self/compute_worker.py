"""One side of the compute comparison: does its work once for each line on stdin and prints the seconds.

- `compute_worker.py hpcdl NETWORK BATCH THREADS`: a training step as hpcdl does it
- `compute_worker.py plain NETWORK BATCH THREADS`: the same network as a newcomer would write it in PyTorch
- `compute_worker.py matrix SIDE PRODUCTS THREADS`: products of square fp32 matrices
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from hpcdl import networks
from hpcdl.networks import layers
from hpcdl.worker.models import build, memory_format
from hpcdl.worker.optimizer import make_optimizer, set_learning_rate
from hpcdl.worker.process import prepare_process

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcdl.networks import Network, Row


def prepare_hpcdl(name: str, batch: str, threads: str) -> Callable[[], None]:
    prepare_process(int(threads))
    network = networks.find(name)
    model = build(network, seed=0)
    optimizer = make_optimizer(model, network.recipe)
    images, labels = draw(network, int(batch))
    images = images.contiguous(memory_format=memory_format(network, "cpu"))

    def step() -> None:
        set_learning_rate(optimizer, network.recipe.learning_rate(0))
        torch.autograd.backward(cross_entropy(model(images), labels))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def prepare_plain(name: str, batch: str, threads: str) -> Callable[[], None]:
    torch.set_num_threads(int(threads))
    network = networks.find(name)
    model = nn.Sequential(*(plain_module(row) for row in network.rows))
    recipe = network.recipe
    optimizer = torch.optim.SGD(
        model.parameters(), lr=recipe.base_lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    images, labels = draw(network, int(batch))

    def step() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(cross_entropy(model(images), labels))
        optimizer.step()

    return step


def prepare_matrix(side: str, products: str, threads: str) -> Callable[[], None]:
    torch.set_num_threads(int(threads))
    a, b = torch.randn(int(side), int(side)), torch.randn(int(side), int(side))
    result = torch.empty_like(a)

    def step() -> None:
        for _ in range(int(products)):
            torch.mm(a, b, out=result)

    return step


def plain_module(row: Row) -> nn.Module:
    """A layer in torch's own module, on NCHW."""
    match row.layer:
        case layers.Conv(_, channels, kernel, stride, padding, groups):
            return nn.Conv2d(row.input_shape[0], channels, kernel, stride, padding, groups=groups)
        case layers.Linear(_, features):
            linear = nn.Linear(row.layer.fan_in(row.input_shape), features)
            return nn.Sequential(nn.Flatten(), linear) if len(row.input_shape) > 1 else linear
        case layers.MaxPool(_, kernel, stride):
            return nn.MaxPool2d(kernel, stride)
        case layers.LRN(_, size, alpha, beta, k):
            return nn.LocalResponseNorm(size, alpha, beta, k)
        case layers.Dropout(_, probability):
            return nn.Dropout(probability)
        case layers.ReLU():
            return nn.ReLU(inplace=True)


def draw(network: Network, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random images (N, C, H, W), of unit variance, and labels."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, *network.input_shape, generator=generator)
    return images, torch.randint(0, network.classes, (batch,), generator=generator)


KINDS = {"hpcdl": prepare_hpcdl, "plain": prepare_plain, "matrix": prepare_matrix}


def main(kind: str, *words: str) -> None:
    step = KINDS[kind](*words)
    for _ in sys.stdin:
        began_s = time.perf_counter()
        step()
        print(time.perf_counter() - began_s, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
