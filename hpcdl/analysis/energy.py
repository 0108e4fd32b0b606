"""Energy of a launch: watts, joules per image and images per joule, each at a named boundary.

A boundary says what is inside: `device` the devices that compute (GPU boards, or CPU packages with their memory),
`node` all that can be metered of the nodes, `facility` the node times the site's PUE.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from hpcdl.analysis.boundaries import choose_device, choose_node, find_excess, name_covers, name_uncovered
from hpcdl.analysis.completeness import find_lack, lay_out, name_machine
from hpcdl.analysis.energy_findings import list_findings
from hpcdl.analysis.meters import add_peaks, read_energy, read_meter
from hpcdl.analysis.readings import derive, withhold
from hpcdl.analysis.windows import find_windows
from hpcdl.estimates.intervals import Interval, estimate_over_repeats, invert, scale
from hpcdl.records import Missing, Reading
from hpcdl.site import Power

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hpcdl.analysis.boundaries import Boundary
    from hpcdl.analysis.completeness import Layout
    from hpcdl.analysis.meters import Metered
    from hpcdl.analysis.pace import Pace
    from hpcdl.analysis.windows import HostWindow
    from hpcdl.columns import StepTable
    from hpcdl.metering import SlurmEnergy, StepEnergy, Unavailable
    from hpcdl.plan import Launch
    from hpcdl.records import Environment, Summary
    from hpcdl.trace import Series, Trace

# Parts of the window that are compared with each other: enough for Student's t, each long enough for the meters.
SUB_WINDOWS, FEWEST_SUB_WINDOWS, SUB_WINDOW_UPDATES = 10, 5, 4


@dataclass(frozen=True)
class Electricity:
    """What is known of a run's power beside its samplers: by the site, and by Slurm's accounts after the job."""

    power: Power = field(default_factory=Power)
    slurm: SlurmEnergy | None = None

    def account_of(self, environment: Environment) -> StepEnergy | None:
        """What Slurm has counted for the step of these ranks."""
        step = environment.slurm.get("SLURM_STEP_ID", "")
        steps = self.slurm.steps if self.slurm and step.isdecimal() else ()
        return next((one for one in steps if one.step == int(step)), None)


@dataclass(frozen=True)
class Figure:
    """Energy at one boundary over the whole window of all nodes.

    `covers` names what is inside, `kinds` are its kinds, `uncovered` names what is not. `estimated` of its meters
    follow from a specification, `measured` from a meter. `energy_j`, `average_w` are sums over all nodes, gross;
    `idle_w` is what they draw when nobody works, `net_j_per_image` what is above it. `interval` is that of J/image:
    from parts of the window, and from what the meters leave open: `open_low` and `open_high`, in J/image.
    """

    boundary: Boundary
    covers: str
    kinds: frozenset[str]
    uncovered: str
    sensors: tuple[str, ...]
    measured: int
    estimated: int
    energy_j: Reading
    average_w: Reading
    peak_w: Reading
    idle_w: Reading
    j_per_image: Reading
    interval: Interval | None
    net_j_per_image: Reading
    open_low: float
    open_high: float
    coverage: float

    @property
    def images_per_j(self) -> Reading:
        return derive(lambda joules: 1 / joules, self.j_per_image)

    @property
    def images_per_j_interval(self) -> Interval | None:
        return None if self.interval is None else invert(self.interval, 1.0)


@dataclass(frozen=True)
class EnergyResult:
    """All figures of a launch, its meters, what could not be read on which host, and what a reader should know."""

    images: int
    elapsed_s: float
    figures: tuple[Figure, ...]
    meters: tuple[Metered, ...]
    unavailable: tuple[tuple[str, Unavailable], ...]
    findings: tuple[str, ...]

    def at(self, boundary: Boundary) -> Figure | None:
        """The figure at a boundary, where there is one."""
        return next((figure for figure in self.figures if figure.boundary == boundary), None)


@dataclass(frozen=True, eq=False)
class _Seen:
    """One source, and the window on its host."""

    meter: Metered
    series: Series
    window: HostWindow
    period_s: float


def measure_energy(
    plan: Launch,
    environment: Environment,
    summary: Summary,
    *,
    steps: StepTable,
    pace: Pace,
    traces: Sequence[Trace],
    known: Electricity,
) -> EnergyResult | Missing:
    """Energy over the very steps that the throughput comes from; Missing where nothing could be metered.

    Args:
        plan: The launch.
        environment: Where its ranks ran.
        summary: Holds the window on each host's clock.
        steps: Of all ranks.
        pace: Says which steps are steady.
        traces: One for each host's sampler.
        known: What site and Slurm say of power and energy.
    """
    if plan.power is None:
        return Missing(missing="power was not sampled (--no-power)")
    windows = find_windows(environment, summary.conditions, steps, first=pace.first_steady, last=pace.last)
    if isinstance(windows, Missing):
        return windows
    by_host = {trace.host: trace for trace in traces}
    absent = [window.host for window in windows if window.host not in by_host]
    if absent:
        return Missing(missing=f"no sampler has left readings on {', '.join(absent)}: see `hpcdl logs`")
    layout = lay_out(plan, environment, by_host)
    stretch = summary.window.elapsed_s / max(windows[0].elapsed_s, 1e-9)
    seen = _read_all(windows, by_host, stretch)
    if not seen:
        return Missing(missing=f"nothing here can be metered: {_tell_unavailable(layout)}")
    images = plan.train.global_batch * pace.steady_steps
    meters = [one.meter for one in seen]
    return EnergyResult(
        images=images,
        elapsed_s=max(window.elapsed_s for window in windows),
        figures=tuple(_make_figures(_Scene(layout, seen, images, known.power))),
        meters=tuple(meters),
        unavailable=tuple(layout.unavailable),
        findings=tuple(list_findings(meters, traces, layout, known.account_of(environment))),
    )


def _tell_unavailable(layout: Layout) -> str:
    told = [
        f"{thing.sensor}: {thing.reason}" + (f" ({thing.do})" if thing.do else "")
        for _, thing in layout.unavailable
    ]
    return "; ".join(dict.fromkeys(told)) or "no sensor was asked for that is here"


def withhold_energy(result: EnergyResult | Missing, reason: str | None) -> EnergyResult | Missing:
    """The same where the gate withholds the launch's figures: energy per image is as good as the throughput."""
    if reason is None or isinstance(result, Missing):
        return result
    return replace(result, figures=tuple(_withhold_figure(figure, reason) for figure in result.figures))


def _withhold_figure(figure: Figure, reason: str | None) -> Figure:
    if reason is None:
        return figure
    return replace(
        figure,
        interval=None,
        energy_j=withhold(figure.energy_j, reason),
        average_w=withhold(figure.average_w, reason),
        peak_w=withhold(figure.peak_w, reason),
        j_per_image=withhold(figure.j_per_image, reason),
        net_j_per_image=withhold(figure.net_j_per_image, reason),
    )


def _read_all(windows: Sequence[HostWindow], traces: Mapping[str, Trace], stretch: float) -> list[_Seen]:
    """Every source that has a meter, once: hosts that are one machine in disguise see the same ones."""
    seen: dict[tuple[str, ...], _Seen] = {}
    for window in windows:
        trace = traces[window.host]
        machine, period_s = name_machine(trace), trace.opening.period_s
        for series in trace.series:
            source = series.source
            place = source.uuid or machine
            key = (source.sensor, source.covers, place, "" if source.uuid else source.name)
            if key not in seen and source.metered:
                meter = read_meter(series, window.host, machine, window.spans(), period_s, stretch=stretch)
                seen[key] = _Seen(meter, series, window, period_s)
    return list(seen.values())


@dataclass(frozen=True, eq=False)
class _Scene:
    """All that figures are made from."""

    layout: Layout
    seen: Sequence[_Seen]
    images: int
    power: Power


def _make_figures(scene: _Scene) -> list[Figure]:
    layout, power = scene.layout, scene.power
    meters = [one.meter for one in scene.seen]
    device = choose_device(meters, gpus=layout.gpus > 0, boards=layout.own_boards)
    node = choose_node(meters, len(layout.machines))
    figures = []
    if device:
        figures.append(_make_figure("device", device, scene))
    # The same things under another name would be no further figure.
    if node and node != device:
        figure = _make_figure("node", node, scene)
        figures.append(_withhold_figure(figure, find_excess(meters)))
    if power.pue is not None and figures:
        figures.append(_enlarge(figures[-1], power.pue))
    return figures


def _make_figure(boundary: Boundary, meters: Sequence[Metered], scene: _Scene) -> Figure:
    layout, images = scene.layout, scene.images
    chosen = [one for one in scene.seen if any(one.meter is meter for meter in meters)]
    lack = find_lack(boundary, meters, layout)
    absent = None if lack is None else Missing(missing=lack)
    energy = absent or _add_up(meters, _read_energy)
    idle = absent or _add_up(meters, lambda meter: _find_idle(meter, scene.power))
    shared = next((meter.source.shared for meter in meters if meter.source.shared), None)
    own = Missing(missing=shared) if shared else energy
    j_per_image = derive(lambda joules: joules / images, own)
    open_low, open_high = _leave_open(meters, images)
    return Figure(
        boundary=boundary,
        covers=name_covers(meters),
        kinds=frozenset(meter.source.covers for meter in meters),
        uncovered=name_uncovered(meters, gpus=layout.gpus > 0),
        sensors=tuple(dict.fromkeys(_name_sensor(meter) for meter in meters)),
        measured=sum(not meter.source.estimated for meter in meters),
        estimated=sum(meter.source.estimated for meter in meters),
        energy_j=energy,
        average_w=absent or _add_up(meters, lambda meter: meter.average_w),
        peak_w=absent or add_peaks(meters),
        idle_w=idle,
        j_per_image=j_per_image,
        interval=None if isinstance(j_per_image, Missing) else _bound(chosen, images, j_per_image),
        net_j_per_image=_subtract_idle(own, idle, meters[0].elapsed_s, images),
        open_low=open_low,
        open_high=open_high,
        coverage=min(meter.coverage for meter in meters),
    )


def _subtract_idle(energy: Reading, idle_w: Reading, elapsed_s: float, images: int) -> Reading:
    net = derive(lambda gross, watts: (gross - watts * elapsed_s) / images, energy, idle_w)
    if not isinstance(net, Missing) and net <= 0:
        return Missing(
            missing="it drew no more than its idle power: measure that again with `hpcdl power idle`"
        )
    return net


def _leave_open(meters: Sequence[Metered], images: int) -> tuple[float, float]:
    """J/image that the meters leave open below and above; no chance that evens out."""
    energies = [meter.energy for meter in meters if not isinstance(meter.energy, Missing)]
    low = sum(energy.value - energy.low for energy in energies) / images
    return low, sum(energy.high - energy.value for energy in energies) / images


def _read_energy(meter: Metered) -> Reading:
    return meter.energy if isinstance(meter.energy, Missing) else meter.energy.value


def _add_up(meters: Sequence[Metered], read: Callable[[Metered], Reading]) -> Reading:
    """The sum over all meters; missing, and named, where one of them is."""
    total = 0.0
    for meter in meters:
        reading = read(meter)
        if isinstance(reading, Missing):
            return Missing(missing=f"{meter.source.name} on {meter.host}: {reading.missing}")
        total += reading
    return total


def _find_idle(meter: Metered, power: Power) -> Reading:
    known = power.idle_w.get(meter.host, {}).get(meter.source.name)
    absent = Missing(missing=f"no idle power of {meter.host} is known: `hpcdl power idle` there")
    return absent if known is None else known


def _name_sensor(meter: Metered) -> str:
    return f"{meter.source.sensor}, by its {meter.by}" if meter.by != "estimate" else "ESTIMATED"


def _enlarge(figure: Figure, pue: float) -> Figure:
    """What the building draws for it: times the power usage effectiveness (ISO/IEC 30134-2)."""

    def times(reading: Reading) -> Reading:
        return derive(lambda value: value * pue, reading)

    return replace(
        figure,
        boundary="facility",
        covers=f"{figure.covers}, x PUE {pue:g}",
        energy_j=times(figure.energy_j),
        average_w=times(figure.average_w),
        peak_w=times(figure.peak_w),
        idle_w=times(figure.idle_w),
        j_per_image=times(figure.j_per_image),
        interval=None if figure.interval is None else scale(figure.interval, pue),
        net_j_per_image=times(figure.net_j_per_image),
        open_low=figure.open_low * pue,
        open_high=figure.open_high * pue,
    )


def _bound(seen: Sequence[_Seen], images: int, j_per_image: float) -> Interval | None:
    """What parts of the window differ by, and beside it what the meters leave open; None where parts are too short."""
    parts = _measure_parts(seen, images)
    if parts is None:
        return None
    spread = estimate_over_repeats(parts)
    open_low, open_high = _leave_open([one.meter for one in seen], images)
    half = spread.high - spread.value
    # The meters' own part is no chance that evens out: it is added, not squared.
    low = max(0.0, j_per_image - half - open_low)
    return Interval(j_per_image, low, j_per_image + half + open_high, len(parts), float(len(parts)))


def _measure_parts(seen: Sequence[_Seen], images: int) -> list[float] | None:
    """J/image in equal parts of the window, all meters together."""
    window = seen[0].window
    steps = window.last - window.first
    shortest_s = max(SUB_WINDOW_UPDATES * one.meter.update_s for one in seen)
    count = min(SUB_WINDOWS, math.floor(window.elapsed_s / shortest_s), steps)
    if count < FEWEST_SUB_WINDOWS:
        return None
    edges = [window.first + steps * part // count for part in range(count + 1)]
    parts = []
    for first, last in pairwise(edges):
        joules = _add_part(seen, first, last)
        if joules is None:
            return None
        parts.append(joules / (images * (last - first) / steps))
    return parts


def _add_part(seen: Sequence[_Seen], first: int, last: int) -> float | None:
    total = 0.0
    for one in seen:
        part = read_energy(one.series, one.window.spans(first, last), one.period_s)
        if isinstance(part, Missing):
            return None
        total += part.value
    return total
