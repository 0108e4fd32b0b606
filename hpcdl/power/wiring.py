"""How NVIDIA GPUs are plugged in, as NVML tells it: PCI addresses, links to the host, NVLinks, and from GPU to GPU."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hpcdl.power.board import Board
from hpcdl.power.session import open_session
from hpcdl.power.vitals import as_reading, find_board, read_generation, read_width
from hpcdl.records import Missing
from hpcdl.topology import NvLink, PcieLink

if TYPE_CHECKING:
    from hpcdl.records import Reading

# nvml.h, nvmlReturn_t.
INVALID_ARGUMENT, NOT_SUPPORTED = 2, 3
# nvml.h, nvmlIntNvLinkDeviceType_t.
ENDS: dict[int, Literal["GPU", "NVSwitch", "CPU"]] = {0: "GPU", 1: "CPU", 2: "NVSwitch"}
# nvml.h, nvmlGpuTopologyLevel_t, in the words of `nvidia-smi topo -m`; boards of two GPUs are 'PIX' there too.
LEVELS = {0: "PIX", 10: "PIX", 20: "PXB", 30: "PHB", 40: "NODE", 50: "SYS"}
# nvml.h, nvmlGpuP2PCapsIndex_t: reading. pynvml's own constant is a tuple.
READING = 0
# nvml.h, nvmlGpuP2PStatus_t.
PEERS = {
    0: "ok",
    1: "the chipset does not support it",
    2: "the GPU does not support it",
    3: "the topology does not support it",
    4: "switched off in the driver's settings",
    5: "not supported",
}


@dataclass(frozen=True)
class Plugged:
    """One GPU, by the driver's index. `bus_id` is in NVML's own writing."""

    index: int
    uuid: str
    name: str
    bus_id: str | Missing
    pcie: PcieLink
    nvlinks: tuple[NvLink, ...] | Missing
    memory_bytes: Reading


@dataclass(frozen=True)
class Pair:
    """Two GPUs by UUID: the level at which they meet on PCIe, and whether one can read the other's memory."""

    one: str
    other: str
    level: str | Missing
    peer: str | Missing


@dataclass(frozen=True)
class Wiring:
    """All GPUs that the driver shows, each pair of them once, and why others could not be looked at."""

    gpus: tuple[Plugged, ...]
    pairs: tuple[Pair, ...]
    unseen: tuple[str, ...]


def read_wiring() -> Wiring | Missing:
    """What NVML tells now; or why there is no NVML."""
    session = open_session()
    if isinstance(session, Missing):
        return session
    with session as nvml:
        try:
            return _read(nvml)
        except nvml.NVMLError as problem:
            return Missing(missing=f"NVML: {problem}")


def read_bus_id(uuid: str) -> str | Missing:
    """The PCI address of the GPU of this UUID, 'GPU-…' or without it, in NVML's own writing."""
    session = open_session()
    if isinstance(session, Missing):
        return session
    with session as nvml:
        board = find_board(nvml, uuid)
        found = board if isinstance(board, Missing) else board.ask(nvml.nvmlDeviceGetPciInfo)
        if isinstance(found, Missing):
            return found
        return Missing(**found) if isinstance(found, dict) else _read_text(found.busId)


def _read(nvml: Any) -> Wiring:
    handles, gpus, unseen = {}, [], []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            gpu = _read_gpu(nvml, handle, index)
        except nvml.NVMLError as problem:
            unseen.append(f"GPU {index}: NVML: {problem}")
            continue
        handles[gpu.uuid] = handle
        gpus.append(gpu)
    pairs = [_read_pair(nvml, handles, one, other) for one, other in itertools.combinations(handles, 2)]
    return Wiring(tuple(gpus), tuple(pairs), tuple(unseen))


def _read_gpu(nvml: Any, handle: Any, index: int) -> Plugged:
    board = Board(nvml, handle)
    uuid = str(nvml.nvmlDeviceGetUUID(handle))
    name, bus = board.ask(nvml.nvmlDeviceGetName), board.ask(nvml.nvmlDeviceGetPciInfo)
    memory = board.ask(nvml.nvmlDeviceGetMemoryInfo)
    return Plugged(
        index=index,
        uuid=uuid,
        name="" if isinstance(name, dict) else str(name),
        bus_id=Missing(**bus) if isinstance(bus, dict) else _read_text(bus.busId),
        pcie=PcieLink(
            generation=read_generation(board),
            width=read_width(board),
            max_generation=as_reading(board.ask(nvml.nvmlDeviceGetMaxPcieLinkGeneration)),
            max_width=as_reading(board.ask(nvml.nvmlDeviceGetMaxPcieLinkWidth)),
        ),
        nvlinks=_read_nvlinks(nvml, handle),
        memory_bytes=Missing(**memory) if isinstance(memory, dict) else float(memory.total),
    )


def _read_text(found: bytes | str) -> str:
    return found.decode("ascii", "replace") if isinstance(found, bytes) else found


def _read_nvlinks(nvml: Any, handle: Any) -> tuple[NvLink, ...] | Missing:
    """Those that are up. 'Not supported' at the first is a GPU without, an invalid link the end of them (nvml.h)."""
    found = []
    for link in range(nvml.NVML_NVLINK_MAX_LINKS):
        try:
            active = nvml.nvmlDeviceGetNvLinkState(handle, link)
        except nvml.NVMLError as problem:
            if problem.value == INVALID_ARGUMENT or (problem.value == NOT_SUPPORTED and link == 0):
                break
            if problem.value == NOT_SUPPORTED:
                continue
            return Missing(missing=f"NVML: {problem}")
        if active:
            found.append(_read_end(nvml, Board(nvml, handle), link))
    return tuple(found)


def _read_end(nvml: Any, board: Board, link: int) -> NvLink:
    kind = board.ask(nvml.nvmlDeviceGetNvLinkRemoteDeviceType, link)
    remote = board.ask(nvml.nvmlDeviceGetNvLinkRemotePciInfo, link)
    return NvLink(
        link=link,
        to=Missing(**remote) if isinstance(remote, dict) else _read_text(remote.busId),
        kind="unknown" if isinstance(kind, dict) else ENDS.get(kind, "unknown"),
    )


def _read_pair(nvml: Any, handles: dict[str, Any], one: str, other: str) -> Pair:
    board = Board(nvml, handles[one])
    level = board.ask(nvml.nvmlDeviceGetTopologyCommonAncestor, handles[other])
    peer = board.ask(nvml.nvmlDeviceGetP2PStatus, handles[other], READING)
    return Pair(one, other, _name(level, LEVELS), _name(peer, PEERS))


def _name(found: Any, names: dict[int, str]) -> str | Missing:
    if isinstance(found, dict):
        return Missing(**found)
    return names.get(found) or Missing(missing=f"NVML says {found}, which nvml.h does not explain")
