"""What `hpcdl power sensors` shows: every source of this node, and what could not be had, with what would open it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.report.content import Column, Fact, Quantity, Report, Table
from hpcdl.report.numbers import format_number
from hpcdl.report.wording import count

if TYPE_CHECKING:
    from hpcdl.metering import Opening, Sample, Source, Unavailable
    from hpcdl.report.content import Cell

_STEPS = ((1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ"))
EXPLAINED = (
    "energy counter: its steps · power: what a reading is of, and over how long it is averaged · updates: how often "
    "readings change, seen while looking as fast as possible for a second"
)


def describe_sensors(opening: Opening, sample: Sample) -> Report:
    """The sources with one look at each, and what is unavailable."""
    measured = sum(not source.estimated for source in opening.sources)
    estimated = len(opening.sources) - measured
    found = f"{count(measured, 'source')} of power or energy" if measured else "nothing can be metered"
    sections = [_make_source_table(opening, sample)] if opening.sources else []
    return Report(
        kind="sensors",
        title=f"{opening.host}: {found}" + (f", {estimated} ESTIMATED" if estimated else ""),
        sections=(*sections, _make_unavailable_table(opening.unavailable)),
        more=("live: hpcdl power watch", "of any command: hpcdl power run -- COMMAND"),
    )


def _make_source_table(opening: Opening, sample: Sample) -> Table:
    columns = (
        Column("name", "source", left=True),
        Column("sensor", "sensor", left=True),
        Column("covers", "covers", left=True),
        Column("product", "product", left=True, rank=2),
        Column("uuid", "UUID", left=True, hidden=True),
        Column("estimated", "estimated", hidden=True),
        Column("power_w", "now", rank=1),
        Column("counter", "energy counter", left=True),
        Column("counter_step_j", "counter step", hidden=True),
        Column("power", "power", left=True),
        Column("averaging_s", "averaged over", rank=3),
        Column("update_s", "updates"),
        Column("limit_w", "limit", rank=1),
        Column("default_limit_w", "default limit", hidden=True),
        Column("shared", "shared", left=True, hidden=True),
        Column("basis", "basis", left=True, rank=5, hidden=not any(s.basis for s in opening.sources)),
    )
    rows = tuple(_make_source_row(source, sample) for source in opening.sources)
    facts = (Fact("host", "host", opening.host), Fact("boot_id", "boot id", opening.boot_id))
    return Table("sources", "Sources", columns, rows, facts, (EXPLAINED,))


def _make_source_row(source: Source, sample: Sample) -> tuple[Cell, ...]:
    seen = sample.looks.get(source.name)
    power_w = None if seen is None or seen.power_w is None else seen.power_w
    step_j = source.counter_step_j if source.counter else None
    return (
        source.name,
        source.sensor,
        source.covers,
        source.product,
        source.uuid,
        source.estimated,
        None if power_w is None else Quantity(power_w, "W", "estimated" if source.estimated else ""),
        _name_counter(source),
        None if step_j is None else Quantity(step_j, "J"),
        source.power,
        None if source.power is None else Quantity(source.averaging_s, "s"),
        Quantity(source.update_s, "s"),
        None if source.estimated else Quantity(source.limit_w, "W"),
        None if source.estimated else Quantity(source.default_limit_w, "W"),
        source.shared,
        source.basis or None,
    )


def _name_counter(source: Source) -> str:
    """'1 mJ'; 'none' where there is none."""
    step_j = source.counter_step_j
    if not source.counter:
        return "none"
    if not step_j:
        return "steps not known"
    scale, unit = next((pair for pair in _STEPS if step_j >= pair[0]), _STEPS[-1])
    return f"{format_number(step_j / scale, 3).rstrip('0').rstrip('.')} {unit}"


def _make_unavailable_table(unavailable: tuple[Unavailable, ...]) -> Table:
    columns = (
        Column("sensor", "sensor", left=True),
        Column("reason", "why not", left=True),
        Column("do", "what would open it", left=True),
    )
    rows = tuple((one.sensor, one.reason, one.do) for one in unavailable)
    return Table("unavailable", "Not available", columns, rows, hidden=not rows)
