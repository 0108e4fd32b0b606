"""A reading with its 95 % interval, where it has one, and the arithmetic that keeps both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.analysis import readings
from hpcdl.analysis.readings import derive
from hpcdl.estimates import intervals
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.estimates.intervals import Interval


@dataclass(frozen=True)
class Amount:
    """A value and its interval; without one, nobody knows how far off it may be, or it is exact."""

    value: Reading
    interval: Interval | None = None


def from_estimate(estimate: Interval | Missing) -> Amount:
    """An interval, or why there is none."""
    return Amount(estimate) if isinstance(estimate, Missing) else Amount(estimate.value, estimate)


def withhold(amount: Amount, reason: str | None) -> Amount:
    """The amount, or why it is not published (None: it is)."""
    return amount if reason is None else Amount(readings.withhold(amount.value, reason))


def multiply(amount: Amount, factor: Reading) -> Amount:
    """Times a factor that is exact, and not below zero."""
    value = derive(lambda one, other: one * other, amount.value, factor)
    if amount.interval is None or isinstance(factor, Missing) or isinstance(value, Missing) or factor <= 0:
        return Amount(value)
    return Amount(value, intervals.scale(amount.interval, factor))


def invert(amount: Amount, work: float) -> Amount:
    """`work` / x: images/s become the seconds for so many images."""
    value = derive(lambda one: work / one, amount.value)
    if amount.interval is None or isinstance(value, Missing):
        return Amount(value)
    turned = intervals.invert(amount.interval, work)
    return Amount(value, turned if turned.bounded else None)


def divide(one: Amount, other: Amount) -> Amount:
    """A ratio of independent amounts, with the interval of both where both have one."""
    value = derive(lambda above, below: above / below, one.value, other.value)
    if one.interval is None or other.interval is None or isinstance(value, Missing):
        return Amount(value)
    bounds = intervals.ratio(one.interval, other.interval)
    return Amount(value, bounds if bounds.bounded else None)


def add(amounts: Sequence[Amount]) -> Amount:
    """The sum of amounts that may all be off together, as all that is divided by one throughput is.

    Ends are added to ends: the standard deviation of a sum is at most the sum of standard deviations, and reaches it
    where the parts move as one. The sum of independent estimates would be narrower. A part of exactly zero needs no
    interval; without that of any other part there is none.
    """
    value = derive(lambda *parts: float(sum(parts)), *(one.value for one in amounts))
    bounds = [one.interval for one in amounts if one.interval is not None]
    lacking = [one for one in amounts if one.interval is None and one.value != 0]
    if isinstance(value, Missing) or lacking or not bounds:
        return Amount(value)
    return Amount(value, intervals.add_ends(bounds))
