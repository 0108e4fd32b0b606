"""What was seen of a fleet, sorted by metric and unit, in one pass over the evidence."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpcdl.acceptance.evidence import Absence, Evidence, Observation, Trait, Unit
    from hpcdl.acceptance.metrics import Scope

Key = tuple["Scope", str]
GPU_MARKS = ("/GPU-", "/MIG-")


@dataclass(frozen=True)
class Seen:
    """All of one metric, by unit."""

    numbers: dict[Key, list[Observation]] = field(default_factory=dict)
    words: dict[Key, list[Trait]] = field(default_factory=dict)
    absences: dict[Key, list[Absence]] = field(default_factory=dict)

    @property
    def present(self) -> set[Key]:
        """The units that have a number or a word."""
        return self.numbers.keys() | self.words.keys()

    @property
    def named(self) -> set[Key]:
        """The units of which anything is said, if only that it is absent."""
        return self.present | self.absences.keys()


@dataclass(frozen=True)
class Survey:
    """`seen` by metric and unit; `units` as they are best known; `devices` of each node; `software` of each node.

    Units of nodes that are not to be accepted are left out.
    """

    nodes: tuple[str, ...]
    units: dict[Key, Unit]
    seen: dict[str, Seen]
    devices: dict[str, list[Key]]
    models: dict[str, str]
    software: dict[str, str]
    gpus: dict[str, int]

    def has_gpu(self, node: str) -> bool | None:
        """Whether a node has GPUs; None: nothing tells."""
        devices = self.devices.get(node, ())
        if any(is_gpu(key) for key in devices) or self.gpus.get(node, 0) > 0:
            return True
        return False if devices or node in self.gpus else None


def is_gpu(key: Key) -> bool:
    """Whether a device is a GPU, or a part of one."""
    return any(mark in key[1] for mark in GPU_MARKS)


def survey(evidence: Evidence) -> Survey:
    """Sort the evidence. Its order does not matter but for the order in which units are listed."""
    wanted = frozenset(evidence.nodes)
    seen: dict[str, Seen] = defaultdict(Seen)
    units: dict[Key, Unit] = {}
    for number in evidence.observations:
        if key := _admit(number.unit, wanted, units):
            seen[number.metric].numbers.setdefault(key, []).append(number)
    for word in evidence.traits:
        if key := _admit(word.unit, wanted, units):
            seen[word.metric].words.setdefault(key, []).append(word)
    for absence in evidence.absences:
        if key := _admit(absence.unit, wanted, units):
            seen[absence.metric].absences.setdefault(key, []).append(absence)
    return Survey(
        nodes=tuple(dict.fromkeys(evidence.nodes)),
        units=units,
        seen=dict(seen),
        devices=_list_devices(seen, units),
        models={unit.name: unit.model for (scope, _), unit in units.items() if scope == "node"},
        software=_read_software(seen),
        gpus=_count_gpus(seen),
    )


def _admit(unit: Unit, wanted: frozenset[str], units: dict[Key, Unit]) -> Key | None:
    """Its key, where all of its nodes are wanted; what is told of it anywhere is known of it everywhere."""
    key = (unit.scope, unit.name)
    known = units.get(key)
    if known is None:
        if unit.scope != "system" and not wanted.issuperset(unit.nodes):
            return None
        units[key] = unit
    elif unit.model and (not known.model or unit.model < known.model):
        units[key] = replace(known, model=unit.model)
    return key


def _list_devices(seen: dict[str, Seen], units: dict[Key, Unit]) -> dict[str, list[Key]]:
    """The devices of each node by any metric.

    What is absent under the node's own name is no device, where others of it are known: it was lost before they were.
    """
    present = set().union(*(found.present for found in seen.values()))
    devices: dict[str, list[Key]] = defaultdict(list)
    for key, unit in sorted(units.items()):
        if unit.scope == "device":
            devices[unit.nodes[0]].append(key)
    for node, keys in devices.items():
        if len(keys) > 1 and ("device", node) not in present:
            devices[node] = [key for key in keys if key[1] != node]
    return devices


def _read_software(seen: dict[str, Seen]) -> dict[str, str]:
    """The versions of each node; where they changed between two jobs, all of them."""
    found = seen.get("identity.versions", Seen())
    return {key[1]: " ".join(sorted({one.word for one in words})) for key, words in found.words.items()}


def _count_gpus(seen: dict[str, Seen]) -> dict[str, int]:
    """What each node says of itself."""
    found = seen.get("identity.gpus", Seen())
    return {
        key[1]: int(max(sample for one in numbers for sample in one.samples))
        for key, numbers in found.numbers.items()
        if any(one.samples for one in numbers)
    }


def usual(counts: list[int]) -> int:
    """The most frequent; of equally frequent ones the largest: what is lacking is not overlooked."""
    return max(Counter(counts).items(), key=lambda item: (item[1], item[0]), default=(0, 0))[0]
