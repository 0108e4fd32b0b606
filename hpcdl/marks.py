"""Marks that qualify a number: what follows from several carries all of theirs."""

from __future__ import annotations

AND = " and "
REHEARSAL = "rehearsal"


def join_marks(*marks: str) -> str:
    """'estimated and predicted': each once, in the order in which they came; empty marks say nothing."""
    return AND.join(dict.fromkeys(part for mark in marks for part in mark.split(AND) if part))
