"""The figures that were taken as given: each with its date, its source, and the file that it stands in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.report.content import Column, Quantity, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.tariff import Premise


def make_premise_table(premises: Sequence[Premise]) -> tuple[Table, ...]:
    """One table, or none where nothing was taken as given."""
    if not premises:
        return ()
    columns = (
        Column("name", "in [cost]", left=True),
        Column("value", "value"),
        Column("unit", "unit", left=True),
        Column("low", "low", rank=2, hidden=all(one.figure.low is None for one in premises)),
        Column("high", "high", rank=2, hidden=all(one.figure.high is None for one in premises)),
        Column("date", "date", left=True, rank=1),
        Column("source", "source", left=True, rank=1),
        Column("origin", "of", left=True),
    )
    rows = tuple(
        (
            one.name,
            Quantity(one.figure.value, "number"),
            one.unit,
            _show(one.figure.low),
            _show(one.figure.high),
            one.figure.date or "not given",
            one.figure.source or "not given",
            one.origin,
        )
        for one in premises
    )
    return (Table("premises", "Taken as given", columns, rows),)


def _show(value: float | None) -> Quantity | None:
    return None if value is None else Quantity(value, "number")
