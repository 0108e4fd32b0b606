"""One meter over the measured window: its energy with bounds, its counter and its power held against each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from hpcdl.analysis.looks import Energy, Looks
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hpcdl.analysis.looks import Quantity
    from hpcdl.analysis.windows import Span
    from hpcdl.metering import Source
    from hpcdl.trace import Series

# Yang et al., Accurate and Convenient Energy Measurements for GPUs (SC24, arXiv 2312.02741): shorter windows are
# dominated by how meters rise and by where their updates fall.
SHORTEST_S, FEWEST_UPDATES = 5.0, 20
# Two readings of one thing that differ by more are told.
DISAGREEMENT = 0.05
# By so much the power readings of GPUs were seen to be off (same paper: -5.5 % to +11 %): told, and still believable.
BELIEVABLE = 0.11

By = Literal["counter", "power", "estimate"]


@dataclass(frozen=True)
class CrossCheck:
    """Two readings of the same energy in joules; `difference` is that of the second, relative to the first."""

    what: str
    first_j: float
    second_j: float
    reconciled: bool

    @property
    def difference(self) -> float:
        return self.second_j / self.first_j - 1

    @property
    def agrees(self) -> bool:
        return abs(self.difference) <= DISAGREEMENT


@dataclass(frozen=True)
class Track:
    """All that was seen of one source, the time around the window too: mean power in equal parts of `elapsed_s`.

    `begin_s` is when the first look was, and `spans` are the window's, in seconds after the window's begin. Empty
    where neither power nor counter was read throughout.
    """

    begin_s: float
    elapsed_s: float
    course_w: tuple[float, ...]
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Metered:
    """What one source of one host drew over the window.

    `by` says whether energy was counted, integrated from power, or estimated, and `update_s` how often that changes.
    `coverage` is the share of the window between readings near enough to each other. `peak_w` is the highest reading,
    or where there are none the highest part of `course_w`, the mean power in equal parts of the window. `limited` is
    the share of looks at which the device ran into its power limit. `whole_w` is the mean power over all that was
    seen, also outside the window. Shares are of one, temperatures in degrees Celsius, power in watts.
    """

    host: str
    boot_id: str
    source: Source
    by: By
    energy: Energy | Missing
    elapsed_s: float
    average_w: Reading
    peak_w: Reading
    coverage: float
    check: CrossCheck | None
    utilisation: Reading
    temperature_c: Reading
    limited: Reading
    clock_mhz: Reading
    whole_w: Reading
    course_w: tuple[float, ...]
    update_s: float
    track: Track


def read_meter(
    series: Series,
    host: str,
    boot_id: str,
    spans: Sequence[Span],
    period_s: float,
    *,
    lengthen: str = "--min-window",
    stretch: float = 1.0,
) -> Metered:
    """What a source drew within these spans of its host's clock.

    The energy counter is believed before the integral of power; an estimate has only that. Energy is missing where
    the window is too short for the meter, its readings leave gaps, or its two readings cannot both be true.

    Args:
        series: The looks at the source.
        host: Where.
        boot_id: Which machine that is.
        spans: Begin and end, s.
        period_s: How often the sampler looked.
        lengthen: How to have a window that is long enough, up to its length.
        stretch: The whole window over these spans of it, which is what can be lengthened.
    """
    looks = Looks(series, spans, period_s)
    counted, integrated = looks.count(), looks.integrate()
    check = _compare(counted, integrated)
    energy = _choose(looks, counted, integrated, check)
    by = _name(series.source, counted, integrated)
    quantity: Quantity = "energy_j" if by == "counter" else "power_w"
    short = _why_too_short(looks, quantity, lengthen=lengthen, stretch=stretch)
    # What was never read is not cured by a longer window; what disagrees may be.
    if short and (check is not None or not isinstance(energy, Missing)):
        energy = Missing(missing=short)
    course_w = looks.course_w()
    return Metered(
        host=host,
        boot_id=boot_id,
        source=series.source,
        by=by,
        energy=energy,
        elapsed_s=looks.elapsed_s,
        average_w=energy if isinstance(energy, Missing) else energy.value / looks.elapsed_s,
        peak_w=_find_peak(looks, energy, course_w),
        coverage=1.0 if not isinstance(counted, Missing) else looks.coverage("power_w"),
        check=check,
        utilisation=looks.mean("utilisation"),
        temperature_c=looks.highest("temperature_c"),
        limited=looks.share_limited(),
        clock_mhz=looks.mean("sm_clock_mhz"),
        whole_w=_average_whole(looks),
        course_w=course_w,
        update_s=looks.update_s(quantity),
        track=_follow(looks, spans),
    )


def _follow(looks: Looks, spans: Sequence[Span]) -> Track:
    whole, begin_s = looks.whole(), spans[0][0]
    if whole is None:
        return Track(0.0, 0.0, (), ())
    return Track(
        begin_s=float(looks.series.at_s[0]) - begin_s,
        elapsed_s=whole.elapsed_s,
        course_w=whole.course_w(),
        spans=tuple((begin - begin_s, end - begin_s) for begin, end in spans),
    )


def read_energy(series: Series, spans: Sequence[Span], period_s: float) -> Energy | Missing:
    """Joules within parts of a window, which only all together have the length that a meter needs."""
    return Looks(series, spans, period_s).energy()


def _why_too_short(looks: Looks, quantity: Quantity, *, lengthen: str, stretch: float) -> str | None:
    """Why the window is too short for its meter, with the length that is needed; None: it is not."""
    update_s = looks.update_s(quantity)
    needed_s = max(SHORTEST_S, FEWEST_UPDATES * update_s)
    if looks.elapsed_s >= needed_s:
        return None
    return (
        f"a window of {math.floor(100 * looks.elapsed_s) / 100:.2f} s is too short for this meter (it updates every "
        f"{1000 * update_s:.0f} ms, {needed_s:.1f} s are needed): {lengthen} {math.ceil(needed_s * stretch)}s"
    )


def name_meter(meter: Metered) -> str:
    """'nvml counter', 'ipmi power', 'ESTIMATED'."""
    return "ESTIMATED" if meter.source.estimated else f"{meter.source.sensor} {meter.by}"


def add_peaks(meters: Sequence[Metered]) -> Reading:
    """The highest sum over equal parts of the window: peaks of several meters need not fall together."""
    absent = next((meter.energy for meter in meters if isinstance(meter.energy, Missing)), None)
    if absent is not None:
        return absent
    parts = min(len(meter.course_w) for meter in meters)
    if not parts:
        return Missing(missing="there are too few readings for a common peak")
    return float(sum(_regroup(meter.course_w, parts) for meter in meters).max())  # type: ignore[union-attr]


def _regroup(course_w: Sequence[float], parts: int) -> NDArray[np.float64]:
    """The same course in fewer equal parts: slow meters have longer ones."""
    passed = np.concatenate([[0.0], np.cumsum(course_w)]) / len(course_w)
    edges = np.interp(np.linspace(0, 1, parts + 1), np.linspace(0, 1, len(course_w) + 1), passed)
    means: NDArray[np.float64] = np.diff(edges) * parts
    return means


def _name(source: Source, counted: Energy | Missing, integrated: Energy | Missing) -> By:
    if source.estimated:
        return "estimate"
    by_power = isinstance(counted, Missing) and not isinstance(integrated, Missing)
    return "power" if by_power or not source.counter else "counter"


def _choose(
    looks: Looks, counted: Energy | Missing, integrated: Energy | Missing, check: CrossCheck | None
) -> Energy | Missing:
    if check is not None and not check.reconciled:
        found = f"its counter says {check.first_j:,.0f} J and its power {check.second_j:,.0f} J"
        return Missing(missing=f"{found}, and they cannot be reconciled")
    if not isinstance(counted, Missing):
        return counted
    return counted if looks.source.counter and isinstance(integrated, Missing) else integrated


def _compare(counted: Energy | Missing, integrated: Energy | Missing) -> CrossCheck | None:
    if isinstance(counted, Missing) or isinstance(integrated, Missing):
        return None
    believable = abs(integrated.value / counted.value - 1) <= BELIEVABLE
    reconciled = believable or counted.overlaps(integrated)
    return CrossCheck("counter against power", counted.value, integrated.value, reconciled)


def _find_peak(looks: Looks, energy: Energy | Missing, course_w: Sequence[float]) -> Reading:
    if isinstance(energy, Missing):
        return energy
    highest = looks.highest("power_w")
    return max(course_w) if isinstance(highest, Missing) and course_w else highest


def _average_whole(looks: Looks) -> Reading:
    whole = looks.whole()
    if whole is None:
        return Missing(missing="it was hardly looked at")
    found = whole.energy()
    return found if isinstance(found, Missing) else found.value / whole.elapsed_s
