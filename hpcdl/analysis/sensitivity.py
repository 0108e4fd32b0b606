"""What the cost of a million images becomes where an assumption is at one of its ends, all others being as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.analysis.cost import split
from hpcdl.analysis.tariffs import list_ranges
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from hpcdl.analysis.cost import Costs
    from hpcdl.analysis.tariffs import Range


@dataclass(frozen=True)
class Move:
    """One assumption at both ends, and what the total becomes there."""

    range: Range
    at_low: Reading
    at_high: Reading

    @property
    def width(self) -> float:
        """How far it moves the total; nothing where that is not known."""
        if isinstance(self.at_low, Missing) or isinstance(self.at_high, Missing):
            return 0.0
        return abs(self.at_high - self.at_low)


def move_assumptions(costs: Costs) -> tuple[Move, ...]:
    """Those that move the total, the widest first; none where there is no total."""
    if isinstance(costs.parts.total.value, Missing):
        return ()

    def total_at(name: Range, value: float) -> Reading:
        return split(costs.use, costs.tariff.at(name.name, value)).total.value

    moves = [Move(one, total_at(one, one.low), total_at(one, one.high)) for one in list_ranges(costs.tariff)]
    return tuple(sorted((move for move in moves if move.width), key=lambda move: -move.width))
