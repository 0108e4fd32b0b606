"""What a launch leaves behind. The schema is versioned; raw values stay; Missing is never zero."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from hpcdl.frozen import Frozen


class Missing(Frozen):
    """A value that could not be had, and why. Whatever is derived from it is missing too."""

    missing: str


Reading = float | Missing

# How a rank ended, seen from its supervisor.
Outcome = Literal[
    "completed",  # it said so itself, and left with 0
    "refused",  # preflight found it unfit to be measured
    "failed",  # it left with an error of its own
    "killed",  # a signal ended it that its supervisor did not send
    "hung",  # it made no progress until the deadline; its supervisor ended it
    "stopped",  # its supervisor was told to end it: another rank's failure, scancel, walltime, Ctrl-C
]
Seconds = Annotated[float, Field(ge=0)]


class Step(Frozen):
    """One step of one rank. The four phases add up to the step, on that host's monotonic clock.

    `compute_s` is forward and backward until the wait for the exchange begins; `exchange_s` is that wait,
    the part of the communication that the computation did not hide.
    """

    rank: int
    step: int
    warmup: bool
    images: int
    begin_s: float
    input_s: Seconds
    compute_s: Seconds
    exchange_s: Seconds
    update_s: Seconds
    loss: float | None

    @property
    def step_s(self) -> float:
        """The whole step in seconds."""
        return self.input_s + self.compute_s + self.exchange_s + self.update_s


# How many of a rank's hardware threads are near its GPU: on its NUMA node.
Nearness = Literal["all", "some", "none"]


class Binding(Frozen):
    """What a rank did about its hardware threads, and why. `near` None: it uses no GPU, or nobody tells."""

    action: Literal["bound", "left"]
    near: Nearness | None = None
    detail: str


class Host(Frozen):
    """One rank's view of the machine under it.

    `affinity` are hardware threads. `sockets` are the sockets that these belong to, by the kernel's numbers, and
    `cores` the first hardware thread of each of their cores. `vector` are the instructions that torch's own loops use,
    `vector_of_cpu` the widest of that kind that the processor has. None: not recorded, or the kernel does not tell.
    """

    rank: int
    local_rank: int
    host: str
    boot_id: str
    pid: int
    cpu: str
    cores_visible: int
    affinity: tuple[int, ...]
    threads: int
    memory_bytes: int | None = None
    gpu_uuid: str | None = None
    gpu: str | None = None
    sockets: tuple[int, ...] | None = None
    sockets_of_host: int | None = None
    cores: tuple[int, ...] | None = None
    cores_of_host: int | None = None
    vector: str | None = None
    vector_of_cpu: str | None = None
    driver: str | None = None
    kernel: str | None = None
    binding: Binding | None = None


class Versions(Frozen):
    """Read from the libraries that were loaded, not from what is installed.

    `onednn` and `blas` are what torch computes with on a CPU; 'none' where it does without. None: not recorded.
    """

    hpcdl: str
    code: str
    python: str
    torch: str
    horovod: str | None = None
    dali: str | None = None
    mpi: str | None = None
    nccl: str | None = None
    cuda: str | None = None
    onednn: str | None = None
    blas: str | None = None


class Delivery(Frozen):
    """How a rank came to its software, by what it found around itself.

    `python`, `prefix` and `hpcdl` are paths of the interpreter, of its environment, and of the package hpcdl. `runtime`
    is what started the image (None: the rank ran on the host itself), `image` the image as that names it, and
    `image_bytes` and `image_modified_utc` are those of its file, as the node saw them before the image was entered.
    """

    python: str
    prefix: str
    hpcdl: str
    runtime: str | None = None
    image: str | Missing | None = None
    image_bytes: int | Missing | None = None
    image_modified_utc: datetime | Missing | None = None
    modules: tuple[str, ...] = ()
    spack: str | None = None
    venv: str | None = None


class Finding(Frozen):
    """One question of the preflight. 'Could not look' is not 'held'."""

    check: str
    outcome: Literal["held", "failed", "could not look"]
    detail: str


class Environment(Frozen):
    """Where and with what a launch ran: `environment.json`, written before the first step."""

    schema_version: Literal[1] = 1
    world_size: int
    engine: str
    transport: str
    device: str
    layout: str
    steps: int
    images: int | None
    classes: int
    versions: Versions
    hosts: tuple[Host, ...]
    findings: tuple[Finding, ...]
    delivery: Delivery | None = None
    slurm: dict[str, str]


class Stretch(Frozen):
    """Steps without a pause, from barrier to barrier, on rank 0's monotonic clock."""

    first_step: int
    steps: Annotated[int, Field(gt=0)]
    begin_s: float
    end_s: float

    @model_validator(mode="after")
    def _forward_in_time(self) -> Self:
        if self.end_s <= self.begin_s:
            raise ValueError("a stretch ends after it begins")
        return self

    @property
    def elapsed_s(self) -> float:
        return self.end_s - self.begin_s


class Window(Frozen):
    """What was measured: one stretch, or several where the launch paused to look whether it was precise enough."""

    images: int
    stretches: Annotated[tuple[Stretch, ...], Field(min_length=1)]

    @property
    def first_step(self) -> int:
        return self.stretches[0].first_step

    @property
    def steps(self) -> int:
        return sum(stretch.steps for stretch in self.stretches)

    @property
    def elapsed_s(self) -> float:
        """Seconds of the stretches, without the pauses between them."""
        return sum(stretch.elapsed_s for stretch in self.stretches)


class Conditions(Frozen):
    """What surrounded one rank while it was measured; what could not be read is missing, with the reason.

    `process_cpu_s` is the rank's own CPU time in `elapsed_s`. `cpu_limit_cores` is the tightest CPU quota of its
    cgroups, `cpu_throttled_s` how long they held it back meanwhile, each of its threads on average.
    `thermal_throttles` counts the kernel's events on the worst of its cores, `thermal_throttled_s` is for how long.
    `foreign_cores` is the CPU time of processes that are not of this job, as cores kept busy of `cores_of_host`,
    and `foreign` names the busiest; both stand in the first rank of a host only. `throttle_reasons` are those that
    slow a GPU down, as NVML names them at either end of the window, and `gpu_throttled_s` is how long heat held it
    back in between.
    `matrix_flops_per_s` is the device's own matrix product before and after the window, at the training's type.
    `stretches` is the window on this host's own clock, by which its power is read; the first rank of a host tells it.
    """

    rank: int
    elapsed_s: Seconds
    process_cpu_s: Seconds
    cpu_limit_cores: Reading
    cpu_throttled_s: Reading
    thermal_throttles: Reading
    thermal_throttled_s: Reading = Missing(missing="the kernel does not tell for how long")
    clock_mhz: Reading
    temperature_c: Reading
    load: Reading
    cores_of_host: int
    foreign_cores: Reading
    foreign: tuple[str, ...] = ()
    throttle_reasons: tuple[str, ...] | Missing = Missing(missing="no GPU is used")
    gpu_throttled_s: Reading = Missing(missing="no GPU is used")
    matrix_flops_per_s: tuple[float, ...] = ()
    stretches: tuple[Stretch, ...] = ()


class Summary(Frozen):
    """Success, said explicitly by rank 0 after the last barrier: `summary.json`."""

    schema_version: Literal[1] = 1
    completed: Literal[True] = True
    window: Window
    final_loss: float | None
    accuracy: float | Missing
    validated_images: int | None = None
    conditions: tuple[Conditions, ...] = ()


class Exit(Frozen):
    """How one rank ended: a line of `exit-<host>.jsonl`.

    `process_state` is the kernel's letter for a rank that hung (man 5 proc): T is stopped, D waits for a disk;
    a rank that waits for others sleeps (S) or spins (R).
    """

    rank: int
    host: str
    local_rank: int
    outcome: Outcome
    exit_code: int
    signal: int | None = None
    last_step: int
    phase: str
    reason: str = ""
    process_state: str | None = None
    elapsed_s: Seconds
    restart: int = 0


class Submission(Frozen):
    """What became of handing a job to its executor: `submission.json`."""

    slurm_job_id: int | None = None
    pid: int | None = None
    process_start: str | None = None
    host: str
    submitted_utc: datetime
    refused: str | None = None


class Cancellation(Frozen):
    """A person asked for the end: `cancelled.json`."""

    requested_utc: datetime


class Condition(Frozen):
    """One thing that works here, or does not: what was found, and what to do about it."""

    name: str
    value: str
    ok: bool
    do: str = ""


class Loading(Frozen):
    """Images/s of two loaders over the same files, window by window, in pairs by turns.

    `dali` is hpcdl's own source, `plain` PIL in a torch DataLoader; both have `threads` threads or processes.
    """

    images: int
    threads: int
    batch: int
    input_shape: tuple[int, int, int]
    dali: Annotated[tuple[float, ...], Field(min_length=2)]
    plain: Annotated[tuple[float, ...], Field(min_length=2)]
