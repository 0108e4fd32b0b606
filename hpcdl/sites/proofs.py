"""What became of an entry of a site file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Outcome = Literal["proven", "refuted", "not checked"]
# And what was seen, or why nothing was.
Verdict = tuple[Outcome, str]


@dataclass(frozen=True)
class Proof:
    """An entry, its value, and what was seen of it; `seen` says why where it was not checked."""

    entry: str
    value: Any
    outcome: Outcome
    seen: str
