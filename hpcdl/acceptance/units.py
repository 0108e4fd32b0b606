"""Whom a criterion is about: all units that must have its number, seen or not."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from hpcdl.acceptance.case import NOTHING
from hpcdl.acceptance.connections import are_mostly_measured
from hpcdl.acceptance.evidence import Unit
from hpcdl.acceptance.survey import usual
from hpcdl.acceptance.verdict import Decision

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hpcdl.acceptance.suite import Criterion
    from hpcdl.acceptance.survey import Survey


@dataclass(frozen=True)
class Due:
    """The units of a criterion, what is lacking beside them, or why it is about nobody."""

    units: tuple[Unit, ...] = ()
    lacking: tuple[Decision, ...] = ()
    nobody: str = ""


@dataclass(frozen=True)
class _Asked:
    """All that decides on whom a criterion is: several have the same units. `sorts`: GPUs, processors, or both."""

    scope: str
    gpu: str | None
    only_gpus: bool
    sorts: frozenset[bool]
    parts: tuple[str, ...]


def find_dues(criteria: Iterable[Criterion], seen: Survey) -> list[Due]:
    """For each criterion all whose number must be there: those that have one, and those of whom it is missing."""
    known: dict[_Asked, Due] = {}
    found = []
    for criterion in criteria:
        asked = _ask(criterion, seen)
        if asked not in known:
            known[asked] = _find_due(asked, seen)
        found.append(known[asked])
    return found


def _ask(criterion: Criterion, seen: Survey) -> _Asked:
    metric, own = criterion.what, seen.find(criterion.metric)
    sorts: frozenset[bool] = frozenset()
    if metric.scope == "device":
        # A rank that computes on the processor does not owe what only GPUs were asked for, nor the other way round.
        sorts = frozenset(name in seen.gpus for name in own.present or own.named)
    parts = tuple(sorted(own.named - {"all"})) if metric.scope == "system" else ()
    return _Asked(metric.scope, criterion.gpu, metric.gpu, sorts, parts)


def _find_due(asked: _Asked, seen: Survey) -> Due:
    if not seen.nodes:
        return Due(nobody="no node has joined")
    if asked.scope == "system":
        return _find_system(asked, seen)
    nodes, nobody = _choose_nodes(asked, seen)
    if nobody:
        return Due(nobody=nobody)
    if asked.scope == "node":
        return Due(tuple(_as_node(node, seen) for node in nodes))
    if asked.scope == "device":
        return _find_devices(asked, seen, nodes)
    return _find_pairs(seen, nodes)


def _as_node(node: str, seen: Survey) -> Unit:
    return seen.units["node"].get(node) or Unit("node", node, (node,))


def _choose_nodes(asked: _Asked, seen: Survey) -> tuple[tuple[str, ...], str]:
    """The nodes that have what the criterion is about, or of which nobody knows; else why there are none."""
    if asked.gpu is not None:
        nodes = tuple(node for node in seen.nodes if _has_model(node, asked.gpu, seen))
        if not nodes:
            known = sorted({unit.model for units in seen.devices.values() for unit in units} - {""})
            has = ", ".join(known) or "none that has a name"
            return (), f"no device is named {asked.gpu!r}; the fleet has {has}"
        return nodes, ""
    if not asked.only_gpus:
        return seen.nodes, ""
    nodes = _choose_with_gpus(seen)
    return nodes, "" if nodes else "no node of the fleet has a GPU"


def _has_model(node: str, wanted: str, seen: Survey) -> bool:
    devices = seen.devices.get(node)
    if not devices:
        return seen.has_gpu(node) is not False
    return any(_is_named(device, wanted) for device in devices)


def _is_named(device: Unit, wanted: str) -> bool:
    return wanted.casefold() in device.model.casefold()


def _choose_with_gpus(seen: Survey) -> tuple[str, ...]:
    """Nodes with GPUs, unknown ones, and those that have lost them: most nodes of their model have some."""
    having = {node: seen.has_gpu(node) for node in seen.nodes}
    kinds: dict[str, list[int]] = {}
    for node, has in having.items():
        if has is not None:
            kinds.setdefault(seen.model_of(node), []).append(int(has))
    expected = {model: usual(found) for model, found in kinds.items()}
    return tuple(node for node, has in having.items() if has is not False or expected[seen.model_of(node)])


def _find_devices(asked: _Asked, seen: Survey, nodes: tuple[str, ...]) -> Due:
    devices = {node: _choose_devices(asked, seen, node) for node in nodes}
    counts: dict[str, list[int]] = {}
    for node, units in devices.items():
        counts.setdefault(seen.model_of(node), []).append(len(units))
    expected = {model: usual(found) for model, found in counts.items()}
    lacking = tuple(
        _miss(_as_node(node, seen), _say_lack(len(units), expected[seen.model_of(node)]))
        for node, units in devices.items()
        if len(units) < max(1, expected[seen.model_of(node)])
    )
    return Due(tuple(unit for units in devices.values() for unit in units), lacking)


def _choose_devices(asked: _Asked, seen: Survey, node: str) -> list[Unit]:
    units = seen.devices.get(node, [])
    sorts = {True} if asked.only_gpus else asked.sorts
    if sorts:
        units = [unit for unit in units if (unit.name in seen.gpus) in sorts]
    if asked.gpu is not None:
        units = [unit for unit in units if _is_named(unit, asked.gpu)]
    return units


def _say_lack(count: int, expected: int) -> str:
    if count == 0:
        return NOTHING
    return f"{count} device{'s' if count > 1 else ''} of it, where most nodes have {expected}"


def _miss(unit: Unit, reason: str) -> Decision:
    return Decision(unit=unit.name, nodes=unit.nodes, outcome="insufficient", reason=reason, open=True)


def _find_pairs(seen: Survey, nodes: tuple[str, ...]) -> Due:
    """The pairs that any number of pairs was taken of; all, where that was of most; and nodes that have none."""
    if len(seen.nodes) == 1:
        return Due(nobody="a fleet of one has no links")
    found = _list_pairs(seen, frozenset(nodes))
    units = {frozenset(unit.nodes): unit for unit in found if _is_one(unit)}
    linked = {node for unit in found for node in unit.nodes}
    missing = []
    if 2 * len(units) > len(nodes) * (len(nodes) - 1) / 2 > len(units):
        missing = [
            _miss(Unit("pair", f"{one}-{other}", (one, other)), NOTHING)
            for one, other in combinations(nodes, 2)
            if frozenset((one, other)) not in units and {one, other} <= linked
        ]
    alone = [
        _miss(_as_node(node, seen), "no link of it was measured") for node in nodes if node not in linked
    ]
    order = {node: place for place, node in enumerate(seen.nodes)}
    ordered = sorted(found, key=lambda unit: ([order[node] for node in unit.nodes], unit.name))
    return Due(tuple(ordered), (*missing, *alone))


def _list_pairs(seen: Survey, nodes: frozenset[str]) -> list[Unit]:
    """The pairs within these nodes; what was to be said of all pairs at once only where they have not been seen."""
    found = [unit for unit in seen.units["pair"].values() if nodes.issuperset(unit.nodes)]
    numbered = set().union(*(one.numbers.keys() for one in seen.seen.values()))
    measured = {frozenset(unit.nodes) for unit in found if _is_one(unit) and unit.name in numbered}
    return [unit for unit in found if _is_one(unit) or not are_mostly_measured(unit.nodes, measured)]


def _is_one(unit: Unit) -> bool:
    """A pair, and not the name of several."""
    return len(unit.nodes) == 2 and unit.name in {"-".join(unit.nodes), "-".join(reversed(unit.nodes))}


def _find_system(asked: _Asked, seen: Survey) -> Due:
    """All nodes together, and parts of them where parts were measured."""
    found = seen.units["system"]
    whole = found.get("all") or Unit("system", "all", seen.nodes)
    return Due((whole, *(found[part] for part in asked.parts)))
