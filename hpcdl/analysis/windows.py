"""The measured window on every host's own clock: the same steps, whatever the clocks say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpcdl.records import Missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hpcdl.columns import StepTable
    from hpcdl.records import Conditions, Environment, Stretch

Span = tuple[float, float]


@dataclass(frozen=True, eq=False)
class _Part:
    """One stretch on a host: when each of its steps began, and when the last one ended, (steps + 1,)."""

    first_step: int
    edges_s: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HostWindow:
    """Steps `first` to `last` (not included) on one host's monotonic clock, pauses between stretches left out."""

    host: str
    first: int
    last: int
    parts: tuple[_Part, ...]

    def spans(self, first: int | None = None, last: int | None = None) -> tuple[Span, ...]:
        """Begin and end in seconds of some of the steps, or of all: one span for each stretch that they touch."""
        first, last = self.first if first is None else first, self.last if last is None else last
        found = []
        for part in self.parts:
            low = max(first - part.first_step, 0)
            high = min(last - part.first_step, len(part.edges_s) - 1)
            if high > low:
                found.append((float(part.edges_s[low]), float(part.edges_s[high])))
        return tuple(found)

    @property
    def elapsed_s(self) -> float:
        """Seconds of all steps, without the pauses."""
        return sum(end - begin for begin, end in self.spans())


def find_windows(
    environment: Environment,
    conditions: Sequence[Conditions],
    steps: StepTable,
    *,
    first: int,
    last: int,
) -> tuple[HostWindow, ...] | Missing:
    """The window of each host, in the order of first ranks.

    Args:
        environment: Says which rank runs where.
        conditions: The first rank of each host tells the stretches there.
        steps: Of all ranks.
        first: The first step of the window.
        last: The step after its last.
    """
    places = {host.rank: host.host for host in environment.hosts}
    told = {one.rank: one.stretches for one in conditions if one.stretches}
    windows = []
    for host in dict.fromkeys(places.values()):
        rank = next((rank for rank, where in places.items() if where == host and rank in told), None)
        if rank is None:
            return Missing(missing=f"no rank on {host} has told when it was measured")
        parts = [_lay_out(steps.of_rank(rank), stretch) for stretch in told[rank]]
        if any(part is None for part in parts):
            return Missing(missing=f"step records of {host} are missing")
        windows.append(HostWindow(host, first, last, tuple(part for part in parts if part is not None)))
    return tuple(windows)


def _lay_out(steps: StepTable, stretch: Stretch) -> _Part | None:
    within = steps.between(stretch.first_step, stretch.first_step + stretch.steps)
    if len(within) != stretch.steps:
        return None
    edges_s = np.concatenate([[stretch.begin_s], within.begin_s[1:], [stretch.end_s]])
    return _Part(stretch.first_step, edges_s)
