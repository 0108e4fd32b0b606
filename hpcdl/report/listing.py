"""What `hpcdl list` shows: one row for each run, or for each launch that a query selects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpcdl.analysis.readings import combine_rates
from hpcdl.analysis.rows import COLUMNS as ROW_COLUMNS
from hpcdl.records import Missing
from hpcdl.report.content import Column, Note, Quantity, Report, Table
from hpcdl.report.newest import show_newest
from hpcdl.report.wording import count, join, name_engine, name_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.analysis.catalogue import Catalogue
    from hpcdl.analysis.rows import Row
    from hpcdl.records import Reading
    from hpcdl.report.content import Cell, Unit

ROWS_SHOWN = 500
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
    Column("time", "time", left=True, hidden=True),
    Column("tags", "tags", left=True, hidden=True),
)
# What a list of runs is made of: the others of a row are not even parsed.
NEEDED = (
    "run_id",
    "slurm_job_id",
    "run_state",
    "rehearsal_reason",
    "name",
    "model",
    "engine",
    "transport",
    "job_nodes",
    "kind",
    "variant",
    "nodes",
    "ranks",
    "launch",
    "state",
    "images_per_s",
    "why_missing",
    "time",
    "tags",
)
# A launch's name tells its model, its size and its variant; energy means nothing without its boundary and basis.
LAUNCH_COLUMNS = (
    Column("run", "run", left=True),
    Column("launch", "launch", left=True),
    Column("state", "state", left=True, rank=1),
    Column("benchmark", "benchmark", left=True, rank=8),
    Column("model", "model", left=True, rank=6),
    Column("variant", "variant", left=True, rank=6),
    Column("engine", "engine", left=True, rank=7),
    Column("size", "on", left=True, rank=4),
    Column("images_per_s", "images/s"),
    Column("average_w", "W", rank=5),
    Column("j_per_image", "J/image", rank=5),
    Column("images_per_j", "images/J", rank=3),
    Column("boundary", "boundary", left=True, rank=2),
    Column("basis", "basis", left=True, rank=2),
    Column("mark", "", left=True),
    Column("time", "time", left=True, hidden=True),
    Column("tags", "tags", left=True, hidden=True),
    Column("site", "site", left=True, hidden=True),
    Column("benchmark_id", "benchmark id", left=True, hidden=True),
)


def list_runs(
    catalogue: Catalogue, chosen: frozenset[str] | None = None, *, last: int | None = None
) -> Report:
    """One row for each run, the newest last; its images/s are of the largest size that has some, over its repeats.

    Launches that leave something out of the step (`--attribution`) are no training, and do not count.

    Args:
        catalogue: Runs; one that cannot be read is told in a note.
        chosen: Only these run ids.
        last: Of these, only the newest so many.
    """
    runs = catalogue.runs() if chosen is None else [run for run in catalogue.runs() if run[0] in chosen]
    runs.sort()
    shown = runs if last is None else runs[-last:]
    total = catalogue.total if chosen is None else len(runs)
    rows = tuple(
        _make_row(catalogue.rows(range(start, start + launches), NEEDED)) for _, start, launches in shown
    )
    return Report(
        kind="list",
        title="No runs yet" if not rows else "Runs",
        sections=show_newest(Table("runs", "Runs", COLUMNS, rows), ROWS_SHOWN) if rows else (),
        notes=tuple(_note(catalogue, len(rows), total)),
        more=("one of them: hpcdl report RUN",) if rows else ("start one: hpcdl run smoke",),
    )


def _note(catalogue: Catalogue, shown: int, total: int) -> Iterator[Note]:
    if shown + len(catalogue.problems) < total:
        yield Note("info", f"the newest {shown:,} of {count(total, 'run')}; --all shows all")
    yield from (Note("warning", problem) for problem in catalogue.problems)


def _make_row(rows: Sequence[Row]) -> tuple[Cell, ...]:
    first = rows[0]
    trained: Sequence[dict[str, Any]] = [row for row in rows if row["kind"] == "train"] or rows
    return (
        _text(first["run_id"]),
        _text(first["slurm_job_id"]),
        _text(first["run_state"]),
        _text(first["rehearsal_reason"]),
        _text(first["name"]),
        join(str(row["model"]) for row in trained),
        join(name_engine(str(row["engine"]), str(row["transport"])) for row in trained),
        _text(first["job_nodes"]) if first["job_nodes"] is None else int(first["job_nodes"]),
        f"{sum(row['state'] == 'completed' for row in rows)} of {sum(row['launch'] is not None for row in rows)}",
        Quantity(_choose_rate(trained), "images/s"),
        _mark(first),
        _text(first["time"]),
        _text(first["tags"]) or None,
    )


def _choose_rate(trained: Sequence[dict[str, Any]]) -> Reading:
    """The harmonic mean over the repeats of the largest size with a throughput; repeats of one size only."""
    full = [row for row in trained if row["variant"] in {None, "full"}] or trained
    known = [row for row in full if row["images_per_s"] is not None]
    if not known:
        return Missing(missing=str(full[0]["why_missing"]))
    largest = max((row["ranks"], row["nodes"]) for row in known)
    same = [row["images_per_s"] for row in known if (row["ranks"], row["nodes"]) == largest]
    return combine_rates(same)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _mark(row: Row) -> str:
    return "REHEARSAL" if row["rehearsal_reason"] else ""


def list_launches(catalogue: Catalogue, places: Sequence[int], *, last: int | None = None) -> Report:
    """One row for each of these launches, with throughput and energy, the newest last."""
    rows = sorted(
        catalogue.rows(places, ROW_COLUMNS), key=lambda row: (str(row["run_id"]), row["launch_index"] or 0)
    )
    shown = rows if last is None else rows[-last:]
    hidden = [Note("info", f"the newest {len(shown):,} of {len(rows):,} launches; --all shows all")]
    table = Table("launches", "Launches", LAUNCH_COLUMNS, tuple(map(_make_launch_row, shown)))
    return Report(
        kind="query",
        title="Launches",
        sections=show_newest(table, ROWS_SHOWN),
        notes=(
            *(hidden if len(shown) < len(rows) else []),
            *(Note("warning", text) for text in catalogue.problems),
        ),
        more=("one of the runs: hpcdl report RUN",),
    )


def _make_launch_row(row: dict[str, Any]) -> tuple[Cell, ...]:
    estimated = "estimated" if row["basis"] in {"estimated", "part estimated"} else ""
    return (
        row["run_id"],
        row["launch"],
        row["state"],
        row["name"],
        row["model"],
        row["variant"],
        name_engine(row["engine"] or "", row["transport"] or ""),
        name_size(row["nodes"], row["ranks"]) if row["nodes"] else None,
        read_quantity(row, "images_per_s", "images/s", "why_missing"),
        read_quantity(row, "average_w", "W", "energy_missing", estimated),
        read_quantity(row, "j_per_image", "J/image", "energy_missing", estimated),
        read_quantity(row, "images_per_j", "images/J", "energy_missing", estimated),
        row["boundary"],
        row["basis"],
        _mark(row),
        row["time"],
        row["tags"] or None,
        row["site"],
        row["benchmark_id"],
    )


def read_quantity(row: dict[str, Any], name: str, unit: Unit, why: str, mark: str = "") -> Quantity:
    """A column of a row with the ends of its interval, or why it is missing."""
    if row[name] is None:
        return Quantity(Missing(missing=row[why] or "its records do not say"), unit)
    return Quantity(row[name], unit, mark, low=row.get(f"{name}_low"), high=row.get(f"{name}_high"))
