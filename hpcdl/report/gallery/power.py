"""Power over time with the window shaded, and throughput against power."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.analysis.boundaries import NAMES
from hpcdl.analysis.energy import EnergyResult
from hpcdl.analysis.meters import name_meter
from hpcdl.records import Missing
from hpcdl.report.gallery.labels import choose_largest, mark, number
from hpcdl.report.pictures import Axis, Dot, Lines, Picture, Scatter, Series, Stretch
from hpcdl.report.wording import count, name_model, name_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hpcdl.analysis.boundaries import Boundary
    from hpcdl.analysis.energy import Figure
    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.launch import LaunchResult
    from hpcdl.analysis.meters import Metered
    from hpcdl.report.gallery.labels import Shown
    from hpcdl.report.pictures import Role

# More courses in one picture cannot be told apart: those that draw most are shown.
MOST_COURSES = 8


def draw_power(results: Sequence[RunResult]) -> Iterator[Picture]:
    """Power over time of the largest launch of each network, and throughput against power of all launches."""
    for shown in choose_largest(results):
        if isinstance(shown.launch.energy, EnergyResult):
            yield from _draw_courses(shown, shown.launch.energy)
    yield from _draw_against(results)


def _draw_courses(shown_launch: Shown, energy: EnergyResult) -> Iterator[Picture]:
    meters = sorted(
        (meter for meter in energy.meters if meter.track.course_w),
        key=lambda meter: -max(meter.track.course_w),
    )
    if not meters:
        return
    shown = meters[:MOST_COURSES]
    left_out = len(meters) - len(shown)
    count_estimated = sum(meter.source.estimated for meter in shown)
    estimated = (
        ""
        if not count_estimated
        else "ESTIMATED · "
        if count_estimated == len(shown)
        else "part ESTIMATED · "
    )
    yield Picture(
        key=f"power{shown_launch.key}",
        title="Power over time",
        beside="energy",
        subtitle=f"{estimated}{shown_launch.words}",
        alt=f"Power of {count(len(shown), 'meter')} over time; the measured window is shaded.",
        form=Lines(
            Axis("time after the window's begin", "s", zero=False),
            Axis("power", "W"),
            tuple(map(_follow, shown)),
            tuple(Stretch(begin, end, "window") for begin, end in shown[0].track.spans),
        ),
        caption="shaded: the window over which energy and throughput are measured"
        + (f"; {left_out} meters that draw less are not shown" if left_out else ""),
    )


def _follow(meter: Metered) -> Series:
    """Each part's mean stands at its middle."""
    track = meter.track
    part_s = track.elapsed_s / len(track.course_w)
    dots = tuple(
        Dot(track.begin_s + (place + 0.5) * part_s, watts) for place, watts in enumerate(track.course_w)
    )
    role: Role = "estimated" if meter.source.estimated else "measured"
    return Series(f"{meter.source.name} on {meter.host} ({name_meter(meter)})", role, dots)


def _draw_against(results: Sequence[RunResult]) -> Iterator[Picture]:
    """One dot for each launch whose throughput and power are both known; watts of unlike things share no picture."""
    found: dict[tuple[Boundary, str], dict[tuple[str, Role], list[Dot]]] = {}
    for launch in (one for result in results for one in result.trainings if one.plan.variant == "full"):
        for figure in _list_figures(launch):
            dot = _place(launch, figure)
            if dot is not None:
                role: Role = "estimated" if figure.estimated else "measured"
                name = f"{name_model(launch.plan.train.model)}{' (ESTIMATED power)' * (figure.estimated > 0)}"
                series = found.setdefault((figure.boundary, _name_kinds(figure)), {})
                series.setdefault((name, role), []).append(dot)
    rehearsal = next((result.rehearsal for result in results if result.rehearsal), None)
    drawn = {key: series for key, series in found.items() if sum(map(len, series.values())) > 1}
    boundaries = [boundary for boundary, _ in drawn]
    for place, ((boundary, kinds), series) in enumerate(drawn.items()):
        count_of = boundaries.count(boundary)
        key = number(f"power-throughput-{boundary}", boundaries[:place].count(boundary), count_of)
        yield _draw_scatter(key, f"{boundary}: {kinds}", series, rehearsal)


def _list_figures(launch: LaunchResult) -> Sequence[Figure]:
    """Facility is left out: it has the shape of the node's."""
    if not isinstance(launch.energy, EnergyResult):
        return ()
    return [figure for figure in launch.energy.figures if figure.boundary != "facility"]


def _name_kinds(figure: Figure) -> str:
    named = ", ".join(name for kind, (_, name) in NAMES.items() if kind in figure.kinds)
    return f"{named}, without {figure.uncovered}" if figure.uncovered else named


def _draw_scatter(
    key: str, what: str, series: Mapping[tuple[str, Role], Sequence[Dot]], rehearsal: str | None
) -> Picture:
    dots = sum(map(len, series.values()))
    return Picture(
        key=key,
        title="Throughput against power",
        beside="energy",
        subtitle=mark(f"one dot for each launch · boundary {what}", rehearsal),
        alt=f"Images/s against W of {dots} launches at the boundary {what}.",
        form=Scatter(
            Axis("power", "W"),
            Axis("images/s", "images/s"),
            tuple(Series(name, role, tuple(found)) for (name, role), found in series.items()),
        ),
    )


def _place(launch: LaunchResult, figure: Figure) -> Dot | None:
    rate = launch.images_per_s
    if isinstance(rate, Missing) or isinstance(figure.average_w, Missing):
        return None
    low, high = (launch.interval.low, launch.interval.high) if launch.interval else (None, None)
    label = name_size(launch.plan.nodes, launch.world_size)
    return Dot(figure.average_w, rate, low, high, label)
