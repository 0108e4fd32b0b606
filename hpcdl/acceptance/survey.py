"""What was seen of a fleet, sorted by metric and unit, in one pass over the evidence."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpcdl.acceptance.evidence import Absence, Evidence, Observation, Trait, Unit
    from hpcdl.acceptance.metrics import Scope

# By scope, then by name: a rank on a node's processor may be named as the node is.
Units = dict["Scope", dict[str, "Unit"]]
GPU_MARKS = ("/GPU-", "/MIG-")


@dataclass(frozen=True)
class Seen:
    """All of one metric, by the name of the unit."""

    numbers: dict[str, list[Observation]] = field(default_factory=dict)
    words: dict[str, list[Trait]] = field(default_factory=dict)
    absences: dict[str, list[Absence]] = field(default_factory=dict)

    @property
    def present(self) -> set[str]:
        """The units that have a number or a word."""
        return self.numbers.keys() | self.words.keys()

    @property
    def named(self) -> set[str]:
        """The units of which anything is said, if only that it is absent."""
        return self.present | self.absences.keys()


@dataclass(frozen=True)
class Survey:
    """`seen` by metric; `units` as they are best known; `devices` and `software` of each node.

    `blocks` are their places in the order of their names: what comes out must not depend on that of the evidence.
    `gpus` are those devices that are GPUs; `counted` how many each node says it has. Units of nodes that are not to
    be accepted are left out.
    """

    nodes: tuple[str, ...]
    units: Units
    seen: dict[str, Seen]
    devices: dict[str, list[Unit]]
    gpus: frozenset[str]
    counted: dict[str, int]
    software: dict[str, str]
    blocks: dict[str, int]

    def find(self, metric: str) -> Seen:
        """All of a metric."""
        return self.seen.get(metric) or Seen()

    def model_of(self, node: str) -> str:
        """The processor's name, as far as it is known."""
        found = self.units["node"].get(node)
        return found.model if found else ""

    def has_gpu(self, node: str) -> bool | None:
        """Whether a node has GPUs; None: nothing tells."""
        devices = self.devices.get(node, ())
        if any(device.name in self.gpus for device in devices) or self.counted.get(node, 0) > 0:
            return True
        return False if devices or node in self.counted else None


def survey(evidence: Evidence) -> Survey:
    """Sort the evidence. Its order does not matter."""
    wanted = frozenset(evidence.nodes)
    seen: dict[str, Seen] = defaultdict(Seen)
    units: Units = {"system": {}, "node": {}, "device": {}, "pair": {}}
    blocks = set()
    for number in evidence.observations:
        blocks.add(number.block)
        if _admit(number.unit, wanted, units):
            seen[number.metric].numbers.setdefault(number.unit.name, []).append(number)
    for word in evidence.traits:
        if _admit(word.unit, wanted, units):
            seen[word.metric].words.setdefault(word.unit.name, []).append(word)
    for absence in evidence.absences:
        if _admit(absence.unit, wanted, units):
            seen[absence.metric].absences.setdefault(absence.unit.name, []).append(absence)
    return Survey(
        nodes=tuple(dict.fromkeys(evidence.nodes)),
        units=units,
        seen=dict(seen),
        devices=_list_devices(seen, units["device"]),
        gpus=frozenset(name for name in units["device"] if any(mark in name for mark in GPU_MARKS)),
        counted=_count_gpus(seen),
        software=_read_software(seen),
        blocks={block: place for place, block in enumerate(sorted(blocks))},
    )


def _admit(unit: Unit, wanted: frozenset[str], units: Units) -> bool:
    """Whether all of its nodes are wanted; what is told of it anywhere is known of it everywhere."""
    known = units[unit.scope].get(unit.name)
    if known is None:
        if unit.scope != "system" and not wanted.issuperset(unit.nodes):
            return False
        units[unit.scope][unit.name] = unit
    elif unit.model and (not known.model or unit.model < known.model):
        units[unit.scope][unit.name] = replace(known, model=unit.model)
    return True


def _list_devices(seen: dict[str, Seen], units: dict[str, Unit]) -> dict[str, list[Unit]]:
    """The devices of each node by any metric.

    What is absent under the node's own name is no device, where others of it are known: it was lost before they were.
    """
    devices: dict[str, list[Unit]] = defaultdict(list)
    for _, unit in sorted(units.items()):
        devices[unit.nodes[0]].append(unit)
    doubtful = [node for node, found in devices.items() if len(found) > 1 and node in units]
    if doubtful:
        present = set().union(*(found.present for found in seen.values()))
        for node in set(doubtful) - present:
            devices[node] = [unit for unit in devices[node] if unit.name != node]
    return dict(devices)


def _read_software(seen: dict[str, Seen]) -> dict[str, str]:
    """The versions of each node; where they changed between two jobs, all of them."""
    found = seen.get("identity.versions", Seen())
    return {node: " ".join(sorted({one.word for one in words})) for node, words in found.words.items()}


def _count_gpus(seen: dict[str, Seen]) -> dict[str, int]:
    """What each node says of itself."""
    found = seen.get("identity.gpus", Seen())
    return {
        node: int(max(sample for one in numbers for sample in one.samples))
        for node, numbers in found.numbers.items()
        if any(one.samples for one in numbers)
    }


def usual(counts: list[int]) -> int:
    """The most frequent; of equally frequent ones the largest: what is lacking is not overlooked."""
    return max(Counter(counts).items(), key=lambda item: (item[1], item[0]), default=(0, 0))[0]
