"""DALI pipelines as iterators of batches. The only module that touches DALI.

A pipeline here is fed by Python with one small array per image (a path, or the image itself) and a label,
so that the order is the sampler's alone and a last batch may be short. Everything heavy happens in DALI's
own threads.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from itertools import tee
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.dlpack import from_dlpack

from hpcdl.errors import Failure, Mistake
from hpcdl.worker.data.quiet import NO_GPU, hushed
from hpcdl.worker.data.source import Batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hpcdl.networks import Normalisation
    from hpcdl.worker.data.source import Request

Items = Any  # what a batch starts from: an array (batch, ...) or a list of arrays, one per image
# Items, labels (batch,), and where something is random, what was drawn: (batch, …), see hpcdl.worker.data.draws.
Fed = tuple[Items, "NDArray[np.int64]"] | tuple[Items, "NDArray[np.int64]", "NDArray[np.float32]"]
Feed = Iterator[Fed]
PREFETCHED_BATCHES = 2


@dataclass(frozen=True)
class Dali:
    """The parts of DALI that are used here; its faces have no types."""

    fn: Any
    math: Any
    types: Any
    pipeline: Any
    version: str


# The node of what is fed, and that of what was drawn for it or None -> a node of normalised images
Graph = Callable[[Dali, Any, Any], Any]


@cache
def load() -> Dali:
    """DALI, imported on first use (seconds).

    Raises:
        Mistake: It is not installed, with the command that installs it.
    """
    try:
        with hushed(NO_GPU):
            return Dali(
                fn=importlib.import_module("nvidia.dali.fn"),
                math=importlib.import_module("nvidia.dali.math"),
                types=importlib.import_module("nvidia.dali.types"),
                pipeline=importlib.import_module("nvidia.dali.pipeline").Pipeline,
                version=importlib.import_module("nvidia.dali").__version__,
            )
    except ImportError as problem:
        raise Mistake(
            f"NVIDIA DALI, which reads the images, cannot be imported ({problem}).",
            do="Install it: pip install nvidia-dali-cuda130 (nvidia-dali-cuda120 where the driver is of CUDA 12), "
            "or use --data synthetic.",
        ) from None


class Stream:
    """Batches from a pipeline of one rank, built when this is made and running ahead from the first batch on.

    Tensors are DALI's own memory, not copies: its executor gives memory to later batches only after the last
    tensor that looks at it is gone.

    Args:
        request: Names device, threads and memory format.
        feed: What each batch is made from.
        graph: How it is made.
        batch: Images of a batch; the last one may have fewer.
        drawn: Whether the feed says what was drawn.
        stays: Whether the memory of the items outlives the stream, so that DALI need not copy it.

    Raises:
        Mistake: DALI is missing.
        Failure: The pipeline cannot be built; while iterating, where a file cannot be read or decoded.
    """

    def __init__(
        self,
        request: Request,
        feed: Feed,
        graph: Graph,
        *,
        batch: int,
        drawn: bool = False,
        stays: bool = False,
    ) -> None:
        self._channels_last = request.memory_format == torch.channels_last
        self._pipeline: Any = _build(load(), request, feed, graph, batch, drawn=drawn, stays=stays)

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Batch:
        if self._pipeline is None:
            raise StopIteration
        try:
            images, labels = self._pipeline.run()
        except RuntimeError as problem:
            self.close()
            raise Failure(
                f"DALI could not make a batch: {explain(problem)}.",
                do="A file may have been damaged since it was verified: run again with verify_data on.",
            ) from None
        return Batch(self._arrange(images), from_dlpack(labels.as_tensor()))

    def _arrange(self, images: Any) -> torch.Tensor:
        tensor = from_dlpack(images.as_tensor())
        return tensor.permute(0, 3, 1, 2) if self._channels_last else tensor

    def close(self) -> None:
        """Let go of the pipeline and its threads; no more batches will come."""
        self._pipeline = None


def _build(
    dali: Dali, request: Request, feed: Feed, graph: Graph, batch: int, *, drawn: bool, stays: bool
) -> Any:
    pipeline = dali.pipeline(
        batch_size=batch,
        num_threads=request.threads,
        device_id=_device_id(request.device),
        prefetch_queue_depth=request.training.prefetch or PREFETCHED_BATCHES,
        exec_dynamic=True,
    )
    on_gpu = request.device.type == "cuda"
    try:
        with pipeline, nullcontext() if on_gpu else hushed(NO_GPU):
            images, numbers = tee(feed)
            # For GPUs it is copied as ever: without a copy nothing was measured there.
            items = dali.fn.external_source(source=(one[0] for one in images), no_copy=stays and not on_gpu)
            labels, *rest = dali.fn.external_source(
                source=(one[1:] for one in numbers), num_outputs=1 + drawn
            )
            outputs = (graph(dali, items, rest[0] if rest else None), labels)
            pipeline.set_outputs(*(output.gpu() if on_gpu else output for output in outputs))
            pipeline.build()
    except RuntimeError as problem:
        raise Failure(
            f"DALI could not build its pipeline: {explain(problem)}.",
            do="`hpcdl doctor` shows what works here.",
        ) from None
    return pipeline


def _device_id(device: torch.device) -> int | None:
    if device.type != "cuda":
        return None
    return torch.cuda.current_device() if device.index is None else device.index


def normalise(
    dali: Dali, images: Any, request: Request, *, rule: Normalisation | None = None, **options: Any
) -> Any:
    """(pixel - mean) * scale as float32, in the layout that makes the memory format of the request free.

    Args:
        dali: DALI.
        images: Node of pixels from 0 to 255, HWC.
        request: Names network and memory format.
        rule: Mean and scale; None: the network's own.
        options: For `crop_mirror_normalize`: crop, crop_pos_x, crop_pos_y, mirror.
    """
    rule = rule or request.network.normalisation
    return dali.fn.crop_mirror_normalize(
        images,
        dtype=dali.types.FLOAT,
        output_layout="HWC" if request.memory_format == torch.channels_last else "CHW",
        mean=list(rule.mean),
        std=[1 / scale for scale in rule.scale],
        **options,
    )


def encode_paths(paths: Sequence[str]) -> list[NDArray[np.uint8]]:
    """Paths as DALI's `io.file.read` takes them: bytes in arrays of one dimension."""
    return [np.frombuffer(path.encode(errors="surrogateescape"), dtype=np.uint8) for path in paths]


def explain(problem: Exception) -> str:
    """The one line of DALI's error that says what happened, without its traceback of the pipeline."""
    _, _, rest = str(problem).partition("encountered:")
    lines = [line.strip() for line in (rest or str(problem)).splitlines()]
    return next((line.rstrip(" .:") for line in lines if line), type(problem).__name__)
