"""Simulated fleets with known bad nodes: how many of these are found, and how many good ones are accused.

Each fleet goes the way of a real one: a first job on all nodes, then further jobs on those that are undecided, with
healthy ones beside them, through the very statistics that judge measurements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Self

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from hpcdl.acceptance.evidence import Evidence, Observation, Unit
from hpcdl.acceptance.judging import find_alpha
from hpcdl.acceptance.speeds import CONFIRMING, Finding, Line, hold_against
from hpcdl.acceptance.suite import Confidence, Policy, Suite
from hpcdl.estimates.fleet import Samples, Standing, estimate_standing
from hpcdl.frozen import Frozen
from hpcdl.spec import Fraction, Positive, read_fraction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

METRIC = "train.lenet.images_per_s"
USUAL_SPEED = 1000.0
# A fleet up to this size is measured again as a whole; of a larger one so many healthy nodes stand beside the open.
SMALL_FLEET, FEWEST_CONTROLS = 16, 3
Share = Annotated[float, Field(ge=0, le=0.5), BeforeValidator(read_fraction)]


class Scatter(Frozen):
    """The noise, as standard deviations of the logarithm of a speed.

    `noise` from repeat to repeat within a job, Student's t with `tails` degrees of freedom scaled to that deviation;
    `between`, what a node has in one job alone; `spread` from healthy node to healthy node, for good; `drift`, what
    all nodes share in one job. The last three are normal.
    """

    noise: Share = 0.015
    between: Share = 0.005
    spread: Share = 0.01
    drift: Share = 0.02
    tails: Annotated[float, Field(gt=2, le=1000)] = 4.0


class Asked(Frozen):
    """How a fleet is tested: jobs of `repeats` each, and where the line is, as a part of the fleet's median."""

    nodes: Annotated[int, Field(ge=2, le=100_000)] = 1000
    repeats: Annotated[int, Field(ge=1, le=100)] = 3
    line: Fraction = 0.95
    reruns: Annotated[int, Field(ge=0, le=20)] = 2
    confirm: bool = True
    confidence: Confidence = 0.95
    false_alarms: Annotated[float, Field(gt=0, le=1)] = 0.05
    scatter: Scatter = Scatter()
    trials: Positive = 200
    seed: Annotated[int, Field(ge=0)] = 20261122

    @property
    def policy(self) -> Policy:
        return Policy(
            confidence=self.confidence,
            false_alarms=self.false_alarms,
            reruns=self.reruns,
            confirm=self.confirm,
        )


class Planted(Frozen):
    """What is wrong with a fleet: so many nodes are slow by this part."""

    bad: Annotated[int, Field(ge=0)]
    loss: Annotated[float, Field(ge=0, lt=1)]


class Study(Frozen):
    """The fleets to be simulated, and those of the sweep of the line."""

    asked: Asked = Asked()
    bad: tuple[Annotated[int, Field(ge=0)], ...] = (0, 1, 5, 20)
    losses: tuple[Fraction, ...] = (0.05, 0.10, 0.20)

    @model_validator(mode="after")
    def _mostly_healthy(self) -> Self:
        if 2 * max(self.bad, default=0) >= self.asked.nodes:
            raise ValueError("bad: more than half of the nodes must be healthy, or the median is a bad one's")
        return self

    @property
    def planted(self) -> tuple[Planted, ...]:
        """A healthy fleet is the same at any loss."""
        healthy = [Planted(bad=0, loss=0.0)] if 0 in self.bad else []
        ill = [Planted(bad=bad, loss=loss) for loss in self.losses for bad in self.bad if bad]
        return (*healthy, *ill)


@dataclass(frozen=True)
class Fleet:
    """One simulated fleet: what each node truly is, (nodes,), as a logarithm; the first are the bad ones."""

    truth: NDArray[np.float64]
    bad: int


@dataclass(frozen=True)
class Tally:
    """Nodes by outcome, over all fleets; and fleets with at least one healthy node accused."""

    planted: Planted
    fleets: int
    found: int
    undecided: int
    overlooked: int
    accused: int
    unsettled: int
    cleared: int
    false_fleets: int

    @property
    def bad_nodes(self) -> int:
        return self.found + self.undecided + self.overlooked

    @property
    def healthy_nodes(self) -> int:
        return self.accused + self.unsettled + self.cleared


def simulate_all(study: Study) -> Iterator[Tally]:
    """A tally for each kind of fleet, each from random numbers of its own: seed and place decide them."""
    for place, planted in enumerate(study.planted):
        random = np.random.default_rng([study.asked.seed, place])
        yield count_outcomes(study.asked, planted, random)


def count_outcomes(asked: Asked, planted: Planted, random: np.random.Generator) -> Tally:
    """What became of the nodes of `asked.trials` fleets."""
    counts = np.zeros((2, 3), dtype=np.intp)
    false_fleets = 0
    for _ in range(asked.trials):
        fleet = build_fleet(asked, planted, random)
        findings = accept_fleet(asked, fleet, random)
        outcomes = np.minimum(findings, int(Finding.OPEN))
        ill, healthy = (
            np.bincount(part, minlength=3) for part in (outcomes[: fleet.bad], outcomes[fleet.bad :])
        )
        counts += np.stack([ill, healthy])
        false_fleets += int(healthy[Finding.FAILS] > 0)
    (overlooked, found, undecided), (cleared, accused, unsettled) = counts.tolist()
    return Tally(
        planted, asked.trials, found, undecided, overlooked, accused, unsettled, cleared, false_fleets
    )


def build_fleet(asked: Asked, planted: Planted, random: np.random.Generator) -> Fleet:
    """Healthy nodes scatter; a bad one is one of them that has lost a part of its speed."""
    truth = asked.scatter.spread * random.standard_normal(asked.nodes)
    truth[: planted.bad] += np.log1p(-planted.loss)
    return Fleet(truth, planted.bad)


def measure_job(
    asked: Asked, fleet: Fleet, nodes: NDArray[np.intp], random: np.random.Generator
) -> NDArray[np.float64]:
    """Logarithms of the speeds of some nodes in one job, (nodes, repeats)."""
    scatter = asked.scatter
    # The variance of Student's t is tails / (tails - 2).
    noise = scatter.noise / np.sqrt(scatter.tails / (scatter.tails - 2))
    own = fleet.truth[nodes] + scatter.between * random.standard_normal(len(nodes))
    drawn = noise * random.standard_t(scatter.tails, (len(nodes), asked.repeats))
    logs: NDArray[np.float64] = own[:, None] + scatter.drift * random.standard_normal() + drawn
    return logs


def accept_fleet(asked: Asked, fleet: Fleet, random: np.random.Generator) -> NDArray[np.intp]:
    """A Finding for each node, (nodes,), when the last job has been judged."""
    everybody = np.arange(asked.nodes)
    jobs = [(everybody, measure_job(asked, fleet, everybody, random))]
    while True:
        left = asked.reruns - len(jobs) + 1
        findings = judge_jobs(asked, jobs, final=left == 0)
        undecided = np.flatnonzero(findings > int(Finding.FAILS))
        if left == 0 or len(undecided) == 0:
            return findings
        again = choose_again(asked, undecided, random)
        jobs.append((again, measure_job(asked, fleet, again, random)))


def choose_again(asked: Asked, undecided: NDArray[np.intp], random: np.random.Generator) -> NDArray[np.intp]:
    """The open ones and as many controls, three at least; all nodes of a small fleet."""
    if asked.nodes <= SMALL_FLEET:
        return np.arange(asked.nodes)
    others = np.setdiff1d(np.arange(asked.nodes), undecided)
    number = min(len(others), max(FEWEST_CONTROLS, len(undecided)))
    return np.sort(np.concatenate([undecided, random.choice(others, number, replace=False)]))


Job = tuple["NDArray[np.intp]", "NDArray[np.float64]"]


def judge_jobs(asked: Asked, jobs: list[Job], *, final: bool) -> NDArray[np.intp]:
    """What `judge` finds, without its words: the same functions on the same numbers."""
    hopeful = asked.reruns > 0 and not final
    line = Line(
        at=float(np.log(asked.line)),
        floor=True,
        alpha=find_alpha(asked.policy, asked.confidence, asked.nodes),
        doubt=1 - asked.confidence,
        needed=CONFIRMING if asked.confirm and hopeful else 1,
        agreeing=asked.confirm,
    )
    return hold_against(locate_nodes(asked.nodes, jobs), line)


def locate_nodes(nodes: int, jobs: list[Job]) -> Standing:
    """Where each node stands by the numbers of these jobs."""
    logs = np.concatenate([seen.ravel() for _, seen in jobs])
    units = np.concatenate([np.repeat(who, seen.shape[1]) for who, seen in jobs])
    blocks = np.concatenate([np.full(seen.size, place) for place, (_, seen) in enumerate(jobs)])
    return estimate_standing(Samples(logs, units, blocks, np.zeros(nodes, dtype=np.intp)), relative=True)


def write_evidence(nodes: int, jobs: list[Job]) -> Evidence:
    """The same numbers as records would tell them."""
    names = tuple(f"node{place:0{len(str(nodes))}}" for place in range(nodes))
    units = [Unit("device", name, (name,), "simulated") for name in names]
    observations = [
        Observation(METRIC, units[node], f"job{place:02}/node", tuple((USUAL_SPEED * np.exp(row)).tolist()))
        for place, (who, seen) in enumerate(jobs)
        for node, row in zip(who.tolist(), seen, strict=True)
    ]
    return Evidence(names, observations, (), ())


def write_suite(asked: Asked) -> Suite:
    """What is required of a simulated fleet."""
    return Suite.model_validate(
        {
            "name": "simulated",
            "tests": {"node": {"checks": ["train"], "models": ["lenet"], "repeats": asked.repeats}},
            "policy": asked.policy.model_dump(),
            "criteria": [{"name": "speed", "metric": METRIC, "at_least": asked.line, "of": "fleet"}],
        }
    )
