"""Synthetic data, the registry of sources, and what needs no DALI."""

from __future__ import annotations

import os
import re
import sys

import pytest
import torch

from hpcdl import errors
from hpcdl.worker import data
from hpcdl.worker.data import pipeline
from hpcdl.worker.data.quiet import hushed
from tests.data_requests import make_request


def test_synthetic_batches_look_like_what_was_asked_for():
    source = data.make(make_request(model="alexnet", global_batch=8, world_size=2, channels_last=True))
    batches = list(source.open(3))
    assert (source.name, source.classes, source.images, source.held_out) == ("synthetic", 1000, None, 0)
    assert len(batches) == 3
    assert batches[0] is batches[2]
    assert batches[0].images.shape == (4, 3, 227, 227)
    assert batches[0].images.is_contiguous(memory_format=torch.channels_last)
    assert abs(batches[0].images.mean()) < 0.01
    assert abs(batches[0].images.std() - 1) < 0.01
    assert batches[0].labels.dtype == torch.int64
    assert 0 <= batches[0].labels.min() <= batches[0].labels.max() < 1000
    assert source.validation() is None
    assert source.verify() is None


def test_synthetic_batches_follow_seed_and_rank():
    def images(rank, seed):
        request = make_request(rank=rank, world_size=2, seed=seed)
        return next(iter(data.make(request).open(1))).images

    assert torch.equal(images(0, 1), images(0, 1))
    assert not torch.equal(images(0, 1), images(1, 1))
    assert not torch.equal(images(0, 1), images(0, 2))


def test_an_unknown_source_is_named_with_its_nearest():
    request = make_request()
    unknown = request.training.model_copy(update={"data": "digit"})
    with pytest.raises(errors.UnknownName, match="Did you mean 'digits'"):
        data.make(data.Request(**{**vars(request), "training": unknown}))


@pytest.mark.parametrize(
    ("source", "module", "said"),
    [
        ("digits", "sklearn.datasets", r"pip install 'hpcdl\[digits\]'"),
        ("digits", "nvidia.dali.fn", "pip install nvidia-dali-cuda130"),
    ],
)
def test_a_missing_library_is_named_with_the_command_that_installs_it(monkeypatch, source, module, said):
    pipeline.load.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(errors.Mistake, match=said):
        data.make(make_request(data=source)).open(1)
    pipeline.load.cache_clear()


@pytest.mark.parametrize(
    ("cores", "computes_on_cpu", "threads"),
    [(1, True, 1), (2, True, 1), (64, True, 8), (1, False, 1), (16, False, 15)],
)
def test_decoding_leaves_cores_to_what_computes(cores, computes_on_cpu, threads):
    assert data.choose_threads(cores, computes_on_cpu=computes_on_cpu) == threads


def test_only_what_is_harmless_is_hushed(capfd):
    def write_and_fail():
        with hushed(re.compile("harmless")):
            os.write(2, b"a harmless line\nsomething that matters\n")
            raise KeyError("not swallowed")

    with pytest.raises(KeyError, match="not swallowed"):
        write_and_fail()
    os.write(2, b"harmless, but afterwards\n")
    assert capfd.readouterr().err == "something that matters\nharmless, but afterwards\n"
