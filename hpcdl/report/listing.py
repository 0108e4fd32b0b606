"""What `hpcdl list` shows: one row for each run of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.analysis.job import analyse_run
from hpcdl.analysis.readings import known
from hpcdl.errors import Mistake
from hpcdl.records import Missing
from hpcdl.report.content import Column, Note, Quantity, Report, Table
from hpcdl.report.wording import join, name_engine

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hpcdl.analysis.ending import JobState
    from hpcdl.analysis.job import RunResult
    from hpcdl.report.content import Cell
    from hpcdl.store import RunFolder

COLUMNS = (
    Column("run", "run", left=True),
    Column("job", "job", rank=2),
    Column("state", "state", left=True),
    Column("rehearsal", "rehearsal", left=True, hidden=True),
    Column("benchmark", "benchmark", left=True, rank=1),
    Column("model", "model", left=True),
    Column("engine", "engine", left=True, rank=3),
    Column("nodes", "nodes"),
    Column("completed", "launches", rank=4),
    Column("images_per_s", "images/s"),
    Column("mark", "", left=True),
)


def list_runs(runs: Iterable[RunFolder], states: Mapping[str, JobState] | None = None) -> Report:
    """One row for each run, in the order given; of a run's launches the fastest names its images/s.

    Args:
        runs: Folders of runs; one whose job cannot be read is told in a note.
        states: What the executor says of jobs, by run id, where it was asked.
    """
    rows: list[tuple[Cell, ...]] = []
    notes: list[Note] = []
    for run in runs:
        try:
            result = analyse_run(run, (states or {}).get(run.run_id))
        except Mistake as mistake:
            notes.append(Note("warning", str(mistake)))
        else:
            rows.append(_make_row(result))
    return Report(
        kind="list",
        title="No runs yet" if not rows else "Runs",
        sections=(Table("runs", "Runs", COLUMNS, tuple(rows)),) if rows else (),
        notes=tuple(notes),
        more=("one of them: hpcdl report RUN",) if rows else ("start one: hpcdl run smoke",),
    )


def _make_row(result: RunResult) -> tuple[Cell, ...]:
    job, launches = result.job, result.launches
    trained = result.trainings or launches
    rates = known([launch.images_per_s for launch in trained])
    completed = sum(launch.state == "completed" for launch in launches)
    number = result.submission.slurm_job_id if result.submission else None
    absent = trained[0].images_per_s if trained else Missing(missing="the job has no launches")
    return (
        result.run_id,
        None if number is None else str(number),
        result.state,
        result.rehearsal,
        job.name,
        join(launch.plan.train.model for launch in trained),
        join(name_engine(launch.engine, launch.transport) for launch in trained),
        job.nodes,
        f"{completed} of {len(launches)}",
        Quantity(max(rates) if rates else absent, "images/s"),
        "REHEARSAL" if result.rehearsal else "",
    )
