"""A benchmark: what is to be measured, and nothing about where."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from hpcdl import networks
from hpcdl.errors import UnknownName
from hpcdl.frozen import Frozen

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,60}$")]
Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]

Engine = Literal["auto", "horovod", "ddp", "single"]
Transport = Literal["auto", "nccl", "mpi", "gloo"]
Source = Literal["synthetic", "digits", "folder"]
Device = Literal["auto", "cpu", "gpu"]
Precision = Literal["fp32", "bf16"]
Layout = Literal["auto", "nchw", "nhwc"]


class Train(Frozen):
    """One training run, in the field's words.

    `batch` is per rank (weak scaling); `global_batch` is over all ranks (strong scaling). Exactly one of
    them holds; likewise `steps` or `epochs`. What is left out comes from the network's own recipe.
    """

    model: str = "alexnet"
    batch: Positive | None = None
    global_batch: Positive | None = None
    steps: Positive | None = None
    epochs: Positive | None = None
    warmup: Count = 5
    engine: Engine = "auto"
    transport: Transport = "auto"
    data: Source = "synthetic"
    data_dir: str | None = None
    device: Device = "auto"
    precision: Precision = "fp32"
    layout: Layout = "auto"
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    fusion_mb: Annotated[int, Field(ge=0, le=4096)] = 64
    threads: Positive | None = None
    augment: bool = True
    dropout: bool = True
    validate_after: bool = True
    verify_data: bool = True
    seed: Count = 1

    @field_validator("model")
    @classmethod
    def _known_network(cls, name: str) -> str:
        try:
            networks.find(name)
        except UnknownName as unknown:
            raise ValueError(str(unknown).rstrip(".")) from None
        return name

    @model_validator(mode="after")
    def _one_of_each_pair(self) -> Self:
        if self.batch and self.global_batch:
            raise ValueError("batch (per rank) and global_batch (over all ranks) exclude each other")
        if self.steps and self.epochs:
            raise ValueError("steps and epochs exclude each other")
        if self.epochs and self.data == "synthetic":
            raise ValueError("synthetic data have no epochs: ask for steps")
        if self.data == "folder" and not self.data_dir:
            raise ValueError("data 'folder' needs data_dir")
        if self.data_dir and self.data != "folder":
            raise ValueError(f"data_dir is only read with data 'folder', not with {self.data!r}")
        return self

    @property
    def mode(self) -> Literal["weak", "strong"]:
        """Weak: the local batch stays as ranks are added. Strong: the global batch stays."""
        return "strong" if self.global_batch else "weak"


class Launches(Frozen):
    """Which launches a job holds: one for each entry of `nodes`, the whole row `repeat` times over."""

    nodes: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1,)
    tasks_per_node: Positive | None = None
    repeat: Positive = 1
    progress_timeout_s: Annotated[float, Field(ge=5)] = 300.0


class Benchmark(Frozen):
    """What to measure: the content of a file in benchmarks/."""

    name: Name = "custom"
    about: str = ""
    train: Train = Train()
    launches: Launches = Launches()

    @property
    def benchmark_id(self) -> str:
        """The same question over weeks: a digest of what is measured, without the prose."""
        return digest(self.model_dump(mode="json", exclude={"name", "about"}))


def digest(data: Any) -> str:
    """Twelve hexadecimal digits of SHA-256 over canonical JSON (sorted keys, no spaces)."""
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
