"""What `hpcdl doctor` shows of nodes: what each has, how it is wired, and in what they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.analysis.wiring import find_differences, group_alike
from hpcdl.processors import fold_cpus
from hpcdl.records import Missing
from hpcdl.report.content import Column, Fact, Note, Quantity, Report, Table
from hpcdl.report.wording import count, join
from hpcdl.topology import FARNESS, SELF

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence, Sized

    from hpcdl.report.content import Cell
    from hpcdl.topology import Gpu, Nic, NodeTopology

NODES = (
    Column("host", "node", left=True),
    Column("cpu", "CPU", left=True, rank=4),
    Column("sockets", "sockets"),
    Column("cores", "cores"),
    Column("cpus", "threads", rank=5),
    Column("numa_nodes", "NUMA", rank=2),
    Column("memory_bytes", "memory"),
    Column("gpus", "GPUs"),
    Column("nics", "NICs", rank=1),
    Column("driver", "driver", left=True, rank=6),
    Column("kernel", "kernel", left=True, rank=3),
    Column("boot_id", "boot id", left=True, hidden=True),
    Column("versions", "versions", left=True, hidden=True),
)
NUMA = (
    Column("numa_node", "NUMA node"),
    Column("cpus", "CPUs", left=True),
    Column("memory_bytes", "memory"),
)
GPUS = (
    Column("gpu", "GPU", left=True),
    Column("name", "name", left=True, rank=2),
    Column("bus_id", "PCI", left=True, rank=1),
    Column("numa_node", "NUMA"),
    Column("cpus", "near CPUs", left=True),
    Column("pcie_generation", "PCIe now"),
    Column("pcie_width", "lanes"),
    Column("pcie_max_generation", "PCIe at most", rank=4),
    Column("pcie_max_width", "lanes at most", rank=4),
    Column("nvlinks", "NVLinks"),
    Column("memory_bytes", "memory", rank=3),
    Column("uuid", "UUID", left=True, hidden=True),
)
NICS = (
    Column("nic", "NIC", left=True),
    Column("kind", "kind", left=True),
    Column("interfaces", "interfaces", left=True, rank=2),
    Column("state", "state", left=True),
    Column("speed_bits_per_s", "speed"),
    Column("numa_node", "NUMA"),
    Column("bus_id", "PCI", left=True, rank=1),
    Column("driver", "driver", left=True, rank=3),
)
PAIRS = (
    Column("one", "one", left=True),
    Column("other", "other", left=True),
    Column("word", "relation", left=True),
    Column("peer", "reaches across", left=True),
)


def describe_nodes(
    nodes: Sequence[NodeTopology],
    words: Mapping[str, Mapping[str, str]],
    silent: Mapping[str, str] | None = None,
    *,
    run_id: str = "",
) -> Report:
    """The whole picture of some nodes.

    Args:
        nodes: Those that answered; the wiring of nodes that are alike is shown once.
        words: What the check 'identity' says of each host; none where nobody asked.
        silent: Nodes that did not answer, with the reason.
        run_id: Of the job that looked.
    """
    silent = silent or {}
    groups = group_alike(nodes)
    sections = [_make_node_table(nodes, words)] if nodes else []
    sections += [table for group in groups for table in _make_wiring_tables(group, alone=len(groups) == 1)]
    disguised = _find_disguised(nodes)
    return Report(
        kind="doctor",
        title=_write_title(nodes, silent, groups),
        badges=("REHEARSAL",) if disguised else (),
        sections=tuple(sections),
        notes=tuple(_list_notes(nodes, words, silent, disguised)),
        more=(f"again: hpcdl doctor --run {run_id}",) if run_id else (),
    )


def sum_up(node: NodeTopology) -> str:
    """'2 sockets, 64 cores, 8 NUMA nodes, 8 GPUs, 5 NICs'; what is not told is said to be so."""
    told = (
        ("socket", node.sockets),
        ("core", node.cores),
        ("NUMA node", _length(node.numa)),
        ("GPU", _length(node.gpus)),
        ("NIC", _length(node.nics)),
    )
    return ", ".join(
        f"{what}s not told ({number.missing})" if isinstance(number, Missing) else count(number, what)
        for what, number in told
    )


def _length(found: Sized | Missing) -> int | Missing:
    return found if isinstance(found, Missing) else len(found)


def _write_title(
    nodes: Sequence[NodeTopology], silent: Mapping[str, str], groups: Sequence[Sequence[NodeTopology]]
) -> str:
    if len(nodes) == 1 and not silent:
        return f"{nodes[0].host}: how it is wired"
    answered = f"{len(nodes)} of {count(len(nodes) + len(silent), 'node')} answered"
    if not nodes:
        return answered
    alike = "all wired alike" if len(groups) == 1 else f"wired in {len(groups)} ways"
    return f"{answered}; {alike}" if len(nodes) > 1 else answered


def _find_disguised(nodes: Sequence[NodeTopology]) -> list[str]:
    """Nodes that share a boot id are one machine."""
    boots = [node.boot_id for node in nodes if node.boot_id]
    return [node.host for node in nodes if boots.count(node.boot_id) > 1]


def _list_notes(
    nodes: Sequence[NodeTopology],
    words: Mapping[str, Mapping[str, str]],
    silent: Mapping[str, str],
    disguised: Sequence[str],
) -> Iterator[Note]:
    for host, reason in silent.items():
        yield Note("failure", f"{host} did not answer: {reason}")
    if disguised:
        yield Note("rehearsal", f"{join(disguised)} share a boot id: they are one machine, looked at again")
    for difference in find_differences(nodes, words):
        yield Note("warning", difference)
    for node in nodes:
        yield from (Note("warning", f"{node.host}: could not look: {one}") for one in node.unseen)


def _make_node_table(nodes: Sequence[NodeTopology], words: Mapping[str, Mapping[str, str]]) -> Table:
    rows = []
    for node in nodes:
        told = words.get(node.host, {})
        rows.append(
            (
                node.host,
                node.cpu,
                _number(node.sockets),
                _number(node.cores),
                _number(node.cpus),
                _count(node.numa),
                Quantity(node.memory_bytes, "bytes"),
                _count(node.gpus),
                _count(node.nics),
                told.get("driver"),
                told.get("kernel"),
                node.boot_id,
                told.get("versions"),
            )
        )
    return Table("nodes", "Nodes", NODES, tuple(rows))


def _number(found: int | Missing) -> Cell:
    return Quantity(found, "number") if isinstance(found, Missing) else found


def _count(found: Sized | Missing) -> Cell:
    return _number(_length(found))


def _word(found: str | Missing) -> Cell:
    return Quantity(found, "number") if isinstance(found, Missing) else found


def _make_wiring_tables(group: Sequence[NodeTopology], *, alone: bool) -> Iterator[Table]:
    """NUMA nodes, GPUs, NICs and how they reach each other: of the first of a group, in whose name all stand."""
    node, hosts = group[0], join(node.host for node in group)
    place = "" if alone else f" of {hosts}"
    facts = (Fact("hosts", "nodes", hosts),)
    if not isinstance(node.numa, Missing):
        rows = tuple(
            (one.node, fold_cpus(one.cpus) or "none", Quantity(one.memory_bytes, "bytes"))
            for one in node.numa
        )
        yield Table("numa", f"NUMA nodes{place}", NUMA, rows, facts, many=True)
    if not isinstance(node.gpus, Missing) and node.gpus:
        yield Table("gpus", f"GPUs{place}", GPUS, tuple(map(_show_gpu, node.gpus)), facts, many=True)
    if not isinstance(node.nics, Missing) and node.nics:
        yield Table(
            "nics", f"Network adapters{place}", NICS, tuple(map(_show_nic, node.nics)), facts, many=True
        )
    if node.relations:
        yield _make_matrix(node, f"How the devices{place} reach each other", facts)
        pairs = tuple((one.one, one.other, _word(one.word), _peer(one.peer)) for one in node.relations)
        yield Table("relations", f"Relations{place}", PAIRS, pairs, facts, many=True, hidden=True)


def _peer(peer: str | Missing | None) -> Cell:
    return None if peer is None else _word(peer)


def _show_gpu(gpu: Gpu) -> tuple[Cell, ...]:
    return (
        f"GPU{gpu.index}",
        gpu.name,
        _word(gpu.bus_id),
        _number(gpu.numa_node),
        Quantity(gpu.cpus, "number") if isinstance(gpu.cpus, Missing) else fold_cpus(gpu.cpus),
        Quantity(gpu.pcie.generation, "number"),
        Quantity(gpu.pcie.width, "number"),
        Quantity(gpu.pcie.max_generation, "number"),
        Quantity(gpu.pcie.max_width, "number"),
        _count(gpu.nvlinks),
        Quantity(gpu.memory_bytes, "bytes"),
        gpu.uuid,
    )


def _show_nic(nic: Nic) -> tuple[Cell, ...]:
    return (
        nic.name,
        nic.kind,
        ", ".join(nic.interfaces) or None,
        _word(nic.state),
        Quantity(nic.speed_bits_per_s, "bits/s"),
        _number(nic.numa_node),
        _word(nic.bus_id),
        _word(nic.driver),
    )


def _make_matrix(node: NodeTopology, title: str, facts: tuple[Fact, ...]) -> Table:
    """As `nvidia-smi topo -m` has it; beside a row's own name are all others."""
    names = list(dict.fromkeys(name for one in node.relations for name in (one.one, one.other)))
    words = {(one.one, one.other): one.word for one in node.relations}
    rows = tuple(
        (one, *(SELF if one == other else _find_word(words, one, other) for other in names)) for one in names
    )
    columns = (Column("device", "", left=True), *(Column(name, name, left=True) for name in names))
    used = {word for word in words.values() if isinstance(word, str)}
    legend = [f"{word}: {meaning}" for word, meaning in FARNESS.items() if word in used]
    if any(word.startswith("NV") for word in used):
        legend.insert(0, "NV#: so many NVLinks")
    captions = (" · ".join(legend),) if legend else ()
    return Table("matrix", title, columns, rows, facts, captions, many=True)


def _find_word(words: Mapping[tuple[str, str], str | Missing], one: str, other: str) -> Cell:
    untold = Missing(missing="nobody tells")
    return _word(words.get((one, other), words.get((other, one), untold)))
