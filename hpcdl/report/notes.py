"""The notes of a report: endings, rehearsals, findings, and what should be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.analysis.communication import analyse_probe
from hpcdl.analysis.pace import Pace
from hpcdl.analysis.repeats import find_scattered
from hpcdl.estimates.precision import EFFECTIVE_SAMPLES, is_precise
from hpcdl.estimates.steady import NoSteadyState
from hpcdl.records import Missing
from hpcdl.report.attributions import describe_straggler
from hpcdl.report.content import Note
from hpcdl.report.numbers import format_value, sparkline, thin
from hpcdl.report.probes import describe_slow_links
from hpcdl.report.wording import join

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.analysis.communication import Communication
    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.scaling import ScalingStudy
    from hpcdl.analysis.stragglers import Straggler

PICTURE_WIDTH = 60


def list_notes(
    results: Sequence[RunResult],
    study: ScalingStudy,
    probes: Sequence[Communication],
    stragglers: Sequence[tuple[int, Straggler]],
    *,
    force: bool,
) -> Iterator[Note]:
    """What went wrong first, then what to know before trusting the numbers."""
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
        yield from (Note("info", run + picture) for picture in _draw_unsteady(result))
        yield from (Note("warning", run + text) for text in _tell_imprecise(result))
    for result in results:
        run = f"{result.run_id}, " if len(results) > 1 else ""
        yield from (Note("warning", run + text) for text in _tell_unfit_probes(result))
    yield from _note_links(probes)
    yield from (Note("warning", describe_straggler(launch, one)) for launch, one in stragglers)


def _tell_unfit_probes(result: RunResult) -> Iterator[str]:
    """Probes that completed and yet have no numbers; how others ended is told as their story."""
    for launch in result.launches:
        if launch.plan.kind == "probe" and launch.state == "completed":
            found = analyse_probe(launch)
            if isinstance(found, Missing):
                yield f"launch {launch.plan.index}: this probe is not published: {found.missing}"


def _note_links(probes: Sequence[Communication]) -> Iterator[Note]:
    for probe in probes:
        if isinstance(probe.links, Missing):
            yield Note("info", f"no map of the links: {probe.links.missing}")
        else:
            yield from (Note("warning", line) for links in probe.links for line in describe_slow_links(links))


def _draw_unsteady(result: RunResult) -> Iterator[str]:
    """Where there is no steady state, what there is instead."""
    for launch in result.trainings:
        pace = launch.pace
        if isinstance(pace, Pace) and isinstance(pace.steady, NoSteadyState) and len(pace.periods_s) > 1:
            periods_s = pace.periods_s.tolist()
            span = " to ".join(format_value(edge, "s") for edge in (min(periods_s), max(periods_s)))
            line = sparkline(thin(periods_s, PICTURE_WIDTH))
            yield f"launch {launch.plan.index}: its {len(periods_s)} step times, {span}: {line}"


def _tell_imprecise(result: RunResult) -> Iterator[str]:
    """Where repeats have no interval, and where a precision was asked for and not reached."""
    for alike in find_scattered(result.trainings):
        # The scaling table has no place to say why a size has no interval.
        indices = join(str(launch.plan.index) for launch in alike)
        yield (
            f"launches {indices} scatter so widely that their mean has no upper bound, and so no interval. "
            "Repeat more often, or find out why"
        )
    for launch in result.trainings:
        asked, pace = launch.plan.train.precision, launch.pace
        if asked is None or not isinstance(pace, Pace):
            continue
        steps = len(pace.periods_s)
        wanted = f"launch {launch.plan.index}: a precision of {format_value(asked, 'half-width')}"
        if isinstance(pace.steady, NoSteadyState):
            yield f"{wanted} was not reached in {steps} steps: there is no interval"
        elif not is_precise(pace.steady, asked):
            mean = pace.steady.mean
            seen = f"it is {format_value(mean.half_width, 'half-width')} after {steps} steps"
            # Narrow enough by chance is not reached: then the width alone would not say what is lacking.
            if mean.effective < EFFECTIVE_SAMPLES:
                seen += f", as good as {int(mean.effective)} independent ones where {EFFECTIVE_SAMPLES} are needed"
            yield f"{wanted} was not reached: {seen}. Try a larger --max-steps"


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
