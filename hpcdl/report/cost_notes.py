"""What to know before trusting a cost: what is missing and how to get it, what is estimated, what is not priced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.analysis.energy import EnergyResult
from hpcdl.records import Missing
from hpcdl.report.assumptions import note_assumptions, place_cost
from hpcdl.report.content import Note

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.analysis.cost import Costs, CostStudy
    from hpcdl.report.assumptions import Labelled


def note_costs(study: CostStudy) -> Iterator[Note]:
    """The notes of a cost chapter, what withholds numbers first."""
    yield from _note_withheld(study.costs)
    yield from _note_energy(study)
    yield from note_assumptions(label_tariffs(study.costs))
    estimated = [one.configuration.letter for one in study.costs if one.estimated]
    if estimated:
        yield Note(
            "warning",
            f"{place_cost(estimated, study.costs)}: energy is ESTIMATED, and so are the money, kWh and CO2 equivalents "
            "that follow from it",
        )


def label_tariffs(costs: Sequence[Costs]) -> list[Labelled]:
    """The tariff of each configuration, by its letter."""
    return [(one.configuration.letter, one.tariff) for one in costs]


def _note_withheld(costs: Sequence[Costs]) -> Iterator[Note]:
    reasons: dict[str, list[str]] = {}
    for one in costs:
        if one.configuration.withheld:
            reasons.setdefault(one.configuration.withheld, []).append(one.configuration.letter)
    for reason, letters in reasons.items():
        yield Note(
            "rehearsal" if _is_rehearsal(costs, letters) else "warning",
            f"{place_cost(letters, costs)}: capital and total withheld (--force shows them): {reason}",
        )


def _is_rehearsal(costs: Sequence[Costs], letters: Sequence[str]) -> bool:
    chosen = [one.configuration for one in costs if one.configuration.letter in letters]
    return any(launch.rehearsal for configuration in chosen for launch in configuration.launches)


def _note_energy(study: CostStudy) -> Iterator[Note]:
    """Who has no energy, why, and how to get it; and why those who have some share no boundary."""
    absent: dict[str, list[str]] = {}
    for one in study.costs:
        launches = one.configuration.launches
        if not any(isinstance(launch.energy, EnergyResult) for launch in launches):
            lack = next(launch.energy for launch in launches if isinstance(launch.energy, Missing))
            absent.setdefault(lack.missing, []).append(one.configuration.letter)
    for reason, letters in absent.items():
        yield Note(
            "warning",
            f"{place_cost(letters, study.costs)}: no energy, and so neither electricity nor a total: {reason}. hpcdl "
            "samples power beside every training unless --no-power is given; `hpcdl power sensors` says what can be "
            "metered",
        )
    if isinstance(study.boundary, Missing) and sum(map(len, absent.values())) < len(study.costs):
        yield Note("warning", f"cost: no electricity is compared: {study.boundary.missing}")
