"""What became of an entry of a site file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Outcome = Literal["proven", "refuted", "not checked"]


@dataclass(frozen=True)
class Proof:
    """An entry, its value, and what was seen of it; `seen` says why where it was not checked."""

    entry: str
    value: Any
    outcome: Outcome
    seen: str
