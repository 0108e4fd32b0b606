"""Which prices hold for a run: those of a site file of today, or those that the run has recorded.

Today's hold where somebody named the file for it (--site), where file and run are of one site by name, and where the
run names neither its site nor a price: nobody's prices come silently onto somebody else's run.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from hpcdl.analysis.readings import derive
from hpcdl.prices import Assumption
from hpcdl.records import Missing, Reading
from hpcdl.site import UNNAMED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.analysis.job import RunResult
    from hpcdl.prices import Cost, Pricing
    from hpcdl.site import Site

Name = Literal[
    "electricity_per_kwh",
    "node_price",
    "lifetime_years",
    "utilisation",
    "pue",
    "carbon_kg_per_kwh",
    "nodes_per_rack",
]
# Those that the cost of an image rests on.
NAMES: tuple[Name, ...] = (
    "electricity_per_kwh",
    "node_price",
    "lifetime_years",
    "utilisation",
    "pue",
    "carbon_kg_per_kwh",
)
JOULES_PER_KWH = 3.6e6  # exactly: 1,000 W x 3,600 s
SECONDS_PER_YEAR = 365.25 * 86_400  # the Julian year
# How far an assumption is moved where nobody has said how far it may be off.
SWING = 0.2
# What no assumption can be: below the one, above the other.
LIMITS: dict[Name, tuple[float, float]] = {"utilisation": (0.0, 1.0), "pue": (1.0, 5.0)}


@dataclass(frozen=True)
class Tariff:
    """All assumptions that hold for some launches; None: not given.

    `node_price` is that of the launches' partition, or of any node. Amounts of money are in `currency`. `origin` says
    where the figures are from, `pue_origin` where the PUE is, and `passed_over` which prices of today do not hold, and
    why; two tariffs are equal where all their figures are.
    """

    currency: str | None = None
    electricity_per_kwh: Assumption | None = None
    node_price: Assumption | None = None
    lifetime_years: Assumption | None = None
    utilisation: Assumption | None = None
    pue: Assumption | None = None
    carbon_kg_per_kwh: Assumption | None = None
    nodes_per_rack: Assumption | None = None
    origin: str = field(default="", compare=False)
    pue_origin: str = field(default="", compare=False)
    passed_over: str = field(default="", compare=False)

    def read(self, name: Name) -> Reading:
        """The value of an assumption; missing, with what to do, where it is not given."""
        figure: Assumption | None = getattr(self, name)
        return Missing(missing=f"add {name} to [cost] in the site file") if figure is None else figure.value

    def known(self, names: Sequence[Name]) -> tuple[Name, ...]:
        """Those of these assumptions that are given."""
        return tuple(name for name in names if getattr(self, name) is not None)

    def origin_of(self, name: Name) -> str:
        """Where an assumption is from."""
        return self.pue_origin if name == "pue" else self.origin

    def read_pue(self, *, facility: bool) -> Reading:
        """What the building makes of a watt that is metered: the PUE where the boundary is the facility, else 1."""
        return self.read("pue") if facility else 1.0

    def at(self, name: Name, value: float) -> Tariff:
        """The same with another value of one assumption."""
        changes: dict[str, Any] = {name: Assumption(value=value)}
        return replace(self, **changes)

    @property
    def per_joule(self) -> Reading:
        """What a joule costs that is paid to the utility: the PUE is in the joules."""
        return derive(lambda price: price / JOULES_PER_KWH, self.read("electricity_per_kwh"))

    @property
    def per_node_second(self) -> Reading:
        """What a second of a node's work takes of its price: price / (lifetime x utilisation)."""
        return derive(
            lambda price, years, part: price / (years * SECONDS_PER_YEAR * part),
            self.read("node_price"),
            self.read("lifetime_years"),
            self.read("utilisation"),
        )


def choose_tariff(result: RunResult, pricing: Pricing | None) -> Tariff:
    """Today's prices where they hold for the run, else those recorded with it; its own partition's node price.

    Args:
        result: The run.
        pricing: Of a site file of today; see the head of this module for where it holds.
    """
    site = result.job.site
    recorded = f"recorded with run {result.run_id}"
    known = [(site.metered.pue, recorded)]
    if pricing is not None and is_priced_today(site, pricing):
        known.insert(0, (pricing.pue, pricing.source))
        return _make_tariff(pricing.cost, known, site.slurm.partition, pricing.source)
    tariff = _make_tariff(site.cost, known, site.slurm.partition, recorded)
    if pricing is None or not pricing.cost.given:
        return tariff
    return replace(tariff, passed_over=_tell_passed_over(result, pricing))


def choose_newest_tariff(results: Sequence[RunResult], pricing: Pricing | None) -> Tariff:
    """One tariff for several runs: that of the newest; it tells where the others have another."""
    newest, *others = sorted(results, key=lambda result: result.run_id, reverse=True)
    tariff = choose_tariff(newest, pricing)
    unlike = [one.run_id for one in others if choose_tariff(one, pricing) != tariff]
    if not unlike:
        return tariff
    told = f"all sizes are at the prices of run {newest.run_id}; those of {', '.join(unlike)} are others"
    return replace(tariff, passed_over="; ".join(filter(None, (tariff.passed_over, told))))


def is_priced_today(site: Site, pricing: Pricing) -> bool:
    """Whether prices of today hold for a run that has recorded this site; without a price in them they do not."""
    if not pricing.cost.given:
        return False
    if site.name == UNNAMED:
        # Two files without a name need not be of one site.
        return pricing.named or not site.cost.given
    return pricing.named or site.name == pricing.site


def is_priced(result: RunResult, pricing: Pricing | None) -> bool:
    """Whether anybody has given a price that holds for the run."""
    site = result.job.site
    return site.cost.given or (pricing is not None and is_priced_today(site, pricing))


def _tell_passed_over(result: RunResult, pricing: Pricing) -> str:
    """'the prices of site.toml are of juno, and run r is of vega: they do not hold for it'."""
    ours, theirs = (_name_site(name) for name in (pricing.site, result.job.site.name))
    return f"the prices of {pricing.source} are of {ours}, and run {result.run_id} is of {theirs}: they do not hold"


def _name_site(name: str) -> str:
    return "a site without a name" if name == UNNAMED else name


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
        nodes_per_rack=cost.nodes_per_rack,
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
