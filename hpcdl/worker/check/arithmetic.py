"""The same training, to the last bit, on every node of the same hardware: what corrupts silently shows here.

An allreduce would hide one bad rank among the others, so each trains alone: from the same seed, on the same numbers,
with one thread, without anything that draws or rounds as it likes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from hpcdl import networks
from hpcdl.worker.check.post import Seen
from hpcdl.worker.data import Request
from hpcdl.worker.data.synthetic import Synthetic
from hpcdl.worker.models import build
from hpcdl.worker.optimizer import make_optimizer
from hpcdl.worker.process import allow_tf32
from hpcdl.worker.training import choose_layout

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hpcdl.plan import Training
    from hpcdl.worker.check.post import Post

STEPS = 8
# Arithmetic of one step that is bearable with one thread of a CPU, and that occupies a GPU.
CPU_FLOPS, GPU_FLOPS = 20e9, 2e12
DIGITS = 16


@dataclass(frozen=True)
class Fingerprint:
    """`digest` is over all losses and the last weights, `losses` over nothing: they are written out exactly."""

    digest: str
    losses: str


def look(post: Post, training: Training | None) -> Iterator[Seen]:
    """`digest` and, by doing the same twice, `repeatable`: 1, or 0 where even one node does not agree with itself.

    `losses` are those of each step as C's %a writes them, so that the first that differs from others' can be named.

    Raises:
        ValueError: There is nothing to be trained.
    """
    if training is None:
        raise ValueError("a check of arithmetic needs a network")
    with _exactly():
        first, second = (_train(post, training) for _ in range(2))
    yield Seen(
        numbers={"repeatable": float(first == second)},
        words={"digest": first.digest, "losses": first.losses},
    )


@contextlib.contextmanager
def _exactly() -> Iterator[None]:
    """One thread, deterministic kernels, no TF32: as far as torch can. Afterwards all is as it was.

    cuBLAS wants its workspace fixed before it is first used (docs.nvidia.com/cuda/cublas, reproducibility).
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    threads, tf32 = torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32
    cudnn = (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark)
    torch.set_num_threads(1)
    allow_tf32(allowed=False)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    # What has no deterministic kernel is shown by the second time, not by an error. The same as
    # use_deterministic_algorithms, which imports torch's compiler for it, for seconds.
    torch.set_deterministic_debug_mode("warn")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode("default")
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn
        allow_tf32(tf32)
        torch.set_num_threads(threads)


def _train(post: Post, training: Training) -> Fingerprint:
    """A few steps of the recipe at its first learning rate, in fp32, without dropout."""
    network = networks.find(training.model)
    # On a GPU, gradients of overlapping pools are gathered in a fixed order in NCHW (ATen/native/cuda,
    # DilatedMaxPool2d.cu, max_pool_backward_nchw).
    gpu = post.device.type == "cuda"
    layout = torch.contiguous_format if gpu else choose_layout(training, network, post.device)
    model = build(network, seed=training.seed, dropout=False).to(post.device, memory_format=layout)  # type: ignore[call-overload]
    optimizer = make_optimizer(model, network.recipe)
    batch = next(Synthetic(_request(post, training, layout)).open(1))
    losses = []
    for _ in range(STEPS):
        post.pulse.beat()
        loss = functional.cross_entropy(model(batch.images), batch.labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
    return take_fingerprint(losses, (parameter.detach() for parameter in model.parameters()))


def _request(post: Post, training: Training, layout: torch.memory_format) -> Request:
    """As rank 0 of a world of one: the numbers are those of the seed on every rank."""
    network = networks.find(training.model)
    batch = choose_batch(training.local_batch, network.train_flops, gpu=post.device.type == "cuda")
    return Request(
        network=network,
        training=training.model_copy(update={"local_batch": batch}),
        rank=0,
        world_size=1,
        device=post.device,
        threads=1,
        memory_format=layout,
    )


def choose_batch(planned: int, flops_per_image: float, *, gpu: bool) -> int:
    """Images of a step: as planned, or as many as are bearable; at least 2."""
    return max(2, min(planned, int((GPU_FLOPS if gpu else CPU_FLOPS) / flops_per_image)))


def take_fingerprint(losses: Iterable[float], parameters: Iterable[torch.Tensor]) -> Fingerprint:
    """SHA-256 over the losses, written exactly, and the bytes of the parameters in their order; its first digits."""
    written = " ".join(loss.hex() for loss in losses)
    total = hashlib.sha256(written.encode())
    for parameter in parameters:
        total.update(parameter.cpu().contiguous().numpy().tobytes())
    return Fingerprint(total.hexdigest()[:DIGITS], written)
