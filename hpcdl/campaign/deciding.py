"""What an acceptance has seen -> its next job, or the end. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.acceptance.planning import list_tests
from hpcdl.acceptance.rounds import Round
from hpcdl.campaign.bisecting import count_steps

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from hpcdl.acceptance.metrics import Test
    from hpcdl.acceptance.rounds import RoundKind
    from hpcdl.acceptance.suite import Suite

# A fleet of so many nodes is measured again as a whole: that costs little, and all of them share the weather.
SMALL_FLEET = 16
FEWEST_CONTROLS = 3
# What needs all nodes, whichever of them are in doubt.
OF_ALL: frozenset[Test] = frozenset({"scaling", "convergence"})


@dataclass(frozen=True)
class Fleet:
    """The nodes that are to be accepted, in their order, and those of them that Slurm would give to a job."""

    nodes: tuple[str, ...]
    fit: AbstractSet[str]

    @property
    def usable(self) -> tuple[str, ...]:
        return tuple(node for node in self.nodes if node in self.fit)


@dataclass(frozen=True)
class Doubt:
    """What is not decided: by which tests more could be learnt, of which nodes.

    `slow_group` is a group of nodes that is slow together, and whose halves are to be measured.
    """

    tests: tuple[Test, ...] = ()
    nodes: tuple[str, ...] = ()
    slow_group: tuple[str, ...] = ()


def decide(
    suite: Suite,
    fleet: Fleet,
    past: Sequence[RoundKind],
    doubt: Doubt,
    switches: Mapping[str, tuple[str, ...]],
) -> Round | None:
    """The next round after all nodes have had their first; None: nothing that could follow would tell more.

    Args:
        suite: With the policy's number of reruns.
        fleet: Who is to be accepted, and who can be had now.
        past: The rounds that have been, oldest first.
        doubt: What is not decided.
        switches: Whose nodes are still to be measured by themselves.
    """
    chosen = (
        _choose_switch(fleet, switches),
        _choose_bisection(fleet, past, doubt),
        _choose_rerun(suite, fleet, past, doubt),
    )
    return next((one for one in chosen if one is not None), None)


def choose_late(suite: Suite, fleet: Fleet, reached: AbstractSet[str], *, alone: bool) -> Round | None:
    """A round for nodes that could not be had when the others had theirs, and now can; with some of those beside them.

    Args:
        suite: What is tested.
        fleet: Who is to be accepted, and who can be had now.
        reached: Who has had a part in such a round already.
        alone: Whether it also tests each node by itself: not where each has a job of its own.
    """
    late = {node for node in fleet.usable if node not in reached}
    if not late:
        return None
    beside = choose_controls(fleet, late, seed=0)
    nodes = tuple(node for node in fleet.usable if node in late | beside)
    tests = tuple(test for test in list_tests(suite, len(nodes)) if alone or test != "node")
    return Round("added", tests, len(nodes), nodes) if tests else None


def _choose_switch(fleet: Fleet, switches: Mapping[str, tuple[str, ...]]) -> Round | None:
    for name, nodes in switches.items():
        members = tuple(node for node in fleet.usable if node in set(nodes))
        if len(members) > 1:
            return Round("switch", ("links",), len(members), members, switch=name)
    return None


def _choose_bisection(fleet: Fleet, past: Sequence[RoundKind], doubt: Doubt) -> Round | None:
    group = doubt.slow_group
    if (
        len(group) < 3
        or not set(group) <= fleet.fit
        or past.count("bisection") >= count_steps(len(fleet.nodes))
    ):
        return None
    return Round("bisection", ("links",), len(group), group)


def _choose_rerun(suite: Suite, fleet: Fleet, past: Sequence[RoundKind], doubt: Doubt) -> Round | None:
    done = _count_reruns(past)
    if done >= suite.policy.reruns or not doubt.tests:
        return None
    nodes = (
        fleet.usable
        if OF_ALL & set(doubt.tests) or not doubt.nodes
        else _choose_nodes(fleet, doubt, seed=done)
    )
    tests = tuple(test for test in list_tests(suite, len(nodes)) if test in doubt.tests)
    return Round("rerun", tests, len(nodes), nodes) if nodes and tests else None


def _count_reruns(past: Sequence[RoundKind]) -> int:
    """Since the fleet last grew: what was spent on others is not spent on those who joined."""
    grown = [place for place, kind in enumerate(past) if kind == "added"]
    return sum(kind == "rerun" for kind in past[grown[-1] if grown else 0 :])


def _choose_nodes(fleet: Fleet, doubt: Doubt, *, seed: int) -> tuple[str, ...]:
    """Those in doubt that can be had, with others to compare them with; none where none of them can be had."""
    wanted = {node for node in fleet.usable if node in set(doubt.nodes)}
    if not wanted:
        return ()
    return tuple(node for node in fleet.usable if node in wanted | choose_controls(fleet, wanted, seed=seed))


def choose_controls(fleet: Fleet, wanted: AbstractSet[str], *, seed: int) -> frozenset[str]:
    """Nodes that are not in doubt, to measure beside those that are: as many as those, and three at least.

    All of a small fleet. The same for the same seed and nodes, and others for another seed.
    """
    others = [node for node in fleet.usable if node not in wanted]
    if len(fleet.nodes) <= SMALL_FLEET:
        return frozenset(others)
    count = min(len(others), max(FEWEST_CONTROLS, len(wanted)))
    return frozenset(random.Random(f"{seed} {sorted(wanted)}").sample(others, count))  # noqa: S311 (no secret)


def list_single(
    nodes: Sequence[str], ready: AbstractSet[str], *, places: int, tests: tuple[Test, ...] = ("node",)
) -> Iterator[Round]:
    """One job for each of the nodes that could begin at once, as far as there are places in the queue."""
    for node in [node for node in nodes if node in ready][: max(0, places)]:
        yield Round("node", tests, 1, (node,))
