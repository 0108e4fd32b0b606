"""What a baseline says that numbers should be, as a verdict asks for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpcdl.acceptance.evidence import Unit


@dataclass(frozen=True)
class References:
    """Numbers in their metrics' own units.

    `models` are keyed by (metric, the device's name), "" for any; `units` by
    (metric, the unit's name): what that very node or GPU did before. `origin` names the file.
    """

    models: Mapping[tuple[str, str], float] = field(default_factory=dict)
    units: Mapping[tuple[str, str], float] = field(default_factory=dict)
    origin: str = ""

    def find(self, metric: str, unit: Unit) -> float | None:
        """What units of this one's model should reach, else those of any; None: the baseline does not know them."""
        known = self.models
        return known.get((metric, unit.model), known.get((metric, "")))
