"""How long a training takes at each size, and what: hours, energy, money; as measured, else by the fitted law."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hpcdl import networks
from hpcdl.analysis.amounts import Amount, add, divide, invert, multiply, withhold
from hpcdl.analysis.common_ground import choose_boundary
from hpcdl.analysis.draws import find_nearest, measure_draws, tell_undrawn
from hpcdl.analysis.readings import derive
from hpcdl.analysis.sweep import read_point
from hpcdl.analysis.tariffs import JOULES_PER_KWH
from hpcdl.errors import Mistake
from hpcdl.estimates import intervals
from hpcdl.marks import REHEARSAL, join_marks
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcdl.analysis.boundaries import Boundary
    from hpcdl.analysis.draws import Draw, Size
    from hpcdl.analysis.sweep import Spot, Sweep
    from hpcdl.analysis.tariffs import Tariff

SECONDS_PER_DAY = 86_400.0
# How far beyond the largest size measured is looked, where nobody asks for sizes: each as far as is published at most.
BEYOND = (2, 4, 8)
ASSUMED = (
    "the rate stays what it was over the steady steps that were measured, from the first image to the last",
    "no checkpoints, no validation, no failures, no waiting in a queue",
    "whether the network has learnt enough by then is not considered: a larger global batch may need more epochs",
)
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
class Energy:
    """Of all nodes over the whole training; `mark` says where it was not measured so."""

    joules: Amount
    mark: str = ""
    assumption: str = ""

    @property
    def kwh(self) -> Amount:
        """The same in kWh."""
        return multiply(self.joules, 1 / JOULES_PER_KWH)


@dataclass(frozen=True)
class TrainingTime:
    """One size. `meets` tells whether it ends by the deadline: 'perhaps' where its interval lies across it.

    `device_days` are those of GPUs where there are some, else of cores. `capital` is what the time takes of the nodes'
    price.
    """

    spot: Spot
    seconds: Amount
    meets: Answer | None
    node_days: Amount
    device_days: Amount
    energy: Energy
    electricity: Amount
    capital: Amount

    @property
    def cost(self) -> Amount:
        """Electricity and capital together."""
        return add([self.electricity, self.capital])


@dataclass(frozen=True)
class TrainingEstimate:
    """One question at all its sizes. `smallest` is the fewest nodes by the deadline.

    `surely` is the smallest of the sizes shown whose whole interval is. `devices` is what `device_days` count,
    `uncovered` what of the nodes no meter has seen.
    """

    sweep: Sweep
    goal: Goal
    boundary: Boundary | Missing
    uncovered: tuple[str, ...]
    times: tuple[TrainingTime, ...]
    smallest: Reading | None
    surely: int | None
    devices: Literal["GPU", "core"]
    tariff: Tariff
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
    boundary: str | None = None,
) -> TrainingEstimate:
    """One question's time to train at the sizes that were measured, and at others by its law.

    Args:
        sweep: The question.
        goal: What is to be trained.
        tariff: The prices of its nodes.
        nodes: Sizes to look at beside the measured ones; without any, up to 8 times the largest.
        boundary: Of the energy; None: the widest that there is.

    Raises:
        UnknownName: There is no such boundary.
        Mistake: A boundary is named at which nothing was metered.
    """
    inside = choose_boundary([sweep.contend(tariff)], boundary)
    smallest = None if goal.deadline_s is None else _find_smallest(sweep, goal.images / goal.deadline_s)
    spots = _choose_spots(sweep, nodes, smallest)
    draws, absent = _measure(sweep, inside, tariff)
    times = tuple(
        _estimate(spot, sweep, goal, tariff, energy=_find_energy(spot, sweep, goal, draws, absent))
        for spot in spots
    )
    modelled = any(spot.basis == "model" for spot in spots)
    assumed = (
        *ASSUMED,
        *(sweep.tell_law() if modelled else ()),
        *(one.energy.assumption for one in times),
        *_tell_idle(tariff),
    )
    return TrainingEstimate(
        sweep=sweep,
        goal=goal,
        boundary=inside,
        uncovered=tuple(dict.fromkeys(draw.uncovered for draw in draws.values() if draw.uncovered)),
        times=times,
        smallest=smallest,
        surely=next((one.spot.nodes for one in times if one.meets == "yes"), None),
        devices="GPU" if _uses_gpus(sweep) else "core",
        tariff=tariff,
        assumptions=tuple(dict.fromkeys(text for text in assumed if text)),
    )


def _tell_idle(tariff: Tariff) -> Sequence[str]:
    utilisation = tariff.read("utilisation")
    if isinstance(utilisation, Missing) or utilisation == 1:
        return ()
    return (
        "nodes also draw power while nobody works: that is left out here; `hpcdl report --kind cost` has it",
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
    seconds = invert(Amount(spot.images_per_s, spot.interval), goal.images)
    devices = spot.ranks * (1 if _uses_gpus(sweep) else _count_cores(sweep))
    node_seconds = multiply(seconds, float(spot.nodes))
    return TrainingTime(
        spot=spot,
        seconds=seconds,
        meets=_judge(spot, goal),
        node_days=multiply(node_seconds, 1 / SECONDS_PER_DAY),
        device_days=multiply(seconds, devices / SECONDS_PER_DAY),
        energy=energy,
        electricity=multiply(energy.joules, tariff.per_joule),
        capital=withhold(multiply(node_seconds, tariff.per_node_second), sweep.unpriced),
    )


def _judge(spot: Spot, goal: Goal) -> Answer | None:
    """By the ends of the time; one of them may be at no time at all."""
    if goal.deadline_s is None or isinstance(spot.images_per_s, Missing):
        return None
    seconds = goal.images / spot.images_per_s
    interval = None if spot.interval is None else intervals.invert(spot.interval, goal.images)
    low, high = (seconds, seconds) if interval is None else (interval.low, interval.high)
    if high <= goal.deadline_s:
        return "yes"
    return "no" if low > goal.deadline_s else "perhaps"


def _measure(sweep: Sweep, boundary: Boundary | Missing, tariff: Tariff) -> tuple[dict[Size, Draw], Missing]:
    """What each size draws, and why others draw nothing."""
    if isinstance(boundary, Missing):
        return {}, boundary
    return measure_draws(sweep.launches, boundary, tariff), tell_undrawn(sweep.launches, boundary)


def _find_energy(spot: Spot, sweep: Sweep, goal: Goal, draws: Mapping[Size, Draw], absent: Missing) -> Energy:
    """J/image where this size was metered; else each node draws what those of the largest metered size drew."""
    draw = find_nearest(draws, spot.nodes, spot.ranks)
    if draw is None:
        return Energy(Amount(absent))
    mark = join_marks(REHEARSAL if sweep.scaling.forced else "", "estimated" if draw.estimated else "")
    predicted = "" if spot.basis == "measured" else "predicted"
    if (draw.nodes, draw.ranks) == (spot.nodes, spot.ranks):
        own = draw.j_per_image
        # What is withheld of the rate is withheld of the energy.
        each = derive(lambda _, cost: cost, spot.images_per_s, own.value)
        return Energy(multiply(Amount(each, own.interval), goal.images), join_marks(mark, predicted))
    power = multiply(Amount(draw.average_w, draw.power_interval), spot.nodes / draw.nodes)
    joules = divide(power, Amount(spot.images_per_s, spot.interval))
    assumed = f"where power was not metered, each node draws what one of {draw.nodes} drew ({draw.boundary})"
    return Energy(multiply(joules, goal.images), join_marks(mark, "predicted"), assumed)


def _uses_gpus(sweep: Sweep) -> bool:
    return any(machine.gpus for launch in sweep.launches for machine in launch.machines)


def _count_cores(sweep: Sweep) -> int:
    """Cores of one rank, as it was planned."""
    plan = sweep.launches[-1].plan
    return max(1, plan.cpus_per_task // plan.threads_per_core)
