"""CPU against GPU: the same network, data, number type and batch policy on both, and what each side takes for it.

A ratio is that of what was counted: one socket against eight GPUs says something about one socket and eight GPUs. So
each comparison holds the ratio as it is, by node, by device (a socket, a GPU) and by joule, and an audit of the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Literal

from hpcdl.analysis.accuracy import reach_accuracy
from hpcdl.analysis.amounts import Amount, divide, multiply, withhold
from hpcdl.analysis.configurations import gather_configurations
from hpcdl.analysis.cost import price_all
from hpcdl.analysis.counted import Counted, count_hardware
from hpcdl.analysis.cpu_audit import Answer, audit, choose_measured
from hpcdl.analysis.readings import derive
from hpcdl.analysis.unions import Union, unite
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.analysis.boundaries import Boundary
    from hpcdl.analysis.cost import Costs
    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.question import Question
    from hpcdl.prices import Pricing

Measure = Literal[
    "images_per_s",
    "images_per_s_per_node",
    "images_per_s_per_device",
    "average_w",
    "images_per_j",
    "total_per_million",
    "time_to_accuracy_s",
    "energy_to_accuracy_j",
]
# What must be equal on both sides, in the order in which a difference is told.
_ALIKE = (
    "network",
    "data",
    "data folder",
    "feed",
    "augmentation",
    "dropout",
    "number type",
    "exchange",
    "scaling",
)


@dataclass(frozen=True, eq=False)
class Side:
    """One configuration, and what it takes to reach the accuracy that was asked for.

    `counted` is of its first launch, and `devices` of all; Missing where they are not the same. `total` is of a million
    images; Missing where its launches were under different prices.
    """

    costs: Costs
    counted: Counted
    devices: Reading
    total: Amount
    time_s: Amount
    energy_j: Amount


@dataclass(frozen=True)
class Line:
    """One measure of both sides; `ratio` is GPU over CPU."""

    measure: Measure
    cpu: Amount
    gpu: Amount
    ratio: Amount


@dataclass(frozen=True, eq=False)
class Pairing:
    """A CPU side and a GPU side, their measures, and the audit of the CPU side.

    `sizes` are the numbers of nodes that each side was measured on, `ranks` those of ranks on the nodes that are
    compared, of which the most are. `boundary` is that of the energy on both sides.
    """

    cpu: Side
    gpu: Side
    boundary: Boundary | Missing
    lines: tuple[Line, ...]
    audit: tuple[Answer, ...]
    sizes: tuple[tuple[int, ...], tuple[int, ...]]
    ranks: tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Confrontation:
    """All pairings, and why sides that trained the same network are not paired."""

    pairings: tuple[Pairing, ...]
    refusals: tuple[str, ...]


def confront(
    results: Sequence[RunResult],
    pricing: Pricing | None = None,
    *,
    boundary: str | None = None,
    accuracy: float | None = None,
) -> Confrontation:
    """Every CPU side against every GPU side that trained the same.

    Launches that differ in nothing but their prices are one side, whose cost is missing. Of several sizes the smallest
    number of nodes that both sides have is taken, with the most ranks; where they have none in common, each side's
    smallest.

    Args:
        results: The runs.
        pricing: Today's prices; without any, those that each run has recorded.
        boundary: Of the energy, where one is asked for by name.
        accuracy: A fraction that both sides are to have reached, for time and energy to it.

    Raises:
        UnknownName: There is no such boundary.
        Mistake: The boundary asked for is not there on both sides.
    """
    cpus, gpus = (_group(results, pricing, device) for device in ("cpu", "gpu"))
    pairings, refusals = [], []
    for (question, cpu), (other, gpu) in product(cpus.items(), gpus.items()):
        keys = _read_key(question, cpu), _read_key(other, gpu)
        if keys[0] == keys[1]:
            pairings.append(_pair(cpu, gpu, boundary, accuracy))
        elif keys[0][0] == keys[1][0]:
            refusals.append(_tell_difference(question.work.model, *keys))
    return Confrontation(tuple(pairings), tuple(dict.fromkeys(refusals)))


def _group(results: Sequence[RunResult], pricing: Pricing | None, device: str) -> dict[Question, list[Union]]:
    groups: dict[Question, list[Union]] = {}
    for one in unite(gather_configurations(results, pricing)):
        if one.configuration.device == device:
            groups.setdefault(one.configuration.question, []).append(one)
    return groups


def _read_key(question: Question, side: Sequence[Union]) -> tuple[object, ...]:
    work = question.work
    return (*side[0].configuration.subject, work.dtype, work.exchange, question.batch.mode)


def _tell_difference(model: str, cpu: tuple[object, ...], gpu: tuple[object, ...]) -> str:
    """'AlexNet: number type: fp32 on the CPU, bf16 on the GPU'."""
    named = zip(_ALIKE, cpu, gpu, strict=True)
    told = [f"{name}: {one} on the CPU, {other} on the GPU" for name, one, other in named if one != other]
    return f"{model} is not compared: {'; '.join(told)}"


def _pair(
    cpus: Sequence[Union], gpus: Sequence[Union], boundary: str | None, accuracy: float | None
) -> Pairing:
    sizes = _list_nodes(cpus), _list_nodes(gpus)
    common = set(sizes[0]) & set(sizes[1])
    sides = [
        [one for one in side if one.configuration.nodes == min(common or nodes)]
        for side, nodes in zip((cpus, gpus), sizes, strict=True)
    ]
    chosen = [max(side, key=lambda one: one.configuration.ranks) for side in sides]
    study = price_all([one.configuration for one in chosen], boundary)
    cpu, gpu = (_make_side(*one, accuracy) for one in zip(study.costs, chosen, strict=True))
    return Pairing(
        cpu=cpu,
        gpu=gpu,
        boundary=study.boundary,
        lines=tuple(_compare(cpu, gpu)),
        audit=audit(chosen[0].configuration, chosen[1].configuration),
        sizes=sizes,
        ranks=(_list_ranks(sides[0]), _list_ranks(sides[1])),
    )


def _list_nodes(side: Sequence[Union]) -> tuple[int, ...]:
    return tuple(sorted({one.configuration.nodes for one in side}))


def _list_ranks(side: Sequence[Union]) -> tuple[int, ...]:
    return tuple(sorted(one.configuration.ranks for one in side))


def _make_side(costs: Costs, union: Union, accuracy: float | None) -> Side:
    time_s, energy_j = reach_accuracy(costs, accuracy)
    launches = choose_measured(costs.configuration)
    counts = list(dict.fromkeys(count_hardware(launch) for launch in launches))
    devices = counts[0].devices
    if len({count.devices for count in counts}) > 1:
        told = sorted({count.words for count in counts})
        devices = Missing(missing=f"its launches were not on the same: {'; '.join(told)}")
    total = costs.parts.total if union.unpriced is None else Amount(union.unpriced)
    return Side(costs, counts[0], devices, total, time_s, energy_j)


def _compare(cpu: Side, gpu: Side) -> Iterator[Line]:
    reason = cpu.costs.configuration.withheld or gpu.costs.configuration.withheld
    measures = zip(_list_measures(cpu), _list_measures(gpu), strict=True)
    for (measure, one), (_, other) in measures:
        yield Line(measure, one, other, withhold(_divide(measure, cpu, gpu, one, other), reason))


def _divide(measure: Measure, cpu: Side, gpu: Side, one: Amount, other: Amount) -> Amount:
    currencies = (cpu.costs.tariff.currency, gpu.costs.tariff.currency)
    if measure == "total_per_million" and currencies[0] != currencies[1] and None not in currencies:
        return Amount(Missing(missing=f"{currencies[0]} and {currencies[1]} are not converted"))
    return divide(other, one)


def _list_measures(side: Side) -> Iterator[tuple[Measure, Amount]]:
    costs = side.costs
    rate, withheld = costs.configuration.rate, costs.configuration.withheld
    yield "images_per_s", rate
    # Where nobody knows how many nodes have worked, neither does anybody know what one of them does.
    yield "images_per_s_per_node", withhold(multiply(rate, 1 / side.counted.nodes), withheld)
    per_device = multiply(rate, derive(lambda count: 1 / count, side.devices))
    yield "images_per_s_per_device", withhold(per_device, withheld)
    yield "average_w", Amount(costs.power_w)
    yield "images_per_j", costs.images_per_j
    yield "total_per_million", side.total
    yield "time_to_accuracy_s", side.time_s
    yield "energy_to_accuracy_j", side.energy_j
