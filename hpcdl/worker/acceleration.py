"""What makes a step faster without changing what it computes, and half precision, which changes how.

Compiling and capturing happen before the window: a step that is measured runs what is there.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from hpcdl.errors import Failure, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcdl.networks import Network
    from hpcdl.plan import Training
    from hpcdl.worker.engine import Engine

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, dtype: str) -> torch.autocast:
    """Where half precision is asked for, operations that bear it run in it; weights stay fp32."""
    # The cache of cast weights must not outlive a captured graph's backward; it saves little where batches are large.
    return torch.autocast(
        device.type, dtype=HALVES.get(dtype), enabled=dtype in HALVES, cache_enabled=device.type != "cuda"
    )


def make_scaler(device: torch.device, dtype: str) -> torch.amp.GradScaler:
    """fp16 has no room for small gradients: the loss is multiplied, and steps that overflow are left out."""
    return torch.amp.GradScaler(device.type, enabled=dtype == "fp16")


def accelerate(
    model: torch.nn.Module, network: Network, plan: Training, engine: Engine, device: torch.device
) -> torch.nn.Module:
    """The module to call in training: captured, joined with those of the other ranks, compiled.

    Raises:
        Refused: CUDA graphs without a GPU.
    """
    if plan.cuda_graphs and device.type != "cuda":
        raise Refused(
            "CUDA graphs need a GPU, and this rank computes on a CPU.", do="Leave out --cuda-graphs."
        )
    captured = _capture(model, network, plan, device) if plan.cuda_graphs and not plan.compile else model
    parallel = engine.attach(captured) if plan.exchange else captured
    if not plan.compile:
        return parallel
    # With both, the compiler captures what it has made.
    mode = "reduce-overhead" if plan.cuda_graphs else None
    compiled: torch.nn.Module = torch.compile(parallel, dynamic=False, mode=mode)  # type: ignore[assignment]
    return compiled


def _capture(model: torch.nn.Module, network: Network, plan: Training, device: torch.device) -> Any:
    """Forward and backward as CUDA graphs; the update and the exchange stay outside of them."""
    shape = (plan.local_batch // plan.accumulate, *network.input_shape)
    layout = torch.channels_last if _is_channels_last(model) else torch.contiguous_format
    sample = torch.zeros(shape, device=device).to(memory_format=layout)
    with autocast(device, plan.dtype):
        return torch.cuda.make_graphed_callables(model, (sample,))


def _is_channels_last(model: torch.nn.Module) -> bool:
    weights = (weight for weight in model.parameters() if weight.dim() == 4)
    return any(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


@contextmanager
def explained() -> Iterator[None]:
    """Torch's compiler raises what its parts do; a person is told what to do without it.

    Raises:
        Failure: The compiler could not do it.
    """
    try:
        yield
    except Exception as problem:
        module = type(problem).__module__
        if not module.startswith(("torch._dynamo", "torch._inductor")):
            raise
        lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
        raise Failure(
            f"torch.compile could not compile the network: {lines[0] if lines else type(problem).__name__}",
            do="It needs a C++ compiler (g++) on each node, or Triton on GPUs; without --compile none is needed.",
        ) from None
