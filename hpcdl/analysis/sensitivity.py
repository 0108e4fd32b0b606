"""What the cost of a million images becomes where an assumption is at one of its ends, all others being as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.analysis.cost import split
from hpcdl.analysis.readings import is_absent
from hpcdl.analysis.tariffs import list_ranges
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from hpcdl.analysis.cost import Costs
    from hpcdl.analysis.tariffs import Range


@dataclass(frozen=True)
class Move:
    """One assumption at both ends, and what the total becomes there.

    `idle_unknown` are the values at which idle power would be part of the total, and is not known, where the total
    itself needs none: who always works is never idle.
    """

    range: Range
    at_low: Reading
    at_high: Reading
    idle_unknown: tuple[float, ...] = ()

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

    moves = [_move(costs, one) for one in list_ranges(costs.tariff)]
    return tuple(sorted((move for move in moves if move.width), key=lambda move: -move.width))


def _move(costs: Costs, one: Range) -> Move:
    ends = (one.low, one.high)
    low, high = (split(costs.use, costs.tariff.at(one.name, end)) for end in ends)
    unknown = tuple(
        end
        for end, parts in zip(ends, (low, high), strict=True)
        if costs.idle_known and is_absent(parts.idle.value)
    )
    return Move(one, low.total.value, high.total.value, unknown)
