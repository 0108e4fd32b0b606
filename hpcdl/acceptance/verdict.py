"""What an acceptance concludes, of each unit, of each requirement, of all: kept as JSON, made again to verify."""

from __future__ import annotations

from typing import Literal

from hpcdl.frozen import Frozen

Outcome = Literal["pass", "fail", "insufficient"]
# Of all that has to hold, the worst decides. What failed is not undone by what is not known.
WORST_FIRST: tuple[Outcome, ...] = ("fail", "insufficient", "pass")
EXIT_CODES: dict[Outcome, int] = {"pass": 0, "fail": 1, "insufficient": 3}


class Decision(Frozen):
    """One requirement of one unit.

    `value`, its interval and `threshold` are in the metric's own unit, or parts of 1 where `relative`; a word where
    the requirement is of a word. None: it could not be had, and `reason` says why. The end of the interval towards
    the better is as sure as a failure has to be (`Requirement.alpha`), the other as a pass (the confidence).
    `open`: more measuring could change it.
    """

    unit: str
    nodes: tuple[str, ...]
    outcome: Outcome
    value: float | str | None = None
    low: float | None = None
    high: float | None = None
    threshold: float | str | None = None
    relative: bool = False
    samples: int = 0
    reason: str = ""
    open: bool = False


class Requirement(Frozen):
    """One criterion over all its units. `alpha` is the chance of a false alarm that each decision was given.

    It is not applicable where its hardware is in no node, and the criterion allows for that.
    """

    criterion: str
    metric: str
    severity: Literal["required", "advisory"]
    asked: str
    why: str = ""
    outcome: Outcome | Literal["not applicable"]
    alpha: float | None = None
    decisions: tuple[Decision, ...]


class Culprit(Frozen):
    """A unit at fault: how far it is off, and what else is peculiar about it, as a sentence each."""

    unit: str
    nodes: tuple[str, ...]
    criteria: tuple[str, ...]
    symptom: str
    clues: tuple[str, ...] = ()


class Verdict(Frozen):
    """The whole. `false_alarms` is how many a healthy fleet would raise on average, at most, by so many comparisons."""

    outcome: Outcome
    requirements: tuple[Requirement, ...]
    culprits: tuple[Culprit, ...] = ()
    comparisons: int
    false_alarms: float
    nodes: tuple[str, ...]
    rehearsal: str | None = None


def worst(outcomes: list[Outcome] | tuple[Outcome, ...]) -> Outcome:
    """The worst of several; of none, nothing is known."""
    return next((outcome for outcome in WORST_FIRST if outcome in outcomes), "insufficient")
