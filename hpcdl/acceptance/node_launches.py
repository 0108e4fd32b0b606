"""The launches that check nodes, read: what each node left behind, and why it left no more."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from hpcdl.analysis.ending import describe_exit
from hpcdl.analysis.telling import tell_restart

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from hpcdl.acceptance.fleet import Fleet
    from hpcdl.checks import Checked
    from hpcdl.plan import Launch, NodeCheck
    from hpcdl.records import Exit
    from hpcdl.store import LaunchFolder

Record = TypeVar("Record", "Checked", "Exit")


@dataclass(frozen=True)
class NodeLaunch:
    """One launch of checks. `nodes` were to take part; `looks` and `exits` are by node, and what is of no node of
    the fleet is left out. `over`: nothing more will come of it. `cancelled`: a person has ended it.
    """

    folder: LaunchFolder
    plan: Launch
    check: NodeCheck
    block: str
    created_utc: datetime
    nodes: tuple[str, ...]
    looks: Mapping[str, Sequence[Checked]]
    exits: Mapping[str, Sequence[Exit]]
    restarts: int = 0
    over: bool = True
    cancelled: bool = False

    @property
    def ranks(self) -> int:
        """Ranks of each node."""
        return self.plan.tasks_per_node

    @property
    def began(self) -> bool:
        """Some node has left a word."""
        return bool(self.looks or self.exits)

    def took_part(self, node: str) -> bool:
        """Whether the node has left a word."""
        return node in self.looks or node in self.exits

    def explain(self, node: str, fleet: Fleet, local_rank: int | None = None) -> str:
        """Why there is nothing of a node, or of one of its ranks."""
        if self.restarts:
            return tell_restart(self.restarts)
        exits = [
            one for one in self.exits.get(node, ()) if local_rank is None or one.local_rank == local_rank
        ]
        wrong = next((one for one in exits if one.outcome != "completed"), None)
        if wrong is not None:
            return f"rank {wrong.rank} {describe_exit(wrong)}"
        if not self.over:
            return "it has not been looked at yet"
        if exits:
            return "it was planned, and left no record"
        return fleet.fault(node) or self._tell_silence(node)

    def _tell_silence(self, node: str) -> str:
        if self.took_part(node):
            return "the rank was lost: it left no exit record"
        return "the node was never reached" if self.began else "the launch never started"


def read_node_launch(
    folder: LaunchFolder,
    plan: Launch,
    block: str,
    fleet: Fleet,
    *,
    created_utc: datetime,
    among: Iterable[str] = (),
    over: bool = True,
    cancelled: bool = False,
) -> NodeLaunch:
    """The records of a launch of checks.

    Args:
        folder: Its files; torn lines are left out.
        plan: The launch as planned.
        block: Names it in the evidence.
        fleet: Knows the nodes.
        created_utc: When its job was made.
        among: Nodes that the job is known to have had, from its other records.
        over: The job has ended.
        cancelled: By a person.

    Raises:
        ValueError: The launch checks nothing.
    """
    if plan.check is None:
        raise ValueError(f"launch {plan.name} checks nothing")
    records = folder.exits()
    restarts = max((record.restart for record in records), default=0)
    exits = _by_node(fleet, [record for record in records if record.restart == restarts])
    # What was begun anew is no measurement.
    looks = _by_node(fleet, [] if restarts else folder.checks())
    whole = plan.nodes >= len(fleet.nodes)
    return NodeLaunch(
        folder=folder,
        plan=plan,
        check=plan.check,
        block=block,
        created_utc=created_utc,
        nodes=fleet.nodes if whole else fleet.sort({*looks, *exits, *among}),
        looks=looks,
        exits=exits,
        restarts=restarts,
        over=over,
        cancelled=cancelled,
    )


def _by_node(fleet: Fleet, records: Iterable[Record]) -> dict[str, list[Record]]:
    found: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        node = fleet.find(record.host)
        if node is not None:
            found[node].append(record)
    return dict(found)
