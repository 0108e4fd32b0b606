"""Whose fault it is: failed pairs, devices and nodes drawn together to the node, switch, device or pair behind them."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from hpcdl.acceptance.looks import find_metric
from hpcdl.estimates.links import find_suspects

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from hpcdl.acceptance.peculiarities import Comparison
    from hpcdl.acceptance.verdict import Decision, Requirement

Pair = frozenset[str]
# So many links at least have to be bad before something that they share is blamed for all of them.
FEWEST_LINKS = 2


class Failing(NamedTuple):
    """One decision against a unit."""

    requirement: Requirement
    decision: Decision


class Suspect(NamedTuple):
    """To whom failures are put down: a node, device, pair, switch or group by name."""

    unit: str
    nodes: tuple[str, ...]


Blame = dict[Suspect, list[Failing]]


def blame(
    comparison: Comparison,
    requirements: Iterable[Requirement],
    nodes: Sequence[str],
    switches: Mapping[str, tuple[str, ...]],
) -> Blame:
    """Every required decision that failed, by whom it is put down to; what fails as a whole is nobody's."""
    found: Blame = defaultdict(list)
    for requirement in requirements:
        failing = [one for one in requirement.decisions if one.outcome == "fail"]
        if requirement.severity != "required" or not failing:
            continue
        for suspect, decision in _blame_one(comparison, requirement, failing, nodes, switches):
            found[suspect].append(Failing(requirement, decision))
    return dict(found)


def _blame_one(
    comparison: Comparison,
    requirement: Requirement,
    failing: Sequence[Decision],
    nodes: Sequence[str],
    switches: Mapping[str, tuple[str, ...]],
) -> Iterator[tuple[Suspect, Decision]]:
    metric = find_metric(requirement.metric)
    scope = "node" if metric is None else metric.scope
    if scope == "pair":
        yield from _blame_pairs(comparison, requirement, failing, nodes, switches)
    elif scope == "device":
        yield from _blame_devices(comparison, requirement, failing)
    elif scope == "node":
        yield from ((Suspect(one.unit, one.nodes), one) for one in failing)
    else:
        yield from _blame_parts(failing, len(nodes))


# ---- Devices ----


def _blame_devices(
    comparison: Comparison, requirement: Requirement, failing: Sequence[Decision]
) -> Iterator[tuple[Suspect, Decision]]:
    """A node all of whose devices are bad is at fault itself: it is told by the worst of them."""
    known: defaultdict[str, set[str]] = defaultdict(set)
    for unit in comparison.units_with(requirement.metric):
        known[unit.nodes[0]].add(unit.name)
    bad: defaultdict[str, list[Decision]] = defaultdict(list)
    for one in failing:
        bad[one.nodes[0]].append(one)
    for node, decisions in bad.items():
        if known[node] <= {one.unit for one in decisions}:
            yield Suspect(node, (node,)), min(decisions, key=_order)
        else:
            yield from ((Suspect(one.unit, one.nodes), one) for one in decisions)


def _order(decision: Decision) -> tuple[float, str]:
    """By how far it is off; what is no number, by name."""
    value, threshold = decision.value, decision.threshold
    if isinstance(value, str) or isinstance(threshold, str) or value is None or threshold is None:
        return 0.0, decision.unit
    return -abs(value - threshold), decision.unit


# ---- Links ----


def _blame_pairs(
    comparison: Comparison,
    requirement: Requirement,
    failing: Sequence[Decision],
    nodes: Sequence[str],
    switches: Mapping[str, tuple[str, ...]],
) -> Iterator[tuple[Suspect, Decision]]:
    bad = {frozenset(one.nodes): one for one in failing if len(one.nodes) == 2}
    measured = {frozenset(unit.nodes) for unit in comparison.units_with(requirement.metric)}
    if len(bad) >= FEWEST_LINKS and len(bad) == len(measured):
        # All are slow to all: it is none of them.
        yield Suspect("all links", tuple(nodes)), min(bad.values(), key=_order)
        return
    suspects = _find_nodes(bad, measured, nodes)
    for node in suspects:
        yield Suspect(node, (node,)), min((one for pair, one in bad.items() if node in pair), key=_order)
    left = {pair: one for pair, one in bad.items() if not pair & set(suspects)}
    for name, members in switches.items():
        crossing = {pair for pair in measured if len(pair & set(members)) == 1}
        if len(crossing) >= FEWEST_LINKS and crossing <= left.keys():
            yield Suspect(name, members), min((left[pair] for pair in crossing), key=_order)
            left = {pair: one for pair, one in left.items() if pair not in crossing}
    yield from ((Suspect(one.unit, one.nodes), one) for one in left.values())


def _find_nodes(bad: Iterable[Pair], measured: set[Pair], nodes: Sequence[str]) -> tuple[str, ...]:
    """Nodes all of whose links are bad, where links were measured between all; else by those that were."""
    linked = [node for node in nodes if any(node in pair for pair in measured)]
    places = {node: place for place, node in enumerate(linked)}
    slow = [(places[one], places[other]) for one, other in (sorted(pair) for pair in bad)]
    if len(measured) == len(linked) * (len(linked) - 1) // 2:
        return tuple(linked[place] for place in find_suspects(slow, len(linked))) if len(linked) > 2 else ()
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    slow_pairs = set(bad)
    for pair in measured:
        for node in pair:
            counts[node][0] += 1
            counts[node][1] += pair in slow_pairs
    return tuple(node for node in linked if FEWEST_LINKS <= counts[node][0] == counts[node][1])


# ---- Parts of the whole ----


def _blame_parts(failing: Sequence[Decision], nodes: int) -> Iterator[tuple[Suspect, Decision]]:
    """Groups of nodes that fail by themselves, the smallest of those that lie within each other."""
    parts = [one for one in failing if len(one.nodes) < nodes]
    sets = {one.unit: set(one.nodes) for one in parts}
    larger = {
        one.unit if sets[one.unit] > sets[other.unit] else other.unit
        for one, other in combinations(parts, 2)
        if sets[one.unit] < sets[other.unit] or sets[one.unit] > sets[other.unit]
    }
    yield from ((Suspect(one.unit, one.nodes), one) for one in parts if one.unit not in larger)
