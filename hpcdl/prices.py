"""What things cost at a site: each figure with its date and source, so that nobody has to guess where it is from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date as Date  # noqa: N812 (`date` is a key of the table)
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from hpcdl.frozen import Frozen

Amount = Annotated[float, Field(ge=0)]
PRICES = ("electricity_per_kwh", "node_price", "partition_price")
# Of these nothing would be left at zero: they divide.
DIVISORS = ("lifetime_years", "utilisation", "nodes_per_rack", "pue")


class Assumption(Frozen):
    """A figure that was not measured here. `low` and `high` are how far it may be off, for the sensitivity.

    `date` and `source` are words: '2026-01', 'contract with the utility'.
    """

    value: Amount
    low: Amount | None = None
    high: Amount | None = None
    date: str = ""
    source: str = ""

    @field_validator("date", mode="before")
    @classmethod
    def _in_words(cls, given: object) -> object:
        # TOML has dates of its own: 2026-01-31 without quotes.
        return given.isoformat() if isinstance(given, Date) else given

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        low = self.value if self.low is None else self.low
        high = self.value if self.high is None else self.high
        if not low <= self.value <= high:
            raise ValueError(f"low, value and high are in that order, not {low:g}, {self.value:g}, {high:g}")
        return self

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the most that it may be, as far as was said."""
        return (
            self.value if self.low is None else self.low,
            self.value if self.high is None else self.high,
        )


def _read_number(given: object) -> object:
    """A number alone is an assumption without date and source."""
    if isinstance(given, dict | Assumption):
        return given
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise ValueError(  # noqa: TRY004 (what pydantic catches is a ValueError)
            f"{given!r} is no number: write one, or a table with value, low, high, date and source"
        )
    return {"value": given}


Figure = Annotated[Assumption, BeforeValidator(_read_number)]


class Cost(Frozen):
    """The table `[cost]` of a site file; every figure is a number, or a table with value, low, high, date, source.

    `currency` is the ISO 4217 code of all amounts. `node_price` is of one node with its share of racks and network, and
    `partition_price` the same by the name of a partition, where they differ. `lifetime_years` is how long a node is
    used, `utilisation` the part of that time in which it works. `pue` is the building's power usage effectiveness
    where a source or bounds are to be named; else that of `[power]` holds. `carbon_kg_per_kwh` are kg of CO2
    equivalents.
    """

    currency: str | None = None
    electricity_per_kwh: Figure | None = None
    node_price: Figure | None = None
    partition_price: dict[str, Figure] = Field(default_factory=dict)
    lifetime_years: Figure | None = None
    utilisation: Figure | None = None
    pue: Figure | None = None
    carbon_kg_per_kwh: Figure | None = None
    nodes_per_rack: Figure | None = None

    @field_validator("currency")
    @classmethod
    def _read_currency(cls, code: str | None) -> str | None:
        if code is None or re.fullmatch("[A-Z]{3}", code):
            return code
        near = code.strip().upper()
        hint = f". Did you mean {near!r}?" if re.fullmatch("[A-Z]{3}", near) else ""
        raise ValueError(f"{code!r} is no ISO 4217 code, which are three capitals such as 'EUR'{hint}")

    @model_validator(mode="after")
    def _in_some_currency(self) -> Self:
        priced = [name for name in PRICES if getattr(self, name)]
        if priced and self.currency is None:
            raise ValueError(
                f'{priced[0]} is a price without a currency: add currency = "EUR", or another code'
            )
        return self

    @model_validator(mode="after")
    def _within_bounds(self) -> Self:
        for name in DIVISORS:
            figure = getattr(self, name)
            if figure is not None and figure.ends[0] == 0:
                raise ValueError(f"{name} is above zero")
        if self.utilisation is not None and self.utilisation.ends[1] > 1:
            raise ValueError("utilisation is a part of the whole: at most 1")
        if self.pue is not None and self.pue.ends[0] < 1:
            raise ValueError("pue is what the building draws over what its computers draw: at least 1")
        return self

    @property
    def given(self) -> bool:
        """Whether the table says anything."""
        return self != Cost()

    def price_of(self, partition: str | None) -> Assumption | None:
        """The price of one node of a partition; of any node, where the partition has none of its own."""
        return self.partition_price.get(partition or "", self.node_price)


@dataclass(frozen=True)
class Pricing:
    """Prices of today: those of one site file. For which runs they hold says `analysis.tariffs`.

    `pue` is that of its table [power], for where [cost] has none; `source` names the file, `site` is the name of the
    site that it is of. `named`: a person has named the file for these runs.
    """

    cost: Cost
    pue: float | None
    source: str
    site: str
    named: bool
