"""At which utilisation two configurations cost the same for each image.

Both are used for the part u of their lives, 0 < u <= 1. With K the capital of an image at full use, E its electricity
(overhead included), and I what idle power costs for as long as an image takes, an image costs

    C(u) = K / u + E + I (1 - u) / u = (K + I) / u + (E - I)

so that C_a(u) = C_b(u) at

    u* = ((K_a + I_a) - (K_b + I_b)) / ((E_b - I_b) - (E_a - I_a))

where that lies between 0 and 1. C_a - C_b = s / u - e, with s and e the numerator and the denominator, is monotonic in
u: without a break-even point one of the two is cheaper at every utilisation. Where b keeps its own utilisation, and
only that of a is open, C_a(u) = C_b gives u = (K_a + I_a) / (C_b - E_a + I_a). I is 0 on both sides where the idle
power of either is not known.

Measured costs have 95 % intervals, and so each has a line at its lower end and one at its upper: of all its parts the
same end, since they hang on the same seconds. The first is surely cheaper where its upper line lies below the second's
lower one, and the other way round; where neither holds, the two cannot be told apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Literal

from hpcdl.analysis.amounts import Amount
from hpcdl.analysis.cost import split
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.cost import Costs

NEVER = Missing(missing="no utilisation is enough")
OVERLAP = Missing(missing="the intervals of the two costs overlap")
UNSURE = Missing(missing="within the intervals of the two costs, perhaps no utilisation is enough")
Verdict = Literal["first", "second", "first above", "second above", "equal", "overlap"]


@dataclass(frozen=True)
class Line:
    """The cost of a million images over the utilisation: `fixed` / u + `running`."""

    fixed: float
    running: float

    def at(self, utilisation: float) -> float:
        return self.fixed / utilisation + self.running


@dataclass(frozen=True)
class Band:
    """A cost over the utilisation; `ends` are the lines at the two ends of its interval, lower first, if it has one."""

    value: Line
    ends: tuple[Line, Line] | None


@dataclass(frozen=True)
class Stretch:
    """Utilisations from `low` to `high`."""

    low: float
    high: float

    @property
    def whole(self) -> bool:
        return self.low == 0 and self.high == 1


@dataclass(frozen=True)
class Ends:
    """What the intervals of both costs leave of a comparison.

    `first` and `second`: where that one is cheaper whatever the intervals hold; None: nowhere. `utilisation` and
    `needed` are the ranges of these two; None where they are no numbers.
    """

    first: Stretch | None
    second: Stretch | None
    utilisation: Stretch | None
    needed: Stretch | None


@dataclass(frozen=True, eq=False)
class BreakEven:
    """Two configurations against each other.

    `verdict`: which of them is cheaper at every utilisation, or above `utilisation`; 'overlap' where the intervals of
    the costs leave that open; Missing where there is nothing to compare. `needed` is the utilisation from which on the
    first is cheaper than the second as that is used now; Missing where no utilisation is enough, or where that is open.
    `ends` is None where not both costs have intervals: then the values alone are compared. `with_idle`: idle power is
    in it.
    """

    first: Costs
    second: Costs
    verdict: Verdict | Missing
    utilisation: Reading
    needed: Reading
    ends: Ends | None
    with_idle: bool

    @property
    def never(self) -> bool:
        """Whether the first is not cheaper than the second is now, however busy it is."""
        return self.needed == NEVER


def compare_pairs(costs: Sequence[Costs]) -> tuple[BreakEven, ...]:
    """All pairs that make images of one subject, paid in one currency."""
    return tuple(
        compare(one, other)
        for one, other in combinations(costs, 2)
        if one.configuration.subject == other.configuration.subject
        and one.tariff.currency == other.tariff.currency is not None
    )


def compare(first: Costs, second: Costs) -> BreakEven:
    """Where two configurations cost the same, as far as their intervals let anybody say so."""
    with_idle = not any(isinstance(one.use.idle_w, Missing) for one in (first, second))
    one, other = (draw_band(costs, with_idle=with_idle) for costs in (first, second))
    if isinstance(one, Missing) or isinstance(other, Missing):
        lacking = next(band for band in (one, other) if isinstance(band, Missing))
        return BreakEven(first, second, lacking, lacking, lacking, None, with_idle)
    verdict, utilisation = find_crossing(one.value, other.value)
    used = second.tariff.read("utilisation")
    needed = used if isinstance(used, Missing) else _find_needed(one.value, other.value.at(used))
    plain = BreakEven(first, second, verdict, utilisation, needed, None, with_idle)
    return plain if one.ends is None or other.ends is None else _bound(plain, one.ends, other.ends)


def draw_band(costs: Costs, *, with_idle: bool) -> Band | Missing:
    """The cost over the utilisation, from its parts at full use; missing where one of them is."""
    parts = _gather_parts(costs, with_idle=with_idle)
    absent = next((part.value for part in parts if isinstance(part.value, Missing)), None)
    if absent is not None:
        return Missing(missing=f"{costs.configuration.letter}: {absent.missing}")
    lines = [_draw_line([_read_end(part, end) for part in parts]) for end in ("low", "value", "high")]
    # As in a sum: nobody knows how far off a part without an interval may be, unless it is nothing.
    bounded = all(part.interval is not None or part.value == 0 for part in parts)
    return Band(lines[1], (lines[0], lines[2]) if bounded else None)


def _gather_parts(costs: Costs, *, with_idle: bool) -> tuple[Amount, Amount, Amount, Amount]:
    """Capital, electricity and overhead at full use, and what is drawn idle in as long a time."""
    withheld = costs.configuration.withheld
    full = split(costs.use, costs.tariff.at("utilisation", 1.0), withheld=withheld)
    # Half of the time idle makes (1 - u) / u one: as long idle as at work.
    half = split(costs.use, costs.tariff.at("utilisation", 0.5), withheld=withheld)
    return full.capital, full.electricity, full.overhead, half.idle if with_idle else Amount(0.0)


def _read_end(part: Amount, end: Literal["low", "value", "high"]) -> float:
    if part.interval is None or end == "value":
        return 0.0 if isinstance(part.value, Missing) else part.value
    return part.interval.low if end == "low" else part.interval.high


def _draw_line(parts: Sequence[float]) -> Line:
    capital, electricity, overhead, idle = parts
    return Line(fixed=capital + idle, running=electricity + overhead - idle)


def _bound(pair: BreakEven, one: tuple[Line, Line], other: tuple[Line, Line]) -> BreakEven:
    """The same with what the ends of both costs leave of it."""
    first, second = _find_sure(one[1], other[0]), _find_sure(other[1], one[0])
    needed, its_range = _bound_needed(pair, one, other)
    verdict, utilisation, crossing = pair.verdict, pair.utilisation, None
    if first and second:
        # The one is surely cheaper up to somewhere, the other from somewhere on.
        crossing = Stretch(min(first.high, second.high), max(first.low, second.low))
    elif (verdict != "equal" or one[0] != one[1] or other[0] != other[1]) and not any(
        stretch and stretch.whole for stretch in (first, second)
    ):
        verdict, utilisation = "overlap", OVERLAP
    ends = Ends(first, second, crossing, its_range)
    return replace(pair, verdict=verdict, utilisation=utilisation, needed=needed, ends=ends)


def _find_sure(high: Line, low: Line) -> Stretch | None:
    """Where the upper line of one lies below the lower line of the other."""
    verdict, utilisation = find_crossing(high, low)
    if verdict == "first":
        return Stretch(0.0, 1.0)
    if isinstance(utilisation, Missing):
        return None
    return Stretch(utilisation, 1.0) if verdict == "first above" else Stretch(0.0, utilisation)


def _bound_needed(
    pair: BreakEven, one: tuple[Line, Line], other: tuple[Line, Line]
) -> tuple[Reading, Stretch | None]:
    used = pair.second.tariff.read("utilisation")
    if isinstance(used, Missing):
        return used, None
    least, most = _find_needed(one[0], other[1].at(used)), _find_needed(one[1], other[0].at(used))
    if isinstance(least, Missing):
        return NEVER, None
    if isinstance(most, Missing):
        return UNSURE, None
    return pair.needed, Stretch(least, most)


def find_crossing(first: Line, second: Line) -> tuple[Verdict, Reading]:
    """Which line is lower, and from where on. The formula stands at the head of this module."""
    above, below = first.fixed - second.fixed, second.running - first.running
    if above == below == 0:
        return "equal", Missing(missing="both cost the same at every utilisation")
    if above <= 0 and above <= below:
        return "first", Missing(missing="the first is cheaper at every utilisation")
    if above >= 0 and above >= below:
        return "second", Missing(missing="the second is cheaper at every utilisation")
    return ("first above" if above > 0 else "second above"), above / below


def _find_needed(line: Line, cost: float) -> Reading:
    """The utilisation at which a line comes down to a cost."""
    room = cost - line.running
    if room <= 0 or line.fixed > room:
        return NEVER
    return line.fixed / room
