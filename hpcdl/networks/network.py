"""A network as a table of layers, and everything that follows from the table alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from hpcdl.errors import Mistake
from hpcdl.networks.layers import Conv, Layer, Linear

if TYPE_CHECKING:
    from hpcdl.networks.layers import Shape
    from hpcdl.networks.recipe import Recipe

BYTES_PER_ELEMENT = {"fp64": 8, "fp32": 4, "bf16": 2, "fp16": 2}
FLOPS_PER_MAC = 2


@dataclass(frozen=True)
class Normalisation:
    """What is done to a pixel before it enters: (pixel - mean) * scale, pixels counting from 0 to 255.

    `mean` and `scale` hold one value per channel, in the order R, G, B.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]


@dataclass(frozen=True)
class Row:
    """One layer in its place: shapes without the batch, trainable parameters, MACs of one image forward."""

    layer: Layer
    input_shape: Shape
    output_shape: Shape
    parameters: int
    macs: int

    @property
    def name(self) -> str:
        return self.layer.name

    @property
    def kind(self) -> str:
        return type(self.layer).__name__


@dataclass(frozen=True)
class Network:
    """A published network: what it is, where that is written, its layers and how it is trained.

    `input_shape` is (channels, height, width). `aliases` are names under which the same network is
    published; `published` is the accuracy that its authors name, in their words.
    """

    name: str
    title: str
    about: str
    source: str
    input_shape: Shape
    layers: tuple[Layer, ...]
    recipe: Recipe
    normalisation: Normalisation
    aliases: tuple[str, ...] = field(default=())
    published: str = ""

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The layers in order, each with its shapes and its cost."""
        rows: list[Row] = []
        shape = self.input_shape
        for layer in self.layers:
            rows.append(_place(layer, shape))
            shape = rows[-1].output_shape
        return tuple(rows)

    @property
    def output_shape(self) -> Shape:
        return self.rows[-1].output_shape

    @property
    def classes(self) -> int:
        return self.output_shape[0]

    @property
    def parameters(self) -> int:
        """Trainable parameters, weights and biases."""
        return sum(row.parameters for row in self.rows)

    @property
    def forward_macs(self) -> int:
        """MACs of one image going forward, in convolutions and fully connected layers; biases not counted."""
        return sum(row.macs for row in self.rows)

    @property
    def train_flops(self) -> int:
        """FLOPs of training on one image: forward, weight gradients and input gradients.

        Each of the three costs the layer's MACs, and a MAC is 2 FLOPs; the first layer with weights needs
        no gradient of its input. The optimizer, LRN, pooling and activations are not counted.
        """
        first = next(row.macs for row in self.rows if row.macs)
        return FLOPS_PER_MAC * (3 * self.forward_macs - first)

    def gradient_bytes(self, dtype: str = "fp32") -> int:
        """Bytes of all gradients, which is what an allreduce carries in each step."""
        if dtype not in BYTES_PER_ELEMENT:
            raise Mistake(f"{dtype!r} is no element type.", do=f"Known: {', '.join(BYTES_PER_ELEMENT)}.")
        return self.parameters * BYTES_PER_ELEMENT[dtype]

    def with_classes(self, classes: int) -> Network:
        """The same network with another number of outputs: the data set sizes the last layer.

        Raises Mistake for fewer than one class.
        """
        if classes < 1:
            raise Mistake(f"{self.name} cannot tell {classes} classes apart.", do="Give at least 1 class.")
        *body, last = self.layers
        if not isinstance(last, Linear):
            raise Mistake(
                f"The last layer of {self.name} ({last.name}) is not fully connected.",
                do="End the layer table with a Linear layer.",
            )
        return replace(self, layers=(*body, replace(last, features=classes)))


def _place(layer: Layer, shape: Shape) -> Row:
    output_shape = layer.output_shape(shape)
    if isinstance(layer, Conv | Linear):
        return Row(layer, shape, output_shape, layer.parameters(shape), layer.macs(shape))
    return Row(layer, shape, output_shape, parameters=0, macs=0)
