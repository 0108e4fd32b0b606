"""What things cost at a site: each figure with its date and source, so that nobody has to guess where it is from."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from hpcdl.frozen import Frozen

Amount = Annotated[float, Field(ge=0)]
PRICES = ("electricity_per_kwh", "node_price")


class Assumption(Frozen):
    """A figure that was not measured here. `low` and `high` are how far it may be off, for the sensitivity.

    `date` and `source` are words: '2026-01', 'contract with the utility'.
    """

    value: Amount
    low: Amount | None = None
    high: Amount | None = None
    date: str = ""
    source: str = ""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        low = self.value if self.low is None else self.low
        high = self.value if self.high is None else self.high
        if not low <= self.value <= high:
            raise ValueError(f"low, value and high are in that order, not {low:g}, {self.value:g}, {high:g}")
        return self


def _read_number(given: object) -> object:
    """A number alone is an assumption without date and source."""
    return {"value": given} if isinstance(given, int | float) and not isinstance(given, bool) else given


Figure = Annotated[Assumption, BeforeValidator(_read_number)]


class Cost(Frozen):
    """The table `[cost]` of a site file; every figure is a number, or a table with value, low, high, date, source.

    `currency` is the ISO 4217 code of all amounts. `node_price` is of one node with its share of racks and network, and
    `partition_price` the same by the name of a partition, where they differ. `lifetime_years` is how long a node is
    used, `utilisation` the part of that time in which it works. `carbon_kg_per_kwh` are kg of CO2 equivalents.
    """

    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] | None = None
    electricity_per_kwh: Figure | None = None
    node_price: Figure | None = None
    partition_price: dict[str, Figure] = Field(default_factory=dict)
    lifetime_years: Figure | None = None
    utilisation: Figure | None = None
    carbon_kg_per_kwh: Figure | None = None
    nodes_per_rack: Figure | None = None

    @model_validator(mode="after")
    def _in_some_currency(self) -> Self:
        priced = [name for name in PRICES if getattr(self, name) is not None]
        priced += ["partition_price"] * bool(self.partition_price)
        if priced and self.currency is None:
            raise ValueError(
                f'{priced[0]} is a price without a currency: add currency = "EUR", or another code'
            )
        if self.utilisation is not None:
            _refuse_beyond(self.utilisation, "utilisation", 1.0)
        for name in ("lifetime_years", "utilisation", "nodes_per_rack"):
            figure = getattr(self, name)
            if figure is not None and (figure.value == 0 or figure.low == 0):
                raise ValueError(f"{name} is above zero")
        return self

    def price_of(self, partition: str | None) -> Assumption | None:
        """The price of one node of a partition; of any node, where the partition has none of its own."""
        return self.partition_price.get(partition or "", self.node_price)


def _refuse_beyond(figure: Assumption, name: str, most: float) -> None:
    if max(figure.value, figure.high or 0) > most:
        raise ValueError(f"{name} is a part of the whole: at most {most:g}")
