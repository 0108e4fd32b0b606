"""Amounts as cells: a quantity with the ends of its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.records import Missing
from hpcdl.report.content import Quantity

if TYPE_CHECKING:
    from hpcdl.analysis.amounts import Amount
    from hpcdl.report.content import Unit


def show_amount(amount: Amount, unit: Unit, mark: str = "", currency: str = "") -> Quantity:
    """A value with its interval, where it has one."""
    if amount.interval is None or isinstance(amount.value, Missing):
        return Quantity(amount.value, unit, mark, currency=currency)
    ends = amount.interval
    return Quantity(amount.value, unit, mark, low=ends.low, high=ends.high, currency=currency)
