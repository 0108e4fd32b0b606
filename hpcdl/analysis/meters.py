"""One meter over the measured window: its energy with bounds, its counter and its power held against each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from hpcdl.estimates.integral import count_energy, find_update_period, integrate_power
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hpcdl.analysis.windows import Span
    from hpcdl.metering import Source
    from hpcdl.trace import Series

# Yang et al., Accurate and Convenient Energy Measurements for GPUs (SC24, arXiv 2312.02741): shorter windows are
# dominated by how meters rise and by where their updates fall.
SHORTEST_S, FEWEST_UPDATES = 5.0, 20
# Readings further apart than this many periods leave a gap; what a window may lack of them.
GAP_PERIODS, LEAST_COVERAGE = 3.0, 0.95
# Two readings of one thing that differ by more are told; the same bound as perun's and Zeus's users ask for.
DISAGREEMENT = 0.05
# By so much the power readings of GPUs were seen to be off (same paper: -5.5 % to +11 %): told, and still believable.
BELIEVABLE = 0.11

# Where nobody says over how long a reading averages: NVIDIA's boards since Ampere take a second (the same paper).
UNKNOWN_AVERAGE_S = 1.0

By = Literal["counter", "power", "estimate"]


@dataclass(frozen=True)
class Energy:
    """Joules and the bounds between which the meter's own behaviour lets the truth lie."""

    value: float
    low: float
    high: float

    def overlaps(self, other: Energy) -> bool:
        """Whether both can be true."""
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True)
class CrossCheck:
    """Two readings of the same energy in joules; `difference` is that of the second, relative to the first."""

    what: str
    first_j: float
    second_j: float
    reconciled: bool

    @property
    def difference(self) -> float:
        return self.second_j / self.first_j - 1 if self.first_j else float("inf")

    @property
    def agrees(self) -> bool:
        return abs(self.difference) <= DISAGREEMENT


@dataclass(frozen=True)
class Metered:
    """What one source of one host drew over the window.

    `by` says whether energy was counted, integrated from power, or estimated. `coverage` is the share of the window
    between readings near enough to each other. `limited` is the share of looks at which the device ran into its
    power limit. `whole_w` is the mean power over all that was seen, also outside the window. Shares are of one,
    temperatures in degrees Celsius, power in watts.
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
    curve_w: tuple[float, ...]


def read_meter(
    series: Series,
    host: str,
    boot_id: str,
    spans: Sequence[Span],
    period_s: float,
    *,
    short: bool = False,
    lengthen: str = "--min-window",
) -> Metered:
    """What a source drew within these spans of its host's clock.

    The energy counter is believed before the integral of power; an estimate has only that. Energy is missing where
    the window is too short for the meter, its readings leave gaps, or its two readings cannot both be true. `short`
    takes parts of a window, which only all together have the length that is needed. `lengthen` is how to have a window
    that is long enough, up to its length.
    """
    elapsed_s = sum(end - begin for begin, end in spans)
    reader = _Reader(series, spans, period_s, elapsed_s, lengthen)
    counted, integrated = reader.count(), reader.integrate()
    check = _compare(counted, integrated)
    energy = _choose(reader, counted, integrated, None if short else check, short=short)
    return Metered(
        host=host,
        boot_id=boot_id,
        source=series.source,
        by=_name(series.source, counted),
        energy=energy,
        elapsed_s=elapsed_s,
        average_w=energy if isinstance(energy, Missing) else energy.value / elapsed_s,
        peak_w=reader.peak_w(energy),
        coverage=reader.coverage(counted),
        check=check,
        utilisation=reader.mean("utilisation"),
        temperature_c=reader.highest("temperature_c"),
        limited=reader.share_limited(),
        clock_mhz=reader.mean("sm_clock_mhz"),
        whole_w=reader.whole_w(),
        curve_w=reader.curve_w(),
    )


def add_peaks(meters: Sequence[Metered]) -> Reading:
    """Peaks of several meters need not fall together: the highest sum over parts of the window."""
    if len(meters) == 1:
        return meters[0].peak_w
    curves = [meter.curve_w for meter in meters]
    if not all(curves):
        return Missing(missing="there are too few readings for a common peak")
    return float(np.array(curves).sum(axis=0).max())


def needed_s(source: Source, period_s: float) -> float:
    """Seconds that a window must have for this meter."""
    update_s = period_s if isinstance(source.update_s, Missing) else source.update_s
    return max(SHORTEST_S, FEWEST_UPDATES * update_s)


def _name(source: Source, counted: Energy | Missing) -> By:
    if source.estimated:
        return "estimate"
    return "power" if isinstance(counted, Missing) else "counter"


def _choose(
    reader: _Reader,
    counted: Energy | Missing,
    integrated: Energy | Missing,
    check: CrossCheck | None,
    *,
    short: bool,
) -> Energy | Missing:
    why = None if short else reader.why_too_short()
    if why:
        return Missing(missing=why)
    if check is not None and not check.reconciled:
        found = f"its counter says {check.first_j:,.0f} J and its power {check.second_j:,.0f} J"
        return Missing(missing=f"{found}, and they cannot be reconciled")
    if not isinstance(counted, Missing):
        return counted
    return counted if reader.series.source.counter and isinstance(integrated, Missing) else integrated


def _compare(counted: Energy | Missing, integrated: Energy | Missing) -> CrossCheck | None:
    if isinstance(counted, Missing) or isinstance(integrated, Missing) or counted.value <= 0:
        return None
    believable = abs(integrated.value / counted.value - 1) <= BELIEVABLE
    reconciled = believable or counted.overlaps(integrated)
    return CrossCheck("counter against power", counted.value, integrated.value, reconciled)


class _Reader:
    """A series seen through the spans of the window."""

    def __init__(
        self, series: Series, spans: Sequence[Span], period_s: float, elapsed_s: float, lengthen: str = ""
    ) -> None:
        self._lengthen = lengthen
        self.series = series
        self._spans = spans
        self._period_s = period_s
        self._elapsed_s = elapsed_s
        self._covered_s = 0.0

    def why_too_short(self) -> str | None:
        needed = needed_s(self.series.source, self._update_s())
        if self._elapsed_s >= needed:
            return None
        return (
            f"a window of {self._elapsed_s:.1f} s is too short for this meter (it updates every "
            f"{1000 * self._update_s():.0f} ms): {self._lengthen} {needed:.0f}s"
        )

    def _update_s(self) -> float:
        known = self.series.source.update_s
        if not isinstance(known, Missing):
            return known
        quantity = "energy_j" if self.series.source.counter else "power_w"
        seen = find_update_period(self.series.at_s, self.series.column(quantity))
        return max(self._period_s, seen or 0.0)

    def count(self) -> Energy | Missing:
        """By the counter."""
        if not self.series.source.counter:
            return Missing(missing="it has no energy counter")
        energies = self.series.column("energy_j")
        parts = [count_energy(self.series.at_s, energies, *span) for span in self._spans]
        if any(part is None for part in parts) or not parts:
            return Missing(missing=self._why("energy_j"))
        value = sum(part for part in parts if part is not None)
        slack = self._edge_slack_j()
        return Energy(value, max(0.0, value - slack), value + slack)

    def _edge_slack_j(self) -> float:
        """What may have been drawn between a counter's update and the look that saw it, at both ends of each span."""
        low_w, high_w = self._power_range()
        return (high_w - low_w) * (self._update_s() + self._period_s) * len(self._spans)

    def _power_range(self) -> tuple[float, float]:
        """Lowest and highest power seen, by the power readings, else by the counter's slope over several updates."""
        power_w = self.series.column("power_w")
        power_w = power_w[np.isfinite(power_w)]
        if not len(power_w):
            power_w = self._slopes()
        return (float(power_w.min()), float(power_w.max())) if len(power_w) else (0.0, 0.0)

    def _slopes(self) -> NDArray[np.float64]:
        energies = self.series.column("energy_j")
        good = np.isfinite(energies)
        stride = max(1, round(5 * self._update_s() / self._period_s))
        at_s, energies = self.series.at_s[good][::stride], energies[good][::stride]
        return np.diff(energies) / np.diff(at_s) if len(at_s) > 1 else np.empty(0)

    def integrate(self) -> Energy | Missing:
        """By the power readings, with what they may have overlooked."""
        power_w = self.series.column("power_w")
        longest_s = GAP_PERIODS * max(self._period_s, self._update_s())
        parts = [
            integrate_power(self.series.at_s, power_w, *span, longest_gap_s=longest_s) for span in self._spans
        ]
        found = [part for part in parts if part is not None]
        self._covered_s = sum(part.covered_s for part in found)
        if self._covered_s < LEAST_COVERAGE * self._elapsed_s:
            return Missing(missing=self._why("power_w"))
        # The little that is not covered is taken to be like the rest.
        value = sum(part.energy_j for part in found) * self._elapsed_s / self._covered_s
        return self._bound(value, np.array([[part.low_w, part.high_w] for part in found]))

    def _bound(self, value: float, seen_w: NDArray[np.float64]) -> Energy:
        if self.series.source.estimated:
            return self._bound_estimate(value)
        source = self.series.source
        low_w, high_w = self._power_range()
        averaging_s = source.averaging_s if not isinstance(source.averaging_s, Missing) else None
        seen = 1.0
        if source.power == "instant" and averaging_s is not None:
            seen = min(1.0, averaging_s / self._update_s())
        if seen < 1:
            # Between two instants anything may have been drawn that the board can draw: bursts in step with the
            # readings are never seen, or always.
            low_w = 0.0
            limit_w = 0.0 if isinstance(source.limit_w, Missing) else source.limit_w
            high_w = max(high_w, limit_w, float(seen_w.max()))
        unseen_s = (1 - seen) * self._elapsed_s
        # An average comes late: at either end of a span it still holds what was before.
        late_s = 0.0 if source.power == "instant" else averaging_s or max(UNKNOWN_AVERAGE_S, self._update_s())
        late_j = late_s * (high_w - low_w) * len(self._spans)
        low = seen * value + unseen_s * low_w - late_j
        return Energy(value, max(0.0, min(low, value)), max(value, seen * value + unseen_s * high_w + late_j))

    def _bound_estimate(self, value: float) -> Energy:
        low, high = (self._integrate_column(f"power_{end}_w") for end in ("low", "high"))
        return Energy(
            value, min(value, value if low is None else low), max(value, value if high is None else high)
        )

    def _integrate_column(self, quantity: str) -> float | None:
        column = self.series.column(quantity)
        parts = [
            integrate_power(self.series.at_s, column, *span, longest_gap_s=GAP_PERIODS * self._period_s)
            for span in self._spans
        ]
        found = [part for part in parts if part is not None]
        covered_s = sum(part.covered_s for part in found)
        return sum(part.energy_j for part in found) * self._elapsed_s / covered_s if covered_s else None

    def _why(self, quantity: str) -> str:
        told = self.series.why.get(quantity)
        if told:
            return told
        if not np.isfinite(self.series.column(quantity)).any():
            return "it was never read" if not len(self.series.at_s) else "it gives no such reading"
        return f"its readings cover {100 * self.coverage_of(quantity):.0f} % of the window"

    def coverage_of(self, quantity: str) -> float:
        """The share of the window that lies between readings of this quantity that are near enough."""
        column = self.series.column(quantity)
        longest_s = GAP_PERIODS * max(self._period_s, self._update_s())
        ones = np.where(np.isfinite(column), 1.0, np.nan)
        parts = [
            integrate_power(self.series.at_s, ones, *span, longest_gap_s=longest_s) for span in self._spans
        ]
        covered_s = sum(part.covered_s for part in parts if part is not None)
        return covered_s / self._elapsed_s if self._elapsed_s else 0.0

    def coverage(self, counted: Energy | Missing) -> float:
        """A counter goes on counting while nobody looks; it is enough that both ends were seen."""
        return 1.0 if not isinstance(counted, Missing) else self.coverage_of("power_w")

    def _within(self, quantity: str) -> NDArray[np.float64]:
        at_s, column = self.series.at_s, self.series.column(quantity)
        inside = np.zeros(len(at_s), dtype=bool)
        for begin, end in self._spans:
            inside |= (at_s >= begin) & (at_s <= end)
        values = column[inside]
        return values[np.isfinite(values)]

    def mean(self, quantity: str) -> Reading:
        values = self._within(quantity)
        return float(values.mean()) if len(values) else Missing(missing=self._why(quantity))

    def highest(self, quantity: str) -> Reading:
        values = self._within(quantity)
        return float(values.max()) if len(values) else Missing(missing=self._why(quantity))

    def peak_w(self, energy: Energy | Missing) -> Reading:
        """The highest power reading of the window, else the steepest slope of the counter."""
        if isinstance(energy, Missing):
            return energy
        values = self._within("power_w")
        if len(values):
            return float(values.max())
        slopes = self._slopes()
        return float(slopes.max()) if len(slopes) else Missing(missing=self._why("power_w"))

    def share_limited(self) -> Reading:
        looks = [
            reasons
            for at_s, reasons in self.series.reasons
            if any(begin <= at_s <= end for begin, end in self._spans)
        ]
        if not looks:
            return Missing(missing=self.series.why.get("reasons", "it does not tell"))
        return sum("power cap" in reasons for reasons in looks) / len(looks)

    def whole_w(self) -> Reading:
        """The mean power from the first look to the last."""
        at_s = self.series.at_s
        if len(at_s) < 2:
            return Missing(missing="it was hardly looked at")
        whole = _Reader(
            self.series, [(float(at_s[0]), float(at_s[-1]))], self._period_s, float(at_s[-1] - at_s[0])
        )
        counted = whole.count()
        found = whole.integrate() if isinstance(counted, Missing) else counted
        return found if isinstance(found, Missing) else found.value / (at_s[-1] - at_s[0])

    def curve_w(self, points: int = 24) -> tuple[float, ...]:
        """Mean power in so many equal parts of the spans, for a picture; empty where there are too few readings."""
        values = self._within("power_w")
        if len(values) < points:
            return ()
        return tuple(float(part.mean()) for part in np.array_split(values, points))
