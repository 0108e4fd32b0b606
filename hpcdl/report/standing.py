"""What `hpcdl status` shows: where a run stands, launch by launch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.report.content import Column, Fact, Note, Quantity, Report, Table
from hpcdl.report.wording import name_size

if TYPE_CHECKING:
    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.launch import LaunchResult
    from hpcdl.report.content import Cell

COLUMNS = (
    Column("launch", "launch"),
    Column("model", "model", left=True),
    Column("size", "on", left=True),
    Column("state", "state", left=True),
    Column("progress", "progress", left=True),
    Column("images_per_s", "images/s so far"),
    Column("loss", "loss"),
)


def describe_standing(result: RunResult, words: str) -> Report:
    """A run as it is now; `words` are the executor's."""
    number = result.submission.slurm_job_id if result.submission else None
    facts = (
        Fact("job", "job", str(number) if number is not None else "on this machine"),
        Fact("job_state", "job state", words),
        Fact("state", "run state", result.state),
        Fact("directory", "directory", result.path),
    )
    rows = tuple(_make_row(launch) for launch in result.launches)
    stories = [result.story, *(launch.story for launch in result.launches)]
    return Report(
        kind="status",
        title=f"run {result.run_id}",
        sections=(Table("launches", "Launches", COLUMNS, rows, facts=facts),),
        notes=tuple(Note("failure", story) for story in stories if story),
        more=(f"what it printed: hpcdl logs {result.run_id}",),
    )


def _make_row(launch: LaunchResult) -> tuple[Cell, ...]:
    progress = launch.progress
    return (
        launch.plan.index,
        launch.plan.train.model if launch.plan.kind == "train" else launch.plan.kind,
        name_size(launch.plan.nodes, launch.world_size),
        launch.state,
        progress.text if launch.plan.kind == "train" else "",
        Quantity(progress.images_per_s, "images/s"),
        Quantity(progress.loss, "loss"),
    )
