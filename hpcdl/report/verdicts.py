"""Tables of what follows from costs: what each assumption moves, and at which utilisation two configurations meet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.analysis.tariffs import SWING
from hpcdl.records import Missing
from hpcdl.report.assumptions import name_assumption, show_value
from hpcdl.report.content import Column, Quantity, Table
from hpcdl.report.numbers import format_quantity, format_value
from hpcdl.report.wording import join

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcdl.analysis.break_even import BreakEven, Stretch
    from hpcdl.analysis.cost import Costs
    from hpcdl.analysis.sensitivity import Move
    from hpcdl.analysis.tariffs import Range
    from hpcdl.records import Reading
    from hpcdl.report.content import Cell

GUESSED = f"±{100 * SWING:.0f} %"
SENSITIVITY_EXPLAINED = (
    "one assumption at its end, all others as they are; where the site file gives no low or high, it is moved by "
    f"{GUESSED}"
)
BREAK_EVEN_EXPLAINED = (
    "both used equally: the utilisation at which an image costs the same on both. Needed by the first: the "
    "utilisation from which on it is cheaper than the second as that is used now. Intervals are those that the ends of "
    "both costs give"
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
    captions = [
        told if len(costs) == 1 else f"{one.configuration.letter}: {told}"
        for one in costs
        for told in tell_unknown_idle(one, moves[one.configuration.letter])
    ]
    return Table("sensitivity", title, columns, rows, captions=(SENSITIVITY_EXPLAINED, *captions))


def tell_unknown_idle(one: Costs, moves: Sequence[Move]) -> list[str]:
    """'without idle power, which is not known, at a utilisation of 80.0 %': which ends cost more than is shown."""
    return [
        f"without idle power, which is not known, at a {name_assumption(move.range.name)} of {join(values)}"
        for move in moves
        if (
            values := [
                format_quantity(show_value(move.range.name, end, one.tariff)) for end in move.idle_unknown
            ]
        )
    ]


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
    """One row for each pair of configurations; a range is never left out where its number stands."""
    ends = [pair.ends for pair in pairs if pair.ends]
    crossing, needed = any(one.utilisation for one in ends), any(one.needed for one in ends)
    columns = (
        Column("first", "first", left=True),
        Column("second", "second", left=True),
        Column("verdict", "both used equally", left=True),
        Column("utilisation", "break-even"),
        Column("utilisation_interval", "its interval", left=True, hidden=not crossing),
        Column("needed", "needed by the first"),
        Column("needed_interval", "its interval", left=True, hidden=not needed),
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
        _show_range(pair.ends.utilisation if pair.ends else None),
        _show_needed(pair, mark),
        _show_range(pair.ends.needed if pair.ends else None),
        "included" if pair.with_idle else "left out",
    )


def _show_crossing(pair: BreakEven, mark: str) -> Cell:
    """Where one of the two is always cheaper there is no such place, and none is missing."""
    if pair.verdict in {"first", "second", "equal"}:
        return None
    return _bound(pair.utilisation, pair.ends.utilisation if pair.ends else None, mark)


def _show_needed(pair: BreakEven, mark: str) -> Cell:
    return "never" if pair.never else _bound(pair.needed, pair.ends.needed if pair.ends else None, mark)


def _bound(utilisation: Reading, ends: Stretch | None, mark: str) -> Quantity:
    low, high = (None, None) if ends is None else (ends.low, ends.high)
    return Quantity(utilisation, "fraction", mark, low=low, high=high)


def _show_range(ends: Stretch | None) -> Cell:
    return (
        None if ends is None else " to ".join(format_value(end, "fraction") for end in (ends.low, ends.high))
    )


def describe_verdict(pair: BreakEven) -> str:
    """Which of the two is cheaper, in words."""
    first, second = (one.configuration.letter for one in (pair.first, pair.second))
    if isinstance(pair.verdict, Missing):
        return "not compared"
    if pair.verdict == "overlap":
        return _describe_overlap(pair, first, second)
    told = {
        "first": f"{first} is always cheaper",
        "second": f"{second} is always cheaper",
        "first above": f"{first} is cheaper above it, {second} below",
        "second above": f"{second} is cheaper above it, {first} below",
        "equal": "they cost the same",
    }
    alone = "" if pair.ends else ", by the values alone: not both costs have intervals"
    return told[pair.verdict] + alone


def _describe_overlap(pair: BreakEven, first: str, second: str) -> str:
    """What is certain all the same: one of the two may be cheaper on a part of the utilisations."""
    for letter, sure in ((first, pair.ends and pair.ends.first), (second, pair.ends and pair.ends.second)):
        if sure:
            end = f"above {format_value(sure.low, 'fraction')}" if sure.low else ""
            end = end or f"below {format_value(sure.high, 'fraction')}"
            return f"{letter} is cheaper {end}; else they cannot be told apart"
    return "they cannot be told apart"
