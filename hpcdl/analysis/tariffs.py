"""Which prices hold for a run: those of a site file of today, or those that the run has recorded."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from hpcdl.prices import Assumption
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.analysis.job import RunResult
    from hpcdl.prices import Cost, Pricing

Name = Literal[
    "electricity_per_kwh", "node_price", "lifetime_years", "utilisation", "pue", "carbon_kg_per_kwh"
]
NAMES: tuple[Name, ...] = (
    "electricity_per_kwh",
    "node_price",
    "lifetime_years",
    "utilisation",
    "pue",
    "carbon_kg_per_kwh",
)
# How far an assumption is moved where nobody has said how far it may be off.
SWING = 0.2
# What no assumption can be: below the one, above the other.
LIMITS: dict[Name, tuple[float, float]] = {"utilisation": (0.0, 1.0), "pue": (1.0, 5.0)}


@dataclass(frozen=True)
class Tariff:
    """All assumptions that hold for some launches; None: not given.

    `node_price` is that of the launches' partition, or of any node. Amounts of money are in `currency`. `origin` says
    where the figures are from, `pue_origin` where the PUE is; two tariffs are equal where all their figures are.
    """

    currency: str | None = None
    electricity_per_kwh: Assumption | None = None
    node_price: Assumption | None = None
    lifetime_years: Assumption | None = None
    utilisation: Assumption | None = None
    pue: Assumption | None = None
    carbon_kg_per_kwh: Assumption | None = None
    origin: str = field(default="", compare=False)
    pue_origin: str = field(default="", compare=False)

    def read(self, name: Name) -> Reading:
        """The value of an assumption; missing, with what to do, where it is not given."""
        figure: Assumption | None = getattr(self, name)
        return Missing(missing=f"add {name} to [cost] in the site file") if figure is None else figure.value

    def origin_of(self, name: Name) -> str:
        """Where an assumption is from."""
        return self.pue_origin if name == "pue" else self.origin

    def at(self, name: Name, value: float) -> Tariff:
        """The same with another value of one assumption."""
        changes: dict[str, Any] = {name: Assumption(value=value)}
        return replace(self, **changes)


def choose_tariff(result: RunResult, pricing: Pricing | None) -> Tariff:
    """Today's prices where there are some, else those recorded with the run; its own partition's node price.

    Args:
        result: The run.
        pricing: Of a site file of today; without prices in it, it does not count.
    """
    site = result.job.site
    recorded = f"recorded with run {result.run_id}"
    known = [(site.metered.pue, recorded)]
    if pricing is not None and pricing.cost.given:
        known.insert(0, (pricing.pue, pricing.source))
        return _make_tariff(pricing.cost, known, site.slurm.partition, pricing.source)
    return _make_tariff(site.cost, known, site.slurm.partition, recorded)


def _make_tariff(
    cost: Cost, pues: Sequence[tuple[float | None, str]], partition: str | None, origin: str
) -> Tariff:
    """The PUE is that of the prices, else the first that is known of tables of power, each with where it is from."""
    pue, pue_origin = next(((value, where) for value, where in pues if value is not None), (None, ""))
    return Tariff(
        currency=cost.currency,
        electricity_per_kwh=cost.electricity_per_kwh,
        node_price=cost.price_of(partition),
        lifetime_years=cost.lifetime_years,
        utilisation=cost.utilisation,
        pue=cost.pue or (None if pue is None else Assumption(value=pue)),
        carbon_kg_per_kwh=cost.carbon_kg_per_kwh,
        origin=origin,
        pue_origin=origin if cost.pue else pue_origin,
    )


@dataclass(frozen=True)
class Range:
    """The two ends of an assumption; where nobody gave one, it is SWING away from the value, and `guessed` says so."""

    name: Name
    low: float
    high: float
    low_guessed: bool
    high_guessed: bool


def list_ranges(tariff: Tariff) -> Iterator[Range]:
    """How far each assumption that is given may be off."""
    for name in NAMES:
        figure: Assumption | None = getattr(tariff, name)
        if figure is not None:
            least, most = LIMITS.get(name, (0.0, float("inf")))
            yield Range(
                name,
                max(least, (1 - SWING) * figure.value) if figure.low is None else figure.low,
                min(most, (1 + SWING) * figure.value) if figure.high is None else figure.high,
                figure.low is None,
                figure.high is None,
            )
