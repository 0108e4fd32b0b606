"""What a launch leaves behind. The schema is versioned; raw values stay; Missing is never zero."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

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


class Host(Frozen):
    """One rank's view of the machine under it."""

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


class Versions(Frozen):
    """Read from the libraries that were loaded, not from what is installed."""

    hpcdl: str
    code: str
    python: str
    torch: str
    horovod: str | None = None
    dali: str | None = None
    mpi: str | None = None
    nccl: str | None = None
    cuda: str | None = None


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
    slurm: dict[str, str]


class Window(Frozen):
    """A measured stretch, from barrier to barrier, on rank 0's monotonic clock."""

    first_step: int
    steps: int
    images: int
    elapsed_s: Annotated[float, Field(gt=0)]


class Summary(Frozen):
    """Success, said explicitly by rank 0 after the last barrier: `summary.json`."""

    schema_version: Literal[1] = 1
    completed: Literal[True] = True
    window: Window
    final_loss: float | None
    accuracy: float | Missing
    validated_images: int | None = None


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
