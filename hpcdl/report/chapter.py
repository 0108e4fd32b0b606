"""A part of a report that comes with everything it needs: tables, pictures, and notes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpcdl.report.content import Note, Table
    from hpcdl.report.pictures import Picture


@dataclass(frozen=True)
class Chapter:
    """What a report gets from one analysis; empty where there is nothing to say."""

    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    notes: tuple[Note, ...] = ()
