"""Who is at fault, in words for people: how far it is off, and what else is peculiar about it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from hpcdl.acceptance.looks import find_metric
from hpcdl.acceptance.metrics import EXPLANATIONS
from hpcdl.acceptance.peculiarities import Comparison
from hpcdl.acceptance.phrases import (
    DIGEST,
    LOSSES,
    find_divergence,
    place_of,
    split,
    tell_number,
    tell_share,
    tell_word,
)
from hpcdl.acceptance.suspicion import blame
from hpcdl.acceptance.verdict import Culprit
from hpcdl.acceptance.words import cut, shorten

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hpcdl.acceptance.evidence import Evidence, Unit
    from hpcdl.acceptance.peculiarities import Peculiarity
    from hpcdl.acceptance.suspicion import Failing, Suspect
    from hpcdl.acceptance.verdict import Requirement

MOST_SYMPTOMS, MOST_CLUES = 3, 8
LONGEST_REASON = 200
# Words that are told within others, or change from look to look.
UNCOMPARED = (f".{LOSSES}", ".part", "health.foreign", *EXPLANATIONS.values())
FOREIGN, VERSIONS, VERSION = "health.foreign", "identity.versions", "identity.version."


def name_culprits(
    evidence: Evidence,
    requirements: tuple[Requirement, ...],
    *,
    switches: Mapping[str, tuple[str, ...]] | None = None,
) -> tuple[Culprit, ...]:
    """Every unit to which a failed required decision is put down, nodes in the fleet's order first.

    A node all of whose links or devices are bad stands for them; so does a switch that all bad links cross, where
    `switches` (name -> nodes behind it) tells of them. Where only the whole is slow, nobody is named.
    """
    if not any(one.outcome == "fail" for requirement in requirements for one in requirement.decisions):
        return ()
    comparison = Comparison(evidence)
    blamed = blame(comparison, requirements, evidence.nodes, switches or {})
    order = {node: place for place, node in enumerate(evidence.nodes)}
    return tuple(
        _describe(comparison, suspect, failings)
        for suspect, failings in sorted(
            blamed.items(),
            key=lambda item: (
                len(item[0].nodes),
                *(order.get(node, 0) for node in item[0].nodes),
                item[0].unit,
            ),
        )
    )


def tell_culprit(culprit: Culprit) -> str:
    """'node3: -38 % LeNet; CPU quota 0.2 of a core; the fleet has none'."""
    return f"{culprit.unit}: {'; '.join([culprit.symptom, *culprit.clues])}"


def _describe(comparison: Comparison, suspect: Suspect, failings: Sequence[Failing]) -> Culprit:
    symptoms = list(dict.fromkeys(_tell_symptom(comparison, one) for one in sorted(failings, key=_urgency)))
    more = [f"and {len(symptoms) - MOST_SYMPTOMS} more"] if len(symptoms) > MOST_SYMPTOMS else []
    told = {one.requirement.metric for one in failings}
    clues = [clue for clue in _list_clues(comparison, suspect, told) if clue not in symptoms]
    return Culprit(
        unit=suspect.unit,
        nodes=suspect.nodes,
        criteria=tuple(dict.fromkeys(one.requirement.criterion for one in failings)),
        symptom=", ".join([*symptoms[:MOST_SYMPTOMS], *more]),
        clues=_shorten_list(list(dict.fromkeys(clues))),
    )


def _urgency(failing: Failing) -> int:
    return place_of(failing.requirement.metric)


def _shorten_list(clues: list[str]) -> tuple[str, ...]:
    left = len(clues) - MOST_CLUES
    return tuple(clues if left <= 0 else [*clues[:MOST_CLUES], f"and {left} more"])


# ---- Symptoms ----


def _tell_symptom(comparison: Comparison, failing: Failing) -> str:
    metric, decision = failing.requirement.metric, failing.decision
    unit = _find_unit(comparison, failing)
    if unit is not None and (word := comparison.word(metric, unit)) is not None:
        common = comparison.common(metric, unit)
        wrong = decision.value if isinstance(decision.value, str) else word
        usual = common[0] if common else None
        if usual == wrong:
            usual = None
        return tell_word(metric, wrong, usual) + _tell_divergence(comparison, metric, unit)
    value = decision.value
    if isinstance(value, str) and unit is not None:
        # Numbers that have to be the same are compared as words.
        value = comparison.number(metric, unit)
    if isinstance(value, str) or value is None:
        return decision.reason or f"{metric}: {failing.requirement.asked}"
    if decision.relative:
        return tell_share(metric, value) + _tell_base(failing.requirement)
    found = comparison.usual(metric, unit) if unit is not None else None
    usual_number = found.value if found is not None and found.value != value else None
    return tell_number(metric, value, usual_number) + _tell_explanation(comparison, metric, unit)


def _find_unit(comparison: Comparison, failing: Failing) -> Unit | None:
    """That of the decision: a node and its only device may have one name."""
    metric = find_metric(failing.requirement.metric)
    return comparison.find(metric.scope if metric else "node", failing.decision.unit)


def _tell_base(requirement: Requirement) -> str:
    """Where it is held against something else than the fleet."""
    for word, base in (("baseline", "the baseline"), ("model", "what the model expects")):
        if word in requirement.asked:
            return f" against {base}"
    return ""


def _tell_explanation(comparison: Comparison, metric: str, unit: Unit | None) -> str:
    """The unit's own word on its number: which file cannot be read, how the node ended."""
    explaining = EXPLANATIONS.get(metric)
    word = comparison.word(explaining, unit) if explaining and unit is not None else None
    return "" if word is None else f": {word}"


def _tell_divergence(comparison: Comparison, metric: str, unit: Unit) -> str:
    """The step at which the losses of a training begin to be others."""
    if not metric.endswith(f".{DIGEST}"):
        return ""
    losses = metric.removesuffix(DIGEST) + LOSSES
    own = comparison.word(losses, unit)
    common = comparison.common(losses, unit) if own is not None else None
    step = find_divergence(own, common[0]) if own is not None and common is not None else None
    return "" if step is None else f" from step {step} on"


# ---- Clues ----


def _list_clues(comparison: Comparison, suspect: Suspect, told: set[str]) -> list[str]:
    if len(suspect.nodes) > 2:
        return []
    clues: list[str] = []
    for node in suspect.nodes:
        units = [unit for unit in comparison.units_of(node) if _belongs(unit, suspect, node)]
        found = list(_find_clues(comparison, units, told))
        clues += found if len(suspect.nodes) == 1 else [f"{node}: {clue}" for clue in found]
    return clues


def _belongs(unit: Unit, suspect: Suspect, node: str) -> bool:
    """Of a device: what is told of it and of its node, not of the devices beside it."""
    apart = suspect.unit != node and len(suspect.nodes) == 1
    return not apart or unit.scope == "node" or unit.name == suspect.unit


def _find_clues(comparison: Comparison, units: Sequence[Unit], told: set[str]) -> Iterator[str]:
    found = [
        one
        for one in comparison.list_peculiarities(units)
        if one.metric not in told and not one.metric.endswith(UNCOMPARED)
    ]
    single = any(one.metric.startswith(VERSION) for one in found)
    for one in sorted(found, key=lambda one: place_of(one.metric)):
        if one.metric != VERSIONS or not single:
            yield _tell_clue(comparison, one, units)
    yield from _explain_lacks(comparison, units)


def _tell_clue(comparison: Comparison, one: Peculiarity, units: Sequence[Unit]) -> str:
    if isinstance(one.value, str):
        usual = one.usual if isinstance(one.usual, str) else None
        return tell_word(one.metric, one.value, usual) + _tell_divergence(comparison, one.metric, one.unit)
    number = one.usual if isinstance(one.usual, float) else None
    text = tell_number(one.metric, one.value, number)
    if one.metric == "health.foreign_cores":
        names = [word for unit in units if (word := comparison.word(FOREIGN, unit)) is not None]
        text += f" ({shorten(names[0])})" if names else ""
    return text


def _explain_lacks(comparison: Comparison, units: Sequence[Unit]) -> Iterator[str]:
    """Why it could not tell what others did, each reason once."""
    reasons: dict[str, list[str]] = {}
    for metric, reason in comparison.list_lacks(units):
        reasons.setdefault(reason, []).append(metric)
    for reason, metrics in reasons.items():
        checks = list(dict.fromkeys(split(metric)[0].split(".")[0] for metric in metrics))
        yield f"no {', '.join(checks)}: {shorten(reason)}"


# ---- For Slurm ----


def drain_lines(culprits: Sequence[Culprit]) -> list[str]:
    """For each node that is at fault, or holds a device that is, the line that takes it out of service.

    It is printed, and never run. scontrol(1): a reason is one line.
    """
    reasons: dict[str, list[str]] = {}
    for culprit in culprits:
        if len(culprit.nodes) == 1:
            node = culprit.nodes[0]
            own = culprit.unit.removeprefix(f"{node}/")
            told = "; ".join([culprit.symptom, *culprit.clues])
            reasons.setdefault(node, []).append(told if own == node else f"{own}: {told}")
    return [_drain(node, "; ".join(told)) for node, told in reasons.items()]


def _drain(node: str, told: str) -> str:
    reason = cut(" ".join(f"hpcdl: {told}".split()), LONGEST_REASON)
    name = shlex.quote(f"NodeName={node}")
    return f"scontrol update {name} State=DRAIN Reason={shlex.quote(reason)}"
