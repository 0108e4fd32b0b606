"""Tables of what follows from costs: what each assumption moves, and at which utilisation two configurations meet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.analysis.tariffs import SWING
from hpcdl.records import Missing
from hpcdl.report.assumptions import name_assumption, show_value
from hpcdl.report.content import Column, Quantity, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcdl.analysis.break_even import BreakEven
    from hpcdl.analysis.cost import Costs
    from hpcdl.analysis.sensitivity import Move
    from hpcdl.analysis.tariffs import Range
    from hpcdl.report.content import Cell

GUESSED = f"±{100 * SWING:.0f} %"
SENSITIVITY_EXPLAINED = (
    "one assumption at its end, all others as they are; where the site file gives no low or high, it is moved by "
    f"{GUESSED}"
)
BREAK_EVEN_EXPLAINED = (
    "both used equally: the utilisation at which an image costs the same on both. Needed by the first: the "
    "utilisation from which on it is cheaper than the second as that is used now"
)


def make_sensitivity_table(costs: Sequence[Costs], moves: Mapping[str, Sequence[Move]]) -> Table:
    """One row for each assumption that moves a total, the widest first, configuration by configuration."""
    columns = (
        Column("configuration", "", left=True, hidden=len(costs) == 1),
        Column("assumption", "assumption", left=True),
        Column("key", "key", left=True, hidden=True),
        Column("low", "low", rank=1),
        Column("high", "high", rank=1),
        Column("basis", "bounds", left=True, rank=2),
        Column("total_at_low", "total at low"),
        Column("total", "total"),
        Column("total_at_high", "total at high"),
    )
    rows = tuple(_make_move_row(one, move) for one in costs for move in moves[one.configuration.letter])
    title = "What the assumptions move: total of a million images"
    return Table("sensitivity", title, columns, rows, captions=(SENSITIVITY_EXPLAINED,))


def _make_move_row(one: Costs, move: Move) -> tuple[Cell, ...]:
    bounds = move.range
    mark, currency = "estimated" if one.estimated else "", one.tariff.currency or ""
    return (
        one.configuration.letter,
        name_assumption(bounds.name),
        bounds.name,
        show_value(bounds.name, bounds.low, one.tariff),
        show_value(bounds.name, bounds.high, one.tariff),
        name_bounds(bounds),
        Quantity(move.at_low, "money", mark, currency=currency),
        Quantity(one.parts.total.value, "money", mark, currency=currency),
        Quantity(move.at_high, "money", mark, currency=currency),
    )


def name_bounds(bounds: Range) -> str:
    """Where the two ends are from."""
    if bounds.low_guessed and bounds.high_guessed:
        return f"{GUESSED}, none given"
    if bounds.low_guessed or bounds.high_guessed:
        return f"one given, {GUESSED} for the other"
    return "given"


def make_break_even_table(pairs: Sequence[BreakEven]) -> Table:
    """One row for each pair of configurations."""
    columns = (
        Column("first", "first", left=True),
        Column("second", "second", left=True),
        Column("verdict", "both used equally", left=True),
        Column("utilisation", "break-even"),
        Column("needed", "needed by the first"),
        Column("with_idle", "idle power", left=True, rank=1),
    )
    rows = tuple(_make_pair_row(pair) for pair in pairs)
    return Table("break_even", "Break-even utilisation", columns, rows, captions=(BREAK_EVEN_EXPLAINED,))


def _make_pair_row(pair: BreakEven) -> tuple[Cell, ...]:
    mark = "estimated" if pair.first.estimated or pair.second.estimated else ""
    return (
        pair.first.configuration.letter,
        pair.second.configuration.letter,
        describe_verdict(pair),
        _show_crossing(pair, mark),
        _show_needed(pair, mark),
        "included" if pair.with_idle else "left out",
    )


def _show_crossing(pair: BreakEven, mark: str) -> Cell:
    """Where one of the two is always cheaper there is no such place, and none is missing."""
    never = not isinstance(pair.verdict, Missing) and isinstance(pair.utilisation, Missing)
    return None if never else Quantity(pair.utilisation, "fraction", mark)


def _show_needed(pair: BreakEven, mark: str) -> Cell:
    return "never" if pair.never else Quantity(pair.needed, "fraction", mark)


def describe_verdict(pair: BreakEven) -> str:
    """Which of the two is cheaper, in words."""
    first, second = (one.configuration.letter for one in (pair.first, pair.second))
    match pair.verdict:
        case Missing():
            return "not compared"
        case "first":
            return f"{first} is always cheaper"
        case "second":
            return f"{second} is always cheaper"
        case "first above":
            return f"{first} is cheaper above it, {second} below"
        case "second above":
            return f"{second} is cheaper above it, {first} below"
        case _:
            return "they cost the same"
