"""What `hpcdl power run` and `hpcdl power idle` show: energy and power of this node over one window."""

from __future__ import annotations

import shlex
import textwrap
from typing import TYPE_CHECKING

from hpcdl.analysis.meters import name_meter
from hpcdl.records import Missing
from hpcdl.report.content import Column, Curve, Fact, Note, Quantity, Report, Table
from hpcdl.report.numbers import format_value, thin
from hpcdl.report.sections import CURVE_POINTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hpcdl.analysis.command import Metering, Total
    from hpcdl.analysis.looks import Energy
    from hpcdl.analysis.meters import Metered
    from hpcdl.metering import Unavailable
    from hpcdl.records import Reading
    from hpcdl.report.content import Cell

J_PER_WH = 3600
LONGEST_TITLE = 60
NOTHING = "nothing here can be metered"
GROSS = "gross: all that the meters saw meanwhile, whoever caused it"


def describe_command(metering: Metering, argv: Sequence[str], code: int, died: str | None) -> Report:
    """Energy of a command at its boundaries, and every meter.

    Args:
        metering: What the meters saw.
        argv: The command.
        code: Its exit code.
        died: Why the sampler did not end as it should; None where it did.
    """
    notes = [Note("warning", finding) for finding in metering.findings]
    if died is not None:
        notes.insert(0, Note("warning", f"{died}; what it had seen until then is what there is"))
    if not metering.meters:
        notes.append(Note("warning", f"{NOTHING}: no energy of this command is known"))
    estimated = any(meter.source.estimated for meter in metering.meters)
    if estimated or not metering.meters:
        notes.extend(_note_unavailable(metering.unavailable))
    notes.extend(_note_limits(metering.totals))
    ended = "" if code == 0 else f" · exit code {code}"
    return Report(
        kind="metered",
        title=f"{_shorten(argv)} · {metering.host} · {format_value(metering.elapsed_s, 's')}{ended}",
        sections=(_make_total_table(metering, argv, code), _make_meter_table(metering.meters)),
        notes=tuple(notes),
    )


def _shorten(argv: Sequence[str]) -> str:
    return textwrap.shorten(shlex.join(argv), LONGEST_TITLE, placeholder=" …")


def _note_unavailable(unavailable: Sequence[Unavailable]) -> Iterator[Note]:
    for one in unavailable:
        yield Note("info", f"{one.sensor}: {one.reason}" + (f"; {one.do}" if one.do else ""))


def _note_limits(totals: Sequence[Total]) -> Iterator[Note]:
    if totals:
        yield Note("info", GROSS)
    for total in totals:
        if total.uncovered:
            yield Note("info", f"{total.boundary} leaves out: {total.uncovered}")


def _make_total_table(metering: Metering, argv: Sequence[str], code: int) -> Table:
    columns = (
        Column("boundary", "boundary", left=True),
        Column("basis", "basis", left=True),
        Column("covers", "covers", left=True, rank=1),
        Column("uncovered", "not covered", left=True, hidden=True),
        Column("sensors", "meter", left=True, rank=2),
        Column("energy_j", "energy"),
        Column("energy_wh", "in Wh"),
        Column("average_w", "average"),
        Column("peak_w", "peak"),
        Column("coverage", "coverage", rank=1),
    )
    facts = (
        Fact("host", "host", metering.host),
        Fact("command", "command", shlex.join(argv)),
        Fact("exit_code", "exit code", code),
        Fact("elapsed_s", "ran for", Quantity(metering.elapsed_s, "s")),
    )
    rows = tuple(_make_total_row(total) for total in metering.totals)
    return Table("energy", "Energy", columns, rows, facts, hidden=not rows)


def _make_total_row(total: Total) -> tuple[Cell, ...]:
    mark = "estimated" if total.estimated else ""
    return (
        total.boundary,
        _name_basis(total),
        total.covers,
        total.uncovered or None,
        "; ".join(total.sensors),
        _make_energy(total.energy, mark),
        _make_wh(total.energy, mark),
        Quantity(total.average_w, "W", mark),
        Quantity(total.peak_w, "W", mark),
        Quantity(total.coverage, "fraction"),
    )


def _name_basis(total: Total) -> str:
    """Whether it was measured: estimates are never mixed in without a word."""
    if not total.estimated:
        return "measured"
    return "ESTIMATED" if not total.measured else f"{total.estimated} of its parts ESTIMATED"


def _make_energy(energy: Energy | Missing, mark: str) -> Quantity:
    if isinstance(energy, Missing):
        return Quantity(energy, "J", mark)
    return Quantity(energy.value, "J", mark, low=energy.low, high=energy.high)


def _make_wh(energy: Energy | Missing, mark: str) -> Quantity:
    if isinstance(energy, Missing):
        return Quantity(energy, "Wh", mark)
    low, high = energy.low / J_PER_WH, energy.high / J_PER_WH
    return Quantity(energy.value / J_PER_WH, "Wh", mark, low=low, high=high)


def _make_meter_table(meters: Sequence[Metered]) -> Table:
    columns = (
        Column("name", "source", left=True),
        Column("covers", "covers", left=True, rank=2),
        Column("product", "product", left=True, rank=4),
        Column("uuid", "UUID", left=True, hidden=True),
        Column("by", "by", left=True),
        Column("basis", "basis", left=True, hidden=True),
        Column("energy_j", "energy"),
        Column("energy_wh", "in Wh", rank=3),
        Column("average_w", "average"),
        Column("peak_w", "peak"),
        Column("limit_w", "limit", rank=3, hidden=all(isinstance(m.source.limit_w, Missing) for m in meters)),
        Column("utilisation", "busy", rank=2, hidden=_lack(meters, "utilisation")),
        Column("clock_mhz", "clock", rank=4, hidden=_lack(meters, "clock_mhz")),
        Column("temperature_c", "hottest", rank=4, hidden=_lack(meters, "temperature_c")),
        Column("difference", "power against counter", rank=3, hidden=all(m.check is None for m in meters)),
        Column("coverage", "coverage", rank=1),
        Column("curve", "power meanwhile", left=True, rank=5, hidden=not any(m.course_w for m in meters)),
    )
    rows = tuple(_make_meter_row(meter) for meter in meters)
    return Table("meters", "Meters", columns, rows, hidden=not rows)


def _lack(meters: Sequence[Metered], name: str) -> bool:
    return all(isinstance(getattr(meter, name), Missing) for meter in meters)


def _make_meter_row(meter: Metered) -> tuple[Cell, ...]:
    source = meter.source
    mark = "estimated" if source.estimated else ""
    return (
        source.name,
        source.covers,
        source.product,
        source.uuid,
        name_meter(meter),
        source.basis or None,
        _make_energy(meter.energy, mark),
        _make_wh(meter.energy, mark),
        Quantity(meter.average_w, "W", mark),
        Quantity(meter.peak_w, "W", mark),
        Quantity(source.limit_w, "W"),
        Quantity(meter.utilisation, "fraction"),
        Quantity(meter.clock_mhz, "MHz"),
        Quantity(meter.temperature_c, "°C"),
        None if meter.check is None else Quantity(meter.check.difference, "change"),
        Quantity(meter.coverage, "fraction"),
        Curve(thin(meter.course_w, CURVE_POINTS), "W"),
    )


def describe_idle(metering: Metering, kept: Path, *, busy: str | None) -> Report:
    """The idle power of each source, and where it was kept.

    Args:
        metering: What the meters saw.
        kept: The file.
        busy: Who worked meanwhile, where it was measured all the same; None: nobody.
    """
    columns = (
        Column("name", "source", left=True),
        Column("covers", "covers", left=True),
        Column("by", "by", left=True),
        Column("idle_w", "idle"),
        Column("coverage", "coverage", rank=1),
        Column("kept", "kept", left=True),
    )
    rows = tuple(
        (
            meter.source.name,
            meter.source.covers,
            name_meter(meter),
            Quantity(meter.average_w, "W", "estimated" if meter.source.estimated else ""),
            Quantity(meter.coverage, "fraction"),
            _say_kept(meter.average_w, estimated=meter.source.estimated),
        )
        for meter in metering.meters
    )
    facts = (
        Fact("host", "host", metering.host),
        Fact("elapsed_s", "measured for", Quantity(metering.elapsed_s, "s")),
        Fact("file", "kept in", str(kept)),
        Fact("busy", "not idle", busy),
    )
    notes = [Note("warning", f"measured although it is not idle: {busy}")] if busy else []
    notes += [Note("warning", finding) for finding in metering.findings]
    return Report(
        kind="idle",
        title=f"Idle power of {metering.host}",
        sections=(Table("idle", "Idle power", columns, rows, tuple(f for f in facts if f.cell is not None)),),
        notes=tuple(notes),
        more=("net energy of later runs is what is above it",),
    )


def _say_kept(average_w: Reading, *, estimated: bool) -> str:
    if estimated:
        return "no: an estimate is no baseline"
    return "no" if isinstance(average_w, Missing) else "yes"
