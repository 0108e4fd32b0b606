"""The sections on power and energy: figures at their boundaries, the meters behind them, sizes, and power limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.analysis.energy import EnergyResult
from hpcdl.analysis.meters import DISAGREEMENT, name_meter
from hpcdl.analysis.readings import withhold
from hpcdl.records import Missing
from hpcdl.report.content import Column, Curve, Fact, Note, Quantity, Table
from hpcdl.report.numbers import thin
from hpcdl.report.sections import CURVE_POINTS, make_half_width
from hpcdl.report.wording import name_question

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.analysis.energy import Figure
    from hpcdl.analysis.energy_scaling import CapPoint, EnergyScaling
    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.launch import LaunchResult
    from hpcdl.analysis.meters import Metered
    from hpcdl.analysis.question import Question
    from hpcdl.estimates.intervals import Interval
    from hpcdl.records import Reading
    from hpcdl.report.content import Cell, Unit

METERS_SHOWN = 16
EXPLAINED = (
    "over the same steps as the throughput; gross: what the meters saw; net: above idle. J/image is the energy of all "
    "that is covered over the images of all ranks"
)


def _metered(results: Sequence[RunResult]) -> list[tuple[RunResult, LaunchResult, EnergyResult]]:
    return [
        (result, launch, launch.energy)
        for result in results
        for launch in result.trainings
        if isinstance(launch.energy, EnergyResult)
    ]


def make_energy_tables(results: Sequence[RunResult]) -> Iterator[Table]:
    """Figures and meters of all launches that were metered; none where none was."""
    found = _metered(results)
    if not found:
        return
    runs = len(results) > 1
    yield _make_figure_table(found, several=sum(len(result.trainings) for result in results) > 1, runs=runs)
    yield _make_meter_table(found, several=len(found) > 1, runs=runs)


def _make_figure_table(
    found: Sequence[tuple[RunResult, LaunchResult, EnergyResult]], *, several: bool, runs: bool
) -> Table:
    figures = [figure for _, _, energy in found for figure in energy.figures]
    idle = any(not isinstance(figure.idle_w, Missing) for figure in figures)
    columns = (
        Column("run", "run", left=True, hidden=True),
        Column("run_end", "run", left=True, hidden=not runs),
        Column("index", "#", hidden=not several),
        Column("launch", "launch", left=True, hidden=True),
        Column("nodes", "nodes", rank=4, hidden=not several),
        Column("ranks", "ranks", rank=5, hidden=not several),
        Column("boundary", "boundary", left=True),
        Column("basis", "basis", left=True),
        Column("estimated_parts", "estimated parts", hidden=True),
        Column("covers", "covers", left=True, rank=1),
        Column("uncovered", "not covered", left=True, rank=6),
        Column("sensors", "meter", left=True, rank=2),
        Column("average_w", "average"),
        Column("peak_w", "peak", rank=2),
        Column("idle_w", "idle", rank=3, hidden=not idle),
        Column("energy_j", "energy", rank=3),
        Column("j_per_image", "J/image"),
        Column("interval", "interval"),
        Column("images_per_j", "images/J"),
        Column("net_j_per_image", "net J/image", rank=1, hidden=not idle),
        Column("coverage", "coverage", rank=2),
        Column("window_s", "window", rank=4),
        Column("images", "images", hidden=True),
    )
    rows = tuple(
        _make_figure_row(result, launch, energy, figure)
        for result, launch, energy in found
        for figure in energy.figures
    )
    return Table("energy", "Power and energy", columns, rows, captions=(EXPLAINED,))


def _make_figure_row(
    result: RunResult, launch: LaunchResult, energy: EnergyResult, figure: Figure
) -> tuple[Cell, ...]:
    mark = "estimated" if figure.estimated else ""
    interval, inverse = figure.interval, figure.images_per_j_interval
    return (
        result.run_id,
        result.short_id,
        launch.plan.index,
        launch.plan.name,
        launch.plan.nodes,
        launch.world_size,
        figure.boundary,
        name_basis(figure),
        figure.estimated,
        figure.covers,
        figure.uncovered or None,
        "; ".join(figure.sensors),
        Quantity(figure.average_w, "W", mark),
        Quantity(figure.peak_w, "W", mark),
        Quantity(figure.idle_w, "W", mark),
        Quantity(figure.energy_j, "J", mark),
        _bound(figure.j_per_image, "J/image", mark, interval),
        make_half_width(interval),
        _bound(figure.images_per_j, "images/J", mark, inverse),
        Quantity(figure.net_j_per_image, "J/image", mark),
        Quantity(figure.coverage, "fraction"),
        Quantity(energy.elapsed_s, "s"),
        energy.images,
    )


def _bound(value: Reading, unit: Unit, mark: str, interval: Interval | None) -> Quantity:
    if interval is None or not interval.bounded:
        return Quantity(value, unit, mark)
    return Quantity(value, unit, mark, low=interval.low, high=interval.high)


def name_basis(figure: Figure) -> str:
    """Whether a figure was measured: estimates are never mixed in without a word."""
    if not figure.estimated:
        return "measured"
    return "ESTIMATED" if not figure.measured else "part ESTIMATED"


def join_basis(figures: Sequence[Figure]) -> str:
    """The same of several launches together: 'measured' only where all of them were."""
    found = {name_basis(figure) for figure in figures}
    return found.pop() if len(found) == 1 else "part ESTIMATED"


def _make_meter_table(
    found: Sequence[tuple[RunResult, LaunchResult, EnergyResult]], *, several: bool, runs: bool
) -> Table:
    meters = [meter for _, _, energy in found for meter in energy.meters]

    def absent(name: str) -> bool:
        return all(isinstance(getattr(meter, name), Missing) for meter in meters)

    columns = (
        Column("run", "run", left=True, hidden=True),
        Column("run_end", "run", left=True, hidden=not runs),
        Column("index", "#", hidden=not several),
        Column("launch", "launch", left=True, hidden=True),
        Column("host", "host", left=True),
        Column("source", "source", left=True),
        Column("covers", "covers", left=True, hidden=True),
        Column("product", "product", left=True, rank=4),
        Column("uuid", "UUID", left=True, hidden=True),
        Column("sensor", "sensor", left=True, hidden=True),
        Column("by", "by", left=True, rank=1),
        Column("basis", "basis", left=True, rank=3, hidden=not any(meter.source.basis for meter in meters)),
        Column("average_w", "average"),
        Column("peak_w", "peak"),
        Column("limit_w", "limit", rank=3, hidden=all(isinstance(m.source.limit_w, Missing) for m in meters)),
        Column("limited", "at its limit", rank=3, hidden=absent("limited")),
        Column("energy_j", "energy"),
        Column("utilisation", "busy", rank=2, hidden=absent("utilisation")),
        Column("clock_mhz", "clock", rank=4, hidden=absent("clock_mhz")),
        Column("temperature_c", "hottest", rank=4, hidden=absent("temperature_c")),
        Column("difference", "power against counter", rank=3, hidden=all(m.check is None for m in meters)),
        Column("coverage", "coverage", rank=3),
        Column("update_s", "updates", rank=5),
        Column("curve", "power over the window", left=True, rank=4),
    )
    rows = tuple(
        _make_meter_row(result, launch, meter) for result, launch, energy in found for meter in energy.meters
    )
    caption = (
        f"power against counter: the integral of the power readings against the energy counter; beyond "
        f"{100 * DISAGREEMENT:.0f} % it is told"
    )
    captions = (caption,) if any(meter.check for meter in meters) else ()
    return Table("meters", "Meters", columns, rows, captions=captions, limit=METERS_SHOWN)


def _make_meter_row(result: RunResult, launch: LaunchResult, meter: Metered) -> tuple[Cell, ...]:
    source, energy = meter.source, meter.energy
    mark = "estimated" if source.estimated else ""
    # What the gate withholds of the launch is not given away by its parts.
    reason = launch.images_per_s.missing if isinstance(launch.images_per_s, Missing) else None
    joules = (
        Quantity(energy if isinstance(energy, Missing) else withhold(energy.value, reason), "J", mark)
        if isinstance(energy, Missing) or reason
        else Quantity(energy.value, "J", mark, low=energy.low, high=energy.high)
    )
    return (
        result.run_id,
        result.short_id,
        launch.plan.index,
        launch.plan.name,
        meter.host,
        source.name,
        source.covers,
        source.product,
        source.uuid,
        source.sensor,
        name_meter(meter),
        source.basis or None,
        Quantity(withhold(meter.average_w, reason), "W", mark),
        Quantity(withhold(meter.peak_w, reason), "W", mark),
        _if_it_has(source.limit_w, meter, "W"),
        _if_it_has(meter.limited, meter, "fraction"),
        joules,
        _if_it_has(meter.utilisation, meter, "fraction"),
        _if_it_has(meter.clock_mhz, meter, "MHz"),
        _if_it_has(meter.temperature_c, meter, "°C"),
        None if meter.check is None else Quantity(meter.check.difference, "change"),
        Quantity(meter.coverage, "fraction"),
        None if source.estimated else Quantity(source.update_s, "s"),
        Curve(() if reason else thin(meter.course_w, CURVE_POINTS), "W"),
    )


def _if_it_has(value: Reading, meter: Metered, unit: Unit) -> Quantity | None:
    """A reading that GPUs are asked for; what other sources do not have does not apply to them."""
    if isinstance(value, Missing) and meter.source.covers != "gpu":
        return None
    return Quantity(value, unit)


def make_energy_scaling_table(scaling: EnergyScaling, *, titled: bool) -> Table:
    """J/image at each size, and the base's over it."""
    columns = (
        Column("nodes", "nodes"),
        Column("ranks", "ranks"),
        Column("count", "launches"),
        Column("j_per_image", "J/image"),
        Column("interval", "interval"),
        Column("efficiency", "energy efficiency"),
        Column("efficiency_interval", "its interval", rank=1),
    )
    mark = "estimated" if scaling.estimated else ""
    rows = tuple(
        (
            point.nodes,
            point.ranks,
            point.count,
            Quantity(point.j_per_image, "J/image", mark),
            make_half_width(point.interval),
            Quantity(point.efficiency, "fraction", mark),
            make_half_width(point.efficiency_interval),
        )
        for point in scaling.points
    )
    named = f"{name_question(scaling.question)}, " if titled else ""
    basis = "; ".join(scaling.sensors)
    facts = (
        Fact("boundary", "boundary", scaling.boundary),
        Fact("sensors", "meters", "; ".join(scaling.sensors)),
        Fact("rehearsal", "rehearsal", scaling.rehearsal),
    )
    return Table(
        "energy_scaling",
        f"Energy over sizes: {named}{scaling.boundary}, {basis}",
        columns,
        rows,
        facts,
        ("energy efficiency: J/image of the smallest size over J/image here",),
        many=True,
    )


def make_front_table(question: Question, points: Sequence[CapPoint]) -> Table:
    """Power limits against each other: what is on the front cannot be beaten in both."""
    columns = (
        Column("limit_w", "power limit"),
        Column("count", "launches"),
        Column("images_per_s", "images/s"),
        Column("images_per_j", "images/J"),
        Column("front", "on the front", left=True),
    )
    rows = tuple(
        (
            Quantity(point.limit_w, "W"),
            point.count,
            Quantity(point.images_per_s, "images/s"),
            Quantity(point.images_per_j, "images/J"),
            "yes" if point.on_front else "no",
        )
        for point in points
    )
    caption = "GPU boards; the limits are those in force while each launch ran: hpcdl sets none"
    return Table(
        "power_limits",
        f"Power limits: {name_question(question)}",
        columns,
        rows,
        captions=(caption,),
        many=True,
    )


def note_energy(results: Sequence[RunResult]) -> Iterator[Note]:
    """What the meters want known, why there is no energy, and what would open a sensor."""
    for result in results:
        run = f"{result.run_id}, " if len(results) > 1 else ""
        for launch in result.trainings:
            place = f"{run}launch {launch.plan.index}: " if len(result.trainings) > 1 or run else ""
            if isinstance(launch.energy, EnergyResult):
                yield from (Note("warning", place + finding) for finding in launch.energy.findings)
            elif (
                launch.plan.power
                and launch.state == "completed"
                and not isinstance(launch.images_per_s, Missing)
            ):
                yield Note("info", f"{place}energy: not published: {launch.energy.missing}")
    yield from _note_unavailable(results)


def _note_unavailable(results: Sequence[RunResult]) -> Iterator[Note]:
    """Each reason once, with the hosts that have it."""
    figures = [figure for _, _, energy in _metered(results) for figure in energy.figures]
    if not any(figure.estimated or isinstance(figure.j_per_image, Missing) for figure in figures):
        return
    found: dict[tuple[str, str, str], dict[str, None]] = {}
    for _, _, energy in _metered(results):
        for host, thing in energy.unavailable:
            found.setdefault((thing.sensor, thing.reason, thing.do), {})[host] = None
    for (sensor, reason, do), hosts in found.items():
        where = f" on {', '.join(hosts)}" if len(hosts) <= 4 else f" on {len(hosts)} hosts"
        yield Note("info", f"{sensor}{where}: {reason}" + (f"; {do}" if do else ""))
