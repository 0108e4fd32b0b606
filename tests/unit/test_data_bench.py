"""`hpcdl data bench`: two loaders over the same files, and what is said where they cannot be had."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hpcdl import networks
from hpcdl.errors import Failure
from hpcdl.records import Loading
from hpcdl.report import as_json, as_terminal
from hpcdl.report.loading import compare_loaders, describe_loading
from hpcdl.worker.data.plain import Photographs, load_plainly
from tests.data_requests import NEEDS_DALI
from tests.photographs import make_tree

ROOT = Path(__file__).parents[2]
LOADING = Loading(
    images=360, threads=2, batch=32, input_shape=(3, 227, 227), dali=(1600.0, 1500.0), plain=(1000.0, 1000.0)
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("tiles"), classes=2, per_class=16, size=128)


def test_the_ratio_is_over_pairs_of_windows():
    ratio = compare_loaders(LOADING)
    assert ratio.value == pytest.approx((1.6 * 1.5) ** 0.5)
    assert ratio.low < ratio.value < ratio.high


def test_both_are_shown_with_their_ratio():
    report = describe_loading(LOADING, "DIR")
    text = as_terminal.write(report)
    assert "DALI delivers 1.55 times as many" in text
    data = json.loads(as_json.render(report))
    assert [row["loader"] for row in data["loaders"]] == ["DALI", "PIL, torch DataLoader"]
    assert data["ratio"]["low"] < data["ratio"]["value"] < data["ratio"]["high"]
    assert (data["images"], data["batch"]) == (360, 32)


@pytest.mark.parametrize("model", ["lenet", "alexnet"])
def test_the_plain_loader_makes_what_the_network_wants(tree, model):
    network = networks.find(model)
    paths = sorted(str(path) for path in tree.glob("train/*/*.jpg"))
    image, label = Photographs(paths, list(range(len(paths))), network)[3]
    assert image.shape == network.input_shape
    assert image.dtype == torch.float32
    assert label == 3
    # Pixels of a photograph, normalised as the network wants it.
    rule = network.normalisation
    low, high = ((edge - max(rule.mean)) * min(rule.scale) for edge in (0, 255))
    assert low - 1 <= float(image.min()) < float(image.max()) <= high + 255


def test_every_image_comes_before_any_comes_again(tree):
    network = networks.find("lenet")
    paths = sorted(str(path) for path in tree.glob("train/*/*.jpg"))
    stream = load_plainly(paths, list(range(len(paths))), network, batch=len(paths) // 2, workers=0)
    labels = torch.cat([next(stream)[1] for _ in range(2)])
    assert sorted(labels.tolist()) == list(range(len(paths)))


def test_a_file_that_is_no_image_is_a_failure(tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(np.random.default_rng(1).bytes(500))
    stream = load_plainly([str(bad)], [0], networks.find("lenet"), batch=1, workers=0)
    with pytest.raises(Failure, match="PIL could not make a batch"):
        next(stream)


@pytest.mark.parametrize("mark", [pytest.param(None, marks=NEEDS_DALI)])
def test_on_real_files(tree, mark):
    argv = [sys.executable, "-m", "hpcdl", "data", "bench", str(tree), "--model", "lenet", "--batch", "4"]
    more = ["--threads", "1", "--seconds", "0.1", "--pairs", "2", "--json"]
    done = subprocess.run([*argv, *more], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    data = json.loads(done.stdout)
    assert data["kind"] == "loading"
    assert all(row["images_per_s"]["value"] > 0 for row in data["loaders"])
    assert data["ratio"]["value"] > 0
    assert data["images"] == 24
