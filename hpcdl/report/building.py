"""Results -> the content of a report: header and badges, tables, notes, and how to get more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.analysis.scaling import compare_sizes
from hpcdl.report.content import Note, Report
from hpcdl.report.sections import make_host_table, make_launch_table, make_scaling_table
from hpcdl.report.wording import name_runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.scaling import ScalingStudy
    from hpcdl.report.content import Badge


def build_report(results: Sequence[RunResult], *, force: bool = False) -> Report:
    """The report of one run, or of several side by side; runs that have not ended are shown as far as they are.

    Args:
        results: At least one.
        force: Show the scaling efficiency of rehearsals too, marked.
    """
    study = compare_sizes(results, force=force)
    hosts = make_host_table(results)
    titled = len(study.tables) > 1
    scaling = [make_scaling_table(table, titled=titled) for table in study.tables]
    return Report(
        kind="runs",
        title=name_runs(results),
        badges=choose_badges(results, study),
        sections=(make_launch_table(results), *scaling, *([hosts] if hosts else [])),
        notes=tuple(_note(results, study, force=force)),
        more=tuple(_point_further(results)),
    )


def choose_badges(results: Sequence[RunResult], study: ScalingStudy) -> tuple[Badge, ...]:
    """The worst of the states, and whether it is a rehearsal; 'published' only where neither is to be said."""
    states = {result.state for result in results}
    badges: list[Badge] = []
    if states & {"failed", "refused", "lost"}:
        badges.append("FAILED")
    elif "stopped" in states:
        badges.append("stopped")
    elif states & {"running", "planned"}:
        badges.append("partial")
    if any(result.rehearsal for result in results) or any(table.rehearsal for table in study.tables):
        badges.append("REHEARSAL")
    return tuple(badges) or ("published",)


def _note(results: Sequence[RunResult], study: ScalingStudy, *, force: bool) -> Iterator[Note]:
    for result in results:
        run = f"{result.run_id}, " if len(results) > 1 else ""
        yield from _note_endings(result, run)
    yield from _note_rehearsals(results, study, force=force)
    for table in study.tables:
        yield from (Note("warning", warning) for warning in table.warnings)
    yield from (Note("info", refusal) for refusal in study.refusals)
    for result in results:
        run = f"{result.run_id}, " if len(results) > 1 else ""
        yield from (Note("warning", run + finding) for finding in result.findings)


def _note_endings(result: RunResult, run: str) -> Iterator[Note]:
    if result.story:
        yield Note("failure", run + result.story)
    for launch in result.launches:
        place = f"{run}launch {launch.plan.index}: " if run or len(result.launches) > 1 else ""
        if launch.story:
            yield Note("failure" if launch.state != "planned" else "warning", place + launch.story)
        elif launch.state == "running":
            yield Note("info", f"{place}still running: {launch.progress.text}")


def _note_rehearsals(results: Sequence[RunResult], study: ScalingStudy, *, force: bool) -> Iterator[Note]:
    withheld = {table.rehearsal for table in study.tables}
    reasons = [result.rehearsal for result in results if result.rehearsal]
    # Runs that are none by themselves may still make one together.
    for reason in dict.fromkeys([*reasons, *(reason for reason in withheld if reason)]):
        if reason not in withheld:
            yield Note("rehearsal", f"{reason}: this shows function, not what several machines would do")
        elif force:
            yield Note("rehearsal", f"{reason}: scaling efficiency is shown because it was asked for")
        else:
            yield Note(
                "rehearsal", f"{reason}: function shown, scaling efficiency withheld (--force shows it)"
            )


def _point_further(results: Sequence[RunResult]) -> Iterator[str]:
    for result in results:
        if result.state in {"failed", "lost", "refused", "stopped"}:
            yield f"logs: hpcdl logs {result.run_id}"
    runs = " ".join(result.run_id for result in results)
    yield f"the same facts: hpcdl report {runs} --format markdown or --format json"
    for result in results:
        yield f"records: {result.path}"
