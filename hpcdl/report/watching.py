"""What `hpcdl power watch` shows, look after look: the latest of each source, and the course of its power."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hpcdl.metering import Look
from hpcdl.records import Missing
from hpcdl.report.as_json import as_rows
from hpcdl.report.content import Column, Curve, Quantity, Report, Table
from hpcdl.report.numbers import find_missing, format_cell

if TYPE_CHECKING:
    from hpcdl.metering import Opening, Sample, Source
    from hpcdl.records import Reading
    from hpcdl.report.content import Cell, Unit

COURSE = 30  # looks
NOT_YET = Missing(missing="a counter gives power from its second look on")
COLUMNS = (
    Column("name", "source", left=True),
    Column("covers", "covers", left=True, rank=4),
    Column("basis", "basis", left=True),
    Column("power_w", "power"),
    Column("course", "course", left=True, rank=2),
    Column("utilisation", "busy"),
    Column("sm_clock_mhz", "clock"),
    Column("memory_clock_mhz", "memory clock", rank=5),
    Column("temperature_c", "temperature", rank=1),
    Column("memory_used_bytes", "memory used", rank=3),
    Column("reasons", "slowed by", left=True),
)
QUANTITIES: tuple[tuple[str, Unit], ...] = (
    ("utilisation", "fraction"),
    ("sm_clock_mhz", "MHz"),
    ("memory_clock_mhz", "MHz"),
    ("temperature_c", "°C"),
    ("memory_used_bytes", "bytes"),
)


@dataclass
class _Seen:
    """One source so far. What changes slowly is not asked for at every look, so that its last answer stays."""

    source: Source
    latest: dict[str, object] = field(default_factory=dict)
    power_w: Reading = NOT_YET
    course: deque[float] = field(default_factory=lambda: deque(maxlen=COURSE))
    counted: tuple[float, float] | None = None

    def take(self, look: Look, at_s: float) -> None:
        self.latest |= {
            name: value for name in Look.model_fields if (value := getattr(look, name)) is not None
        }
        self.power_w = self._find_power(look, at_s)
        if not isinstance(self.power_w, Missing):
            self.course.append(self.power_w)

    def _find_power(self, look: Look, at_s: float) -> Reading:
        """The power reading, else the slope of the counter since the look before."""
        before, self.counted = self.counted, None
        if not (look.energy_j is None or isinstance(look.energy_j, Missing)):
            self.counted = (at_s, look.energy_j)
        if look.power_w is not None:
            return look.power_w
        if self.counted is None:
            return look.energy_j if isinstance(look.energy_j, Missing) else NOT_YET
        if before is None or at_s <= before[0]:
            return NOT_YET
        return (self.counted[1] - before[1]) / (at_s - before[0])

    def make_row(self) -> tuple[Cell, ...]:
        source = self.source
        return (
            source.name,
            source.covers,
            "ESTIMATED" if source.estimated else source.sensor,
            Quantity(self.power_w, "W"),
            Curve(tuple(self.course), "W"),
            *(self._make_cell(name, unit) for name, unit in QUANTITIES),
            self._name_reasons(),
        )

    def _make_cell(self, name: str, unit: Unit) -> Cell:
        value = self.latest.get(name)
        return Quantity(value, unit) if isinstance(value, float | int | Missing) else None

    def _name_reasons(self) -> Cell:
        reasons = self.latest.get("reasons")
        return ", ".join(reasons) if isinstance(reasons, tuple) else None


class Watch:
    """All sources of a node, as the looks come in."""

    def __init__(self, opening: Opening) -> None:
        self._host = opening.host
        self._seen = {source.name: _Seen(source) for source in opening.sources}
        self._at_s = opening.at_s
        self._time = datetime.now(UTC)

    def take(self, sample: Sample) -> None:
        """The next look."""
        self._at_s, self._time = sample.at_s, datetime.now(UTC)
        for name, look in sample.looks.items():
            self._seen[name].take(look, sample.at_s)

    def _make_table(self) -> Table:
        rows = tuple(seen.make_row() for seen in self._seen.values())
        # What no source here has is not shown to people.
        columns = tuple(
            column
            if any(row[place] is not None for row in rows)
            else Column(column.key, column.title, hidden=True)
            for place, column in enumerate(COLUMNS)
        )
        return Table("sources", "Sources", columns, rows)

    def make_report(self) -> Report:
        """The latest look, as a report of its own."""
        return Report(
            kind="watch",
            title=f"{self._host} · {self._time.astimezone():%H:%M:%S}",
            sections=(self._make_table(),),
            more=("Ctrl-C ends it",),
        )

    def write_json(self) -> str:
        """The latest look as one line of JSON; `at_s` is the host's monotonic clock."""
        rows = as_rows(self._make_table())
        for row in rows:
            del row["course"]
        data = {"host": self._host, "time_utc": self._time.isoformat(), "at_s": self._at_s, "sources": rows}
        return json.dumps(data, ensure_ascii=False, allow_nan=False)

    def write_line(self) -> str:
        """The latest look as one line of text; what is missing is left out, but not that power is."""
        sources = [self._write_source(seen) for seen in self._seen.values()]
        return f"{self._time.astimezone():%H:%M:%S}  {' | '.join(sources)}"

    def _write_source(self, seen: _Seen) -> str:
        name, _, basis, power, _, *others = seen.make_row()
        mark = " (ESTIMATED)" if basis == "ESTIMATED" else ""
        parts = [format_cell(cell) for cell in others if cell is not None and find_missing(cell) is None]
        return " ".join([f"{name} {format_cell(power, absent='—')}{mark}", *(part for part in parts if part)])
