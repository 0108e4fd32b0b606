"""Evidence x suite -> verdict: each criterion of each unit, by what is known and no more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.acceptance.agreement import decide_words
from hpcdl.acceptance.case import NOTHING, Case
from hpcdl.acceptance.collecting import uncollected
from hpcdl.acceptance.counts import decide_counts
from hpcdl.acceptance.culprits import name_culprits
from hpcdl.acceptance.evidence import Unit
from hpcdl.acceptance.speeds import decide_speeds
from hpcdl.acceptance.survey import survey
from hpcdl.acceptance.units import Due, find_dues
from hpcdl.acceptance.verdict import Decision, Requirement, Verdict, worst
from hpcdl.acceptance.wording import tell_asked

if TYPE_CHECKING:
    from hpcdl.acceptance.case import Known
    from hpcdl.acceptance.evidence import Evidence
    from hpcdl.acceptance.metrics import Test
    from hpcdl.acceptance.suite import Criterion, Policy, Suite
    from hpcdl.acceptance.verdict import Outcome


def judge(
    suite: Suite, evidence: Evidence, references: Known | None = None, *, final: bool = False
) -> Verdict:
    """What the evidence says of each requirement of each unit.

    Args:
        suite: What is required.
        evidence: All that was seen.
        references: A baseline, for criteria of a reference.
        final: No further job will follow: what would have been measured again is decided by what there is.
    """
    with uncollected():
        return _judge(suite, evidence, references, final=final)


def _judge(suite: Suite, evidence: Evidence, references: Known | None, *, final: bool) -> Verdict:
    seen, policy = survey(evidence), suite.policy
    hopeful = policy.reruns > 0 and not final
    dues = find_dues(suite.criteria, seen)
    budget = _share_budget(suite, dues)
    requirements = tuple(
        _require(
            Case(
                criterion,
                seen,
                references,
                confirm=policy.confirm,
                hopeful=hopeful,
                confidence=criterion.confidence or policy.confidence,
            ),
            due,
            budget.alphas[place],
        )
        for place, (criterion, due) in enumerate(zip(suite.criteria, dues, strict=True))
    )
    return Verdict(
        outcome=_conclude(requirements),
        requirements=requirements,
        culprits=name_culprits(evidence, requirements),
        comparisons=budget.comparisons,
        false_alarms=budget.false_alarms,
        nodes=seen.nodes,
        rehearsal=evidence.rehearsal,
    )


@dataclass(frozen=True)
class Budget:
    """The chance of a false alarm that each comparison of each criterion is given; None: it is exact."""

    alphas: tuple[float | None, ...]
    comparisons: int
    false_alarms: float


def count_looks(policy: Policy) -> int:
    """How often, at most, a unit may come to fail: after each job, but for the first where that is to be confirmed."""
    return policy.reruns if policy.confirm and policy.reruns > 0 else policy.reruns + 1


def _share_budget(suite: Suite, dues: list[Due]) -> Budget:
    """By Bonferroni's inequality, equally over the required criteria, and within each over its units and looks.

    A criterion of few units is not made undecidable by another of thousands. The sum over all comparisons is how
    many false alarms a healthy fleet raises on average, at most, however they hang together.
    """
    policy = suite.policy
    counts = [
        len(due.units) if _is_timed(criterion) else 0
        for criterion, due in zip(suite.criteria, dues, strict=True)
    ]
    required = [
        count if criterion.severity == "required" else 0
        for criterion, count in zip(suite.criteria, counts, strict=True)
    ]
    parts = max(1, sum(1 for count in required if count))
    alphas = tuple(
        find_alpha(policy, criterion.confidence or policy.confidence, parts * count) if count else None
        for criterion, count in zip(suite.criteria, counts, strict=True)
    )
    alarms = sum(alpha * count for alpha, count in zip(alphas, required, strict=True) if alpha)
    return Budget(alphas, sum(required), alarms * count_looks(policy))


def find_alpha(policy: Policy, confidence: float, comparisons: int) -> float:
    """What each of so many comparisons may err by, at each look."""
    return min(1 - confidence, policy.false_alarms / (comparisons * count_looks(policy)))


def _is_timed(criterion: Criterion) -> bool:
    return criterion.what.timed and criterion.equals is None


def _require(case: Case, due: Due, alpha: float | None) -> Requirement:
    criterion = case.criterion
    decisions = _decide(case, due, alpha)
    outcome: Outcome = worst([decision.outcome for decision in decisions])
    absent = bool(due.nobody) and criterion.where_present and bool(case.seen.nodes)
    return Requirement(
        criterion=criterion.name,
        metric=criterion.metric,
        severity=criterion.severity,
        asked=tell_asked(criterion),
        why=criterion.why,
        outcome="not applicable" if absent and _is_of_hardware(criterion) else outcome,
        alpha=alpha,
        decisions=() if absent and _is_of_hardware(criterion) else decisions,
    )


def _is_of_hardware(criterion: Criterion) -> bool:
    return criterion.gpu is not None or criterion.what.gpu


def _decide(case: Case, due: Due, alpha: float | None) -> tuple[Decision, ...]:
    if due.nobody:
        fleet = Unit("system", "all", case.seen.nodes)
        return (case.lack(fleet, due.nobody, helps=False),)
    if case.criterion.equals is not None:
        decided = decide_words(case, due.units)
    elif alpha is not None:
        decided = decide_speeds(case, due.units, alpha)
    else:
        decided = decide_counts(case, due.units)
    whole = (_require_whole(case, *pair) for pair in zip(due.units, decided, strict=True))
    return (*whole, *(_complete(case, lacking) for lacking in due.lacking))


def _require_whole(case: Case, unit: Unit, decision: Decision) -> Decision:
    """What broke off before its end does not pass by what it had said until then."""
    reason, helps = case.tell_break(unit) if decision.outcome == "pass" else ("", False)
    if not reason:
        return decision
    return decision.model_copy(
        update={
            "outcome": "insufficient",
            "reason": f"it broke off: {reason}",
            "open": helps and case.hopeful,
        }
    )


def _complete(case: Case, lacking: Decision) -> Decision:
    """Why a unit of which nothing came is not there, where the records say so."""
    if lacking.reason == NOTHING and len(lacking.nodes) == 1:
        return case.lack_all(Unit("node", lacking.unit, lacking.nodes))
    return lacking if case.hopeful else lacking.model_copy(update={"open": False})


def _conclude(requirements: tuple[Requirement, ...]) -> Outcome:
    """The worst of what is required; where nothing is left to hold, nothing is known."""
    return worst(
        [
            one.outcome
            for one in requirements
            if one.severity == "required" and one.outcome != "not applicable"
        ]
    )


@dataclass(frozen=True)
class Open:
    """What another job could decide: which tests, on which nodes, both in their usual order."""

    tests: tuple[Test, ...]
    nodes: tuple[str, ...]


TESTS: tuple[Test, ...] = ("node", "links", "scaling", "convergence")


def find_open(verdict: Verdict, suite: Suite) -> Open:
    """The tests and nodes of all open decisions of required criteria."""
    measured = {criterion.name: criterion.what.test for criterion in suite.criteria}
    tests: set[Test] = set()
    nodes: set[str] = set()
    for requirement in verdict.requirements:
        concerned = [decision for decision in requirement.decisions if decision.open]
        if concerned and requirement.severity == "required":
            tests.add(measured[requirement.criterion])
            nodes.update(node for decision in concerned for node in decision.nodes)
    return Open(
        tuple(test for test in TESTS if test in tests), tuple(node for node in verdict.nodes if node in nodes)
    )
