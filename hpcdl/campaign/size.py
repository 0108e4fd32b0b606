"""How much an acceptance asks of a cluster, before anything is submitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.acceptance.planning import list_tests, plan_round
from hpcdl.acceptance.rounds import Round
from hpcdl.campaign.bisecting import count_steps

if TYPE_CHECKING:
    from hpcdl.acceptance.folder import Acceptance, AcceptanceFolder
    from hpcdl.plan import Job


@dataclass(frozen=True)
class Size:
    """Jobs with their walltimes, and what they add up to at most.

    `jobs` are those that are certain; `more_jobs` those that may follow: reruns, and halves of a slow fleet.
    """

    nodes: int
    jobs: int
    longest_s: float
    node_hours: float
    more_jobs: int
    more_node_hours: float


def first_rounds(asked: Acceptance, count: int) -> list[tuple[Round, int]]:
    """The rounds of which it is certain that they will be, and how many times each."""
    tests = list_tests(asked.suite, count)
    if not asked.per_node_jobs:
        return [(Round("first", tests, count), 1)]
    between = tuple(test for test in tests if test != "node")
    alone = [(Round("node", ("node",), 1), count)] if "node" in tests else []
    return [*alone, *([(Round("first", between, count), 1)] if between else [])]


def measure(asked: Acceptance, folder: AcceptanceFolder, count: int) -> tuple[Size, Job]:
    """What so many nodes will take, and the first job.

    Raises:
        Mistake: The suite does not fit the nodes.
    """
    planned = [(plan_round(asked, folder, wanted), times) for wanted, times in first_rounds(asked, count)]
    reruns = asked.suite.policy.reruns
    halvings = count_steps(count) if asked.suite.tests.links is not None else 0
    # A rerun is at most all over again, in one job; each halving takes half of the nodes of the one before.
    whole = sum(job.walltime_s * job.nodes * times for job, times in planned)
    largest = max(job.walltime_s * job.nodes for job, _ in planned)
    size = Size(
        nodes=count,
        jobs=sum(times for _, times in planned),
        longest_s=max(job.walltime_s for job, _ in planned),
        node_hours=whole / 3600,
        more_jobs=reruns + halvings,
        more_node_hours=(reruns * whole + (2 * largest if halvings else 0)) / 3600,
    )
    return size, planned[0][0]
