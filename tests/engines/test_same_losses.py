"""The same benchmark on one data set in every format: the same first ten losses, to the last bit."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from hpcdl.store import Store
from tests.data_requests import NEEDS_DALI
from tests.data_sets import WAYS, make_png_tree, write_from_tree

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = NEEDS_DALI
# That both ways of one format give the same batches is for tests/unit/test_data_stored.py to say.
ONE_OF_EACH = sorted(dict(WAYS).items())
FLAGS = (
    "--ranks 1 --device cpu --engine single --model lenet --batch 8 --warmup 0 --steps 10 --no-power --seed 3"
)


def train(root: Path, store: Path) -> list[float]:
    """The losses of a run of the command line on a data set."""
    argv = [
        sys.executable,
        "-m",
        "hpcdl",
        "run",
        *FLAGS.split(),
        "--data",
        str(root),
        "--store",
        str(store),
        "--json",
    ]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    [launch] = Store(store).find("last").launches()
    return [float(loss) for loss in launch.steps().loss]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_png_tree(tmp_path_factory.mktemp("tree"), grey=True)


@pytest.fixture(scope="module")
def losses(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    return train(tree, tmp_path_factory.mktemp("store"))


@pytest.mark.parametrize(("name", "encoded"), ONE_OF_EACH)
def test_ten_losses_are_those_of_the_tree(
    tree: Path, losses: list[float], tmp_path: Path, name: str, *, encoded: bool
) -> None:
    root = write_from_tree(tree, tmp_path / "set", name, encoded=encoded)
    assert len(losses) == 10
    assert losses[-1] < losses[0]
    assert train(root, tmp_path / "store") == losses
