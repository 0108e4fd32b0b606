"""Settings of speed change how fast a network learns, not what: the losses are those of a plain run."""

from __future__ import annotations

import os
import shutil
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydantic import ValidationError

from hpcdl.errors import Mistake
from hpcdl.spec import Train
from tests.engines.launching import EXCHANGES, explain, make_job, run

if TYPE_CHECKING:
    from pathlib import Path

STEPS = 8
TRAIN: dict[str, Any] = {
    "data": "digits",
    "global_batch": 64,
    "steps": STEPS,
    "augment": False,
    "dropout": False,
    "validate_after": False,
}
TWO_RANKS = [EXCHANGES[0], EXCHANGES[2]]


def train(store: Path, ranks: int = 1, **settings: Any) -> list[float]:
    """The loss of each measured step, over all ranks."""
    (folder,) = run(make_job(store, ranks=(ranks,), **TRAIN | settings))
    assert [end.outcome for end in folder.exits()] == ["completed"] * ranks, explain(folder)
    steps = folder.steps()
    first = int(steps.step[~steps.warmup].min())
    return [fmean(steps.between(first + n, first + n + 1).loss.tolist()) for n in range(STEPS)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    return train(tmp_path_factory.mktemp("plain"), engine="single")


@pytest.mark.parametrize(
    "settings", [{"accumulate": 4}, {"fused": False}, {"prefetch": 4, "data_threads": 2}]
)
def test_one_rank_learns_the_same(tmp_path: Path, plain: list[float], settings: dict[str, Any]) -> None:
    assert len({round(loss, 3) for loss in plain}) == STEPS, "else comparing them would show nothing"
    np.testing.assert_allclose(train(tmp_path, engine="single", **settings), plain, rtol=1e-4)


@pytest.mark.parametrize(("engine", "transport"), TWO_RANKS)
def test_two_ranks_learn_the_same_though_halves_travel(
    tmp_path: Path, plain: list[float], engine: str, transport: str
) -> None:
    """With micro-batches whose gradients are sent once; halves leave a trace, and a small one."""
    settings = {"engine": engine, "transport": transport, "accumulate": 2}
    np.testing.assert_allclose(train(tmp_path / "whole", 2, **settings), plain, rtol=1e-5)
    found = np.array(train(tmp_path / "halves", 2, compression="fp16", **settings))
    np.testing.assert_allclose(found, plain, rtol=5e-3)
    assert np.abs(found - plain).max() > 1e-6


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
@pytest.mark.horovod
def test_a_compiled_network_learns_the_same_and_compiles_before_the_window(tmp_path: Path) -> None:
    """With a step of warm-up, in which it is compiled; the learning is then one step behind on both sides."""
    settings = {"engine": "horovod", "transport": "gloo", "warmup": 1}
    plain = train(tmp_path / "plain", 2, **settings)
    np.testing.assert_allclose(train(tmp_path / "compiled", 2, compile=True, **settings), plain, rtol=1e-3)


def test_without_a_compiler_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("python3", "sh", "uname"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("CXX", "/nowhere/g++")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    (folder,) = run(make_job(tmp_path / "store", engine="single", **TRAIN | {"compile": True, "warmup": 1}))
    [end] = folder.exits()
    assert end.outcome == "failed", os.environ["PATH"]
    assert "torch.compile could not compile the network" in end.reason
    assert "--compile" in explain(folder)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dtype": "fp16", "device": "cpu"}, "fp16 is a type of GPUs"),
        ({"cuda_graphs": True, "device": "cpu"}, "cuda_graphs need a GPU"),
        ({"compression": "fp16", "engine": "single"}, "engine 'single' has none"),
        ({"compile": True, "warmup": 0}, "a step of warmup"),
    ],
)
def test_what_cannot_be_together_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Train(**settings)


def test_a_batch_that_cannot_be_divided_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="64 images of a rank cannot be divided into 5 micro-batches"):
        make_job(tmp_path, **TRAIN | {"accumulate": 5})


def test_what_nobody_asked_for_does_not_change_the_question() -> None:
    from hpcdl.spec import Benchmark

    plain = Benchmark(train=Train())
    assert Benchmark(train=Train(fused=True, accumulate=1)).benchmark_id == plain.benchmark_id
    for settings in ({"fused": False}, {"accumulate": 2}, {"compile": True}, {"prefetch": 2}):
        assert Benchmark(train=Train(**settings)).benchmark_id != plain.benchmark_id
