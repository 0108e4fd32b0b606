"""What the records of an acceptance say, number by number: before it is held against anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.acceptance.metrics import Scope


@dataclass(frozen=True)
class Unit:
    """Whom a number is of. `model` is the processor's or GPU's name: only like is compared with like.

    `name` is 'all', 'node3', 'node3/GPU-8f1c…' or 'node1-node3'; `nodes` are the nodes concerned, by name.
    """

    scope: Scope
    name: str
    nodes: tuple[str, ...]
    model: str = ""


@dataclass(frozen=True)
class Observation:
    """A number as it was seen in one launch of one job, once for each repeat.

    `block` names that launch: what was measured at the same time shares the weather. `expected` is what a model
    expects of it, where there is one.
    """

    metric: str
    unit: Unit
    block: str
    samples: tuple[float, ...]
    expected: float | None = None


@dataclass(frozen=True)
class Trait:
    """A word, as it was seen in one launch of one job."""

    metric: str
    unit: Unit
    block: str
    word: str


@dataclass(frozen=True)
class Absence:
    """A number or word that could not be had of a unit, and why. Never a pass.

    `lasting`: to look again would not help, as where a tool is missing.
    """

    metric: str
    unit: Unit
    block: str
    reason: str
    lasting: bool = False


@dataclass(frozen=True)
class Evidence:
    """All that was seen of a fleet. `nodes` are those that are to be accepted, seen or not.

    `rehearsal` is why this is one machine in disguise; None: it is not.
    """

    nodes: tuple[str, ...]
    observations: Sequence[Observation]
    traits: Sequence[Trait]
    absences: Sequence[Absence]
    rehearsal: str | None = None
