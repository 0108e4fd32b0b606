"""A benchmark: what is to be measured, and nothing about where."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, StringConstraints, field_validator, model_validator

from hpcdl import networks
from hpcdl.errors import UnknownName
from hpcdl.frozen import Frozen

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,60}$")]
Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]

Engine = Literal["auto", "horovod", "ddp", "single"]
Transport = Literal["auto", "nccl", "mpi", "gloo"]
# Where images come from: nowhere, from a package, or from a data set in one of the formats of hpcdl.datasets.
Source = Literal[
    "synthetic", "digits", "folder", "lmdb", "leveldb", "hdf5", "idx", "tfrecord", "webdataset", "raw"
]
STORED = frozenset(get_args(Source)) - {"synthetic", "digits"}
Device = Literal["auto", "cpu", "gpu"]
Dtype = Literal["fp32", "tf32", "bf16", "fp16"]
Compression = Literal["none", "fp16"]
Layout = Literal["auto", "nchw", "nhwc"]
Probing = Literal["auto", "also", "only", "never"]
Base = Literal["node", "gpu"]
SensorName = Literal["nvml", "rapl", "hwmon", "cray", "ipmi", "estimate"]


def read_fraction(value: object) -> object:
    """'1%' and '1 %' as 0.01; anything else as it is, for pydantic to judge."""
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            return float(value.strip().removesuffix("%")) / 100
        except ValueError:
            return value
    return value


_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def read_seconds(value: object) -> object:
    """'60s', '500 ms', '2m', '1h' as seconds; anything else as it is, for pydantic to judge."""
    found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-z]+)\s*", value) if isinstance(value, str) else None
    if found is None or found[2] not in _SECONDS:
        return value
    return float(found[1]) * _SECONDS[found[2]]


Fraction = Annotated[float, Field(gt=0, lt=1), BeforeValidator(read_fraction)]
Duration = Annotated[float, Field(gt=0), BeforeValidator(read_seconds)]


class Augmentation(Frozen):
    """What is done to an image of a data set on its way into the network. Validation takes the centre, and no mirror.

    `crop`: a random part of the image's area, resized to the input (Szegedy et al., arXiv 1409.4842: 8 % to 100 %);
    a window of the input's size at a random position, once the shorter side has been resized (Krizhevsky et al.,
    2012); or the centre. `resize` is that shorter side, in pixels; None: as published for the input's size.
    `mean`: what is subtracted: the network's own, nothing, or, as a file that `hpcdl data mean` wrote, a mean per
    channel or a mean image. `scale` multiplies what is left; None: the network's own. `invert`: 255 less the pixel.
    """

    crop: Literal["area", "position", "centre"] = "area"
    resize: Positive | None = None
    mirror: bool = True
    mean: str = "network"
    scale: Annotated[float, Field(gt=0)] | None = None
    invert: bool = False

    @model_validator(mode="after")
    def _resize_is_read(self) -> Self:
        if self.resize and self.crop == "area":
            raise ValueError("resize is the shorter side that a crop by position or centre is cut from")
        return self


class Train(Frozen):
    """One training run, in the field's words.

    `batch` is per rank (weak scaling); `global_batch` is over all ranks (strong scaling). Exactly one of
    them holds; likewise `steps` or `epochs`. What is left out comes from the network's own recipe.

    `precision` is the relative half-width of the throughput's 95 % interval ('1%') until which a launch goes on:
    it looks after `steps`, then whenever their number has doubled, and stops at `max_steps` at the latest.
    `min_window_s` is how long is measured at least: meters of power need their time.

    Settings of speed: `compile` (torch.compile), `cuda_graphs` (the step captured once and replayed), `compression`
    of gradients on their way, `accumulate` (micro-batches whose gradients are added up before one exchange; `batch`
    is all of them), `fused` (one kernel updates all weights), `data_threads` and `prefetch` (DALI's threads, and
    batches that it has ready). None: what hpcdl chooses.
    """

    model: str = "alexnet"
    batch: Positive | None = None
    global_batch: Positive | None = None
    steps: Positive | None = None
    epochs: Positive | None = None
    precision: Fraction | None = None
    max_steps: Positive | None = None
    min_window_s: Duration | None = None
    warmup: Count = 5
    engine: Engine = "auto"
    transport: Transport = "auto"
    data: Source = "synthetic"
    data_dir: str | None = None
    device: Device = "auto"
    dtype: Dtype = "fp32"
    layout: Layout = "auto"
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    fusion_mb: Annotated[int, Field(ge=0, le=4096)] = 64
    threads: Positive | None = None
    compile: bool = False
    cuda_graphs: bool = False
    compression: Compression = "none"
    accumulate: Positive = 1
    fused: bool = True
    data_threads: Positive | None = None
    prefetch: Positive | None = None
    augment: bool = True
    augmentation: Augmentation = Augmentation()
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
        if self.precision and self.epochs:
            raise ValueError(
                "precision decides how many steps there are, and so do epochs: they exclude each other"
            )
        if self.min_window_s and self.epochs:
            raise ValueError(
                "min_window_s decides how many steps there are, and so do epochs: they exclude each other"
            )
        if self.max_steps and not self.precision:
            raise ValueError("max_steps is only read with a precision to be reached")
        if self.dtype == "tf32" and self.device == "cpu":
            raise ValueError("tf32 is a type of GPUs: ask for fp32 on a CPU")
        return self

    @model_validator(mode="after")
    def _settings_fit(self) -> Self:
        on_cpu = self.device == "cpu"
        if self.dtype == "fp16" and on_cpu:
            raise ValueError("fp16 is a type of GPUs: ask for fp32 or bf16 on a CPU")
        if self.cuda_graphs and on_cpu:
            raise ValueError("cuda_graphs need a GPU, and device is cpu")
        if self.compression != "none" and self.engine == "single":
            raise ValueError(
                "compression is of gradients on their way to other ranks, and engine 'single' has none"
            )
        if self.compile and not self.warmup:
            raise ValueError("compile needs a step of warmup in which it is done")
        return self

    @model_validator(mode="after")
    def _data_fit(self) -> Self:
        if self.data in STORED and not self.data_dir:
            raise ValueError(f"data {self.data!r} needs data_dir")
        if self.data_dir and self.data not in STORED:
            raise ValueError(f"data_dir is only read with data that lie in files, not with {self.data!r}")
        if self.augmentation != Augmentation() and self.data not in STORED:
            raise ValueError(f"an augmentation is declared for data that lie in files, not for {self.data!r}")
        return self

    @property
    def mode(self) -> Literal["weak", "strong"]:
        """Weak: the local batch stays as ranks are added. Strong: the global batch stays."""
        return "strong" if self.global_batch else "weak"


# Younger than the first benchmarks: where they are not asked for, the question is as old as they.
YOUNGER = (
    "min_window_s",
    "compile",
    "cuda_graphs",
    "compression",
    "accumulate",
    "fused",
    "data_threads",
    "prefetch",
    "augmentation",
)


class Launches(Frozen):
    """Which launches a job holds: one for each entry of `nodes`, the whole row `repeat` times over.

    `bracket`: the smallest of several sizes is measured once more at the end, so that base and points share
    the weather. `per`: the base of a sweep is one full node, or one GPU (one rank). `engines`: each launch once
    with each of them, side by side. `attribution`: each launch in the variants that separate compute, exposed
    communication and input. `probe`: measure communication also, only, never, or where a sweep or an
    attribution over several nodes needs it (auto).
    """

    nodes: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1,)
    tasks_per_node: Positive | None = None
    repeat: Positive = 1
    bracket: bool = True
    per: Base = "node"
    engines: tuple[Engine, ...] = ()
    attribution: bool = False
    probe: Probing = "auto"
    progress_timeout_s: Annotated[float, Field(ge=5)] = 300.0

    @field_validator("engines")
    @classmethod
    def _several_engines(cls, engines: tuple[Engine, ...]) -> tuple[Engine, ...]:
        if len(engines) == 1 or len(set(engines)) < len(engines) or "auto" in engines:
            raise ValueError("engines side by side are two or more different ones, by name")
        return engines


class Metering(Frozen):
    """How power is sampled while a launch trains.

    One sampler on each node looks every `period_s` seconds at everything that can be read, or at `sensors` only.
    """

    sample: bool = True
    period_s: Annotated[float, Field(ge=0.01, le=10), BeforeValidator(read_seconds)] = 0.1
    sensors: tuple[SensorName, ...] = ()


class Benchmark(Frozen):
    """What to measure: the content of a file in benchmarks/."""

    name: Name = "custom"
    about: str = ""
    train: Train = Train()
    launches: Launches = Launches()
    power: Metering = Metering()

    @property
    def benchmark_id(self) -> str:
        """The same question over weeks: a digest of what is trained, without the prose and the meters."""
        asked = self.model_dump(mode="json", exclude={"name", "about", "power"})
        return digest(asked | {"train": forget_young(asked["train"])})


# Of [train]: what `hpcdl tune` may write into a site file, and nothing that changes what is asked.
TUNABLE = frozenset(
    {
        "layout",
        "threads",
        "compile",
        "cuda_graphs",
        "fused",
        "fusion_mb",
        "data_threads",
        "prefetch",
        "dtype",
        "compression",
    }
)


def forget_young(train: dict[str, Any]) -> dict[str, Any]:
    """A training as a digest sees it: without the younger settings that nobody asked for."""
    defaults = {name: value for name, value in Train().model_dump(mode="json").items() if name in YOUNGER}
    return {key: value for key, value in train.items() if key not in defaults or value != defaults[key]}


def digest(data: Any) -> str:
    """Twelve hexadecimal digits of SHA-256 over canonical JSON (sorted keys, no spaces)."""
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
