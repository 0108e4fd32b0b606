"""How a network is trained: Caffe's solver as data, and its learning-rate policies as pure functions."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Fixed:
    """The base learning rate throughout."""

    def factor(self, iteration: int, epoch: float) -> float:  # noqa: ARG002 (one face for all policies)
        return 1.0


@dataclass(frozen=True)
class Step:
    """gamma ^ floor(iteration / every): Caffe's 'step'."""

    gamma: float
    every: int

    def factor(self, iteration: int, epoch: float) -> float:  # noqa: ARG002
        return math.pow(self.gamma, iteration // self.every)


@dataclass(frozen=True)
class Inverse:
    """(1 + gamma * iteration) ^ -power: Caffe's 'inv'."""

    gamma: float
    power: float

    def factor(self, iteration: int, epoch: float) -> float:  # noqa: ARG002
        return math.pow(1.0 + self.gamma * iteration, -self.power)


@dataclass(frozen=True)
class AtEpochs:
    """gamma once for each of `epochs` that has been reached."""

    gamma: float
    epochs: tuple[int, ...]

    def factor(self, iteration: int, epoch: float) -> float:  # noqa: ARG002
        return math.pow(self.gamma, sum(epoch >= reached for reached in self.epochs))


Policy = Fixed | Step | Inverse | AtEpochs


@dataclass(frozen=True)
class Recipe:
    """The published hyper-parameters of a network.

    `batch` is the published batch over all ranks; `duration` says how long the authors trained. The bias
    multipliers are Caffe's lr_mult and decay_mult of each layer's second parameter.
    """

    base_lr: float
    policy: Policy
    momentum: float
    weight_decay: float
    batch: int
    duration: str
    bias_lr_multiplier: float = 1.0
    bias_decay_multiplier: float = 1.0

    def learning_rate(self, iteration: int, epoch: float = 0.0) -> float:
        """The rate for an iteration (from 0) in an epoch (from 0; its fraction may be given)."""
        return self.base_lr * self.policy.factor(iteration, epoch)
