"""The line moved from far below the fleet's median to above it: what is found, against what is accused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpcdl.acceptance.judging import find_alpha
from hpcdl.acceptance.simulation import Planted, build_fleet, locate_nodes, measure_job
from hpcdl.acceptance.speeds import Finding, Line, hold_against

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcdl.acceptance.simulation import Study

LINES = tuple(round(0.70 + 0.005 * step, 3) for step in range(81))
# Each fleet gives a point on every curve; curves need fewer of them than rates do.
FLEETS_SHARE, FEWEST_FLEETS = 5, 10


@dataclass(frozen=True)
class Point:
    """At one line: bad nodes that fail, of all bad ones; healthy ones that do, of all healthy ones."""

    line: float
    found: int
    bad: int
    accused: int
    healthy: int


def sweep_line(study: Study) -> Iterator[tuple[float, tuple[Point, ...]]]:
    """For each loss the points of its curve, the lowest line first; with the largest number of bad nodes.

    All nodes are measured in two jobs, which is what a failure takes.
    """
    bad = max(study.bad, default=0)
    if bad == 0:
        return
    for place, loss in enumerate(study.losses):
        random = np.random.default_rng([study.asked.seed, 1000 + place])
        yield loss, _trace(study, Planted(bad=bad, loss=loss), random)


def _trace(study: Study, planted: Planted, random: np.random.Generator) -> tuple[Point, ...]:
    asked, everybody = study.asked, np.arange(study.asked.nodes)
    fleets = max(FEWEST_FLEETS, asked.trials // FLEETS_SHARE)
    alpha = find_alpha(asked.policy, asked.confidence, asked.nodes)
    counts = np.zeros((len(LINES), 2), dtype=np.intp)
    for _ in range(fleets):
        fleet = build_fleet(asked, planted, random)
        jobs = [(everybody, measure_job(asked, fleet, everybody, random)) for _ in range(2)]
        standing = locate_nodes(asked.nodes, jobs)
        for place, at in enumerate(LINES):
            line = Line(float(np.log(at)), floor=True, alpha=alpha, doubt=1 - asked.confidence)
            fails = hold_against(standing, line) == Finding.FAILS
            counts[place] += [np.count_nonzero(fails[: fleet.bad]), np.count_nonzero(fails[fleet.bad :])]
    healthy = asked.nodes - planted.bad
    return tuple(
        Point(line, int(found), fleets * planted.bad, int(accused), fleets * healthy)
        for line, (found, accused) in zip(LINES, counts, strict=True)
    )
