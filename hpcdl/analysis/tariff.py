"""Which prices hold for a run: those of today's site file where it is of that site, else those recorded with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.analysis.readings import derive
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from hpcdl.analysis.job import RunResult
    from hpcdl.prices import Assumption, Cost
    from hpcdl.site import Site

JOULES_PER_KWH = 3.6e6
# A year of 365.25 days.
SECONDS_PER_YEAR = 31_557_600.0
UNITS = {"lifetime_years": "years", "utilisation": "of the time", "nodes_per_rack": "nodes"}


@dataclass(frozen=True)
class Premise:
    """A figure that was taken as given: a key of [cost]. `origin` is where that stands."""

    name: str
    figure: Assumption
    unit: str
    origin: str


@dataclass(frozen=True)
class Tariff:
    """The prices of one run's nodes, and where they stand."""

    cost: Cost
    partition: str | None
    origin: str

    @property
    def currency(self) -> str:
        return self.cost.currency or ""

    @property
    def node_price(self) -> Assumption | None:
        return self.cost.price_of(self.partition)

    def list_premises(self, *names: str) -> tuple[Premise, ...]:
        """Of these keys of [cost] the ones that are known; the price of a node is that of the partition."""
        figures = {
            name: self.node_price if name == "node_price" else getattr(self.cost, name) for name in names
        }
        units = {"node_price": self.currency, "electricity_per_kwh": f"{self.currency}/kWh"} | UNITS
        return tuple(
            Premise(name, figure, units[name], self.origin)
            for name, figure in figures.items()
            if figure is not None
        )

    @property
    def per_node(self) -> Reading:
        """What one node costs to buy."""
        return _read("node_price", self.node_price)

    @property
    def per_joule(self) -> Reading:
        """What a joule costs."""
        return derive(
            lambda price: price / JOULES_PER_KWH, _read("electricity_per_kwh", self.cost.electricity_per_kwh)
        )

    @property
    def per_node_second(self) -> Reading:
        """What a second of a node's working life takes of its price: price / (lifetime x utilisation)."""
        return derive(
            lambda price, years, utilisation: price / (years * SECONDS_PER_YEAR * utilisation),
            self.per_node,
            _read("lifetime_years", self.cost.lifetime_years),
            _read("utilisation", self.cost.utilisation),
        )

    @property
    def nodes_per_rack(self) -> Reading:
        return _read("nodes_per_rack", self.cost.nodes_per_rack)


def _read(name: str, figure: Assumption | None) -> Reading:
    if figure is None:
        return Missing(missing=f"{name} is not known: add it to [cost] in the site file")
    return figure.value


def choose_tariff(run: RunResult, today: Site) -> Tariff:
    """The prices of a run's nodes.

    Args:
        run: Names its site and its partition.
        today: The site file as it is now. It counts where it has a table [cost] and is of the run's own site: another
            site's prices are not this one's.
    """
    recorded = run.job.site
    partition = recorded.slurm.partition
    if today.cost.model_fields_set and today.name == recorded.name:
        return Tariff(today.cost, partition, "site file of today")
    return Tariff(recorded.cost, partition, f"recorded with run {run.run_id}")
