"""Where things stand in a report that has more than text: notes by weight, pictures beside their tables, pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.report.as_markdown import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.report.content import Note, Report, Table
    from hpcdl.report.pictures import Picture

# Hidden tables that belong to the provenance: what the gate looked at.
CHECKS = ("checks",)
PORTRAIT_COLUMNS = 9


def weigh(notes: Sequence[Note]) -> list[Note]:
    """Notes in the order of their weight: what failed comes first."""
    weights = list(KINDS)
    return sorted(notes, key=lambda note: weights.index(note.kind))


def place_pictures(report: Report) -> tuple[list[Picture], list[tuple[Table, list[Picture]]]]:
    """Pictures beside the first table of the key that they name; all others before the tables."""
    waiting = list(report.pictures)
    sections = []
    for table in report.shown:
        beside = [picture for picture in waiting if picture.beside == table.key]
        waiting = [picture for picture in waiting if picture.beside != table.key]
        sections.append((table, beside))
    return waiting, sections


def is_wide(report: Report) -> bool:
    """Whether a table has more columns than a standing page has room for."""
    return any(len(table.visible) > PORTRAIT_COLUMNS and not table.upright for table in report.shown)
