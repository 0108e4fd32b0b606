"""Results -> the content of a report: header and badges, tables, notes, and how to get more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.analysis.attribution import attribute
from hpcdl.analysis.communication import analyse_probe, find_alone
from hpcdl.analysis.energy_scaling import compare_energy, find_front
from hpcdl.analysis.expectation import expect_sizes
from hpcdl.analysis.repeats import gather_repeats
from hpcdl.analysis.scaling import compare_sizes
from hpcdl.analysis.sides import compare_engines
from hpcdl.analysis.stragglers import find_launch_stragglers
from hpcdl.analysis.tariffs import is_priced
from hpcdl.records import Missing
from hpcdl.report.asking import Asking, point_further
from hpcdl.report.attributions import make_attribution_table, make_straggler_table
from hpcdl.report.chapter import Chapter
from hpcdl.report.content import Report
from hpcdl.report.costs import make_cost_chapter
from hpcdl.report.cpu_gpu import make_cpu_gpu_chapter
from hpcdl.report.deliveries import make_software_table
from hpcdl.report.energies import (
    make_energy_scaling_table,
    make_energy_tables,
    make_front_table,
    note_energy,
)
from hpcdl.report.engines import make_engine_table
from hpcdl.report.force import reveal
from hpcdl.report.gallery.network import draw_network
from hpcdl.report.gallery.power import draw_power
from hpcdl.report.gallery.scaling import draw_scaling
from hpcdl.report.gallery.steps import draw_attributions, draw_phases, draw_steps
from hpcdl.report.headlines import find_headline
from hpcdl.report.identities import identify
from hpcdl.report.laws import fit_law
from hpcdl.report.notes import list_notes
from hpcdl.report.probes import make_link_table, make_probe_table
from hpcdl.report.provenance import gather_sources
from hpcdl.report.published_pictures import make_published_picture
from hpcdl.report.repeats import make_repeat_table
from hpcdl.report.scalings import make_scaling_table
from hpcdl.report.sections import make_check_table, make_host_table, make_launch_table
from hpcdl.report.wording import name_runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hpcdl.analysis.attribution import Attribution
    from hpcdl.analysis.communication import Communication
    from hpcdl.analysis.energy_scaling import CapPoint, EnergyScaling
    from hpcdl.analysis.expectation import Outlook
    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.prediction import Prediction
    from hpcdl.analysis.question import Question
    from hpcdl.analysis.scaling import ScalingStudy
    from hpcdl.analysis.sides import Sides
    from hpcdl.analysis.stragglers import Straggler
    from hpcdl.prices import Pricing
    from hpcdl.report.content import Badge, Table
    from hpcdl.report.pictures import Picture


@dataclass(frozen=True)
class _Analyses:
    """All that was found over the launches of all runs together; `outlooks` and `laws` are of the study's tables."""

    study: ScalingStudy
    laws: tuple[Prediction | None, ...]
    outlooks: tuple[Mapping[tuple[int, int], Outlook], ...]
    probes: tuple[Communication, ...]
    attributions: tuple[Attribution, ...]
    engines: tuple[Sides, ...]
    stragglers: tuple[tuple[int, Straggler], ...]
    energies: tuple[EnergyScaling, ...]
    fronts: Mapping[Question, tuple[CapPoint, ...]]


def build_report(
    results: Sequence[RunResult],
    *,
    force: bool = False,
    pictured: bool = False,
    costs: bool = False,
    pricing: Pricing | None = None,
    boundary: str | None = None,
    accuracy: float | None = None,
    asking: Asking | None = None,
) -> Report:
    """The report of one run, or of several side by side; runs that have not ended are shown as far as they are.

    Args:
        results: At least one.
        force: Show the scaling efficiency of rehearsals too, marked, and what is withheld, struck through.
        pictured: With pictures, and with the texts behind the numbers: for formats that can show them.
        costs: With the chapter on cost even where nobody has given a price: it says what is missing.
        pricing: Today's prices; without any, those that each run has recorded.
        boundary: Of the energy in costs and ratios; None: the widest that all have alike.
        accuracy: A fraction that CPU and GPU are to have reached, for time and energy to it.
        asking: By which words; None: nobody typed any.

    Raises:
        UnknownName: There is no such boundary.
        Mistake: It was asked for, and not all have it.
    """
    found = _analyse(results, force=force)
    asked = costs or boundary is not None or any(is_priced(one, pricing) for one in results)
    cost = make_cost_chapter(results, pricing, boundary=boundary) if asked else Chapter()
    sides = make_cpu_gpu_chapter(results, pricing, boundary=boundary, accuracy=accuracy)
    report = Report(
        kind="runs",
        title=name_runs(results),
        badges=choose_badges(results, found.study),
        sections=tuple(_lay_out(results, found, (*sides.tables, *cost.tables))),
        notes=(
            *list_notes(results, found.study, found.probes, found.stragglers, force=force),
            *note_energy(results),
            *sides.notes,
            *cost.notes,
        ),
        more=tuple(point_further(results, asking or Asking())),
        pictures=(*_draw(results, found), *sides.pictures, *cost.pictures) if pictured else (),
        sources=tuple(gather_sources(results)) if pictured else (),
        headline=find_headline(results, force=force),
        about=tuple(identify(results)),
    )
    return reveal(report) if force else report


def _analyse(results: Sequence[RunResult], *, force: bool) -> _Analyses:
    # A probe tells of its own job alone: another one had other nodes and other weather.
    runs = [(result.trainings, _find_probes(result)) for result in results]
    trainings = [launch for launches, _ in runs for launch in launches]
    study = compare_sizes(results, force=force)
    return _Analyses(
        study=study,
        laws=tuple(map(fit_law, study.tables)),
        outlooks=tuple(expect_sizes(scaling, runs) for scaling in study.tables),
        probes=tuple(probe for _, probes in runs for probe in probes),
        attributions=tuple(
            one for launches, probes in runs for one in attribute(launches, find_alone(probes))
        ),
        engines=compare_engines(trainings),
        stragglers=tuple(
            (launch.plan.index, straggler)
            for launch in trainings
            for straggler in find_launch_stragglers(launch)
        ),
        energies=compare_energy(trainings, force=force),
        fronts=find_front(trainings),
    )


def _find_probes(result: RunResult) -> tuple[Communication, ...]:
    probed = (analyse_probe(launch) for launch in result.launches if launch.plan.kind == "probe")
    return tuple(probe for probe in probed if not isinstance(probe, Missing))


def _lay_out(results: Sequence[RunResult], found: _Analyses, chapters: Sequence[Table]) -> Iterator[Table]:
    """The sections, what a person looks for first at the top."""
    trainings = [launch for result in results for launch in result.trainings]
    if trainings:
        yield make_launch_table(results)
    titled = len(found.study.tables) > 1
    for scaling, outlooks, law in zip(found.study.tables, found.outlooks, found.laws, strict=True):
        yield make_scaling_table(scaling, outlooks, law, titled=titled)
    repeats = gather_repeats(trainings)
    if repeats:
        yield make_repeat_table(repeats)
    yield from make_energy_tables(results)
    several = len({energy.question for energy in found.energies}) > 1
    yield from (make_energy_scaling_table(energy, titled=several) for energy in found.energies)
    yield from (make_front_table(question, points) for question, points in found.fronts.items())
    yield from chapters
    yield from map(make_engine_table, found.engines)
    yield from map(make_attribution_table, found.attributions)
    if found.stragglers:
        yield make_straggler_table(found.stragglers)
    yield from _make_probe_sections(found.probes)
    hosts = make_host_table(results)
    if hosts:
        yield hosts
    software = make_software_table(results)
    if software:
        yield software
    yield make_check_table(results)


def _draw(results: Sequence[RunResult], found: _Analyses) -> Iterator[Picture]:
    """The pictures, in the order of the sections."""
    yield from draw_scaling(found.study.tables, found.outlooks, found.laws)
    yield from draw_phases(results)
    yield from draw_attributions(found.attributions, results)
    yield from draw_power(results)
    yield from draw_steps(results)
    published = make_published_picture(results)
    if published is not None:
        yield published
    yield from draw_network(found.probes)


def _make_probe_sections(probes: Sequence[Communication]) -> Iterator[Table]:
    for probe in probes:
        yield make_probe_table(probe)
        if not isinstance(probe.links, Missing):
            yield from map(make_link_table, probe.links)


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
    elif any(isinstance(one.images_per_s, Missing) for result in results for one in result.trainings):
        badges.append("withheld")
    if any(result.rehearsal for result in results) or any(table.rehearsal for table in study.tables):
        badges.append("REHEARSAL")
    return tuple(badges) or ("published",)
