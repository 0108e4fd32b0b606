"""What ranks and nodes say: a finding of the preflight, why they did not meet, what nodes call a thing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpcdl.sites.evidence import Evidence
    from hpcdl.sites.proofs import Outcome, Verdict


def prove_finding(evidence: Evidence, name: str) -> Verdict:
    """What the ranks themselves found, by the name of the question."""
    environment = evidence.environment
    found = [one for one in environment.findings if one.check == name] if environment else []
    if not found:
        return "not checked", tell_end(evidence)
    outcomes: dict[str, Outcome] = {"held": "proven", "failed": "refuted"}
    return outcomes.get(found[0].outcome, "not checked"), f"{found[0].detail} on {evidence.job.nodes} nodes"


def tell_end(evidence: Evidence) -> str:
    """Why the ranks did not meet: the first that says why."""
    reasons = [one.reason for one in sorted(evidence.exits, key=lambda one: one.rank) if one.reason]
    return reasons[0] if reasons else evidence.absence or evidence.said or "the ranks left no records"


def list_words(evidence: Evidence, name: str) -> list[str]:
    """What the nodes say, each once."""
    return sorted({look.words[name] for look in evidence.looks if name in look.words})
