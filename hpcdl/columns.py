"""Step records as columns: eight thousand ranks leave millions of them, and a column is one array.

A step is checked as a record is: a line that is not one is left out and told.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray


# What a column of this type holds.
_Count = Annotated[int, Field(ge=0, lt=2**31)]


@with_config(ConfigDict(extra="forbid", allow_inf_nan=False))
@dataclass(slots=True)
class _Row:
    """`records.Step` in the form that is fastest to make."""

    rank: _Count
    step: _Count
    warmup: bool
    images: _Count
    begin_s: float
    input_s: float
    compute_s: float
    exchange_s: float
    update_s: float
    loss: float | None


_ROW: TypeAdapter[_Row] = TypeAdapter(_Row)
_ROWS: TypeAdapter[list[_Row]] = TypeAdapter(list[_Row])


@dataclass(frozen=True, eq=False)
class StepTable:
    """Steps as equally long columns, (steps,), ordered by rank and step. Times are seconds; no loss is NaN."""

    rank: NDArray[np.int32]
    step: NDArray[np.int32]
    warmup: NDArray[np.bool_]
    images: NDArray[np.int32]
    begin_s: NDArray[np.float64]
    input_s: NDArray[np.float64]
    compute_s: NDArray[np.float64]
    exchange_s: NDArray[np.float64]
    update_s: NDArray[np.float64]
    loss: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rank)

    @property
    def step_s(self) -> NDArray[np.float64]:
        """The whole of each step."""
        return self.input_s + self.compute_s + self.exchange_s + self.update_s

    def where(self, chosen: NDArray[Any] | slice) -> StepTable:
        """Some of the rows; a slice shares memory with this table."""
        return StepTable(*(getattr(self, field.name)[chosen] for field in fields(self)))

    @property
    def measured(self) -> StepTable:
        """The steps after warm-up."""
        return self.where(~self.warmup)

    def of_rank(self, rank: int) -> StepTable:
        """One rank's steps, in order."""
        first, last = np.searchsorted(self.rank, [rank, rank + 1])
        return self.where(slice(int(first), int(last)))

    def between(self, first: int, last: int) -> StepTable:
        """The rows of the steps from `first` up to, not including, `last`."""
        return self.where((self.step >= first) & (self.step < last))


_TYPES = {"rank": np.int32, "step": np.int32, "warmup": np.bool_, "images": np.int32}


def _type_of(name: str) -> Any:
    return _TYPES.get(name, np.float64)


EMPTY = StepTable(*(np.empty(0, dtype=_type_of(field.name)) for field in fields(StepTable)))


def parse_steps(text: bytes, torn: Callable[[int, str], None]) -> StepTable:
    """The steps of one stream of JSON lines, in its order; what is no step is told by line and reason."""
    lines = text.splitlines()
    try:
        rows = _ROWS.validate_json(b"[" + b",".join(lines) + b"]", strict=False)
        if len(rows) == len(lines):  # two steps on one line are none
            return _to_columns(rows)
    except ValidationError:
        pass
    return _to_columns(_parse_one_by_one(lines, torn))


def _parse_one_by_one(lines: Sequence[bytes], torn: Callable[[int, str], None]) -> list[_Row]:
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(_ROW.validate_json(line))
        except ValidationError as problem:
            detail = problem.errors()[0]
            place = ".".join(str(part) for part in detail["loc"])
            torn(number, f"{place}: {detail['msg']}" if place else detail["msg"])
    return rows


def _to_columns(rows: Sequence[_Row]) -> StepTable:
    return StepTable(*(_to_column(rows, field.name) for field in fields(StepTable)))


def _to_column(rows: Sequence[_Row], name: str) -> NDArray[Any]:
    values: Iterable[Any] = map(attrgetter(name), rows)
    if name == "loss":
        values = (np.nan if value is None else value for value in values)
    return np.fromiter(values, dtype=_type_of(name), count=len(rows))


def join_tables(tables: Iterable[StepTable]) -> StepTable:
    """All rows, by rank and step. Each table has its own ranks as a rule: then one behind the other is the order."""
    kept = sorted((_sort(table) for table in tables if len(table)), key=lambda table: int(table.rank[0]))
    if not kept:
        return EMPTY
    joined = StepTable(
        *(np.concatenate([getattr(table, field.name) for table in kept]) for field in fields(StepTable))
    )
    del kept
    return _sort(joined)


def _sort(table: StepTable) -> StepTable:
    """By rank and step; the table itself where it is in order."""
    ranks, steps = table.rank, table.step
    if np.all((ranks[1:] > ranks[:-1]) | ((ranks[1:] == ranks[:-1]) & (steps[1:] >= steps[:-1]))):
        return table
    return table.where(np.lexsort((steps, ranks)))
