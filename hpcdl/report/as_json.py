"""A report as JSON: the schema is versioned, keys are stable, numbers are unrounded and in SI units.

    {"schema": "hpcdl.report", "schema_version": 1, "kind": "runs", "title": …, "badges": […],
     "headline": [{"title": "throughput", "value": {"value": 45910.2, …}}, …], "about": ["run …", …],
     "launches": [{"images_per_s": {"value": 45910.2, "unit": "images/s"}, …}, …],
     "scaling": [{"title": …, "mode": "weak", …, "rows": […]}, …], "repeats": […],
     "energy": […], "meters": […], "energy_scaling": […], "power_limits": […], "cpu_gpu": […], "cpu_audit": […],
     "cost": […], "assumptions": […], "sensitivity": […], "break_even": […], "engines": […], "attribution": […],
     "stragglers": […], "probes": […], "links": […], "hosts": […], "checks": […], "notes": […], "more": […]}

A number with an interval has the ends of its 95 % interval as "low" and "high", where they are finite. A number that
is not published is {"missing": reason, "unit": …}, and never 0 or null; null does not apply. With --force it has the
number that is withheld beside the reason, as "withheld".
"""

from __future__ import annotations

import json
from math import isfinite
from typing import TYPE_CHECKING, Any

from hpcdl.report.content import Curve, Quantity, Shares, Span
from hpcdl.report.controls import escape_controls

if TYPE_CHECKING:
    from hpcdl.report.content import Cell, Report, Table

SCHEMA = "hpcdl.report"
SCHEMA_VERSION = 1
# Those of a report on runs: a list each, even if empty.
SECTIONS = (
    "launches",
    "scaling",
    "repeats",
    "energy",
    "meters",
    "energy_scaling",
    "power_limits",
    "cpu_gpu",
    "cpu_audit",
    "cost",
    "assumptions",
    "sensitivity",
    "break_even",
    "engines",
    "attribution",
    "stragglers",
    "probes",
    "links",
    "hosts",
    "checks",
)


def render(report: Report) -> str:
    """The report as indented JSON, with a newline at its end."""
    text = json.dumps(as_dict(report), indent=2, ensure_ascii=False, allow_nan=False)
    return escape_controls(text) + "\n"


def as_dict(report: Report) -> dict[str, Any]:
    """The report as JSON-able values; a section that it may hold several of is a list, even if empty."""
    data: dict[str, Any] = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "kind": report.kind,
        "title": report.title,
        "badges": list(report.badges),
    }
    if report.stamp:
        data["stamp"] = report.stamp
    if report.kind == "runs":
        data["headline"] = [{"title": fact.title, "value": as_value(fact.cell)} for fact in report.headline]
        data["about"] = list(report.about)
        data |= {name: [] for name in SECTIONS}
    for table in report.sections:
        if table.many:
            data.setdefault(table.key, []).append(as_object(table))
        else:
            data[table.key] = as_rows(table)
            data |= {fact.key: as_value(fact.cell) for fact in table.facts}
    data["notes"] = [{"kind": note.kind, "text": note.text} for note in report.notes]
    data["more"] = list(report.more)
    return data


def as_object(table: Table) -> dict[str, Any]:
    """A table with its facts and its rows."""
    facts = {fact.key: as_value(fact.cell) for fact in table.facts}
    return {"title": table.title, **facts, "rows": as_rows(table)}


def as_rows(table: Table) -> list[dict[str, Any]]:
    """All rows with all columns, the hidden ones too, by their keys."""
    keys = [column.key for column in table.columns]
    return [dict(zip(keys, map(as_value, row), strict=True)) for row in table.rows]


def as_value(cell: Cell) -> Any:
    """A cell as JSON has it."""
    if isinstance(cell, Quantity):
        return _as_quantity(cell)
    if isinstance(cell, Span):
        return {"lowest": _as_quantity(cell.lowest), "highest": _as_quantity(cell.highest)}
    if isinstance(cell, Shares):
        return {key: _as_quantity(share) for key, _, share in cell.parts}
    if isinstance(cell, Curve):
        return {"values": list(cell.values), "unit": cell.unit}
    return cell


def _as_quantity(quantity: Quantity) -> dict[str, Any]:
    value, unit = quantity.value, quantity.currency or quantity.unit
    if not isinstance(value, int | float):
        return {"missing": value.missing, "unit": unit}
    if quantity.struck:
        return {"missing": quantity.struck, "unit": unit, "withheld": value}
    mark = {"mark": quantity.mark} if quantity.mark else {}
    # JSON has no infinity: an end that is nowhere is left out.
    ends = {
        key: end
        for key, end in (("low", quantity.low), ("high", quantity.high))
        if end is not None and isfinite(end)
    }
    return {"value": value, "unit": unit, **ends, **mark}
