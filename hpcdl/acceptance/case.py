"""One criterion as it is judged: what was seen, what it is held against, and whether more could still be measured."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from hpcdl.acceptance.metrics import EXPLANATIONS
from hpcdl.acceptance.verdict import Decision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.acceptance.evidence import Observation, Trait, Unit
    from hpcdl.acceptance.suite import Criterion
    from hpcdl.acceptance.survey import Seen, Survey

SPREAD = ".spread"
NOTHING = "nothing was recorded"
# Of a decision: a healthy fleet of thousands has ten times as many, and each would carry a set of its own.
FIELDS = set(Decision.model_fields)
# What could not be seen in so many launches is not looked for again.
LOOKS = 2


class Known(Protocol):
    """A baseline: what a unit should reach, in the metric's own unit; None: it does not say."""

    def find(self, metric: str, unit: Unit) -> float | None: ...


@dataclass(frozen=True)
class Case:
    """`confirm`: what scatters fails only where two launches agree. `hopeful`: another job may follow.

    `confidence` is how sure a pass by a timed number is.
    """

    criterion: Criterion
    seen: Survey
    references: Known | None
    confirm: bool
    hopeful: bool
    confidence: float

    @cached_property
    def own(self) -> Seen:
        """All of the criterion's metric."""
        return self.seen.find(self.criterion.metric)

    @cached_property
    def threshold(self) -> float:
        """Where the line is, in the metric's unit or as a part of 1."""
        return self.criterion.threshold

    @cached_property
    def floor(self) -> bool:
        """Whether more is better."""
        return self.criterion.is_floor

    @cached_property
    def scattering(self) -> bool:
        """A link is shared, a spread is of few repeats, and each launch has one of it: what fails is measured again."""
        return self.criterion.what.test == "links" or self.criterion.metric.endswith(SPREAD)

    def as_seen(self, unit: Unit) -> Unit:
        """The unit as this metric knows it: of what model it is decides with whom it is compared here."""
        seen = [number.unit for number in self.numbers_of(unit)] or [
            word.unit for word in self.words_of(unit)
        ]
        return max(seen, key=lambda one: one.model, default=unit)

    def numbers_of(self, unit: Unit) -> Sequence[Observation]:
        return self.own.numbers.get(unit.name, ())

    def words_of(self, unit: Unit) -> Sequence[Trait]:
        return self.own.words.get(unit.name, ())

    def explanations_of(self, unit: Unit) -> list[str]:
        """In the unit's own words, each once."""
        words = self.seen.find(EXPLANATIONS.get(self.criterion.metric, "")).words.get(unit.name, ())
        return list(dict.fromkeys(one.word for one in words))

    def samples_of(self, unit: Unit) -> list[float]:
        return [sample for number in self.numbers_of(unit) for sample in number.samples]

    def tell_break(self, unit: Unit) -> tuple[str, bool]:
        """Why none of the launches that tell of a unit has told all, and whether another may; empty: one of them has.

        A check that broke off after some of its repeats is not one that was done.
        """
        absences = self.own.absences.get(unit.name)
        if not absences:
            return "", False
        telling = {one.block for one in self.numbers_of(unit)} | {one.block for one in self.words_of(unit)}
        broken = [one for one in absences if one.block in telling]
        if telling - {one.block for one in broken}:
            return "", False
        reasons = dict.fromkeys(one.reason for one in sorted(broken, key=lambda one: one.block))
        return "; ".join(reasons), len(telling) < LOOKS and not all(one.lasting for one in broken)

    def accept(
        self,
        unit: Unit,
        value: float | str,
        *,
        threshold: float | str,
        samples: int,
        low: float | None = None,
        high: float | None = None,
    ) -> Decision:
        """It passes. Built without validation, which costs most of the time and memory of a large fleet's verdict."""
        return Decision.model_construct(
            FIELDS,
            unit=unit.name,
            nodes=unit.nodes,
            outcome="pass",
            value=value,
            low=low,
            high=high,
            threshold=threshold,
            relative=self.criterion.of is not None,
            samples=samples,
            reason="",
            open=False,
        )

    def lack(self, unit: Unit, reason: str, *, helps: bool) -> Decision:
        """Nothing can be said of it. `helps`: to measure again may change that."""
        return Decision(
            unit=unit.name,
            nodes=unit.nodes,
            outcome="insufficient",
            reason=reason,
            open=helps and self.hopeful,
        )

    def lack_all(self, unit: Unit) -> Decision:
        """What is said of a unit without a number and without a word."""
        absences = self.own.absences.get(unit.name)
        if not absences:
            return self.lack(unit, NOTHING, helps=True)
        reasons = dict.fromkeys(absence.reason for absence in sorted(absences, key=lambda one: one.block))
        looks = len({absence.block for absence in absences})
        lasting = all(absence.lasting for absence in absences)
        return self.lack(unit, "; ".join(reasons), helps=not lasting and looks < LOOKS)
