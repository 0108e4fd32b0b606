"""Two verdicts, decision by decision: what a certificate says, and what its records say."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hpcdl.acceptance.verdict import Culprit, Decision, Requirement, Verdict
    from hpcdl.frozen import Frozen

# Sums of other lengths of vector registers differ in their last digits.
TOLERANCE = 1e-9
# What people read: another version of hpcdl may say the same in other words. That there is a word is no wording.
WORDS = frozenset({"reason", "why", "asked", "symptom", "clues", "rehearsal"})


@dataclass(frozen=True)
class Difference:
    """Where two verdicts differ: of which requirement, of which unit, in what; as the certificate has it, and as is."""

    requirement: str
    unit: str
    what: str
    was: str
    now: str

    @property
    def wording(self) -> bool:
        """Whether only words differ."""
        return self.what in WORDS and NONE not in {self.was, self.now}


ABSENT, NONE = "not there", "none"


def find_differences(was: Verdict, now: Verdict) -> Iterator[Difference]:
    """Where the verdict of a certificate differs from the one that its records give."""
    yield from _compare("", "", was, now, {"requirements", "culprits"})
    ours, theirs = _name_requirements(was), _name_requirements(now)
    for name in dict.fromkeys([*ours, *theirs]):
        yield from _compare_requirement(name, ours.get(name), theirs.get(name))
    yield from _compare_culprits(was.culprits, now.culprits)


def _name_requirements(verdict: Verdict) -> dict[str, Requirement]:
    return {
        _tell_apart(one.criterion, place): one for one, place in _number(verdict.requirements, "criterion")
    }


def _number(things: Iterable[Any], key: str) -> Iterator[tuple[Any, int]]:
    """Each with how many of its name came before it: a name that is there twice must not hide one."""
    seen: Counter[str] = Counter()
    for thing in things:
        name = getattr(thing, key)
        yield thing, seen[name]
        seen[name] += 1


def _tell_apart(name: str, place: int) -> str:
    return f"{name} (again, {place + 1})" if place else name


def _compare_requirement(name: str, was: Requirement | None, now: Requirement | None) -> Iterator[Difference]:
    if was is None or now is None:
        yield Difference(
            name, "", "requirement", *(ABSENT if one is None else one.outcome for one in (was, now))
        )
        return
    yield from _compare(name, "", was, now, {"decisions"})
    ours, theirs = _name_units(was.decisions), _name_units(now.decisions)
    for unit in dict.fromkeys([*ours, *theirs]):
        one, other = ours.get(unit), theirs.get(unit)
        if one is None or other is None:
            words = (ABSENT if decision is None else decision.outcome for decision in (one, other))
            yield Difference(name, unit, "decision", *words)
        else:
            yield from _compare(name, unit, one, other, set())


def _name_units(decisions: Iterable[Decision]) -> dict[str, Decision]:
    return {_tell_apart(one.unit, place): one for one, place in _number(decisions, "unit")}


def _compare_culprits(was: Iterable[Culprit], now: Iterable[Culprit]) -> Iterator[Difference]:
    ours, theirs = (
        {_tell_apart(one.unit, place): one for one, place in _number(culprits, "unit")}
        for culprits in (was, now)
    )
    for unit in dict.fromkeys([*ours, *theirs]):
        one, other = ours.get(unit), theirs.get(unit)
        if one is None or other is None:
            words = (ABSENT if culprit is None else culprit.symptom for culprit in (one, other))
            yield Difference("", unit, "culprit", *words)
        else:
            yield from _compare("", unit, one, other, set())


def _compare(requirement: str, unit: str, was: Frozen, now: Frozen, but: set[str]) -> Iterator[Difference]:
    for name in type(was).model_fields:
        one, other = getattr(was, name), getattr(now, name)
        if name not in but and not _is_same(one, other):
            yield Difference(requirement, unit, name, _show(one), _show(other))


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=TOLERANCE)
    return bool(one == other)


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        value = ", ".join(map(str, value))
    text = NONE if value is None else str(value)
    return text if len(text) <= 120 else f"{text[:119]}…"
