"""Cost of images: capital and electricity, kWh and kg of CO2 equivalents, per million images of each configuration.

With X images/s on n nodes, E J/image at the boundary (before the PUE), I watts idle, and the assumptions node price,
lifetime, utilisation u, electricity price per kWh, PUE, and kg CO2e per kWh, a million images cost:

    capital      1e6 / X * n * node price / (lifetime * u)
    electricity  1e6 * E / 3.6e6 * electricity price                       what the computers draw at work
    overhead     electricity * (PUE - 1)                                   at the boundary 'facility' only
    idle         1e6 / X * I * PUE * (1 - u) / u / 3.6e6 * electricity price

A node that works the part u of its life is paid for, and draws its idle power, in the rest of it too: for each second
of work there are (1 - u) / u seconds of idleness. Straight-line depreciation without interest, residual value,
maintenance or staff: what these add belongs into the node price.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.analysis.amounts import Amount, add, invert, multiply, withhold
from hpcdl.analysis.common_ground import Contender, choose_boundary, find_whole
from hpcdl.analysis.configurations import Configuration, gather_configurations
from hpcdl.analysis.energy_scaling import combine_figures
from hpcdl.analysis.readings import average, derive, is_absent
from hpcdl.analysis.tariffs import JOULES_PER_KWH
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.boundaries import Boundary
    from hpcdl.analysis.energy import Figure
    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.tariffs import Tariff
    from hpcdl.prices import Pricing

IMAGES = 1e6


@dataclass(frozen=True)
class Use:
    """What a configuration takes to do its work, before any price.

    `rate` is in images/s, `joules` J/image before the PUE, `idle_w` in W of all nodes together. `facility`: the PUE
    belongs to it.
    """

    nodes: int
    rate: Amount
    joules: Amount
    idle_w: Reading
    facility: bool


@dataclass(frozen=True)
class Parts:
    """What a million images cost, in the tariff's currency, and in kWh and kg of CO2 equivalents.

    `electricity` is that of the computers at work, `overhead` what the PUE adds to it, `idle` that of the time in
    which nobody works. `total`, `energy_kwh` and `carbon_kg` are without idle power where that is not known.
    """

    capital: Amount
    electricity: Amount
    overhead: Amount
    idle: Amount
    idle_kwh: Amount
    total: Amount
    energy_kwh: Amount
    carbon_kg: Amount


@dataclass(frozen=True, eq=False)
class Costs:
    """One configuration with its cost.

    `power_w` is its mean power, `joules` J/image, `images_per_j` the inverse, all with the PUE where the boundary is
    the facility. `figures` are those of its energy: one for each launch that has one.
    """

    configuration: Configuration
    use: Use
    power_w: Reading
    joules: Amount
    images_per_j: Amount
    figures: tuple[Figure, ...]
    parts: Parts

    @property
    def tariff(self) -> Tariff:
        return self.configuration.tariff

    @property
    def estimated(self) -> bool:
        """Whether any of its energy follows from a specification: then so does its money."""
        return any(figure.estimated for figure in self.figures)

    @property
    def idle_known(self) -> bool:
        return not is_absent(self.parts.idle_kwh.value)

    @property
    def left_out(self) -> tuple[str, ...]:
        """What the total does not hold, in words."""
        uncovered = dict.fromkeys(figure.uncovered for figure in self.figures if figure.uncovered)
        idle = () if self.idle_known else ("idle power",)
        cooling = () if self.use.facility else ("what the building adds (PUE)",)
        return (*idle, *cooling, *uncovered) if self.figures else ()


@dataclass(frozen=True)
class CostStudy:
    """All configurations at one boundary; Missing where they have none that may be compared."""

    boundary: Boundary | Missing
    costs: tuple[Costs, ...]


def study_costs(
    results: Sequence[RunResult], pricing: Pricing | None = None, *, boundary: str | None = None
) -> CostStudy:
    """What a million images cost in each configuration of these runs.

    Args:
        results: The runs.
        pricing: Today's prices; without any, those that each run has recorded.
        boundary: Of the energy, where one is asked for by name; else the widest that all have alike.

    Raises:
        UnknownName: There is no such boundary.
        Mistake: The boundary asked for is not there for all.
    """
    return price_all(gather_configurations(results, pricing), boundary)


def price_all(configurations: Sequence[Configuration], boundary: str | None = None) -> CostStudy:
    """The same for configurations that are at hand; some of them may have a wider boundary in common than all.

    Raises:
        UnknownName: There is no such boundary.
        Mistake: The boundary asked for is not there for all.
    """
    contenders = [
        Contender(one.letter, one.launches, has_pue=one.tariff.pue is not None) for one in configurations
    ]
    chosen = choose_boundary(contenders, boundary)
    return CostStudy(chosen, tuple(price(one, chosen) for one in configurations))


def price(configuration: Configuration, boundary: Boundary | Missing) -> Costs:
    """One configuration, its energy taken at a boundary."""
    found = boundary if isinstance(boundary, Missing) else find_whole(configuration.launches, boundary)
    absent, whole = (found, []) if isinstance(found, Missing) else (None, found)
    facility = boundary == "facility"
    use = Use(
        nodes=configuration.nodes,
        rate=configuration.rate,
        joules=combine_figures(whole) if absent is None else Amount(absent),
        idle_w=absent or average([figure.idle_w for figure in whole]),
        facility=facility,
    )
    power_w = absent or average([figure.average_w for figure in whole])
    pue = configuration.tariff.read_pue(facility=facility)
    joules = multiply(use.joules, pue)
    return Costs(
        configuration=configuration,
        use=use,
        power_w=derive(lambda watts, factor: watts * factor, power_w, pue),
        joules=joules,
        images_per_j=invert(joules, 1.0),
        figures=tuple(whole),
        parts=split(use, configuration.tariff, withheld=configuration.withheld),
    )


def split(use: Use, tariff: Tariff, *, withheld: str | None = None) -> Parts:
    """The cost of a million images and its parts; see the head of this module for the formulas.

    Args:
        use: What the work takes.
        tariff: The assumptions; a part that needs one that is not given is missing, with what to do.
        withheld: Why this number of nodes is not to be priced; then capital and total are not published.
    """
    electricity_per_kwh = tariff.read("electricity_per_kwh")
    pue = tariff.read_pue(facility=use.facility)
    working_kwh = multiply(use.joules, IMAGES / JOULES_PER_KWH)
    idle_kwh = _measure_idle(use, tariff, pue)
    capital = withhold(_depreciate(use, tariff), withheld)
    electricity = multiply(working_kwh, electricity_per_kwh)
    overhead = multiply(electricity, derive(lambda factor: factor - 1, pue))
    idle = multiply(idle_kwh, electricity_per_kwh)
    known_idle = not is_absent(idle_kwh.value)
    energy_kwh = add([multiply(working_kwh, pue), *[idle_kwh] * known_idle])
    return Parts(
        capital=capital,
        electricity=electricity,
        overhead=overhead,
        idle=idle,
        idle_kwh=idle_kwh,
        total=add([capital, electricity, overhead, *[idle] * known_idle]),
        energy_kwh=energy_kwh,
        carbon_kg=multiply(energy_kwh, tariff.read("carbon_kg_per_kwh")),
    )


def _depreciate(use: Use, tariff: Tariff) -> Amount:
    """Node price x nodes / (lifetime x utilisation) for each second of work, times the seconds of a million images."""
    per_second = derive(lambda each: use.nodes * each, tariff.per_node_second)
    return multiply(invert(use.rate, IMAGES), per_second)


def _measure_idle(use: Use, tariff: Tariff, pue: Reading) -> Amount:
    """What is drawn idle, in kWh, for each million images: none where the nodes always work."""
    utilisation = tariff.read("utilisation")
    if utilisation == 1:
        return Amount(0.0)
    idle_kw = derive(
        lambda watts, part, factor: watts * factor * (1 - part) / part / JOULES_PER_KWH,
        use.idle_w,
        utilisation,
        pue,
    )
    return multiply(invert(use.rate, IMAGES), idle_kw)
