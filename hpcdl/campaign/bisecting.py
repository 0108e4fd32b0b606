"""All nodes together are slow, single nodes and pairs are fine: halves, and halves of the slow half. Pure."""

from __future__ import annotations

from math import ceil, log2
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hpcdl.acceptance.evidence import Evidence
    from hpcdl.acceptance.verdict import Decision, Verdict

TOGETHER = ("allreduce.bandwidth_bytes_per_s", "allreduce.expected_ratio")


def count_steps(nodes: int) -> int:
    """How many times a fleet can be halved until pairs are left: so many jobs at most."""
    return max(0, ceil(log2(nodes)) - 1) if nodes > 1 else 0


def find_group(
    fleet: tuple[str, ...], answers: Mapping[frozenset[str], float], line: float
) -> tuple[tuple[str, ...], bool]:
    """The smallest group that is known to be slow, and whether its halves are still to be measured.

    Args:
        fleet: All nodes, of which it is known that they are slow together, in the order of the allocation.
        answers: What groups were seen to reach; a half of one node cannot be asked.
        line: Below it a group is slow.
    """
    group = fleet
    while len(group) > 2:
        halves = [half for half in split(group) if len(half) > 1]
        if any(frozenset(half) not in answers for half in halves):
            return group, True
        slow = [half for half in halves if answers[frozenset(half)] < line]
        if not slow:
            # Only together: what joins the halves is at fault, or the one node that is in none of them.
            return group, False
        group = min(slow, key=lambda half: answers[frozenset(half)])
    return group, False


def split(group: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The two halves of a group, in its order."""
    half = len(group) // 2
    return group[:half], group[half:]


def find_slow_group(
    fleet: tuple[str, ...], verdict: Verdict, evidence: Evidence
) -> tuple[tuple[str, ...], bool] | None:
    """`find_group`, by what an acceptance has seen; None where there is nothing to explain by halves.

    That is: the fleet is not slow together, or a node or a pair already is, by itself.
    """
    slow = _find_slow_decision(fleet, verdict)
    if slow is None or _is_explained(verdict):
        return None
    metric, decision = slow
    answers = {
        frozenset(seen.unit.nodes): median(seen.samples)
        for seen in evidence.observations
        if seen.metric == metric and seen.samples
    }
    line = _find_line(decision, answers.get(frozenset(fleet)))
    return None if line is None else find_group(fleet, answers, line)


def _find_slow_decision(fleet: tuple[str, ...], verdict: Verdict) -> tuple[str, Decision] | None:
    return next(
        (
            (requirement.metric, decision)
            for requirement in verdict.requirements
            if requirement.metric in TOGETHER
            for decision in requirement.decisions
            if set(decision.nodes) >= set(fleet) and _is_below(decision)
        ),
        None,
    )


def _is_below(decision: Decision) -> bool:
    return (
        decision.outcome != "pass"
        and isinstance(decision.value, float)
        and isinstance(decision.threshold, float)
        and decision.value < decision.threshold
    )


def _is_explained(verdict: Verdict) -> bool:
    return any(decision.outcome == "fail" for decision in _decisions_of_few(verdict))


def _decisions_of_few(verdict: Verdict) -> Iterator[Decision]:
    for requirement in verdict.requirements:
        if requirement.severity == "required":
            yield from (decision for decision in requirement.decisions if 0 < len(decision.nodes) <= 2)


def _find_line(decision: Decision, seen: float | None) -> float | None:
    """The line in the metric's own unit: where it is a part of something, what that is follows from what was seen."""
    if not isinstance(decision.threshold, float) or not isinstance(decision.value, float):
        return None
    if not decision.relative:
        return decision.threshold
    return seen * decision.threshold / decision.value if seen is not None and decision.value else None
