"""The nodes of a fleet by the names that records give them, what Slurm says of them, and what their devices are."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from hpcdl.acceptance.evidence import Unit
from hpcdl.metering import complete_uuid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hpcdl.acceptance.folder import NodeState
    from hpcdl.checks import Checked

# 'GPU-' or 'MIG-' and the first eight digits.
SHORT_UUID = 12
# slurm.h, node_states and node state flags, as sinfo writes them: those in which no job can be on the node.
FAULTY = frozenset(
    {"DOWN", "ERROR", "FAIL", "FAILING", "FAILG", "NO_RESPOND", "NOT_RESPONDING", "UNKNOWN", "UNK"}
)
DRAINED = frozenset({"DRAIN", "DRAINED", "DRAINING", "DRNG"})
# How a reason begins that slurmctld or slurmd gave, and no person.
SLURMS_OWN = re.compile(
    r"not responding|node unexpectedly rebooted|low (realmemory|tmpdisk|cpus|socket|core|thread)|kill task failed|"
    r"gres/|(prolog|epilog|launch) |health ?check|nhc|duplicate jobid|batch job complete failure|configuration ",
    re.IGNORECASE,
)


def is_faulty(state: NodeState) -> bool:
    """Whether Slurm's word means that the node is broken: not one that a person has taken away, or that is in use."""
    words = set(re.findall(r"[A-Z_]+", state.state.upper()))
    drained = bool(words & DRAINED) and SLURMS_OWN.match(state.reason) is not None
    # sinfo(1): a star behind the state is a node that does not respond.
    return bool(words & FAULTY) or state.state.endswith("*") or drained


def tell_state(state: NodeState) -> str:
    """'Slurm says that node3 is DOWN (Not responding)'."""
    why = f" ({state.reason})" if state.reason else ""
    return f"Slurm says that {state.node} is {state.state}{why}"


class Fleet:
    """The nodes that are to be accepted, in their order."""

    def __init__(self, nodes: Sequence[str], states: Mapping[str, NodeState]) -> None:
        self.nodes = tuple(nodes)
        self.states = states
        self._places = {node: place for place, node in enumerate(nodes)}
        short = {node.split(".")[0]: node for node in nodes}
        self._names = short | {node: node for node in nodes}

    def find(self, host: str) -> str | None:
        """The node that calls itself so, with its domain or without; None: it does not belong to the fleet."""
        return self._names.get(host) or self._names.get(host.split(".", maxsplit=1)[0])

    def find_all(self, hosts: Iterable[str]) -> tuple[str, ...]:
        """The nodes among these hosts, each once, in the fleet's order."""
        return self.sort(node for host in hosts if (node := self.find(host)) is not None)

    def sort(self, nodes: Iterable[str]) -> tuple[str, ...]:
        """These nodes, each once, in the fleet's order."""
        return tuple(sorted(set(nodes), key=self._places.__getitem__))

    def fault(self, node: str) -> str | None:
        """What Slurm says is wrong with a node; None: nothing, or nobody asked."""
        state = self.states.get(node)
        return tell_state(state) if state is not None and is_faulty(state) else None


def is_gpu(device: str) -> bool:
    """Whether a look's `device` is a GPU."""
    return device not in {"", "cpu"}


class Devices:
    """The devices of all nodes, as far as any look of any launch has named them."""

    def __init__(self) -> None:
        self._own: dict[tuple[str, int], tuple[str, str]] = {}
        self._gpus: defaultdict[str, dict[str, str]] = defaultdict(dict)

    def learn(self, node: str, look: Checked) -> None:
        """What a look tells: the health of a GPU may be told by a rank that does not compute on it."""
        if is_gpu(look.device):
            self._gpus[node].setdefault(complete_uuid(look.device), look.model)
        if look.device and look.check != "health":
            self._own.setdefault((node, look.local_rank), (look.device, look.model))

    @property
    def any_gpu(self) -> bool:
        """Whether a GPU was seen anywhere."""
        return bool(self._gpus)

    def model_of(self, node: str) -> str:
        """The name of what the node computes on; empty where nobody has told."""
        return self._own.get((node, 0), ("", ""))[1]

    def own(self, node: str, local_rank: int) -> str:
        """The device that a rank computes on; empty: not known."""
        return self._own.get((node, local_rank), ("", ""))[0]

    def others(self, node: str, ranks: int) -> list[str]:
        """GPUs of a node that none of its ranks computes on."""
        used = {complete_uuid(self.own(node, rank)) for rank in range(ranks)}
        return [uuid for uuid in self._gpus.get(node, ()) if uuid not in used]

    def unit(self, node: str, local_rank: int, device: str, ranks: int) -> Unit:
        """A device as a unit: 'node3/GPU-8f1c2a3b'; of processors 'node3', 'node3/1' where a node has several ranks."""
        if is_gpu(device):
            uuid = complete_uuid(device)
            model = self._gpus.get(node, {}).get(uuid, "")
            return Unit("device", f"{node}/{uuid[:SHORT_UUID]}", (node,), model)
        name = node if ranks == 1 else f"{node}/{local_rank}"
        return Unit("device", name, (node,), self._own.get((node, local_rank), ("", ""))[1])
