"""One rank of a launch that exchanges things and writes down what it got, instead of training.

Started by launching.begin_ranks. Its results go to rank-<rank>.json in the launch's folder.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch

from hpcdl.store import LaunchFolder
from hpcdl.worker.engine import start
from hpcdl.worker.place import read_place
from hpcdl.worker.rank import leave

# Unequal lengths, more bytes than characters, and an empty one for every third rank.
TEXTS = ("kort", "længere ✓ 日本語 " * 50, "")


def main() -> None:
    folder = LaunchFolder(Path(sys.argv[1]))
    launch = folder.plan()
    place = read_place(launch)
    torch.set_num_threads(1)
    engine = start(launch, place, folder, torch.device("cpu"))
    results = {
        "rank": engine.rank,
        "world_size": engine.world_size,
        "transport": engine.transport,
        "texts": engine.gather(TEXTS[place.rank % 3]),
        "no_texts": engine.gather(""),
        "run": engine.gather(str(folder.path)),
        # 2**53 + 1 and a third of a billionth do not survive in single precision.
        "sum": engine.sum([float(place.rank), 2.0**52, 1e-10 / 3]),
        "exchange": exchange(engine, place.rank),
        "broadcast": broadcast(engine, place.rank),
        "gradients": average(engine, place.rank),
        "barrier": barrier(engine, folder, place.rank),
    }
    (folder.path / f"rank-{place.rank}.json").write_text(json.dumps(results))
    engine.close()
    leave(0)


def exchange(engine, rank):
    """Messages of unequal sizes, handed over at once, twice: the sums over all ranks."""
    tensors = [torch.full((size,), float(rank + 1)) for size in (1, 1000, 7)]
    engine.exchange(tensors)
    engine.exchange(tensors[:1])
    return [[float(tensor.min()), float(tensor.max())] for tensor in tensors]


def broadcast(engine, rank):
    """Tensors in three layouts that hold rank 0's values on all ranks afterwards."""
    nhwc = torch.arange(120.0).reshape(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    tensors = [
        nhwc + 1000 * rank,
        torch.arange(6.0).reshape(2, 3).t() + 1000 * rank,
        torch.tensor(7.0 + rank),
    ]
    strides = [tensor.stride() for tensor in tensors]
    engine.broadcast(tensors)
    assert [tensor.stride() for tensor in tensors] == strides
    return [tensor.flatten().tolist() for tensor in tensors]


def average(engine, rank):
    """The gradients of a small channels_last network, alone and averaged; each rank sees another image."""
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(64, 2))
    model = model.to(memory_format=torch.channels_last)
    torch.manual_seed(100 + rank)
    image = torch.randn(1, 3, 6, 6).contiguous(memory_format=torch.channels_last)
    own = torch.autograd.grad(model(image).square().sum(), list(model.parameters()))
    parallel = engine.attach(model)
    rounds = []
    for _ in range(3):
        engine.backward(parallel(image).square().sum())
        engine.synchronize()
        rounds.append([parameter.grad.flatten().tolist() for parameter in model.parameters()])
        strides = [parameter.grad.stride() == parameter.stride() for parameter in model.parameters()]
        assert all(strides)
        for parameter in model.parameters():
            parameter.grad = None
    assert rounds[0] == rounds[1] == rounds[2]
    return {"own": [gradient.flatten().tolist() for gradient in own], "averaged": rounds[0]}


def barrier(engine, folder, rank):
    """True where the late rank had come to the barrier before this rank left it."""
    mark = folder.path / "late-rank-was-here"
    if rank == engine.world_size - 1:
        time.sleep(0.5)
        mark.touch()
    engine.barrier()
    return mark.exists()


if __name__ == "__main__":
    main()
