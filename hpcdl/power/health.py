"""How NVIDIA GPUs fare while they work: heat, throttling, clocks, errors of memory, links, XID events.

A GPU of which nothing can be told is not a healthy one: all that is asked of it is then missing, with the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpcdl.metering import complete_uuid
from hpcdl.power.board import Board
from hpcdl.power.session import open_session
from hpcdl.power.vitals import (
    KEYS,
    count_heat_s,
    find_board,
    read_clock,
    read_counters,
    read_generation,
    read_temperature,
    read_width,
    subtract,
)
from hpcdl.power.watch import Watch
from hpcdl.records import Missing

if TYPE_CHECKING:
    from hpcdl.records import Reading

__all__ = ["KEYS", "Watch", "list_gpus", "read"]

UNWATCHED = "XID events are seen only while they are watched"
ONCE = "throttling is counted from one look to the next"


def list_gpus() -> tuple[tuple[str, str, str], ...]:
    """UUID, name and VBIOS of all GPUs that NVML shows; none where there is no driver. A VBIOS not told is empty."""
    session = open_session()
    if isinstance(session, Missing):
        return ()
    with session as nvml:
        found = []
        for index in range(_count(nvml)):
            try:
                board = Board(nvml, nvml.nvmlDeviceGetHandleByIndex(index))
            except nvml.NVMLError:
                continue
            uuid, name, vbios = (
                board.ask(question)
                for question in (
                    nvml.nvmlDeviceGetUUID,
                    nvml.nvmlDeviceGetName,
                    nvml.nvmlDeviceGetVbiosVersion,
                )
            )
            if not isinstance(uuid, dict):
                found.append((str(uuid), _read_text(name), _read_text(vbios)))
        return tuple(found)


def _count(nvml: Any) -> int:
    try:
        return int(nvml.nvmlDeviceGetCount())
    except nvml.NVMLError:
        return 0


def _read_text(found: Any) -> str:
    return "" if isinstance(found, dict) else str(found)


# What the thermal counter of each GPU had counted when this process last looked, s.
_counted_s: dict[str, float] = {}


def read(uuid: str | None) -> dict[str, Reading]:
    """One look at a GPU, by the keys of KEYS; throttled since this process last looked.

    Args:
        uuid: 'GPU-…', or without it; None: no GPU is used.
    """
    if uuid is None:
        return dict.fromkeys(KEYS, Missing(missing="no GPU is used"))
    session = open_session()
    if isinstance(session, Missing):
        return dict.fromkeys(KEYS, session)
    with session as nvml:
        board = find_board(nvml, uuid)
        if isinstance(board, Missing):
            return dict.fromkeys(KEYS, board)
        counted_s = count_heat_s(board)
        return {
            **read_counters(board),
            "temperature_c": read_temperature(board),
            "throttled_s": subtract(counted_s, _remember(complete_uuid(uuid), counted_s)),
            "clock_mhz": read_clock(board),
            "pcie_width": read_width(board),
            "pcie_generation": read_generation(board),
            "xid": Missing(missing=UNWATCHED),
        }


def _remember(uuid: str, counted_s: Reading) -> Reading:
    """What it was before."""
    before: Reading = _counted_s.get(uuid, Missing(missing=ONCE))
    if not isinstance(counted_s, Missing):
        _counted_s[uuid] = counted_s
    return before
