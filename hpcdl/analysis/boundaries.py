"""What is inside a boundary: which meters make up the devices, and which the nodes; and what to call it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hpcdl.analysis.meters import DISAGREEMENT
from hpcdl.records import Missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.meters import Metered
    from hpcdl.metering import Covers

Boundary = Literal["device", "node", "facility"]

# Where several sensors cover one thing, the first of these counts, and it counts once: those on the device before those
# in the blade, those before the one behind the management network, and an estimate last.
SENSORS = ("nvml", "rapl", "hwmon", "cray", "ipmi", "estimate")
PARTS: tuple[Covers, ...] = ("gpu", "module", "package", "dram")
NAMES: dict[Covers, tuple[str, str]] = {
    "gpu": ("GPU board", "GPU boards"),
    "package": ("CPU package", "CPU packages"),
    "dram": ("DRAM", "DRAMs"),
    "module": ("module of CPU and GPU", "modules of CPU and GPU"),
    "node": ("node", "nodes"),
}
NEVER_METERED = "fans, drives, network, power supplies"


def choose_device(
    meters: Sequence[Metered], *, gpus: bool, boards: frozenset[str] | None = None
) -> list[Metered]:
    """GPU boards where the launch has GPUs, else CPU packages and their memory; the module where neither is apart.

    `boards` are the UUIDs of the GPUs that count, where not all of them do.
    """
    wanted = {"gpu"} if gpus else {"package", "dram"}
    found = count_once(meters)
    chosen = [one for one in found if one.source.covers in wanted and _belongs(one, boards)]
    return chosen or [one for one in found if one.source.covers == "module"]


def _belongs(meter: Metered, boards: frozenset[str] | None) -> bool:
    return boards is None or meter.source.covers != "gpu" or meter.source.uuid in boards


def choose_node(meters: Sequence[Metered], machines: int) -> list[Metered]:
    """The meters of whole nodes where every machine has one, else all parts that are metered."""
    whole = [one for one in count_once(meters) if one.source.covers == "node"]
    return whole if len({one.boot_id for one in whole}) == machines else choose_parts(meters)


def choose_parts(meters: Sequence[Metered]) -> list[Metered]:
    """The parts of nodes that have meters, none of them inside another."""
    parts = [one for one in count_once(meters) if one.source.covers in PARTS]
    modules = [one for one in parts if one.source.covers == "module"]
    return [one for one in parts if not any(_is_inside(one, module) for module in modules)]


def _is_inside(part: Metered, module: Metered) -> bool:
    """A module's meter holds its CPU's and its GPU's; one without a UUID holds all of its machine's."""
    if part.boot_id != module.boot_id or part.source.covers not in {"gpu", "package"}:
        return False
    named = part.source.covers == "gpu" and module.source.uuid is not None
    return part.source.uuid == module.source.uuid if named else True


def count_once(meters: Sequence[Metered]) -> list[Metered]:
    """Of several sensors that cover one thing, the first: of a device by its UUID, of other things by their kind.

    An estimate stands beside what others measure where it is of another device.
    """
    return [one for one in meters if not any(_goes_before(other, one) for other in meters)]


def _goes_before(one: Metered, other: Metered) -> bool:
    if (one.boot_id, one.source.covers) != (other.boot_id, other.source.covers):
        return False
    both_named = one.source.uuid and other.source.uuid
    same = one.source.uuid == other.source.uuid if both_named else True
    return same and _rank(one) < _rank(other)


def _rank(meter: Metered) -> int:
    """The place of its sensor; one that this version does not know comes last."""
    return SENSORS.index(meter.source.sensor) if meter.source.sensor in SENSORS else len(SENSORS)


def find_excess(meters: Sequence[Metered]) -> str | None:
    """What makes the meter of a node unbelievable: parts of it that draw more than the whole. None: nothing."""
    for node in (one for one in count_once(meters) if one.source.covers == "node"):
        parts = [
            one.average_w
            for one in choose_parts(meters)
            if one.boot_id == node.boot_id and not one.source.estimated
        ]
        total = sum(watts for watts in parts if not isinstance(watts, Missing))
        if not isinstance(node.average_w, Missing) and total > (1 + DISAGREEMENT) * node.average_w:
            return (
                f"the parts of {node.host} draw {total:,.0f} W and all of it {node.average_w:,.0f} W by "
                f"{node.source.sensor}: these cannot be reconciled"
            )
    return None


def name_covers(meters: Sequence[Metered]) -> str:
    """'2 GPU boards, 4 CPU packages'."""
    counts: dict[Covers, int] = {}
    for meter in meters:
        counts[meter.source.covers] = counts.get(meter.source.covers, 0) + 1
    return ", ".join(f"{count} {NAMES[what][count > 1]}" for what, count in counts.items())


def name_uncovered(meters: Sequence[Metered], *, gpus: bool = True) -> str:
    """What of a node these do not cover on each machine; empty for meters of whole nodes."""
    machines: dict[str, set[Covers]] = {}
    for meter in meters:
        machines.setdefault(meter.boot_id, set()).add(meter.source.covers)
    if all("node" in covered for covered in machines.values()):
        return ""
    kinds: tuple[Covers, ...] = ("gpu", "package", "dram") if gpus else ("package", "dram")
    parts = [
        NAMES[what][1]
        for what in kinds
        if any(what not in covered and not _holds(covered, what) for covered in machines.values())
    ]
    return ", ".join([*parts, NEVER_METERED])


def _holds(covered: set[Covers], what: Covers) -> bool:
    return "module" in covered and what in {"gpu", "package"}
