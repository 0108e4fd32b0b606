"""Who takes part in an acceptance, and what Slurm says of them: written down as it becomes known."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hpcdl import slurm
from hpcdl.acceptance.folder import Joined, NodeState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hpcdl.acceptance.folder import AcceptanceFolder
    from hpcdl.slurm import NodeWord
    from hpcdl.store import RunFolder

_STREAMS = ("checks-", "exit-", "steps-", "power-")


def join(folder: AcceptanceFolder, nodes: Iterable[str]) -> None:
    """Add those that are not in the fleet yet."""
    known, now = set(folder.fleet()), _now_utc()
    new = [Joined(node=node, joined_utc=now) for node in dict.fromkeys(nodes) if node not in known]
    if new:
        folder.add(folder.fleet_path, new)


def note_states(folder: AcceptanceFolder, words: Mapping[str, NodeWord], nodes: Iterable[str]) -> None:
    """Write down what is new in what Slurm says of these nodes."""
    known, now = folder.states(), _now_utc()
    said = [words[node] for node in nodes if node in words]
    new = [
        NodeState(node=word.node, state=word.state, reason=word.reason, seen_utc=now)
        for word in said
        if word.node not in known
        or (known[word.node].state, known[word.node].reason) != (word.state, word.reason)
    ]
    if new:
        folder.add(folder.states_path, new)


def unfit_since_s(folder: AcceptanceFolder, node: str, begun_utc: datetime) -> float:
    """For how many seconds nobody could have had the node, as seen since `begun_utc`; 0: it can be had."""
    state = folder.states().get(node)
    if state is None or slurm.is_fit(state.state):
        return 0.0
    return max(0.0, (_now_utc() - max(state.seen_utc, begun_utc)).total_seconds())


def list_hosts(run: RunFolder) -> tuple[str, ...]:
    """The hosts that left records in a run, by name."""
    names = {
        path.name.removesuffix(".jsonl").removeprefix(stream)
        for stream in _STREAMS
        for path in run.path.glob(f"*/{stream}*.jsonl")
    }
    return tuple(sorted(names))


def _now_utc() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
