"""What a report on runs found, in a few facts: the largest size of each question that has a published number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.analysis.energy import EnergyResult
from hpcdl.analysis.energy_scaling import combine_figures
from hpcdl.analysis.scaling import gather_questions, tabulate_sizes
from hpcdl.records import Missing
from hpcdl.report.content import Fact, Quantity
from hpcdl.report.sections import make_rate
from hpcdl.report.wording import count, name_hardware, name_model, name_question, name_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.analysis.energy import Figure
    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.launch import LaunchResult
    from hpcdl.analysis.scaling import Point, Scaling

# More are no headline.
MOST = 4
# The facility's figure is the node's times a constant.
BOUNDARIES = ("node", "device")


def find_headline(results: Sequence[RunResult], *, force: bool = False) -> tuple[Fact, ...]:
    """Throughput, size, efficiency and J/image of one question; of several, the throughput of each.

    What is not published says why; a run without complete steps has no headline. Variants that leave something out
    of the step are never one.
    """
    tables = tabulate_sizes(results, force=force)
    groups = list(gather_questions(results).values())
    if len(tables) == 1:
        return tuple(_tell(tables[0], groups[0]))
    facts = [
        Fact("images_per_s", title, _find_rate(table))
        for title, table in zip(_name_each(tables, groups), tables, strict=True)
    ]
    if len(facts) <= MOST:
        return tuple(facts)
    left = len(facts) - MOST + 1
    return (*facts[: MOST - 1], Fact("more", "besides", f"{count(left, 'result')} more, in the tables"))


def choose_point(scaling: Scaling) -> Point:
    """The largest size with a published rate; the largest of all where there is none."""
    known = [point for point in scaling.points if not isinstance(point.images_per_s, Missing)]
    return max(known or scaling.points, key=lambda point: (point.ranks, point.nodes))


def _tell(scaling: Scaling, members: Sequence[LaunchResult]) -> Iterator[Fact]:
    point, last = choose_point(scaling), scaling.points[-1]
    yield Fact("images_per_s", "throughput", make_rate(point.images_per_s, point.interval))
    larger = "" if point is last else f"; {name_size(last.nodes, last.ranks)}: not published"
    yield Fact("size", "on", name_size(point.nodes, point.ranks) + larger)
    if isinstance(point.images_per_s, Missing):
        return
    if point is not scaling.base:
        bounds = point.efficiency_interval
        low, high = (bounds.low, bounds.high) if bounds else (None, None)
        mark = "rehearsal" if scaling.forced else ""
        efficiency = Quantity(point.efficiency, "fraction", mark, low=low, high=high)
        yield Fact("efficiency", "scaling efficiency", efficiency)
    yield from _tell_energy(
        [one for one in members if (one.world_size, one.plan.nodes) == (point.ranks, point.nodes)]
    )


def _tell_energy(launches: Sequence[LaunchResult]) -> Iterator[Fact]:
    """J/image of the launches that earned a rate, at the widest boundary; a measurement before an estimate."""
    earned = [one.energy for one in launches if not isinstance(one.images_per_s, Missing)]
    energies = [energy for energy in earned if isinstance(energy, EnergyResult)]
    if not energies or len(energies) < len(earned):
        return
    found = [figures for name in BOUNDARIES if (figures := _gather(energies, name))]
    if found:
        figures = min(found, key=lambda figures: any(figure.estimated for figure in figures))
        amount = combine_figures(figures)
        mark = "estimated" if any(figure.estimated for figure in figures) else ""
        interval = amount.interval if amount.interval and amount.interval.bounded else None
        low, high = (interval.low, interval.high) if interval else (None, None)
        cost = Quantity(amount.value, "J/image", mark, low=low, high=high)
        yield Fact("j_per_image", f"J/image, {figures[0].boundary}", cost)


def _gather(energies: Sequence[EnergyResult], boundary: str) -> list[Figure]:
    """The figure of each launch at a boundary; none where they come from different meters."""
    figures = [figure for one in energies for figure in one.figures if figure.boundary == boundary]
    kinds = {(figure.kinds, tuple(sorted(figure.sensors)), figure.estimated > 0) for figure in figures}
    return figures if len(figures) == len(energies) and len(kinds) == 1 else []


def _find_rate(scaling: Scaling) -> Quantity:
    point = choose_point(scaling)
    return make_rate(point.images_per_s, point.interval)


def _name_each(tables: Sequence[Scaling], groups: Sequence[Sequence[LaunchResult]]) -> list[str]:
    """By network and size; where these are alike by the whole question, and then by what it ran on as well."""
    points = [choose_point(table) for table in tables]
    sizes = [name_size(point.nodes, point.ranks) for point in points]
    models = [name_model(table.question.work.model) for table in tables]
    questions = [name_question(table.question) for table in tables]
    hardware = [name_hardware(max(members, key=lambda one: one.world_size)) for members in groups]
    names = models if len(set(models)) == len(models) else questions
    titles = [f"{name}, {size}" for name, size in zip(names, sizes, strict=True)]
    if len(set(titles)) == len(titles):
        return titles
    return [f"{title}, {what}" if what else title for title, what in zip(titles, hardware, strict=True)]
