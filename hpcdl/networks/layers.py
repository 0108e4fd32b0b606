"""The layers that the networks here are made of: data and shape arithmetic, no torch.

A shape is (channels, height, width) for images and (features,) after the first fully connected layer;
the batch is never part of it. One MAC is one multiply and one add.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from hpcdl.errors import Mistake

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Constant:
    """Every element is `value`."""

    value: float = 0.0


@dataclass(frozen=True)
class Gaussian:
    """Normal with mean 0 and standard deviation `std` (Caffe's filler 'gaussian')."""

    std: float


@dataclass(frozen=True)
class UniformFanIn:
    """Uniform in ±sqrt(gain / fan_in), fan_in being the inputs of one output.

    A gain of 3 is Caffe's filler 'xavier' (variance 1 / fan_in); a gain of 1 is what torch does to the
    weights and the biases of its convolutions and linear layers (Kaiming's rule with a = sqrt(5)).
    """

    gain: float


Filler = Constant | Gaussian | UniformFanIn

XAVIER = UniformFanIn(3.0)
TORCH_DEFAULT = UniformFanIn(1.0)
ZERO = Constant(0.0)


@dataclass(frozen=True)
class Conv:
    """A square convolution with a bias; `groups` splits its input and its output channels evenly."""

    name: str
    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    weight: Filler = Gaussian(0.01)
    bias: Filler = ZERO

    def output_shape(self, shape: Shape) -> Shape:
        _, height, width = shape
        return (self.channels, self._slide(height), self._slide(width))

    def fan_in(self, shape: Shape) -> int:
        """The weights of one output channel."""
        return shape[0] // self.groups * self.kernel**2

    def parameters(self, shape: Shape) -> int:
        return self.channels * (self.fan_in(shape) + 1)

    def macs(self, shape: Shape) -> int:
        return prod(self.output_shape(shape)) * self.fan_in(shape)

    def _slide(self, side: int) -> int:
        return (side + 2 * self.padding - self.kernel) // self.stride + 1


@dataclass(frozen=True)
class Linear:
    """A fully connected layer with a bias; an image that reaches it is flattened (C, then H, then W)."""

    name: str
    features: int
    weight: Filler = Gaussian(0.01)
    bias: Filler = ZERO

    def output_shape(self, shape: Shape) -> Shape:  # noqa: ARG002 (the same face as the other layers)
        return (self.features,)

    def fan_in(self, shape: Shape) -> int:
        """The weights of one output feature."""
        return prod(shape)

    def parameters(self, shape: Shape) -> int:
        return self.features * (self.fan_in(shape) + 1)

    def macs(self, shape: Shape) -> int:
        return self.features * self.fan_in(shape)


@dataclass(frozen=True)
class MaxPool:
    """Square max pooling. Caffe rounds sizes up and torch down, so a table must divide evenly to be both."""

    name: str
    kernel: int
    stride: int

    def output_shape(self, shape: Shape) -> Shape:
        channels, height, width = shape
        return (channels, self._slide(height), self._slide(width))

    def _slide(self, side: int) -> int:
        steps, rest = divmod(side - self.kernel, self.stride)
        if rest or steps < 0:
            raise Mistake(
                f"{self.name} pools {side} positions by {self.kernel} in steps of {self.stride}, "
                "which does not come out even.",
                do="Choose sizes that divide evenly: frameworks round differently.",
            )
        return steps + 1


@dataclass(frozen=True)
class LRN:
    """Local response normalisation across `size` channels: y = x / (k + alpha / size * sum x^2)^beta.

    The form and the defaults are Caffe's, which are torch's as well (Krizhevsky et al. 2012, section 3.3,
    has alpha without the division by `size`).
    """

    name: str
    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def output_shape(self, shape: Shape) -> Shape:
        return shape


@dataclass(frozen=True)
class ReLU:
    """max(x, 0)."""

    name: str

    def output_shape(self, shape: Shape) -> Shape:
        return shape


@dataclass(frozen=True)
class Dropout:
    """Zero each element with `probability` while training, and scale the rest by 1 / (1 - probability)."""

    name: str
    probability: float = 0.5

    def output_shape(self, shape: Shape) -> Shape:
        return shape


WeightLayer = Conv | Linear
Layer = Conv | Linear | MaxPool | LRN | ReLU | Dropout
