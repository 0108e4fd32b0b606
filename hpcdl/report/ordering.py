"""Where things stand in a report that has more than text: notes by weight, pictures beside their tables, pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.report.content import PICTURED
from hpcdl.report.folding import fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.report.content import Note, Report, Table
    from hpcdl.report.pictures import Picture

KINDS = {"failure": "Failed", "rehearsal": "REHEARSAL", "warning": "Warning", "info": "Note"}
# What nobody may miss stands at the top; all else can wait until after the results.
LOUD = ("failure", "rehearsal")
# Hidden tables that belong to the provenance: what the gate looked at.
CHECKS = ("checks",)
PORTRAIT_COLUMNS = 9


def weigh(notes: Sequence[Note]) -> list[Note]:
    """Notes in the order of their weight: what failed comes first."""
    weights = list(KINDS)
    return sorted(notes, key=lambda note: weights.index(note.kind))


def part_notes(notes: Sequence[Note]) -> tuple[list[Note], list[Note]]:
    """What must be known first, and what comes after the results; each by weight."""
    weighed = weigh(notes)
    return (
        [note for note in weighed if note.kind in LOUD],
        [note for note in weighed if note.kind not in LOUD],
    )


def count_notes(notes: Sequence[Note]) -> str:
    """'3 warnings, 1 note'; empty where there are none."""
    warnings = sum(note.kind == "warning" for note in notes)
    parts = ((warnings, "warning"), (len(notes) - warnings, "note"))
    return ", ".join(f"{number:,} {word}{'s' * (number > 1)}" for number, word in parts if number)


def point_further(report: Report) -> list[tuple[str, str]]:
    """(what, command) of how to get more, without the pictures that a reader of this has before their eyes."""
    lines = (line.partition(": ") for line in report.more)
    return [(what, rest) for what, _, rest in lines if what != PICTURED]


def place_pictures(report: Report) -> tuple[list[Picture], list[tuple[Table, list[Picture]]]]:
    """Pictures beside the first table of the key that they name; all others before the tables. Tables are folded."""
    waiting = list(report.pictures)
    sections = []
    for table in map(fold, report.shown):
        beside = [picture for picture in waiting if picture.beside == table.key]
        waiting = [picture for picture in waiting if picture.beside != table.key]
        sections.append((table, beside))
    return waiting, sections


def is_wide(report: Report) -> bool:
    """Whether a table has more columns than a standing page has room for."""
    return any(
        len(table.visible) > PORTRAIT_COLUMNS and not table.upright for table in map(fold, report.shown)
    )
