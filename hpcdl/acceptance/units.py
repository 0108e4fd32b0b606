"""Whom a criterion is about: all units that must have its number, seen or not."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from hpcdl.acceptance.case import NOTHING
from hpcdl.acceptance.evidence import Unit
from hpcdl.acceptance.survey import Seen, is_gpu, usual
from hpcdl.acceptance.verdict import Decision

if TYPE_CHECKING:
    from hpcdl.acceptance.suite import Criterion
    from hpcdl.acceptance.survey import Key, Survey


@dataclass(frozen=True)
class Due:
    """The units of a criterion, what is lacking beside them, or why it is about nobody."""

    units: tuple[Unit, ...] = ()
    lacking: tuple[Decision, ...] = ()
    nobody: str = ""


def find_due(criterion: Criterion, seen: Survey) -> Due:
    """All whose number must be there: those that have one, and those of whom it is missing."""
    if not seen.nodes:
        return Due(nobody="no node has joined")
    metric = criterion.what
    if metric.scope == "system":
        return _find_system(criterion, seen)
    nodes, nobody = _choose_nodes(criterion, seen)
    if nobody:
        return Due(nobody=nobody)
    if metric.scope == "node":
        return Due(tuple(_as_node(node, seen) for node in nodes))
    if metric.scope == "device":
        return _find_devices(criterion, seen, nodes)
    return _find_pairs(seen, nodes)


def _as_node(node: str, seen: Survey) -> Unit:
    return seen.units.get(("node", node)) or Unit("node", node, (node,), seen.models.get(node, ""))


def _choose_nodes(criterion: Criterion, seen: Survey) -> tuple[tuple[str, ...], str]:
    """The nodes that have what the criterion is about, or of which nobody knows; else why there are none."""
    if criterion.gpu is not None:
        nodes = tuple(node for node in seen.nodes if _has_model(node, criterion.gpu, seen))
        if not nodes:
            known = sorted({seen.units[key].model for keys in seen.devices.values() for key in keys} - {""})
            has = ", ".join(known) or "none that has a name"
            return (), f"no device is named {criterion.gpu!r}; the fleet has {has}"
        return nodes, ""
    if not criterion.what.gpu:
        return seen.nodes, ""
    nodes = _choose_with_gpus(seen)
    return nodes, "" if nodes else "no node of the fleet has a GPU"


def _has_model(node: str, wanted: str, seen: Survey) -> bool:
    devices = seen.devices.get(node)
    if not devices:
        return seen.has_gpu(node) is not False
    return any(_is_named(key, wanted, seen) for key in devices)


def _is_named(key: Key, wanted: str, seen: Survey) -> bool:
    return wanted.casefold() in seen.units[key].model.casefold()


def _choose_with_gpus(seen: Survey) -> tuple[str, ...]:
    """Nodes with GPUs, unknown ones, and those that have lost them: most nodes of their model have some."""
    having = {node: seen.has_gpu(node) for node in seen.nodes}
    kinds: dict[str, list[int]] = {}
    for node, has in having.items():
        if has is not None:
            kinds.setdefault(seen.models.get(node, ""), []).append(int(has))
    expected = {model: usual(found) for model, found in kinds.items()}
    return tuple(
        node for node, has in having.items() if has is not False or expected[seen.models.get(node, "")]
    )


def _find_devices(criterion: Criterion, seen: Survey, nodes: tuple[str, ...]) -> Due:
    found = seen.seen.get(criterion.metric, Seen())
    # A rank that computes on the processor does not owe what only GPUs were asked for, nor the other way round.
    sorts = {is_gpu(key) for key in found.present or found.named}
    devices = {node: _choose_devices(criterion, seen, node, sorts) for node in nodes}
    expected = _expect_devices(devices, seen)
    lacking = tuple(
        _miss(_as_node(node, seen), _say_lack(len(keys), expected[seen.models.get(node, "")]))
        for node, keys in devices.items()
        if len(keys) < max(1, expected[seen.models.get(node, "")])
    )
    return Due(tuple(seen.units[key] for keys in devices.values() for key in keys), lacking)


def _choose_devices(criterion: Criterion, seen: Survey, node: str, sorts: set[bool]) -> list[Key]:
    keys = [key for key in seen.devices.get(node, ()) if not sorts or is_gpu(key) in sorts]
    if criterion.what.gpu:
        keys = [key for key in keys if is_gpu(key)]
    if criterion.gpu is not None:
        keys = [key for key in keys if _is_named(key, criterion.gpu, seen)]
    return keys


def _expect_devices(devices: dict[str, list[Key]], seen: Survey) -> dict[str, int]:
    """How many most nodes of a model have."""
    counts: dict[str, list[int]] = {}
    for node, keys in devices.items():
        counts.setdefault(seen.models.get(node, ""), []).append(len(keys))
    return {model: usual(found) for model, found in counts.items()}


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
    chosen = frozenset(nodes)
    units = {
        frozenset(unit.nodes): unit
        for unit in seen.units.values()
        if unit.scope == "pair" and chosen.issuperset(unit.nodes)
    }
    linked = {node for pair in units for node in pair}
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
    ordered = sorted(units.values(), key=lambda unit: [order[node] for node in unit.nodes])
    return Due(tuple(ordered), (*missing, *alone))


def _find_system(criterion: Criterion, seen: Survey) -> Due:
    """All nodes together, and parts of them where parts were measured."""
    whole = seen.units.get(("system", "all")) or Unit("system", "all", seen.nodes)
    found = seen.seen.get(criterion.metric, Seen())
    parts = sorted(key for key in found.named if key != ("system", "all"))
    return Due((whole, *(seen.units[key] for key in parts)))
