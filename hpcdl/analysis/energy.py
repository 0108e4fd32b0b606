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
from hpcdl.analysis.energy_findings import list_findings
from hpcdl.analysis.meters import add_peaks, read_meter
from hpcdl.analysis.readings import derive, withhold
from hpcdl.analysis.windows import find_windows
from hpcdl.estimates.intervals import Interval, estimate_over_repeats, invert, scale
from hpcdl.records import Missing, Reading
from hpcdl.site import Power

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hpcdl.analysis.boundaries import Boundary
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

    `covers` names what is inside, `uncovered` what is not. `estimated` of its meters follow from a specification,
    `measured` from a meter. `energy_j`, `average_w` are sums over all nodes, gross; `idle_w` is what they draw when
    nobody works, `net_j_per_image` what is above it. `interval` is that of J/image: from parts of the window, and
    from what the meters leave open.
    """

    boundary: Boundary
    covers: str
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
    seen = _read_all(windows, by_host)
    unavailable = tuple((one.host, thing) for one in by_host.values() for thing in one.unavailable)
    if not seen:
        return Missing(
            missing="nothing here can be metered: `hpcdl power sensors` says what would change that"
        )
    images = plan.train.global_batch * pace.steady_steps
    figures = tuple(_make_figures(plan, seen, len(windows), images, known.power))
    return EnergyResult(
        images=images,
        elapsed_s=max(window.elapsed_s for window in windows),
        figures=figures,
        meters=tuple(one.meter for one in seen),
        unavailable=unavailable,
        findings=tuple(
            list_findings([one.meter for one in seen], traces, environment, known.account_of(environment))
        ),
    )


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


def _read_all(windows: Sequence[HostWindow], traces: Mapping[str, Trace]) -> list[_Seen]:
    """Every source once: hosts that are one machine in disguise see the same meters."""
    seen: dict[tuple[str, str], _Seen] = {}
    for window in windows:
        trace = traces[window.host]
        for series in trace.series:
            source = series.source
            # A module goes by the UUID of its GPU.
            key = (source.covers, source.uuid) if source.uuid else (trace.opening.boot_id, source.name)
            if key not in seen:
                period_s = trace.opening.period_s
                meter = read_meter(series, window.host, trace.opening.boot_id, window.spans(), period_s)
                seen[key] = _Seen(meter, series, window, period_s)
    return list(seen.values())


def _make_figures(plan: Launch, seen: Sequence[_Seen], hosts: int, images: int, power: Power) -> list[Figure]:
    meters = [one.meter for one in seen]
    device = choose_device(meters, gpus=plan.gpus_per_node > 0)
    node = choose_node(meters, hosts)
    figures = []
    if device:
        figures.append(_make_figure("device", _pick(seen, device), images, power))
    # The same things under another name would be no further figure.
    if node and node != device:
        figure = _make_figure("node", _pick(seen, node), images, power)
        figures.append(_withhold_figure(figure, find_excess(meters)))
    if power.pue is not None and figures:
        figures.append(_enlarge(figures[-1], power.pue))
    return figures


def _pick(seen: Sequence[_Seen], meters: Sequence[Metered]) -> list[_Seen]:
    return [one for one in seen if any(one.meter is meter for meter in meters)]


def _make_figure(boundary: Boundary, seen: Sequence[_Seen], images: int, power: Power) -> Figure:
    meters = [one.meter for one in seen]
    energy = _add_up(meters, _read_energy)
    average = _add_up(meters, lambda meter: meter.average_w)
    idle = _add_up(meters, lambda meter: _find_idle(meter, power))
    shared = next((meter.source.shared for meter in meters if meter.source.shared), None)
    own = Missing(missing=shared) if shared else energy
    j_per_image = derive(lambda joules: joules / images, own)
    elapsed_s = meters[0].elapsed_s
    return Figure(
        boundary=boundary,
        covers=name_covers(meters),
        uncovered=name_uncovered(meters),
        sensors=tuple(dict.fromkeys(_name_sensor(meter) for meter in meters)),
        measured=sum(not meter.source.estimated for meter in meters),
        estimated=sum(meter.source.estimated for meter in meters),
        energy_j=energy,
        average_w=average,
        peak_w=add_peaks(meters),
        idle_w=idle,
        j_per_image=j_per_image,
        interval=None if isinstance(j_per_image, Missing) else _bound(seen, images, j_per_image),
        net_j_per_image=derive(lambda gross, watts: (gross - watts * elapsed_s) / images, own, idle),
        coverage=min(meter.coverage for meter in meters),
    )


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

    return Figure(
        boundary="facility",
        covers=f"{figure.covers}, x PUE {pue:g}",
        uncovered=figure.uncovered,
        sensors=figure.sensors,
        measured=figure.measured,
        estimated=figure.estimated,
        energy_j=times(figure.energy_j),
        average_w=times(figure.average_w),
        peak_w=times(figure.peak_w),
        idle_w=times(figure.idle_w),
        j_per_image=times(figure.j_per_image),
        interval=None if figure.interval is None else scale(figure.interval, pue),
        net_j_per_image=times(figure.net_j_per_image),
        coverage=figure.coverage,
    )


def _bound(seen: Sequence[_Seen], images: int, j_per_image: float) -> Interval | None:
    """What parts of the window differ by, and beside it what the meters leave open; None where parts are too short."""
    parts = _measure_parts(seen, images)
    if parts is None:
        return None
    spread = estimate_over_repeats(parts)
    down = up = 0.0
    for one in seen:
        energy = one.meter.energy
        if not isinstance(energy, Missing):
            down += (energy.value - energy.low) / images
            up += (energy.high - energy.value) / images
    half = spread.high - spread.value
    # The meters' own part is no chance that evens out: it is added, not squared.
    low = max(0.0, j_per_image - half - down)
    return Interval(j_per_image, low, j_per_image + half + up, len(parts), float(len(parts)))


def _measure_parts(seen: Sequence[_Seen], images: int) -> list[float] | None:
    """J/image in equal parts of the window, all meters together."""
    window = seen[0].window
    steps = window.last - window.first
    shortest_s = max(SUB_WINDOW_UPDATES * _update_s(one) for one in seen)
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


def _update_s(one: _Seen) -> float:
    known = one.meter.source.update_s
    return one.period_s if isinstance(known, Missing) else max(known, one.period_s)


def _add_part(seen: Sequence[_Seen], first: int, last: int) -> float | None:
    total = 0.0
    for one in seen:
        spans = one.window.spans(first, last)
        part = read_meter(one.series, one.meter.host, one.meter.boot_id, spans, one.period_s, short=True)
        if isinstance(part.energy, Missing):
            return None
        total += part.energy.value
    return total
