"""How much of one system does another's work: nodes, racks, watts, money; of measured and published ones alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.analysis.readings import derive
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from hpcdl.analysis.tariffs import Tariff
    from hpcdl.estimates.intervals import Interval
    from hpcdl.references import Reference, System

AS_PUBLISHED = "as published"
NOT_TOLD = Missing(missing="the document does not give it")


@dataclass(frozen=True)
class NodeCount:
    """How many nodes it takes. `low` and `high` are the fewest that may do and the fewest that surely do."""

    nodes: Reading
    low: int | None = None
    high: int | None = None

    @property
    def open_ended(self) -> bool:
        """Whether so many may do, and nobody can say how many surely do."""
        return self.low is not None and self.high is None


@dataclass(frozen=True)
class Side:
    """One system doing the work.

    `basis` is how its nodes were found: 'measured', 'model', 'copies', 'as published'; `mark` qualifies its numbers.
    `processors` is what they hold, in words. `images_per_s` is what that many nodes do. `power_w` is of all of them at
    `boundary`, and `metered` tells by what; `power_mark` qualifies it, and `power_interval` is what its meters leave
    open. `assumptions` are what was taken for granted, and `tariff` the prices: None where the document gives a price
    itself.
    """

    name: str
    title: str
    basis: str
    source: str
    amount: NodeCount
    processors: str
    images_per_s: Reading
    interval: Interval | None
    racks: Reading
    power_w: Reading
    boundary: str
    metered: str
    price: Reading
    currency: str
    mark: str = ""
    power_mark: str = ""
    power_interval: Interval | None = None
    assumptions: tuple[str, ...] = ()
    tariff: Tariff | None = None


@dataclass(frozen=True)
class Equivalence:
    """Two systems that do the same work. `claim` is why that is believed. Ratios are the first over the second."""

    first: Side
    second: Side
    claim: str
    differences: tuple[str, ...] = ()
    rehearsal: str | None = None

    @property
    def nodes_ratio(self) -> Reading:
        return derive(_divide, self.first.amount.nodes, self.second.amount.nodes)

    @property
    def power_ratio(self) -> Reading:
        """Watts of what lies inside one boundary over watts of what lies inside the same."""
        one, other = self.first.boundary, self.second.boundary
        if one != other:
            return Missing(missing=f"the boundaries differ: {one} against {other}")
        return derive(_divide, self.first.power_w, self.second.power_w)

    @property
    def price_ratio(self) -> Reading:
        one, other = self.first.currency, self.second.currency
        if one != other and one and other:
            return Missing(missing=f"the currencies differ: {one} against {other}")
        return derive(_divide, self.first.price, self.second.price)

    @property
    def assumptions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.first.assumptions, *self.second.assumptions)))


def _divide(one: float, other: float) -> float:
    return one / other


def describe_system(reference: Reference, system: System) -> Side:
    """A published system as its document has it: nothing of it was measured."""
    counts = ((system.cpus, "CPUs"), (system.gpus, f"{system.gpu} GPUs".strip()), (system.cores, "cores"))
    return Side(
        name=system.name,
        title=system.title,
        basis=AS_PUBLISHED,
        source=reference.source.text,
        amount=NodeCount(NOT_TOLD if system.servers is None else system.servers),
        processors=", ".join(f"{number:,} {what}" for number, what in counts if number is not None),
        images_per_s=NOT_TOLD,
        interval=None,
        racks=NOT_TOLD,
        power_w=NOT_TOLD if system.power_w is None else system.power_w,
        boundary=AS_PUBLISHED,
        metered=f"{AS_PUBLISHED}; what is inside is not told",
        price=NOT_TOLD if system.price is None else system.price,
        currency=system.currency or "",
        mark=AS_PUBLISHED,
        power_mark=AS_PUBLISHED,
        assumptions=(
            f"the document's own figures, nobody measured them here; it leaves out {reference.conditions.leaves_out}",
        ),
    )


def compare_systems(one: tuple[Reference, System], other: tuple[Reference, System]) -> Equivalence | Missing:
    """Two published systems; Missing where no document says that they do the same work."""
    if one[0].name != other[0].name or not one[0].same_work:
        return Missing(
            missing=f"no document says that {one[1].title} and {other[1].title} do the same work, and none gives "
            "their throughput"
        )
    return Equivalence(describe_system(*one), describe_system(*other), one[0].same_work)
