"""Runs as the nodes leave them behind, written through the real store."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hpcdl.columns import join_tables, parse_steps
from hpcdl.durable import Appender, publish_record
from hpcdl.metering import Closing, Opening
from hpcdl.plan import Job, cluster_sizes, local_sizes, make_launches
from hpcdl.records import (
    Cancellation,
    Conditions,
    Environment,
    Exit,
    Finding,
    Host,
    Missing,
    Step,
    Stretch,
    Submission,
    Summary,
    Versions,
    Window,
)
from hpcdl.site import Site
from hpcdl.spec import Benchmark, Launches, Metering, Train
from hpcdl.store import LaunchFolder, RunFolder, lay_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from hpcdl.columns import StepTable
    from hpcdl.metering import Source, Unavailable
    from hpcdl.plan import Launch

VERSIONS = Versions(hpcdl="0.1.0", code="0123456789ab", python="3.11.2", torch="2.13.0", horovod="0.28.1")
HELD = Finding(check="world size", outcome="held", detail="as asked")


def write_run(
    store: Path,
    *,
    nodes: Sequence[int] = (1,),
    repeat: int = 1,
    tasks_per_node: int = 1,
    launcher: str = "srun",
    cores: int = 8,
    run_id: str = "20261122-141200-k3f9",
    name: str = "scaling",
    launches: Mapping[str, Any] | None = None,
    power: bool = False,
    site: Mapping[str, Any] | None = None,
    **train: Any,
) -> RunFolder:
    """A run as it is laid out before its first launch."""
    benchmark = Benchmark(
        name=name,
        train=Train(**{"model": "alexnet", "batch": 256, "steps": 40, "warmup": 2} | train),
        launches=Launches(
            nodes=tuple(nodes),
            repeat=repeat,
            tasks_per_node=tasks_per_node,
            # Unless a test is about them: the launches are those that it names.
            **{"bracket": False, "probe": "never"} | (launches or {}),
        ),
        power=Metering(sample=power),
    )
    where = Site.model_validate({"name": "juno"} | dict(site or {}))
    lay_sizes = cluster_sizes if launcher == "srun" else local_sizes
    sizes = lay_sizes(benchmark, where, cores=cores)
    job = Job(
        run_id=run_id,
        benchmark_id=benchmark.benchmark_id,
        plan_hash="abcdefabcdef",
        created_utc=datetime(2026, 11, 22, 14, 12, tzinfo=UTC),
        name=name,
        executor="slurm" if launcher == "srun" else "local",
        nodes=max(nodes),
        walltime_s=600,
        run_dir=str(store / run_id),
        python="/usr/bin/python3",
        benchmark=benchmark,
        site=where,
        sources={},
        launches=make_launches(benchmark, where, sizes, launcher=launcher),
    )
    run = lay_out(job, script="#!/bin/bash\n")
    publish_record(
        run.submission_path,
        Submission(slurm_job_id=48151, host="login1", submitted_utc="2026-11-22T14:12:00Z"),
    )
    return run


@dataclass
class Recording:
    """How one launch is to be written. Ranks are spread over hosts node1, node2, … in blocks.

    `one_machine`: all hosts share a boot id. `steps` of those planned are recorded; `outcomes` are the exits
    of single ranks, None for none; the others' are `outcome`. `clocks_s` is how far a host's clock is ahead of that
    of node1; hosts named here have told the window on their own clock. On a `device` 'gpu' each rank has a GPU of its
    own. `host` and `versions` are what is recorded otherwise than usual of each rank and of its libraries.
    """

    images_per_s: float = 1000.0
    steps: int | None = None
    one_machine: bool = False
    outcome: str | None = "completed"
    outcomes: Mapping[int, Mapping[str, Any] | None] = field(default_factory=dict)
    summarised: bool = True
    engine: str = "horovod"
    transport: str = "mpi"
    cpu: str = "AMD EPYC 9534 64-Core Processor"
    accuracy: float | None = None
    restart: int = 0
    environment: bool = True
    findings: tuple[Finding, ...] = (HELD,)
    conditions: tuple[Conditions, ...] = ()
    clocks_s: Mapping[str, float] = field(default_factory=dict)
    device: str = "cpu"
    host: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)


def record(run: RunFolder, index: int, how: Recording | None = None) -> LaunchFolder:
    """Write what the launch with this index (from 1) leaves behind."""
    launch = run.job().launches[index - 1]
    folder = LaunchFolder(run.path / launch.name)
    how = how or Recording()
    if how.environment:
        publish_record(folder.environment_path, make_environment(launch, how))
    write_steps(folder, launch, how)
    for rank in range(launch.world_size):
        write_exit(folder, launch, rank, how)
    if how.summarised:
        publish_record(folder.summary_path, make_summary(launch, how))
    return folder


def make_environment(launch: Launch, how: Recording) -> Environment:
    return Environment(
        world_size=launch.world_size,
        engine=how.engine,
        transport=how.transport,
        device=how.device,
        layout="nhwc",
        steps=launch.train.steps or 1,
        images=None,
        classes=1000,
        versions=VERSIONS.model_copy(update=dict(how.versions)),
        hosts=tuple(make_host(launch, rank, how) for rank in range(launch.world_size)),
        findings=how.findings,
        slurm={},
    )


def host_name(launch: Launch, rank: int) -> str:
    return f"node{rank // launch.tasks_per_node + 1}"


def make_host(launch: Launch, rank: int, how: Recording) -> Host:
    host = host_name(launch, rank)
    local_rank = rank % launch.tasks_per_node
    gpu = {"gpu": "NVIDIA H100 80GB HBM3", "gpu_uuid": f"GPU-{host}-{local_rank}"}
    usual: dict[str, Any] = {
        "rank": rank,
        "local_rank": local_rank,
        "host": host,
        "boot_id": "0f1e2d3c-0000" if how.one_machine else f"{host}-boot-id",
        "pid": 1000 + rank,
        "cpu": how.cpu,
        "cores_visible": 8,
        "affinity": tuple(range(8)),
        "threads": 8,
        "memory_bytes": 64_000_000_000,
    }
    return Host(**usual | (gpu if how.device == "gpu" else {}) | dict(how.host))


def wobble(step: int) -> float:
    """How much longer than the mean this step takes: even to half a percent, and the same on all ranks."""
    return 0.005 * ((7 * step) % 11 / 5 - 1)


def begin_of(step: int, step_s: float) -> float:
    """When a step begins, in seconds on every host's clock."""
    return 100.0 + step_s * sum(1 + wobble(before) for before in range(step))


def make_step(
    rank: int,
    step: int,
    *,
    warmup: bool = False,
    images: int = 256,
    step_s: float = 1.0,
    begin_s: float | None = None,
) -> Step:
    """A step whose phases are 5, 70, 15 and 10 % of it, and whose loss falls."""
    return Step(
        rank=rank,
        step=step,
        warmup=warmup,
        images=images,
        begin_s=100.0 + step * step_s if begin_s is None else begin_s,
        input_s=0.05 * step_s,
        compute_s=0.70 * step_s,
        exchange_s=0.15 * step_s,
        update_s=0.10 * step_s,
        loss=7.0 / (1 + step) + 0.01 * rank,
    )


def tabulate(steps: Iterable[Step]) -> StepTable:
    """Steps as the store reads them."""
    text = b"".join(step.model_dump_json().encode() + b"\n" for step in steps)
    return join_tables([parse_steps(text, lambda line, reason: None)])


def write_steps(folder: LaunchFolder, launch: Launch, how: Recording) -> None:
    train = launch.train
    done = train.steps if how.steps is None else how.steps
    step_s = train.global_batch / how.images_per_s
    for rank in range(launch.world_size):
        stream = Appender(folder.steps_path(host_name(launch, rank)))
        for step in range(train.warmup + (done or 0)):
            warmup = step < train.warmup
            ahead_s = how.clocks_s.get(host_name(launch, rank), 0.0)
            took = {"step_s": step_s * (1 + wobble(step)), "begin_s": begin_of(step, step_s) + ahead_s}
            stream.add(make_step(rank, step, warmup=warmup, images=train.local_batch, **took))
        stream.flush()


def write_exit(folder: LaunchFolder, launch: Launch, rank: int, how: Recording) -> None:
    own = how.outcomes.get(rank, {"outcome": how.outcome} if how.outcome else None)
    if own is None:
        return
    stream = Appender(folder.exit_path(host_name(launch, rank)))
    stream.add(make_exit(rank, host=host_name(launch, rank), restart=how.restart, **own))
    stream.flush()


def make_exit(rank: int, **changes: Any) -> Exit:
    outcome = changes.get("outcome", "completed")
    defaults = {
        "host": f"node{rank + 1}",
        "local_rank": 0,
        "outcome": outcome,
        "exit_code": 0 if outcome == "completed" else 1,
        "last_step": 20,
        "phase": "end" if outcome == "completed" else "exchange",
        "elapsed_s": 60.0,
    }
    return Exit(rank=rank, **defaults | changes)


def make_summary(launch: Launch, how: Recording) -> Summary:
    train = launch.train
    steps = train.steps or 1
    accuracy = (
        Missing(missing="synthetic data have no held-out part") if how.accuracy is None else how.accuracy
    )
    step_s = train.global_batch / how.images_per_s
    begin_s = begin_of(train.warmup, step_s)
    stretch = Stretch(
        first_step=train.warmup,
        steps=steps,
        begin_s=begin_s,
        # The mean is held to what was asked for, whatever the last step's share.
        end_s=begin_s + steps * step_s,
    )
    return Summary(
        window=Window(images=steps * train.global_batch, stretches=(stretch,)),
        final_loss=0.5,
        accuracy=accuracy,
        conditions=how.conditions or tell_windows(launch, how, stretch),
    )


def tell_windows(launch: Launch, how: Recording, stretch: Stretch) -> tuple[Conditions, ...]:
    """The window on the clock of each host that has one of its own."""
    firsts = {host_name(launch, rank): rank for rank in reversed(range(launch.world_size))}
    return tuple(
        make_conditions(
            firsts[host],
            stretches=(
                stretch.model_copy(
                    update={"begin_s": stretch.begin_s + ahead_s, "end_s": stretch.end_s + ahead_s}
                ),
            ),
        )
        for host, ahead_s in how.clocks_s.items()
    )


def write_trace(
    folder: LaunchFolder,
    host: str,
    sources: Mapping[Source, Callable[[float], dict[str, Any]]],
    *,
    begin_s: float,
    end_s: float,
    period_s: float = 0.1,
    boot_id: str | None = None,
    closed: bool = True,
    unavailable: Sequence[Unavailable] = (),
) -> None:
    """A sampler's stream of one host: each source with what a look at it gives at a time of the host's clock."""
    stream = Appender(folder.power_path(host))
    stream.add(
        Opening(
            host=host,
            boot_id=boot_id or f"{host}-boot-id",
            at_s=begin_s,
            period_s=period_s,
            sources=tuple(sources),
            unavailable=tuple(unavailable),
        )
    )
    for look in range(int((end_s - begin_s) / period_s) + 1):
        at_s = begin_s + look * period_s
        looks = {source.name: read(at_s) for source, read in sources.items()}
        stream.add({"kind": "sample", "at_s": at_s, "took_s": 0.001, "looks": looks})
    if closed:
        stream.add(Closing(at_s=end_s, reason="told by SIGUSR2"))
    stream.flush()


def make_conditions(rank: int = 0, **changes: Any) -> Conditions:
    """A quiet machine on which everything can be looked at."""
    quiet: dict[str, Any] = {
        "elapsed_s": 40.0,
        "process_cpu_s": 300.0,
        "cpu_limit_cores": Missing(missing="no CPU quota is set"),
        "cpu_throttled_s": 0.0,
        "thermal_throttles": 0.0,
        "thermal_throttled_s": 0.0,
        "clock_mhz": 2600.0,
        "temperature_c": 50.0,
        "load": 8.0,
        "cores_of_host": 64,
        "foreign_cores": 0.1,
        "matrix_flops_per_s": (1e12, 1.02e12),
    }
    return Conditions(rank=rank, **quiet | changes)


def cancel(run: RunFolder) -> None:
    publish_record(run.cancelled_path, Cancellation(requested_utc="2026-11-22T14:12:00Z"))


KILLED = {"outcome": "killed", "exit_code": 137, "signal": 9, "last_step": 9, "phase": "compute"}
STOPPED = {"outcome": "stopped", "exit_code": 143, "last_step": 9, "reason": "ended by SIGTERM"}
