"""The layer tables, held to the last digit against what is published or follows from it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from hpcdl.errors import Mistake, UnknownName
from hpcdl.networks import NETWORKS, Stage, find, stages
from hpcdl.networks.layers import Conv, Linear, MaxPool
from hpcdl.networks.recipe import AtEpochs, Fixed, Inverse, Recipe, Step


@pytest.mark.parametrize(
    ("name", "input_side", "parameters", "forward_macs", "train_flops"),
    [
        ("alexnet", 227, 60_965_224, 724_406_816, 4_135_610_496),
        ("alexnet-owt", 224, 61_100_840, 714_188_480, 4_144_577_280),
        ("overfeat-fast", 231, 145_920_872, 2_801_403_904, 16_589_856_768),
        ("overfeat", 221, 144_656_488, 5_355_446_784, 31_803_475_968),
        ("lenet", 28, 431_080, 2_293_000, 13_182_000),
    ],
)
def test_size_and_cost(name, input_side, parameters, forward_macs, train_flops):
    network = find(name)
    assert network.input_shape[1:] == (input_side, input_side)
    assert network.parameters == parameters
    assert network.forward_macs == forward_macs
    assert network.train_flops == train_flops
    assert network.gradient_bytes() == 4 * parameters
    assert network.gradient_bytes("bf16") == 2 * parameters


def test_groups_are_what_makes_caffes_alexnet_smaller():
    """Without its groups it has 62,378,344 parameters, 1.135 GMAC and 6.60 GFLOP."""
    grouped = find("alexnet")
    layers = tuple(
        Conv(layer.name, layer.channels, layer.kernel, layer.stride, layer.padding)
        if isinstance(layer, Conv)
        else layer
        for layer in grouped.layers
    )
    whole = replace(grouped, layers=layers)
    assert whole.parameters == 62_378_344
    assert round(whole.forward_macs / 1e9, 3) == 1.135
    assert round(whole.train_flops / 1e9, 2) == 6.60


def test_overfeat_has_the_rows_of_its_published_table():
    full = {
        "filter_size": None,
        "conv_stride": None,
        "pooling_size": None,
        "pooling_stride": None,
        "zero_padding": None,
    }
    assert stages(find("overfeat")) == (
        Stage(1, "conv+max", 96, 7, 2, 3, 3, 0, 221),
        Stage(2, "conv+max", 256, 7, 1, 2, 2, 0, 36),
        Stage(3, "conv", 512, 3, 1, None, None, 1, 15),
        Stage(4, "conv", 512, 3, 1, None, None, 1, 15),
        Stage(5, "conv", 1024, 3, 1, None, None, 1, 15),
        Stage(6, "conv+max", 1024, 3, 1, 3, 3, 1, 15),
        Stage(7, "full", 4096, **full, spatial_input=5),
        Stage(8, "full", 4096, **full, spatial_input=1),
        Stage(9, "full", 1000, **full, spatial_input=1),
    )


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("alexnet", {"conv1": 55, "pool1": 27, "conv2": 27, "pool2": 13, "conv5": 13, "pool5": 6}),
        ("overfeat", {"conv1": 108, "pool1": 36, "conv2": 30, "pool2": 15, "conv6": 15, "pool6": 5}),
        ("overfeat-fast", {"conv1": 56, "pool1": 28, "conv2": 24, "pool2": 12, "pool5": 6}),
        ("lenet", {"conv1": 24, "pool1": 12, "conv2": 8, "pool2": 4}),
    ],
)
def test_spatial_sizes(name, shapes):
    sides = {row.name: row.output_shape[-1] for row in find(name).rows}
    assert {layer: sides[layer] for layer in shapes} == shapes


def test_fully_connected_layers_hold_the_parameters_and_convolutions_do_the_work():
    rows = find("alexnet").rows
    full = [row for row in rows if isinstance(row.layer, Linear)]
    assert sum(row.parameters for row in full) / find("alexnet").parameters > 0.96
    assert sum(row.macs for row in full) / find("alexnet").forward_macs < 0.09


@pytest.mark.parametrize("name", NETWORKS)
def test_the_data_set_sizes_the_last_layer_and_nothing_else(name):
    network = find(name)
    ten = network.with_classes(7)
    assert ten.classes == 7
    assert ten.rows[:-1] == network.rows[:-1]
    assert ten.layers[-1].weight == network.layers[-1].weight
    assert network.with_classes(network.classes) == network


@pytest.mark.parametrize("classes", [0, -3])
def test_a_network_needs_a_class(classes):
    with pytest.raises(Mistake, match="at least 1"):
        find("lenet").with_classes(classes)


@pytest.mark.parametrize("name", NETWORKS)
def test_registry_keys_are_the_networks_names_and_aliases_do_not_collide(name):
    assert NETWORKS[name].name == name
    assert not set(NETWORKS[name].aliases) & set(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_says_where_it_comes_from(name):
    network = NETWORKS[name]
    assert network.source
    assert network.about
    assert len(network.normalisation.mean) == len(network.normalisation.scale) == network.input_shape[0]


def test_aliases_are_found():
    assert find("bvlc_alexnet") is NETWORKS["alexnet"]
    assert find("overfeat-accurate") is NETWORKS["overfeat"]


def test_an_unknown_network_is_named_with_its_nearest():
    with pytest.raises(UnknownName, match=r"no network 'alxnet'.*Did you mean 'alexnet'"):
        find("alxnet")


def test_an_unknown_element_type_is_a_mistake():
    with pytest.raises(Mistake, match="fp32"):
        find("lenet").gradient_bytes("float32")


def test_pooling_that_frameworks_round_differently_is_refused():
    with pytest.raises(Mistake, match="even"):
        MaxPool("pool", kernel=3, stride=2).output_shape((1, 6, 6))


def test_caffes_learning_rates():
    assert find("lenet").recipe.learning_rate(100) == pytest.approx(0.00992565, abs=5e-9)
    assert find("lenet").recipe.learning_rate(0) == 0.01
    alexnet = find("alexnet").recipe
    assert [alexnet.learning_rate(at) for at in (0, 99_999, 100_000, 200_000)] == pytest.approx(
        [0.01, 0.01, 0.001, 0.0001]
    )
    overfeat = find("overfeat").recipe
    assert [overfeat.learning_rate(0, at) for at in (0, 29.9, 30, 50, 80)] == pytest.approx(
        [0.05, 0.05, 0.025, 0.0125, 0.05 / 32]
    )


@pytest.mark.parametrize(
    ("policy", "factor"),
    [
        (Fixed(), 1.0),
        (Step(gamma=0.5, every=10), 0.25),
        (Inverse(gamma=0.1, power=1.0), 1 / 3.5),
        (AtEpochs(gamma=0.1, epochs=(1, 2, 9)), 0.01),
    ],
)
def test_policies(policy, factor):
    recipe = Recipe(
        base_lr=2.0, policy=policy, momentum=0.0, weight_decay=0.0, batch=1, duration="for a test"
    )
    assert recipe.learning_rate(25, 2.5) == pytest.approx(2.0 * factor)


def test_reading_the_tables_loads_no_torch():
    heavy = "torch horovod nvidia.dali mpi4py pynvml numpy"
    code = f"import sys, hpcdl.networks; print([m for m in {heavy.split()!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
