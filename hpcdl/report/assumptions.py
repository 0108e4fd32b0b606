"""What was assumed and not measured: every figure with its unit, bounds, date, source and file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.analysis.tariffs import NAMES
from hpcdl.records import Missing
from hpcdl.report.content import Column, Note, Quantity, Table
from hpcdl.report.wording import join

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.analysis.tariffs import Name, Tariff
    from hpcdl.prices import Assumption
    from hpcdl.report.content import Cell, Unit

    # What a tariff is of, as the report calls it: a configuration's letter, a run.
    Labelled = tuple[str, Tariff]

# What each is called, how its value looks, and the rest of its unit; {currency} stands for the tariff's.
WORDS: dict[Name, tuple[str, Unit, str]] = {
    "electricity_per_kwh": ("electricity price", "money", "{currency}/kWh"),
    "node_price": ("node price", "money", "{currency} per node"),
    "lifetime_years": ("lifetime", "number", "years"),
    "utilisation": ("utilisation", "fraction", ""),
    "pue": ("PUE", "ratio", ""),
    "carbon_kg_per_kwh": ("CO2 equivalents", "number", "kg/kWh"),
    "nodes_per_rack": ("nodes per rack", "number", ""),
}


def name_assumption(name: Name) -> str:
    """What people call it."""
    return WORDS[name][0]


def show_value(name: Name, value: float | Missing, tariff: Tariff) -> Quantity:
    """The value of an assumption as a cell."""
    unit = WORDS[name][1]
    return Quantity(value, unit, currency=(tariff.currency or "") if unit == "money" else "")


def make_assumption_table(tariffs: Sequence[Labelled], names: Sequence[Name] = NAMES) -> Table:
    """One row for each of these assumptions of each tariff, those that are not given too."""
    labels: dict[Tariff, list[str]] = {}
    for label, tariff in tariffs:
        labels.setdefault(tariff, []).append(label)
    columns = (
        Column("name", "assumption", left=True),
        Column("key", "key", left=True, hidden=True),
        Column("value", "value"),
        Column("unit", "unit", left=True, rank=1),
        Column("low", "low", rank=4),
        Column("high", "high", rank=4),
        Column("date", "date", left=True, rank=3),
        Column("source", "source", left=True, rank=2),
        Column("origin", "from", left=True, rank=1),
        Column("configurations", "of", left=True, hidden=len(labels) == 1),
    )
    rows = tuple(
        _make_row(name, tariff, ", ".join(dict.fromkeys(named)))
        for tariff, named in labels.items()
        for name in names
    )
    return Table("assumptions", "Assumptions", columns, rows)


def note_assumptions(tariffs: Sequence[Labelled], names: Sequence[Name] = NAMES) -> Iterator[Note]:
    """What is not given, which prices do not hold, and that currencies are not converted."""
    lacking: dict[str, list[str]] = {}
    for label, tariff in tariffs:
        absent = [name for name in names if isinstance(tariff.read(name), Missing)]
        if absent:
            lacking.setdefault(join(absent), []).append(label)
    for words, labels in lacking.items():
        yield Note(
            "info",
            f"{place_cost(labels, tariffs)}: not given: {words}. Add them to [cost] in the site file; docs/cost.md "
            "says what each is",
        )
    for told in dict.fromkeys(tariff.passed_over for _, tariff in tariffs if tariff.passed_over):
        yield Note("info", f"cost: {told}. --site FILE takes the prices of a site file for all runs")
    currencies = join(tariff.currency for _, tariff in tariffs if tariff.currency)
    if " and " in currencies:
        yield Note(
            "warning",
            f"cost: amounts are in {currencies}: nothing is converted, and nothing compared across them",
        )


def place_cost(labels: Sequence[str], every: Sequence[object]) -> str:
    """'cost of A and C'; labels of every one say nothing."""
    return "cost" if len(labels) == len(every) else f"cost of {join(labels)}"


def _make_row(name: Name, tariff: Tariff, labels: str) -> tuple[Cell, ...]:
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
        labels,
    )
