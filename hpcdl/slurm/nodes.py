"""What Slurm says of its nodes and of itself, read from the text of sinfo, srun and scontrol."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hpcdl.errors import Mistake
from hpcdl.walltime import parse_walltime_s

# One row for each node and partition; what may hold the separator itself comes last.
STATES_FORMAT = "%N|%T|%E"
# Partition (the default one with a star), nodes, CPUs, GRES, longest walltime, and sockets:cores:threads; one
# row for each kind of node.
SINFO_FORMAT = "%P|%D|%c|%G|%l|%z"

# Suffixes of a state (man sinfo): it does not answer, or is about to go; and those under which it can be had.
_UNFIT_FLAGS = "*@^%!"
_FLAGS = "*~#!%$@^-"
_FIT = frozenset({"idle", "mixed", "allocated", "allocated+", "completing", "planned", "reserved", "maint"})
_GPU = re.compile(
    r"(?:^|,)gpu(?::(?!no_consume:)(?P<type>[^:,()]+))?(?::no_consume)?:(?P<count>\d+)(?=[(,]|$)", re.ASCII
)
_SWITCH = re.compile(r"^\s*SwitchName=(?P<name>\S+) Level=0 .*?\bNodes=(?P<nodes>\S+)", re.MULTILINE)
_PMI = re.compile(r"^(?:srun: )?\s*(?P<name>[a-z]\w*)$", re.ASCII)
_PMIX_VERSIONS = re.compile(r"plugin versions available: (?P<names>[\w, ]+)", re.ASCII)


@dataclass(frozen=True)
class NodeFacts:
    """What every node of a partition offers; where nodes differ, the least of them.

    Each of the `cores` runs `threads_per_core` hardware threads: what Slurm counts as CPUs, and what
    --cpus-per-task takes from. `max_walltime_s` None: unlimited.
    """

    partition: str
    is_default: bool
    nodes: int
    cores: int
    threads_per_core: int
    gpus: int
    gpu: str | None
    max_walltime_s: int | None


def read_sinfo(text: str, partition: str | None) -> NodeFacts | None:
    """The partition of that name, or the default one; None where the text does not hold it."""
    rows = [row for line in text.splitlines() if (row := _read_row(line)) is not None]
    wanted = [row for row in rows if (row.partition == partition if partition else row.is_default)]
    if not wanted:
        return None
    first = wanted[0]
    return NodeFacts(
        partition=first.partition,
        is_default=first.is_default,
        nodes=sum(row.nodes for row in wanted),
        cores=min(row.cores for row in wanted),
        threads_per_core=min(row.threads_per_core for row in wanted),
        gpus=min(row.gpus for row in wanted),
        gpu=first.gpu,
        max_walltime_s=first.max_walltime_s,
    )


def _read_row(line: str) -> NodeFacts | None:
    fields = line.strip().split("|")
    if len(fields) != 6:
        return None
    name, nodes, cpus, gres, limit, shape = fields
    # A count that differs within the row is written as its least, with a plus.
    counts = [text.rstrip("+") for text in (nodes, cpus, *shape.split(":"))]
    if len(counts) != 5 or not all(text.isdecimal() for text in counts):
        return None
    node_count, cpu_count, sockets, cores_per_socket, _ = map(int, counts)
    # Not the hardware's threads: a site may have told Slurm to count cores as CPUs, and then nobody gets the rest.
    threads_per_core = max(1, cpu_count // (sockets * cores_per_socket or cpu_count or 1))
    gpus, gpu = read_gres(gres)
    return NodeFacts(
        partition=name.rstrip("*"),
        is_default=name.endswith("*"),
        nodes=node_count,
        cores=cpu_count // threads_per_core,
        threads_per_core=threads_per_core,
        gpus=gpus,
        gpu=gpu,
        max_walltime_s=_read_limit_s(limit),
    )


def read_gres(text: str) -> tuple[int, str | None]:
    """GPUs of a node and the type of the first, from 'gpu:a100:4(S:0-1),nvme:1'; (0, None) from '(null)'."""
    found = list(_GPU.finditer(text))
    return sum(int(match["count"]) for match in found), found[0]["type"] if found else None


def _read_limit_s(text: str) -> int | None:
    try:
        return parse_walltime_s(text)
    except Mistake:
        return None


def read_pmi_types(text: str) -> tuple[str, ...]:
    """The values that srun's --mpi takes, from `srun --mpi=list`: the plugins, then PMIx's versions."""
    names = [match["name"] for line in text.splitlines() if (match := _PMI.match(line.rstrip()))]
    versions = _PMIX_VERSIONS.search(text)
    names += re.findall(r"\w+", versions["names"]) if versions else []
    return tuple(dict.fromkeys(names))


def keeps_accounts(text: str) -> bool:
    """Whether `scontrol show config` names a place where accounting is stored."""
    match = re.search(r"^AccountingStorageType\s*=\s*(\S+)", text, re.MULTILINE)
    return match is not None and match[1] not in {"accounting_storage/none", "(null)"}


@dataclass(frozen=True)
class NodeWord:
    """What Slurm says of one node: its state in Slurm's words, and the reason that somebody gave."""

    node: str
    state: str
    reason: str = ""

    @property
    def is_fit(self) -> bool:
        """Whether jobs can get it, now or when those that it has are over: it is not down, drained or silent."""
        return is_fit(self.state)

    def can_begin(self, *, reserved: bool) -> bool:
        """Whether a job could begin on it at once; `reserved`: it is submitted to a reservation."""
        bare = self.state.rstrip(_FLAGS)
        return self.is_fit and (bare == "idle" or (reserved and bare in {"reserved", "maint"}))


def is_fit(state: str) -> bool:
    """Whether a state in the words of `sinfo --format=%T` ('idle', 'down*') lets jobs have the node."""
    bare = state.rstrip(_FLAGS)
    return bare in _FIT and not set(state[len(bare) :]) & set(_UNFIT_FLAGS)


def read_states(text: str) -> dict[str, NodeWord]:
    """Nodes by name, in Slurm's order, from `sinfo --Node --noheader --format` with STATES_FORMAT."""
    found = {}
    for line in text.splitlines():
        name, *rest = line.split("|", 2)
        if len(rest) == 2 and name.strip() and rest[0].strip():
            reason = rest[1].strip()
            found[name.strip()] = NodeWord(name.strip(), rest[0].strip(), "" if reason == "none" else reason)
    return found


def read_topology(text: str) -> dict[str, str]:
    """The switches that nodes hang on, by name: their nodes as a host list; from `scontrol show topology`.

    Switches above them join switches, and are left out.
    """
    return {match["name"]: match["nodes"] for match in _SWITCH.finditer(text)}
