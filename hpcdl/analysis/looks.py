"""The looks at one source within the spans of a window: its energy by counter and by power, and what may be off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from hpcdl.estimates.integral import count_energy, cumulate_power, find_update_period, integrate_power
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hpcdl.analysis.windows import Span
    from hpcdl.trace import Series

# Readings further apart than this many periods leave a gap; what a window may lack of them.
GAP_PERIODS, LEAST_COVERAGE = 3.0, 0.95
# Where nobody says over how long a reading averages: NVIDIA's boards since Ampere take a second (Yang et al., SC24).
UNKNOWN_AVERAGE_S = 1.0
# Looks beside a span that tell what power was like at its ends.
BESIDE = 2
# Parts of a course: of a second, or of so many updates of a slow meter, and so many at the most. A counter's steps fall
# into one part or the next: more of them make that small.
PART_S, UPDATES_OF_COUNTER, UPDATES_OF_POWER, MOST_PARTS = 1.0, 20, 5, 3600

Quantity = Literal["energy_j", "power_w"]


class Energy(NamedTuple):
    """Joules and the bounds between which the meter's own behaviour lets the truth lie."""

    value: float
    low: float
    high: float

    def overlaps(self, other: Energy) -> bool:
        """Whether both can be true."""
        return self.low <= other.high and other.low <= self.high


class Looks:
    """A series within the spans of a window on its host's clock, s; the sampler looked every `period_s`."""

    def __init__(self, series: Series, spans: Sequence[Span], period_s: float) -> None:
        self.series = series
        self.source = series.source
        self.elapsed_s = sum(end - begin for begin, end in spans)
        self._spans = spans
        self._period_s = period_s

    def update_s(self, quantity: Quantity) -> float:
        """How often a reading changes, s: as the sampler measured it, else as its looks show.

        An estimate is no sensor: it follows from all of the time between two looks at how busy the device was.
        """
        if self.source.estimated:
            return self._period_s
        own = (
            self.source.power_update_s
            if quantity == "power_w" and self.source.counter
            else self.source.update_s
        )
        if not isinstance(own, Missing) and own > 0:
            # Power between two looks is not seen, however often it changes; a counter counts it.
            return max(own, self._period_s) if quantity == "power_w" else own
        seen = find_update_period(self.series.at_s, self.series.column(quantity))
        return max(self._period_s, seen or 0.0)

    def _longest_gap_s(self, quantity: Quantity) -> float:
        return GAP_PERIODS * max(self._period_s, self.update_s(quantity))

    # ---- Energy ----

    def energy(self) -> Energy | Missing:
        """By the counter, else by the power."""
        counted = self.count()
        return self.integrate() if isinstance(counted, Missing) else counted

    def count(self) -> Energy | Missing:
        """By the counter."""
        if not self.source.counter:
            return Missing(missing="it has no energy counter")
        energies_j = self.series.column("energy_j")
        parts = [count_energy(self.series.at_s, energies_j, *span) for span in self._spans]
        found = [part for part in parts if part is not None]
        if len(found) < len(parts) or not found:
            unread = bool(np.isfinite(energies_j).any()) and "energy_j" not in self.series.why
            ends = "its counter was not read at both ends of the window"
            return Missing(missing=ends if unread else self._why("energy_j"))
        longest_s = max(max(part.edges_s) for part in found)
        if longest_s > self._longest_gap_s("energy_j"):
            why = self.series.why.get("energy_j", "nobody looked")
            return Missing(
                missing=f"for {longest_s:.1f} s at an end of the window its counter was not read: {why}"
            )
        value = sum(part.energy_j for part in found)
        if value <= 0:
            return Missing(missing="its energy counter stands still")
        slack_j = sum(
            self._slack_j(span, part.edges_s) for span, part in zip(self._spans, found, strict=True)
        )
        return Energy(value, max(0.0, value - slack_j), value + slack_j)

    def _slack_j(self, span: Span, edges_s: tuple[float, float]) -> float:
        """What a counter leaves open at the ends of a span.

        It is behind by anything up to an update, at either end; and between the two looks around an end power may
        have been any that was seen there.
        """
        low_w, high_w = self._range_w(span)
        steps_j = 2 * (self.source.counter_step_j or 0.0)
        return high_w * self.update_s("energy_j") + (high_w - low_w) * sum(edges_s) + steps_j

    def integrate(self) -> Energy | Missing:
        """By the power readings, with what they may have overlooked."""
        found = self._integrate("power_w")
        if found is None:
            return Missing(missing=self._why("power_w"))
        if found <= 0:
            return Missing(missing="its power reads 0 W")
        return self._bound_estimate(found) if self.source.estimated else self._bound(found)

    def _integrate(self, quantity: str) -> float | None:
        column, longest_s = self.series.column(quantity), self._longest_gap_s("power_w")
        parts = [
            integrate_power(self.series.at_s, column, *span, longest_gap_s=longest_s) for span in self._spans
        ]
        found = [part for part in parts if part is not None]
        covered_s = sum(part.covered_s for part in found)
        if covered_s < LEAST_COVERAGE * self.elapsed_s or not covered_s:
            return None
        # The little that is not covered is taken to be like the rest.
        return sum(part.energy_j for part in found) * self.elapsed_s / covered_s

    def _bound(self, value: float) -> Energy:
        ranges = [self._range_w(span) for span in self._spans]
        low_w, high_w = min(low for low, _ in ranges), max(high for _, high in ranges)
        averaging_s = None if isinstance(self.source.averaging_s, Missing) else self.source.averaging_s
        if (
            self.source.power == "instant"
            and averaging_s is not None
            and averaging_s < self.update_s("power_w")
        ):
            return self._bound_instants(value, averaging_s / self.update_s("power_w"), high_w)
        # An average comes late: at either end of a span it still holds what was before.
        averaged_s = UNKNOWN_AVERAGE_S if averaging_s is None else averaging_s
        late_s = averaged_s + self.update_s("power_w")
        late_j = late_s * (high_w - low_w) * len(self._spans)
        return Energy(value, max(0.0, value - late_j), value + late_j)

    def _bound_instants(self, value: float, seen: float, high_w: float) -> Energy:
        """Between two instants anything may have been drawn that the board can draw.

        Bursts in step with the readings are never seen, or always.
        """
        limit_w = 0.0 if isinstance(self.source.limit_w, Missing) else self.source.limit_w
        unseen_j = (1 - seen) * self.elapsed_s * max(high_w, limit_w)
        return Energy(value, seen * value, max(value, seen * value + unseen_j))

    def _bound_estimate(self, value: float) -> Energy:
        low, high = (self._integrate(f"power_{end}_w") for end in ("low", "high"))
        return Energy(
            value, min(value, value if low is None else low), max(value, value if high is None else high)
        )

    def _range_w(self, span: Span) -> tuple[float, float]:
        """Lowest and highest power of a span and of the looks beside it."""
        power_w = self.series.column("power_w")
        if not np.isfinite(power_w).any():
            return self._range_of_slopes_w(span)
        first = max(0, int(np.searchsorted(self.series.at_s, span[0])) - BESIDE)
        last = int(np.searchsorted(self.series.at_s, span[1])) + BESIDE
        values = power_w[first:last][np.isfinite(power_w[first:last])]
        return (float(values.min()), float(values.max())) if len(values) else self._range_of_slopes_w(span)

    def _range_of_slopes_w(self, span: Span) -> tuple[float, float]:
        """The same by the counter's own slope, over several updates each, so that its steps do not show."""
        energies_j = self.series.column("energy_j")
        good = np.isfinite(energies_j)
        stride = max(1, round(5 * self.update_s("energy_j") / self._period_s))
        at_s, energies_j = self.series.at_s[good][::stride], energies_j[good][::stride]
        if len(at_s) < 2:
            return 0.0, 0.0
        slopes_w = np.diff(energies_j) / np.diff(at_s)
        inside = (at_s[1:] > span[0]) & (at_s[:-1] < span[1])
        values = slopes_w[inside] if inside.any() else slopes_w
        return float(values.min()), float(values.max())

    # ---- What else was seen ----

    def coverage(self, quantity: Quantity) -> float:
        """The share of the window that lies between readings of this quantity that are near enough."""
        column = self.series.column(quantity)
        ones = np.where(np.isfinite(column), 1.0, np.nan)
        longest_s = self._longest_gap_s(quantity)
        parts = [
            integrate_power(self.series.at_s, ones, *span, longest_gap_s=longest_s) for span in self._spans
        ]
        covered_s = sum(part.covered_s for part in parts if part is not None)
        return covered_s / self.elapsed_s if self.elapsed_s else 0.0

    def _why(self, quantity: Quantity) -> str:
        told = self.series.why.get(quantity)
        if told:
            return told
        if not np.isfinite(self.series.column(quantity)).any():
            return "it was never read" if not len(self.series.at_s) else "it gives no such reading"
        return f"its readings cover {100 * self.coverage(quantity):.0f} % of the window"

    def _within(self, quantity: str) -> NDArray[np.float64]:
        at_s, column = self.series.at_s, self.series.column(quantity)
        inside = np.zeros(len(at_s), dtype=bool)
        for begin, end in self._spans:
            inside |= (at_s >= begin) & (at_s <= end)
        values = column[inside]
        return values[np.isfinite(values)]

    def mean(self, quantity: str) -> Reading:
        """Over the looks of the window."""
        values = self._within(quantity)
        return float(values.mean()) if len(values) else self._absent(quantity)

    def highest(self, quantity: str) -> Reading:
        """Over the looks of the window."""
        values = self._within(quantity)
        return float(values.max()) if len(values) else self._absent(quantity)

    def _absent(self, quantity: str) -> Missing:
        return Missing(missing=self.series.why.get(quantity, "it gives no such reading"))

    def share_limited(self) -> Reading:
        """The share of the looks at which the device ran into its power limit."""
        looks = [
            reasons
            for at_s, reasons in self.series.reasons
            if any(begin <= at_s <= end for begin, end in self._spans)
        ]
        if not looks:
            return Missing(missing=self.series.why.get("reasons", "it does not tell"))
        return sum("power cap" in reasons for reasons in looks) / len(looks)

    def course_w(self) -> tuple[float, ...]:
        """Mean power in equal parts of the window; empty where neither power nor counter was read throughout.

        By the power readings first: a counter's steps would show.
        """
        by_power = self.coverage("power_w") >= LEAST_COVERAGE
        if not by_power and isinstance(self.count(), Missing):
            return ()
        at_s, energies_j = self._cumulate("power_w" if by_power else "energy_j")
        updates_s = (
            UPDATES_OF_POWER * self.update_s("power_w")
            if by_power
            else UPDATES_OF_COUNTER * self.update_s("energy_j")
        )
        parts = max(1, min(MOST_PARTS, int(self.elapsed_s / max(PART_S, updates_s))))
        edges_s = np.linspace(0.0, self.elapsed_s, parts + 1)
        reached_j = np.zeros(parts + 1)
        passed_s = 0.0
        for begin, end in self._spans:
            inside_s = np.clip(edges_s - passed_s, 0.0, end - begin)
            reached_j += np.interp(begin + inside_s, at_s, energies_j) - np.interp(begin, at_s, energies_j)
            passed_s += end - begin
        return tuple((np.diff(reached_j) * parts / self.elapsed_s).tolist())

    def _cumulate(self, quantity: Quantity) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        column = self.series.column(quantity)
        good = np.isfinite(column)
        at_s, values = self.series.at_s[good], column[good]
        return at_s, values if quantity == "energy_j" else cumulate_power(at_s, values)

    def whole(self) -> Looks | None:
        """The same from the first look to the last; None where there are fewer than two."""
        at_s = self.series.at_s
        return (
            Looks(self.series, [(float(at_s[0]), float(at_s[-1]))], self._period_s) if len(at_s) > 1 else None
        )
