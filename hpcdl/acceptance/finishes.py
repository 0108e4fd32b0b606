"""Whether each node came to the end of its checks: node.finished."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from hpcdl.acceptance.evidence import Absence, Observation, Trait, Unit
from hpcdl.acceptance.metrics import EXPLANATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.acceptance.fleet import Fleet
    from hpcdl.acceptance.node_launches import NodeLaunch
    from hpcdl.records import Exit

FINISHED = "node.finished"
AT_FAULT = frozenset({"failed", "killed", "hung"})
# By which Slurm ends what a person has cancelled.
ENDING_SIGNALS = frozenset({signal.SIGTERM, signal.SIGKILL})


def observe_finishes(launches: Sequence[NodeLaunch], fleet: Fleet) -> Iterator[Observation | Trait | Absence]:
    """1 for a node all of whose ranks said that they were done; 0 for one that was lost, or lost one of them.

    What ended all nodes alike, a cancelled job or its walltime, is no node's fault, and says nothing of any.
    A node that worked for this acceptance, and of which Slurm now says that it is broken, was lost.
    """
    for launch in launches:
        for node in launch.nodes:
            yield from _observe(launch, node, fleet)
    if not launches:
        return
    block = f"{launches[-1].block}/state"
    for node in fleet.nodes:
        if _was_lost_meanwhile(node, launches, fleet):
            unit = Unit("node", node, (node,))
            yield Observation(FINISHED, unit, block, (0.0,))
            yield Trait(EXPLANATIONS[FINISHED], unit, block, fleet.fault(node) or "")


def _was_lost_meanwhile(node: str, launches: Sequence[NodeLaunch], fleet: Fleet) -> bool:
    """Slurm found it broken after it had last begun to work; what it said before that is overtaken."""
    begins = [launch.created_utc for launch in launches if launch.took_part(node)]
    return bool(begins) and fleet.fault(node) is not None and fleet.states[node].seen_utc >= max(begins)


def _observe(launch: NodeLaunch, node: str, fleet: Fleet) -> Iterator[Observation | Trait | Absence]:
    unit = Unit("node", node, (node,))
    finished = _judge(launch, node)
    if finished is None:
        yield Absence(FINISHED, unit, launch.block, launch.explain(node, fleet))
        return
    yield Observation(FINISHED, unit, launch.block, (float(finished),))
    if not finished and not _was_lost_meanwhile(node, [launch], fleet):
        yield Trait(EXPLANATIONS[FINISHED], unit, launch.block, launch.explain(node, fleet))


def _judge(launch: NodeLaunch, node: str) -> bool | None:
    """None: nobody can say."""
    exits = launch.exits.get(node, ())
    if any(_is_at_fault(one, launch) for one in exits):
        return False
    done = {one.local_rank for one in exits if one.outcome == "completed"}
    if len(done) >= launch.ranks:
        return None if launch.restarts else True
    silent = launch.took_part(node) and len(exits) < launch.ranks
    return False if silent and launch.over and not _was_cut_short(launch) else None


def _is_at_fault(record: Exit, launch: NodeLaunch) -> bool:
    if record.outcome == "killed" and launch.cancelled and record.signal in ENDING_SIGNALS:
        return False
    return record.outcome in AT_FAULT


def _was_cut_short(launch: NodeLaunch) -> bool:
    """Something ended the launch itself: ranks were told to end, or none came to its own end."""
    outcomes = {one.outcome for exits in launch.exits.values() for one in exits}
    return launch.cancelled or "stopped" in outcomes or "completed" not in outcomes
