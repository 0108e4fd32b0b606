"""What was assumed and not measured: every figure with its unit, bounds, date, source and file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.analysis.tariffs import NAMES
from hpcdl.report.content import Column, Quantity, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.cost import Costs
    from hpcdl.analysis.tariffs import Name, Tariff
    from hpcdl.prices import Assumption
    from hpcdl.records import Missing
    from hpcdl.report.content import Cell, Unit

# What each is called, how its value looks, and the rest of its unit; {currency} stands for the tariff's.
WORDS: dict[Name, tuple[str, Unit, str]] = {
    "electricity_per_kwh": ("electricity price", "money", "{currency}/kWh"),
    "node_price": ("node price", "money", "{currency} per node"),
    "lifetime_years": ("lifetime", "number", "years"),
    "utilisation": ("utilisation", "fraction", ""),
    "pue": ("PUE", "ratio", ""),
    "carbon_kg_per_kwh": ("CO2 equivalents", "number", "kg/kWh"),
}


def name_assumption(name: Name) -> str:
    """What people call it."""
    return WORDS[name][0]


def show_value(name: Name, value: float | Missing, tariff: Tariff) -> Quantity:
    """The value of an assumption as a cell."""
    unit = WORDS[name][1]
    return Quantity(value, unit, currency=(tariff.currency or "") if unit == "money" else "")


def make_assumption_table(costs: Sequence[Costs]) -> Table:
    """One row for each assumption of each tariff, those that are not given too."""
    tariffs: dict[Tariff, list[str]] = {}
    for one in costs:
        tariffs.setdefault(one.tariff, []).append(one.configuration.letter)
    columns = (
        Column("name", "assumption", left=True),
        Column("key", "key", left=True, hidden=True),
        Column("value", "value"),
        Column("unit", "unit", left=True, rank=1),
        Column("low", "low", rank=3),
        Column("high", "high", rank=3),
        Column("date", "date", left=True, rank=2),
        Column("source", "source", left=True, rank=1),
        Column("origin", "from", left=True, rank=4),
        Column("configurations", "of", left=True, hidden=len(tariffs) == 1),
    )
    rows = tuple(
        _make_row(name, tariff, ", ".join(letters)) for tariff, letters in tariffs.items() for name in NAMES
    )
    return Table("assumptions", "Assumptions", columns, rows)


def _make_row(name: Name, tariff: Tariff, letters: str) -> tuple[Cell, ...]:
    figure: Assumption | None = getattr(tariff, name)
    title, _, unit = WORDS[name]
    value = tariff.read(name)
    low, high = (None, None) if figure is None else (figure.low, figure.high)
    return (
        title,
        name,
        show_value(name, value, tariff),
        unit.format(currency=tariff.currency or "money") or None,
        None if low is None else show_value(name, low, tariff),
        None if high is None else show_value(name, high, tariff),
        (figure.date or None) if figure else None,
        (figure.source or "not named") if figure else None,
        tariff.origin_of(name) if figure else None,
        letters,
    )
