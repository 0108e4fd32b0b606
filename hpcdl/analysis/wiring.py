"""Which nodes are wired alike, and in what the others differ: in sentences that name the node."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from hpcdl.records import Missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence, Sized

    from hpcdl.checks import Checked
    from hpcdl.records import Reading
    from hpcdl.topology import Gpu, Nic, NodeTopology

# Firmware takes some of the memory for itself, not everywhere the same.
MEMORY_SHARE = 0.02
# Words of the check 'identity' that nodes of one partition are expected to share; versions are compared one by one.
WORDS = {
    "cpu": "the CPU",
    "kernel": "the kernel",
    "system": "the system",
    "governor": "the governor",
    "limits": "the limits",
    "driver": "the GPUs' driver",
    "vbios": "the GPUs' VBIOS",
}
VERSION = "version."
THINGS: dict[str, Callable[[NodeTopology], Sized | Missing]] = {
    "NUMA node": lambda node: node.numa,
    "GPU": lambda node: node.gpus,
    "NIC": lambda node: node.nics,
}
PARTS: dict[str, Callable[[NodeTopology], int | Missing]] = {
    "socket": lambda node: node.sockets,
    "core": lambda node: node.cores,
    "hardware thread": lambda node: node.cpus,
}


def group_alike(nodes: Sequence[NodeTopology]) -> list[list[NodeTopology]]:
    """Nodes of one shape together, the largest group first; which GPU it is and how its link idles is no shape."""
    groups: defaultdict[str, list[NodeTopology]] = defaultdict(list)
    for node in nodes:
        groups[describe_shape(node)].append(node)
    return sorted(groups.values(), key=len, reverse=True)


def describe_shape(node: NodeTopology) -> str:
    """All of its wiring but what is each node's own: names, UUIDs, amounts of memory, how a link idles."""
    shape = node.model_dump(mode="json", exclude={"host", "boot_id", "memory_bytes", "unseen"})
    for part in (shape["numa"], shape["gpus"]):
        for one in part if isinstance(part, list) else ():
            one |= {"memory_bytes": None, "uuid": None}
    for gpu in shape["gpus"] if isinstance(shape["gpus"], list) else ():
        gpu["pcie"]["generation"] = None
    return json.dumps(shape, sort_keys=True)


def find_differences(
    nodes: Sequence[NodeTopology], words: Mapping[str, Mapping[str, str]]
) -> tuple[str, ...]:
    """What each node has that most others have not.

    Args:
        nodes: Of one fleet.
        words: What the check 'identity' says of each host.
    """
    if len(nodes) < 2:
        return ()
    usual = group_alike(nodes)[0][0]
    found = [line for node in nodes if node.host != usual.host for line in _compare(node, usual)]
    return (*found, *_compare_words(nodes, words))


def _compare(node: NodeTopology, usual: NodeTopology) -> Iterator[str]:
    if node.cpu != usual.cpu:
        yield f"{node.host} has {node.cpu}, {usual.host} has {usual.cpu}"
    for what, count in PARTS.items():
        yield from _compare_counts(node, usual, what, count(node), count(usual))
    for what, read in THINGS.items():
        here, there = read(node), read(usual)
        yield from _compare_counts(node, usual, what, _count(here), _count(there))
    yield from _compare_memory(node, usual)
    yield from _compare_gpus(node, usual)
    yield from _compare_nics(node, usual)
    yield from _compare_relations(node, usual)


def _count(found: Sized | Missing) -> int | Missing:
    return found if isinstance(found, Missing) else len(found)


def _compare_counts(
    node: NodeTopology, usual: NodeTopology, what: str, here: int | Missing, there: int | Missing
) -> Iterator[str]:
    if isinstance(here, Missing) or isinstance(there, Missing):
        if isinstance(here, Missing) != isinstance(there, Missing):
            who, why = (node, here) if isinstance(here, Missing) else (usual, there)
            yield f"{who.host} does not tell its {what}s: {why.missing if isinstance(why, Missing) else ''}"
    elif here != there:
        by = abs(here - there)
        number = "one" if by == 1 else str(by)
        word = "less" if here < there else "more"
        yield f"{node.host} has {number} {what}{'s' * (by > 1)} {word} than {usual.host} ({here}, not {there})"


def _compare_memory(node: NodeTopology, usual: NodeTopology) -> Iterator[str]:
    here, there = node.memory_bytes, usual.memory_bytes
    if isinstance(here, Missing) or isinstance(there, Missing):
        return
    if abs(here - there) > MEMORY_SHARE * there:
        yield f"{node.host} has {here / 2**30:.0f} GiB of memory, {usual.host} has {there / 2**30:.0f}"


def _compare_gpus(node: NodeTopology, usual: NodeTopology) -> Iterator[str]:
    if isinstance(node.gpus, Missing) or isinstance(usual.gpus, Missing):
        return
    others = {gpu.index: gpu for gpu in usual.gpus}
    for gpu in node.gpus:
        other = others.get(gpu.index)
        for what, read in GPU_TRAITS.items() if other else ():
            here, there = read(gpu), read(other) if other else None
            if here != there:
                yield f"GPU {gpu.index} of {node.host}: {what} {_say(here)}, on {usual.host} {_say(there)}"


def _count_nvlinks(gpu: Gpu) -> object:
    return gpu.nvlinks if isinstance(gpu.nvlinks, Missing) else len(gpu.nvlinks)


GPU_TRAITS: dict[str, Callable[[Gpu], object]] = {
    "name": lambda gpu: gpu.name,
    "PCI address": lambda gpu: gpu.bus_id,
    "NUMA node": lambda gpu: gpu.numa_node,
    "PCIe width": lambda gpu: gpu.pcie.width,
    "PCIe generation at most": lambda gpu: gpu.pcie.max_generation,
    "NVLinks": _count_nvlinks,
}
NIC_TRAITS: dict[str, Callable[[Nic], object]] = {
    "kind": lambda nic: nic.kind,
    "driver": lambda nic: nic.driver,
    "state": lambda nic: nic.state,
    "speed": lambda nic: _say_speed(nic.speed_bits_per_s),
    "NUMA node": lambda nic: nic.numa_node,
}


def _compare_nics(node: NodeTopology, usual: NodeTopology) -> Iterator[str]:
    if isinstance(node.nics, Missing) or isinstance(usual.nics, Missing):
        return
    here, there = ({nic.name: nic for nic in nics} for nics in (node.nics, usual.nics))
    for name in sorted(there.keys() - here.keys()):
        yield f"{node.host} has no {name}, which {usual.host} has"
    for name in sorted(here.keys() - there.keys()):
        yield f"{node.host} has {name}, which {usual.host} has not"
    for name in sorted(here.keys() & there.keys()):
        for what, read in NIC_TRAITS.items():
            mine, other = read(here[name]), read(there[name])
            if mine != other:
                yield f"{name} of {node.host}: {what} {_say(mine)}, on {usual.host} {_say(other)}"


def _compare_relations(node: NodeTopology, usual: NodeTopology) -> Iterator[str]:
    others = {(one.one, one.other): one.word for one in usual.relations}
    for one in node.relations:
        there = others.get((one.one, one.other), one.word)
        if one.word != there:
            yield f"{one.one} to {one.other} on {node.host} is {_say(one.word)}, on {usual.host} {_say(there)}"


def _say(value: object) -> str:
    if isinstance(value, Missing):
        return f"not told ({value.missing})"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _say_speed(speed: Reading) -> str | Missing:
    return speed if isinstance(speed, Missing) else f"{speed / 1e9:g} Gbit/s"


def _compare_words(nodes: Sequence[NodeTopology], words: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """By the most frequent word of each kind; where there is none of a node, nothing is known to differ."""
    kinds = [*WORDS, *sorted({key for one in words.values() for key in one if key.startswith(VERSION)})]
    for kind in kinds:
        told = {node.host: words[node.host][kind] for node in nodes if kind in words.get(node.host, {})}
        # The CPU is compared as wiring.
        if len(set(told.values())) < 2 or kind == "cpu":
            continue
        usual = Counter(told.values()).most_common(1)[0][0]
        name = WORDS.get(kind) or kind.removeprefix(VERSION)
        for host, word in told.items():
            if word != usual:
                yield f"{name} of {host} is {word}, elsewhere {usual}"


def read_words(looks: Sequence[Checked]) -> dict[str, Mapping[str, str]]:
    """What the check 'identity' says of each host."""
    return {look.host: look.words for look in looks if look.check == "identity" and look.outcome == "looked"}
