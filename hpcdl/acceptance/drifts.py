"""A fleet against its own baseline: how far each node and GPU moved from what it did before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.acceptance import metrics
from hpcdl.acceptance.baseline_making import measure_units

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hpcdl.acceptance.baselines import Baseline
    from hpcdl.acceptance.evidence import Evidence

Values = dict[tuple[str, str], float]


@dataclass(frozen=True)
class Drift:
    """One unit by one metric. `change` is of the earlier value; `worse` tells which way that is.

    None: what was 0 and is no longer has moved by no part of anything. It is the farthest of all: throttling that came.

    `moved_from` is the name that the same GPU had earlier. `spreads` is the change in units of the spread that such
    devices had among each other; None: that was not known.
    """

    metric: str
    model: str
    unit: str
    before: float
    now: float
    change: float | None
    worse: bool
    spreads: float | None = None
    moved_from: str = ""


@dataclass(frozen=True)
class Drifts:
    """What moved, the farthest first; and units that only one side knows."""

    moves: tuple[Drift, ...]
    new: tuple[str, ...]
    gone: tuple[str, ...]


def find_drifts(baseline: Baseline, evidence: Evidence) -> Drifts:
    """Hold each unit against what it did before: a node by its name, a GPU by its UUID wherever it is now."""
    seen = measure_units([evidence])
    spreads = {(one.metric, one.model): one.relative_spread for one in baseline.references}
    moves: list[Drift] = []
    known: set[str] = set()
    unknown: set[str] = set()
    devices = _index_devices(baseline)
    for metric, model, name, value in _flatten(seen):
        earlier = baseline.units.get(metric, {}).get(model, {})
        before = name if name in earlier else devices.get((metric, model, find_device(name) or ""))
        if before is None:
            unknown.add(name)
            continue
        known.add(before)
        moves.append(
            _move(metric, model, (before, name), (earlier[before], value), spreads.get((metric, model)))
        )
    gone = {name for _, _, name, _ in _flatten(baseline.units)} - known
    moves.sort(key=lambda one: (-(math.inf if one.change is None else abs(one.change)), one.metric, one.unit))
    new = unknown - {one.unit for one in moves}
    return Drifts(tuple(moves), tuple(sorted(new)), tuple(sorted(gone)))


def _flatten(
    values: Mapping[str, Mapping[str, Mapping[str, float]]],
) -> Iterator[tuple[str, str, str, float]]:
    for metric, models in values.items():
        for model, units in models.items():
            for name, value in units.items():
                yield metric, model, name, value


def _index_devices(baseline: Baseline) -> dict[tuple[str, str, str], str]:
    """Metric, model and UUID -> what that GPU was called."""
    return {
        (metric, model, device): name
        for metric, model, name, _ in _flatten(baseline.units)
        if (device := find_device(name)) is not None
    }


def find_device(name: str) -> str | None:
    """The UUID in 'node3/GPU-8f1c…'; None where the unit is no GPU."""
    _, slash, device = name.partition("/")
    return device if slash and device.startswith(("GPU-", "MIG-")) else None


def _move(
    metric: str, model: str, names: tuple[str, str], values: tuple[float, float], spread: float | None
) -> Drift:
    (earlier, name), (before, now) = names, values
    moved = now - before
    change = moved / abs(before) if before else None if moved else 0.0
    better = metrics.find(metric).better
    return Drift(
        metric=metric,
        model=model,
        unit=name,
        before=before,
        now=now,
        change=change,
        worse=moved < 0 if better == "higher" else moved > 0,
        spreads=abs(change) / spread if spread and change is not None else None,
        moved_from=earlier if earlier != name else "",
    )
