"""Runs as flat rows, one for each launch: what lists, queries and histories are made of.

A row is a plain dictionary from column to value, None where there is none; why there is none stands in
`why_missing` (images/s) and `energy_missing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from hpcdl.plan import NO_TRAINING
from hpcdl.records import Missing

if TYPE_CHECKING:
    from hpcdl.analysis.energy import Figure
    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.launch import LaunchResult
    from hpcdl.estimates.intervals import Interval
    from hpcdl.records import Reading

Value = str | int | float | None
Row = dict[str, Value]
# What a query compares a column as: SQLite's own words for it.
Kind = Literal["TEXT", "INTEGER", "REAL"]


class Column(NamedTuple):
    """A column of a row: as what it is compared, and what it says."""

    kind: Kind
    about: str


COLUMNS: dict[str, Column] = {
    "run_id": Column("TEXT", "the run"),
    "time": Column("TEXT", "when it was planned, UTC: 2026-11-22T14:12:00Z"),
    "name": Column("TEXT", "the benchmark's name"),
    "benchmark_id": Column("TEXT", "the question asked, whatever its name"),
    "plan_hash": Column("TEXT", "the plan: benchmark, site and launches"),
    "tags": Column("TEXT", "what --tag said, with commas between"),
    "site": Column("TEXT", "the site's name"),
    "executor": Column("TEXT", "slurm or local"),
    "slurm_job_id": Column("INTEGER", "Slurm's number of the job"),
    "run_state": Column("TEXT", "how the run stands"),
    "rehearsal": Column("INTEGER", "1: hosts that are one machine in disguise; else 0"),
    "rehearsal_reason": Column("TEXT", "why it is a rehearsal"),
    "job_nodes": Column("INTEGER", "nodes of the whole job"),
    "launch": Column("TEXT", "the launch's name"),
    "launch_index": Column("INTEGER", "its place in the job, from 1"),
    "kind": Column("TEXT", "train or probe"),
    "state": Column("TEXT", "planned, running, completed, failed, refused, stopped or lost"),
    "variant": Column("TEXT", "full, or what an attribution left out"),
    "repeat": Column("INTEGER", "which of its repeats, from 1"),
    "model": Column("TEXT", "the network"),
    "data": Column("TEXT", "synthetic, digits or folder"),
    "dtype": Column("TEXT", "fp32, tf32 or bf16"),
    "engine": Column("TEXT", "horovod, ddp or single"),
    "planned_engine": Column("TEXT", "the engine as asked for"),
    "transport": Column("TEXT", "nccl, mpi or gloo"),
    "device": Column("TEXT", "cpu or gpu"),
    "layout": Column("TEXT", "nchw or nhwc"),
    "mode": Column("TEXT", "weak or strong"),
    "nodes": Column("INTEGER", "nodes of the launch"),
    "ranks": Column("INTEGER", "ranks of the launch"),
    "local_batch": Column("INTEGER", "images per rank and step"),
    "global_batch": Column("INTEGER", "images per step"),
    "hosts": Column("TEXT", "names of the hosts"),
    "cpu": Column("TEXT", "processors"),
    "gpu": Column("TEXT", "GPUs; nothing where none is used"),
    "hpcdl": Column("TEXT", "version of hpcdl"),
    "torch": Column("TEXT", "version of torch"),
    "horovod": Column("TEXT", "version of Horovod"),
    "dali": Column("TEXT", "version of DALI"),
    "mpi": Column("TEXT", "version of MPI"),
    "nccl": Column("TEXT", "version of NCCL"),
    "cuda": Column("TEXT", "version of CUDA"),
    "images_per_s": Column("REAL", "throughput; nothing where it is not published"),
    "images_per_s_low": Column("REAL", "lower end of its 95 % interval"),
    "images_per_s_high": Column("REAL", "upper end"),
    "why_missing": Column("TEXT", "why there is no images_per_s"),
    "average_w": Column("REAL", "W at `boundary`"),
    "j_per_image": Column("REAL", "J/image at `boundary`"),
    "j_per_image_low": Column("REAL", "lower end of its 95 % interval"),
    "j_per_image_high": Column("REAL", "upper end"),
    "images_per_j": Column("REAL", "images/J at `boundary`"),
    "images_per_j_low": Column("REAL", "lower end of its 95 % interval"),
    "images_per_j_high": Column("REAL", "upper end"),
    "boundary": Column("TEXT", "device, or node where no device is metered by itself"),
    "basis": Column("TEXT", "measured, estimated or part estimated"),
    "energy_missing": Column("TEXT", "why there is no energy"),
    "accuracy": Column("REAL", "on held-out images, of 1"),
}
LARGEST = 2**63  # what SQLite can hold of a whole number


def make_rows(result: RunResult) -> list[Row]:
    """One row for each launch, in the order of the job; columns as in COLUMNS."""
    of_run = _describe_run(result)
    rows = [of_run | _describe_launch(launch) for launch in result.launches] or [of_run]
    return [{name: _fit(row.get(name)) for name in COLUMNS} for row in rows]


def _fit(value: Value) -> Value:
    return float(value) if isinstance(value, int) and abs(value) >= LARGEST else value


def _describe_run(result: RunResult) -> Row:
    job = result.job
    return {
        "run_id": result.run_id,
        "time": job.created_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "name": job.name,
        "benchmark_id": job.benchmark_id,
        "plan_hash": job.plan_hash,
        "tags": ",".join(job.tags),
        "site": job.site.name,
        "executor": job.executor,
        "slurm_job_id": result.submission.slurm_job_id if result.submission else None,
        "run_state": result.state,
        "rehearsal": int(result.rehearsal is not None),
        "rehearsal_reason": result.rehearsal,
        "job_nodes": job.nodes,
        "why_missing": "the job has no launches",
    }


def _describe_launch(launch: LaunchResult) -> Row:
    plan, train = launch.plan, launch.plan.train
    return {
        "launch": plan.name,
        "launch_index": plan.index,
        "kind": plan.kind,
        "state": launch.state,
        "variant": plan.variant,
        "repeat": plan.repeat,
        "model": train.model,
        "data": train.data,
        "dtype": train.dtype,
        "engine": launch.engine,
        "planned_engine": train.engine,
        "transport": launch.transport,
        "device": launch.device,
        "layout": launch.layout,
        "mode": train.mode,
        "nodes": plan.nodes,
        "ranks": plan.world_size,
        "local_batch": train.local_batch,
        "global_batch": train.global_batch,
        "accuracy": _read(launch.accuracy),
        **_describe_environment(launch),
        **_describe_rate(launch),
        **_describe_energy(launch),
    }


def _describe_environment(launch: LaunchResult) -> Row:
    if launch.environment is None:
        return {}
    versions = launch.environment.versions
    return {
        "hosts": ", ".join(launch.hosts),
        "cpu": ", ".join(sorted({machine.cpu for machine in launch.machines})),
        "gpu": ", ".join(sorted({gpu for machine in launch.machines for gpu in machine.gpus})) or None,
        **{
            name: getattr(versions, name)
            for name in ("hpcdl", "torch", "horovod", "dali", "mpi", "nccl", "cuda")
        },
    }


def _describe_rate(launch: LaunchResult) -> Row:
    why = launch.images_per_s.missing if isinstance(launch.images_per_s, Missing) else None
    if launch.plan.kind in NO_TRAINING:
        return {"why_missing": NO_TRAINING[launch.plan.kind]}
    return {
        "images_per_s": _read(launch.images_per_s),
        "why_missing": why,
        **_describe_ends("images_per_s", launch.interval),
    }


def _describe_energy(launch: LaunchResult) -> Row:
    """At the first boundary that there is: devices, else nodes."""
    if isinstance(launch.energy, Missing):
        return {"energy_missing": launch.energy.missing}
    if not launch.energy.figures:
        return {"energy_missing": "nothing that was metered makes up a boundary"}
    figure = launch.energy.figures[0]
    why = figure.j_per_image.missing if isinstance(figure.j_per_image, Missing) else None
    return {
        "average_w": _read(figure.average_w),
        "j_per_image": _read(figure.j_per_image),
        "images_per_j": _read(figure.images_per_j),
        "boundary": figure.boundary,
        "basis": _name_basis(figure),
        "energy_missing": why,
        **_describe_ends("j_per_image", figure.interval),
        **_describe_ends("images_per_j", figure.images_per_j_interval),
    }


def _name_basis(figure: Figure) -> str:
    if not figure.estimated:
        return "measured"
    return "part estimated" if figure.measured else "estimated"


def _describe_ends(name: str, interval: Interval | None) -> Row:
    if interval is None or not interval.bounded:
        return {}
    return {f"{name}_low": interval.low, f"{name}_high": interval.high}


def _read(reading: Reading) -> float | None:
    return None if isinstance(reading, Missing) else reading
