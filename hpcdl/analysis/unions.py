"""Configurations that differ in nothing but their prices, as one: throughput and energy do not hang on prices."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hpcdl.analysis.amounts import from_estimate
from hpcdl.analysis.repeats import combine, why_absent
from hpcdl.analysis.tariffs import NAMES, Name
from hpcdl.records import Missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.configurations import Configuration
    from hpcdl.analysis.question import Question
    from hpcdl.analysis.tariffs import Tariff

# What the total of a million images needs; the PUE decides on the boundary, and CO2 costs nothing.
MONEY: tuple[Name, ...] = ("electricity_per_kwh", "node_price", "lifetime_years", "utilisation")


@dataclass(frozen=True, eq=False)
class Union:
    """All launches of one question at one size, as one configuration, whose tariff is what all of them share.

    `unpriced` is why they have no one cost; None: their prices are the same.
    """

    configuration: Configuration
    unpriced: Missing | None


def unite(configurations: Sequence[Configuration]) -> tuple[Union, ...]:
    """One for each question and size, in the order given; 'A+C' is what A and C become."""
    sizes: dict[tuple[Question, int, int], list[Configuration]] = {}
    for one in configurations:
        sizes.setdefault((one.question, one.nodes, one.ranks), []).append(one)
    return tuple(_join(alike) for alike in sizes.values())


def _join(alike: Sequence[Configuration]) -> Union:
    if len(alike) == 1:
        return Union(alike[0], None)
    launches = tuple(launch for one in alike for launch in one.launches)
    tariffs = [one.tariff for one in alike]
    joined = replace(
        alike[0],
        letter="+".join(one.letter for one in alike),
        launches=launches,
        rate=from_estimate(combine([one.interval for one in launches]) or why_absent(launches)),
        tariff=_share(tariffs),
        withheld=next((one.withheld for one in alike if one.withheld), None),
    )
    return Union(joined, _tell_apart(tariffs))


def _share(tariffs: Sequence[Tariff]) -> Tariff:
    """What all say alike; the rest is not given."""
    unlike: dict[str, Any] = dict.fromkeys(name for name in NAMES if len(_list_values(tariffs, name)) > 1)
    if len({one.currency for one in tariffs}) > 1:
        unlike["currency"] = None
    return replace(tariffs[0], **unlike)


def _list_values(tariffs: Sequence[Tariff], name: Name) -> list[float | None]:
    """The different values, None where it is not given; date and source of a figure move no number."""
    figures = [getattr(one, name) for one in tariffs]
    return list(dict.fromkeys(None if figure is None else figure.value for figure in figures))


def _tell_apart(tariffs: Sequence[Tariff]) -> Missing | None:
    """'its launches have no one node_price (100000 and 120000)'."""
    told = [
        f"{name} ({' and '.join(sorted('not given' if one is None else f'{one:,g}' for one in values))})"
        for name in MONEY
        if len(values := _list_values(tariffs, name)) > 1
    ]
    currencies = sorted({one.currency or "not given" for one in tariffs})
    told += [f"currency ({' and '.join(currencies)})"] * (len(currencies) > 1)
    if not told:
        return None
    return Missing(
        missing=f"its launches have no one {', '.join(told)}: report them apart, or give one [cost] with --site"
    )
