"""What Slurm says of itself, its partitions and one of its nodes, read from the text of scontrol and sinfo. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.slurm.nodes import SINFO_FORMAT, NodeFacts, read_gres, read_sinfo

if TYPE_CHECKING:
    from collections.abc import Mapping

# Memory of a node, MB, after all that SINFO_FORMAT has.
PARTITIONS_FORMAT = f"{SINFO_FORMAT}|%m"

_SETTING = re.compile(r"^(?P<name>[A-Za-z]\w*)[ \t]*=[ \t]*(?P<value>.*?)[ \t\r]*$", re.MULTILINE | re.ASCII)
# In one line; a value may hold spaces, and then ends where the next name begins.
_FIELD = re.compile(r"(?:^|\s)(?P<name>[A-Z]\w*)=(?P<value>.*?)(?=\s+[A-Z][\w:]*=|$)", re.ASCII)
_FEDERATION = re.compile(r"^Federation:\s*(?P<name>\S+)", re.MULTILINE)
_SIBLING = re.compile(r"^\s*Sibling:\s*(?P<name>[^\s:]+)", re.MULTILINE)
_NOTHING = frozenset({"", "(null)", "N/A", "None"})
# AccountingStorageEnforce (man slurm.conf): each of these makes an account necessary.
_ENFORCING = frozenset({"associations", "limits", "qos", "safe", "wckeys", "all", "1", "2", "3"})


@dataclass(frozen=True)
class Partition:
    """A partition as scontrol shows it; what it does not tell is None or empty.

    `facts` and `memory_mb` are the least of its nodes, as sinfo tells them. Times are as Slurm writes them.
    """

    name: str
    is_default: bool = False
    state: str = ""
    max_time: str | None = None
    default_time: str | None = None
    accounts: str | None = None
    qos: str | None = None
    facts: NodeFacts | None = None
    memory_mb: int | None = None


@dataclass(frozen=True)
class NodeAnswer:
    """One node as `scontrol show node` describes it. `gpus` and `gpu` are of its GRES; None: it does not tell."""

    name: str
    architecture: str | None = None
    cpus: int | None = None
    cores: int | None = None
    threads_per_core: int | None = None
    memory_mb: int | None = None
    gpus: int = 0
    gpu: str | None = None
    features: str | None = None
    system: str | None = None


def read_settings(text: str) -> dict[str, str]:
    """`scontrol show config` as names and values; what Slurm calls (null) is left out."""
    found = {match["name"]: match["value"] for match in _SETTING.finditer(text)}
    return {name: value for name, value in found.items() if value not in _NOTHING}


def needs_account(settings: Mapping[str, str]) -> bool:
    """Whether a job without an account that Slurm knows is refused."""
    said = settings.get("AccountingStorageEnforce", "").lower()
    return bool(_ENFORCING & set(re.split(r"[\s,]+", said)))


def read_partitions(text: str) -> dict[str, Partition]:
    """Partitions by name, from `scontrol --oneliner show partition`."""
    found = {}
    for line in text.splitlines():
        fields = _read_fields(line)
        if "PartitionName" in fields:
            name = fields["PartitionName"]
            found[name] = Partition(
                name=name,
                is_default=fields.get("Default") == "YES",
                state=fields.get("State", ""),
                max_time=fields.get("MaxTime"),
                default_time=fields.get("DefaultTime", "NONE").replace("NONE", "") or None,
                accounts=fields.get("AllowAccounts"),
                qos=fields.get("AllowQos"),
            )
    return found


def read_sizes(text: str) -> dict[str, tuple[NodeFacts, int | None]]:
    """What the nodes of each partition offer, and their memory in MB; from sinfo with PARTITIONS_FORMAT."""
    lines: dict[str, list[tuple[str, str]]] = {}
    for line in text.splitlines():
        row, _, memory = line.strip().rpartition("|")
        lines.setdefault(row.partition("|")[0].rstrip("*"), []).append((row, memory.rstrip("+")))
    found = {}
    for name, rows in lines.items():
        facts = read_sinfo("\n".join(row for row, _ in rows), name) if name else None
        if facts is not None:
            known = [int(memory) for _, memory in rows if memory.isdecimal()]
            found[name] = facts, min(known, default=None)
    return found


def read_node(text: str) -> NodeAnswer | None:
    """A node, from `scontrol --oneliner show node NAME`; None where the text holds none."""
    fields = _read_fields(next((line for line in text.splitlines() if "NodeName=" in line), ""))
    if "NodeName" not in fields:
        return None
    sockets, per_socket = _read_count(fields.get("Sockets")), _read_count(fields.get("CoresPerSocket"))
    gpus, gpu = read_gres(fields.get("Gres", ""))
    return NodeAnswer(
        name=fields["NodeName"],
        architecture=fields.get("Arch"),
        cpus=_read_count(fields.get("CPUTot")),
        cores=sockets * per_socket if sockets and per_socket else None,
        threads_per_core=_read_count(fields.get("ThreadsPerCore")),
        memory_mb=_read_count(fields.get("RealMemory")),
        gpus=gpus,
        gpu=gpu,
        features=fields.get("AvailableFeatures"),
        system=fields.get("OS"),
    )


def read_federation(text: str) -> tuple[str, ...]:
    """The federation's name and the other clusters in it, from `scontrol show federation`; () where there is none."""
    name = _FEDERATION.search(text)
    return (name["name"], *(match["name"] for match in _SIBLING.finditer(text))) if name else ()


def _read_fields(line: str) -> dict[str, str]:
    """The first of each name: later ones may stand inside a free text."""
    found = {match["name"]: match["value"].strip() for match in reversed(list(_FIELD.finditer(line)))}
    return {name: value for name, value in found.items() if value not in _NOTHING}


def _read_count(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"\d{1,18}", text, re.ASCII) else None
