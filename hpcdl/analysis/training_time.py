"""How long a training takes at each size, and what: hours, energy, money; as measured, else by the fitted law."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hpcdl import networks
from hpcdl.analysis.draws import choose_boundary, find_nearest, measure_draws
from hpcdl.analysis.readings import derive
from hpcdl.analysis.sweep import read_point, require_boundary
from hpcdl.errors import Mistake
from hpcdl.estimates.intervals import Interval, invert, ratio, scale
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcdl.analysis.boundaries import Boundary
    from hpcdl.analysis.draws import Draw, Size
    from hpcdl.analysis.sweep import Spot, Sweep
    from hpcdl.analysis.tariff import Premise, Tariff

SECONDS_PER_DAY = 86_400.0
# How far beyond the largest size measured is looked, where nobody asks for sizes: each as far as is published at most.
BEYOND = (2, 4, 8)
ASSUMED = (
    "the rate stays what it was over the steady steps that were measured, from the first image to the last",
    "no checkpoints, no validation, no failures, no waiting in a queue",
    "whether the network has learnt enough by then is not considered: a larger global batch may need more epochs",
)
PRICED = ("electricity_per_kwh", "node_price", "lifetime_years", "utilisation")
Answer = Literal["yes", "perhaps", "no"]


@dataclass(frozen=True)
class Work:
    """What a person wants trained: the images of one epoch and how often each is seen, or all of its arithmetic.

    `flop` counts as the layer tables do (`Network.train_flops`): forward and both gradients, 2 to a MAC.
    """

    images: float | None = None
    epochs: float = 1.0
    flop: float | None = None


@dataclass(frozen=True)
class Goal:
    """How many images go through the network, each as often as it is seen; `how` tells in words where that is from."""

    images: float
    how: str
    deadline_s: float | None = None


@dataclass(frozen=True)
class Bounded:
    """A reading, and its 95 % interval where it has one."""

    value: Reading
    interval: Interval | None = None

    def times(self, factor: Reading) -> Bounded:
        """Times something that is taken as given, and not below zero."""
        value = derive(lambda own, other: own * other, self.value, factor)
        if self.interval is None or isinstance(value, Missing) or isinstance(factor, Missing):
            return Bounded(value)
        return Bounded(value, scale(self.interval, factor))

    def plus(self, other: Bounded) -> Bounded:
        """The sum of two that rest on one measurement: their ends add up."""
        value = derive(lambda own, more: own + more, self.value, other.value)
        one, two = self.interval, other.interval
        if one is None or two is None or isinstance(value, Missing):
            return Bounded(value)
        count, effective = min(one.count, two.count), min(one.effective, two.effective)
        return Bounded(value, Interval(value, one.low + two.low, one.high + two.high, count, effective))


@dataclass(frozen=True)
class Energy:
    """Of all nodes over the whole training; `mark` says where it was not measured so."""

    joules: Bounded
    mark: str = ""
    assumption: str = ""


@dataclass(frozen=True)
class TrainingTime:
    """One size. `meets` tells whether it ends by the deadline: 'perhaps' where its interval lies across it.

    `device_days` are those of GPUs where there are some, else of cores. `capital` is what the time takes of the nodes'
    price.
    """

    spot: Spot
    seconds: Bounded
    meets: Answer | None
    node_days: Bounded
    device_days: Bounded
    energy: Energy
    electricity: Bounded
    capital: Bounded

    @property
    def cost(self) -> Bounded:
        """Electricity and capital together."""
        return self.electricity.plus(self.capital)


@dataclass(frozen=True)
class TrainingEstimate:
    """One question at all its sizes. `smallest` is the fewest nodes by the deadline.

    `surely` is the smallest of the sizes shown whose whole interval is. `devices` is what `device_days` count.
    """

    sweep: Sweep
    goal: Goal
    boundary: Boundary | Missing
    times: tuple[TrainingTime, ...]
    smallest: Reading | None
    surely: int | None
    devices: Literal["GPU", "core"]
    currency: str
    premises: tuple[Premise, ...]
    assumptions: tuple[str, ...]


def count_images(model: str, work: Work) -> tuple[float, str]:
    """How many images of a network a training takes, and that in words.

    Raises:
        UnknownName: There is no such network.
        Mistake: Neither images nor arithmetic is given.
    """
    if work.flop is not None:
        flops = networks.find(model).train_flops
        total = work.flop / flops
        return total, f"{work.flop / 1e18:g} EFLOP at {flops / 1e9:,.4g} GFLOP an image: {total:,.0f} images"
    if work.images is None:
        raise Mistake(
            "what is to be trained is not said.", do="Say --images 100M --epochs 90, or --exaflop 30."
        )
    total = work.images * work.epochs
    if work.epochs == 1:
        return total, f"{total:,.0f} images, once"
    return total, f"{work.images:,.0f} images x {work.epochs:g} epochs: {total:,.0f} images"


def estimate_training(
    sweep: Sweep,
    goal: Goal,
    tariff: Tariff,
    *,
    nodes: Sequence[int] = (),
    boundary: Boundary | None = None,
) -> TrainingEstimate:
    """One question's time to train at the sizes that were measured, and at others by its law.

    Args:
        sweep: The question.
        goal: What is to be trained.
        tariff: The prices of its nodes.
        nodes: Sizes to look at beside the measured ones; without any, up to 8 times the largest.
        boundary: Of the energy; None: the widest that there is.

    Raises:
        Mistake: A boundary is named at which nothing was metered.
    """
    if boundary is not None:
        require_boundary(sweep, boundary)
    inside = boundary or choose_boundary([sweep.launches])
    smallest = None if goal.deadline_s is None else _find_smallest(sweep, goal.images / goal.deadline_s)
    spots = _choose_spots(sweep, nodes, smallest)
    draws = {} if isinstance(inside, Missing) else measure_draws(sweep.launches, inside)
    absent = (
        inside
        if isinstance(inside, Missing)
        else Missing(missing=f"there is no energy at the boundary {inside}")
    )
    times = tuple(
        _estimate(spot, sweep, goal, tariff, energy=_find_energy(spot, sweep, goal, draws, absent))
        for spot in spots
    )
    modelled = any(spot.basis == "model" for spot in spots)
    assumed = (*ASSUMED, *(sweep.tell_law() if modelled else ()), *(one.energy.assumption for one in times))
    return TrainingEstimate(
        sweep=sweep,
        goal=goal,
        boundary=inside,
        times=times,
        smallest=smallest,
        surely=next((one.spot.nodes for one in times if one.meets == "yes"), None),
        devices="GPU" if _uses_gpus(sweep) else "core",
        currency=tariff.currency,
        premises=tariff.list_premises(*PRICED),
        assumptions=tuple(dict.fromkeys(text for text in assumed if text)),
    )


def _find_smallest(sweep: Sweep, images_per_s: float) -> Reading:
    """The fewest nodes with this throughput; withheld where the law is not published so far out."""
    nodes = sweep.find_nodes(images_per_s)
    if nodes is None and isinstance(sweep.fit, Missing):
        measured = [read_point(sweep, point) for point in sweep.measured]
        enough = [spot for spot in measured if _reaches(spot.images_per_s, images_per_s)]
        nodes = enough[0].nodes if enough else None
    if nodes is None:
        return Missing(missing=sweep.tell_unreached(images_per_s))
    return derive(lambda _: float(nodes), sweep.at(nodes).images_per_s)


def _reaches(rate: Reading, wanted: float) -> bool:
    return not isinstance(rate, Missing) and rate >= wanted


def _choose_spots(sweep: Sweep, asked: Sequence[int], smallest: Reading | None) -> list[Spot]:
    """The measured sizes, those that were asked for or lie beyond, and the smallest that does."""
    spots = {(point.nodes, point.ranks): read_point(sweep, point) for point in sweep.scaling.points}
    beyond: set[int] = set(asked)
    if not asked and not isinstance(sweep.fit, Missing) and sweep.whole:
        largest = sweep.whole[-1].nodes
        most = min(sweep.farthest, sweep.most)
        beyond = {factor * largest for factor in BEYOND if factor * largest <= most}
    if smallest is not None and not isinstance(smallest, Missing):
        beyond.add(round(smallest))
    for nodes in beyond:
        spot = sweep.at(nodes)
        spots.setdefault((spot.nodes, spot.ranks), spot)
    return [spots[size] for size in sorted(spots, key=lambda size: size[::-1])]


def _estimate(spot: Spot, sweep: Sweep, goal: Goal, tariff: Tariff, *, energy: Energy) -> TrainingTime:
    seconds = Bounded(
        derive(lambda rate: goal.images / rate, spot.images_per_s),
        None if spot.interval is None else invert(spot.interval, goal.images),
    )
    devices = spot.ranks * (1 if _uses_gpus(sweep) else _count_cores(sweep))
    node_seconds = seconds.times(float(spot.nodes))
    return TrainingTime(
        spot=spot,
        seconds=seconds,
        meets=_judge(seconds, goal.deadline_s),
        node_days=node_seconds.times(1 / SECONDS_PER_DAY),
        device_days=seconds.times(devices / SECONDS_PER_DAY),
        energy=energy,
        electricity=energy.joules.times(tariff.per_joule),
        capital=node_seconds.times(tariff.per_node_second),
    )


def _judge(seconds: Bounded, deadline_s: float | None) -> Answer | None:
    if deadline_s is None or isinstance(seconds.value, Missing):
        return None
    interval = seconds.interval
    low, high = (seconds.value, seconds.value) if interval is None else (interval.low, interval.high)
    if high <= deadline_s:
        return "yes"
    return "no" if low > deadline_s else "perhaps"


def _find_energy(spot: Spot, sweep: Sweep, goal: Goal, draws: Mapping[Size, Draw], absent: Missing) -> Energy:
    """J/image where this size was metered; else each node draws what those of the largest metered size drew."""
    draw = find_nearest(draws, spot.nodes, spot.ranks)
    if draw is None:
        return Energy(Bounded(absent))
    mark = "rehearsal" if sweep.scaling.forced else "estimated" if draw.estimated else ""
    if (draw.nodes, draw.ranks) == (spot.nodes, spot.ranks):
        # What is withheld of the rate is withheld of the energy.
        each = derive(lambda _, cost: cost, spot.images_per_s, draw.j_per_image)
        return Energy(Bounded(each, draw.interval).times(goal.images), mark)
    more = spot.nodes / draw.nodes
    each = derive(lambda rate, watts: watts * more / rate, spot.images_per_s, draw.average_w)
    power, rate = draw.power_interval, spot.interval
    interval = None if power is None or rate is None else ratio(scale(power, more), rate)
    assumed = f"where power was not metered, each node draws what one of {draw.nodes} drew ({draw.boundary})"
    return Energy(Bounded(each, interval).times(goal.images), mark or "predicted", assumed)


def _uses_gpus(sweep: Sweep) -> bool:
    return any(machine.gpus for launch in sweep.launches for machine in launch.machines)


def _count_cores(sweep: Sweep) -> int:
    """Cores of one rank, as it was planned."""
    plan = sweep.launches[-1].plan
    return max(1, plan.cpus_per_task // plan.threads_per_core)
