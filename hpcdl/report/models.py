"""What `hpcdl models` shows: all networks side by side, or one of them layer by layer. Loads no analysis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.networks import NETWORKS, find, stages
from hpcdl.report.content import Column, Fact, Quantity, Report, Table

if TYPE_CHECKING:
    from hpcdl.networks import Network, Row, Stage
    from hpcdl.report.content import Cell


def list_models() -> Report:
    """All networks with their sizes and costs, of one image and in fp32."""
    columns = (
        Column("name", "network", left=True),
        Column("title", "what it is", left=True, rank=2),
        Column("input", "input", rank=1),
        Column("parameters", "parameters"),
        Column("forward_macs", "forward"),
        Column("train_flops", "training"),
        Column("gradient_bytes", "gradients"),
    )
    rows = tuple(
        (
            network.name,
            network.title,
            _join_shape(network.input_shape),
            network.parameters,
            Quantity(network.forward_macs, "MAC"),
            Quantity(network.train_flops, "FLOP"),
            Quantity(network.gradient_bytes(), "bytes"),
        )
        for network in NETWORKS.values()
    )
    caption = "forward and training: one image; 1 MAC is 2 FLOP; gradients: of fp32, in each step and rank"
    return Report(
        kind="models",
        title="Networks",
        sections=(Table("models", "Networks", columns, rows, captions=(caption,)),),
        more=("layer by layer: hpcdl models NAME",),
    )


def describe_model(name: str) -> Report:
    """One network: sizes, recipe, stages in the columns of the published tables, and every layer.

    Raises:
        UnknownName: No network has that name; the nearest is suggested.
    """
    network = find(name)
    return Report(
        kind="model",
        title=f"{network.title} ({network.name})",
        sections=(_make_stage_table(network), _make_layer_table(network)),
        more=(f"train it: hpcdl run --model {network.name}",),
    )


def _describe(network: Network) -> tuple[Fact, ...]:
    recipe = network.recipe
    facts: tuple[tuple[str, str, Cell], ...] = (
        ("about", "about", network.about),
        ("source", "source", network.source),
        ("published", "published accuracy", network.published or None),
        ("input", "input", _join_shape(network.input_shape)),
        ("classes", "classes", network.classes),
        ("parameters", "parameters", network.parameters),
        ("forward_macs", "forward, one image", Quantity(network.forward_macs, "MAC")),
        ("train_flops", "training, one image", Quantity(network.train_flops, "FLOP")),
        ("gradient_bytes", "gradients, fp32", Quantity(network.gradient_bytes(), "bytes")),
        ("batch", "published batch", recipe.batch),
        ("base_lr", "learning rate", Quantity(recipe.base_lr, "number")),
        ("momentum", "momentum", Quantity(recipe.momentum, "number")),
        ("weight_decay", "weight decay", Quantity(recipe.weight_decay, "number")),
        ("duration", "trained for", recipe.duration),
    )
    return tuple(Fact(key, title, cell) for key, title, cell in facts if cell is not None)


def _make_stage_table(network: Network) -> Table:
    columns = (
        Column("number", "layer"),
        Column("stage", "stage", left=True),
        Column("channels", "channels"),
        Column("filter_size", "filter"),
        Column("conv_stride", "conv stride"),
        Column("pooling_size", "pooling"),
        Column("pooling_stride", "pool stride"),
        Column("zero_padding", "padding"),
        Column("spatial_input", "spatial input"),
    )
    rows = tuple(_make_stage_row(stage) for stage in stages(network))
    return Table("stages", "Stages", columns, rows, facts=_describe(network))


def _make_stage_row(stage: Stage) -> tuple[Cell, ...]:
    sizes = (
        stage.filter_size,
        stage.conv_stride,
        stage.pooling_size,
        stage.pooling_stride,
        stage.zero_padding,
    )
    return (stage.number, stage.kind, stage.channels, *map(_square, sizes), _square(stage.spatial_input))


def _square(side: int | None) -> str | None:
    return None if side is None else f"{side}x{side}"


def _make_layer_table(network: Network) -> Table:
    columns = (
        Column("layer", "layer", left=True),
        Column("kind", "kind", left=True),
        Column("input", "input"),
        Column("output", "output"),
        Column("parameters", "parameters"),
        Column("macs", "forward"),
        Column("share", "of all", rank=1),
    )
    rows = tuple(_make_layer_row(row, network.forward_macs) for row in network.rows)
    return Table("layers", "Layers", columns, rows)


def _make_layer_row(row: Row, total_macs: int) -> tuple[Cell, ...]:
    return (
        row.name,
        row.kind,
        _join_shape(row.input_shape),
        _join_shape(row.output_shape),
        row.parameters or None,
        Quantity(row.macs, "MAC") if row.macs else None,
        Quantity(row.macs / total_macs, "fraction") if row.macs else None,
    )


def _join_shape(shape: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in shape)
