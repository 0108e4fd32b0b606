"""The GPU operators give what the CPU operators give, in GPU memory that nobody overwrites."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from hpcdl.worker import data
from tests.data_requests import NEEDS_DALI, make_request
from tests.photographs import make_tree

pytestmark = [
    *NEEDS_DALI,
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("source", ["digits", "folder"])
def test_batches_on_the_gpu_equal_those_on_the_cpu(tmp_path, source, channels_last):
    folder = {"data_dir": str(make_tree(tmp_path, per_class=8))} if source == "folder" else {}
    on_cpu = make_request(
        model="alexnet", data=source, augment=False, channels_last=channels_last, global_batch=4, **folder
    )
    on_gpu = dataclasses.replace(on_cpu, device=torch.device("cuda", 0))
    cpu_batches, gpu_batches = (list(data.make(request).open(6)) for request in (on_cpu, on_gpu))
    for expected, batch in zip(cpu_batches, gpu_batches, strict=True):
        assert batch.images.device.type == batch.labels.device.type == "cuda"
        assert batch.images.stride() == expected.images.stride()
        assert torch.equal(batch.labels.cpu(), expected.labels)
        # Another JPEG decoder and another resize: grey levels of 255.
        assert (batch.images.cpu() - expected.images).abs().mean() < 2
