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
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

from hpcdl.analysis.cost import split
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.cost import Costs

NEVER = Missing(missing="no utilisation is enough")
Verdict = Literal["first", "second", "first above", "second above", "equal"]


@dataclass(frozen=True)
class Line:
    """The cost of a million images over the utilisation: `fixed` / u + `running`."""

    fixed: float
    running: float

    def at(self, utilisation: float) -> float:
        return self.fixed / utilisation + self.running


@dataclass(frozen=True, eq=False)
class BreakEven:
    """Two configurations against each other.

    `verdict`: which of them is cheaper at every utilisation, or above `utilisation`; Missing where there is nothing
    to compare. `needed` is the utilisation from which on the first is cheaper than the second as that is used now;
    Missing where no utilisation is enough. `with_idle`: idle power is in it.
    """

    first: Costs
    second: Costs
    verdict: Verdict | Missing
    utilisation: Reading
    needed: Reading
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
    """Where two configurations cost the same."""
    with_idle = not any(isinstance(one.use.idle_w, Missing) for one in (first, second))
    lines = [draw_line(one, with_idle=with_idle) for one in (first, second)]
    absent = next((line for line in lines if isinstance(line, Missing)), None)
    if absent is not None or isinstance(lines[0], Missing) or isinstance(lines[1], Missing):
        lacking = absent or Missing(missing="there is no cost to compare")
        return BreakEven(first, second, lacking, lacking, lacking, with_idle)
    verdict, utilisation = find_crossing(lines[0], lines[1])
    used = second.tariff.read("utilisation")
    needed = used if isinstance(used, Missing) else _find_needed(lines[0], lines[1].at(used))
    return BreakEven(first, second, verdict, utilisation, needed, with_idle)


def draw_line(costs: Costs, *, with_idle: bool) -> Line | Missing:
    """The cost over the utilisation, from its parts at full use; missing where one of them is."""
    full = costs.tariff.at("utilisation", 1.0)
    withheld = costs.configuration.withheld
    parts = split(costs.use, full, withheld=withheld)
    # Half of the time idle makes (1 - u) / u one: as long idle as at work.
    half = split(costs.use, costs.tariff.at("utilisation", 0.5), withheld=withheld)
    idle: Reading = half.idle.value if with_idle else 0.0
    values = (parts.capital.value, parts.electricity.value, parts.overhead.value, idle)
    absent = next((value for value in values if isinstance(value, Missing)), None)
    if absent is not None:
        return Missing(missing=f"{costs.configuration.letter}: {absent.missing}")
    capital, electricity, overhead, idle_cost = (value for value in values if not isinstance(value, Missing))
    return Line(fixed=capital + idle_cost, running=electricity + overhead - idle_cost)


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
