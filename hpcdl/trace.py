"""The stream of a sampler as arrays: what each source of one host read, over time."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from hpcdl.metering import LINE, Closing, Look, Opening

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from hpcdl.metering import Source, Unavailable

# All that a look may hold but the reasons, which are words.
READ_AT = "read_at_s"
NUMBERS = frozenset(Look.model_fields) - {"reasons"}
# Python's json takes NaN and Infinity, which are no numbers of anybody's meter.
_LIMIT = 1e18


@dataclass(frozen=True, eq=False)
class Series:
    """One source over time. Columns are (looks,); what was missing or not asked for is NaN.

    `why` says for each quantity that was missing at some time why it first was. `reasons` are (time, words) of
    the looks that asked for what makes the clock slower.
    """

    source: Source
    at_s: NDArray[np.float64]
    columns: dict[str, NDArray[np.float64]]
    why: dict[str, str]
    reasons: tuple[tuple[float, tuple[str, ...]], ...]

    def column(self, quantity: str) -> NDArray[np.float64]:
        """The readings of a quantity, (looks,), NaN where there is none."""
        found = self.columns.get(quantity)
        return np.full(len(self.at_s), np.nan) if found is None else found


@dataclass(frozen=True, eq=False)
class Trace:
    """All sources of one host. `closing` is None where the sampler did not end as it should."""

    opening: Opening
    series: tuple[Series, ...]
    at_s: NDArray[np.float64]
    took_s: NDArray[np.float64]
    closing: Closing | None

    @property
    def host(self) -> str:
        return self.opening.host

    @property
    def unavailable(self) -> tuple[Unavailable, ...]:
        """Sensors that could not be read."""
        return self.opening.unavailable


@dataclass
class _Stream:
    """What has been read of one sampler so far."""

    opening: Opening
    at_s: list[float] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)
    values: dict[tuple[str, str], dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    why: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    reasons: dict[str, list[tuple[float, tuple[str, ...]]]] = field(default_factory=lambda: defaultdict(list))
    closing: Closing | None = None

    def add(self, line: dict[str, Any]) -> None:
        """One sample.

        Raises:
            ValueError: It is none.
        """
        at_s, took_s = _number(line["at_s"]), _number(line["took_s"])
        looks = line["looks"]
        # Checked before anything is kept, so that half a sample leaves nothing behind.
        kept = [
            (name, quantity, _read(quantity, value))
            for name, look in looks.items()
            for quantity, value in look.items()
            if value is not None
        ]
        place = len(self.at_s)
        self.at_s.append(at_s)
        self.took_s.append(took_s)
        for name, quantity, value in kept:
            self._keep(place, name, quantity, value)

    def _keep(self, place: int, name: str, quantity: str, value: float | str | tuple[str, ...]) -> None:
        if isinstance(value, str):
            self.why[name].setdefault(quantity, value)
        elif isinstance(value, tuple):
            self.reasons[name].append((self.at_s[place], value))
        else:
            self.values[name, quantity][place] = value

    def finish(self) -> Trace:
        at_s = np.array(self.at_s, dtype=np.float64)
        order = np.argsort(at_s, kind="stable")
        series = tuple(self._gather(source, at_s, order) for source in self.opening.sources)
        took_s = np.array(self.took_s, dtype=np.float64)
        return Trace(self.opening, series, at_s[order], took_s[order], self.closing)

    def _gather(self, source: Source, at_s: NDArray[np.float64], order: NDArray[np.intp]) -> Series:
        columns = {}
        for (name, quantity), values in self.values.items():
            if name == source.name:
                column = np.full(len(at_s), np.nan)
                column[list(values.keys())] = list(values.values())
                columns[quantity] = column[order]
        why, reasons = self.why.get(source.name, {}), self.reasons.get(source.name, [])
        series = Series(source, at_s[order], columns, dict(why), tuple(reasons))
        return _date_readings(series) if READ_AT in columns else series


def _date_readings(series: Series) -> Series:
    """A sensor that reads at its own pace: each reading once, at the time at which it was read."""
    read_s = series.columns[READ_AT]
    fresh = np.isfinite(read_s) & (np.diff(read_s, prepend=np.nan) != 0)
    columns = {name: column[fresh] for name, column in series.columns.items() if name != READ_AT}
    return replace(series, at_s=read_s[fresh], columns=columns)


def parse_trace(data: bytes, tell: Callable[[int, str], None]) -> Trace | None:
    """The last sampler's stream in a file; None where no opening can be read.

    Args:
        data: The file.
        tell: Is told of each line that cannot be read: its number, counted from 1, and why.
    """
    stream: _Stream | None = None
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            stream = _take(stream, line)
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            tell(number, _explain(problem))
    return None if stream is None else stream.finish()


def _take(stream: _Stream | None, line: bytes) -> _Stream | None:
    # Samples are many, and plain; the few others are checked as records are.
    if line.startswith(b'{"kind":"sample"'):
        if stream is None:
            raise ValueError("a sample before the opening")
        stream.add(json.loads(line))
        return stream
    record = LINE.validate_json(line)
    if isinstance(record, Opening):
        return _Stream(record)
    if stream is None:
        raise ValueError("a line before the opening")
    if isinstance(record, Closing):
        stream.closing = record
    else:
        stream.add(record.model_dump(mode="json"))
    return stream


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LIMIT:
        raise ValueError(f"{value!r} is not a number")
    return float(value)


def _read(quantity: str, value: object) -> float | str | tuple[str, ...]:
    """A number; the words why it is missing; or the reasons for a slower clock."""
    if isinstance(value, dict):
        return str(value["missing"])
    if quantity == "reasons" and isinstance(value, list):
        return tuple(str(word) for word in value)
    if quantity not in NUMBERS:
        raise ValueError(f"{quantity!r} is not known")
    return _number(value)


def _explain(problem: Exception) -> str:
    if isinstance(problem, ValidationError):
        return str(problem.errors()[0]["msg"])
    return f"{type(problem).__name__}: {problem}"
