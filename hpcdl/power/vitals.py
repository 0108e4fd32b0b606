"""One look at an NVIDIA GPU, question by question: what it does not tell is missing, in NVML's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpcdl.metering import complete_uuid
from hpcdl.power.board import Board
from hpcdl.records import Missing

if TYPE_CHECKING:
    from hpcdl.records import Reading

KEYS = (
    "temperature_c",
    "throttled_s",
    "clock_mhz",
    "ecc_uncorrected",
    "remapped_rows",
    "pcie_width",
    "pcie_generation",
    "xid",
)


def find_board(nvml: Any, uuid: str) -> Board | Missing:
    """The GPU of this UUID, 'GPU-…' or without it; or why it cannot be had."""
    try:
        return Board(nvml, nvml.nvmlDeviceGetHandleByUUID(complete_uuid(uuid)))
    except nvml.NVMLError as problem:
        return Missing(missing=f"NVML: {problem}")


def as_reading(found: Any) -> Reading:
    """What a board has answered."""
    return Missing(**found) if isinstance(found, dict) else float(found)


def read_temperature(board: Board) -> Reading:
    """Degrees Celsius."""
    return as_reading(board.ask(board.nvml.nvmlDeviceGetTemperature, board.nvml.NVML_TEMPERATURE_GPU))


def read_clock(board: Board) -> Reading:
    """MHz of its multiprocessors."""
    return as_reading(board.ask(board.nvml.nvmlDeviceGetClockInfo, board.nvml.NVML_CLOCK_SM))


def read_width(board: Board) -> Reading:
    """Lanes of its link to the host, now."""
    return as_reading(board.ask(board.nvml.nvmlDeviceGetCurrPcieLinkWidth))


def read_generation(board: Board) -> Reading:
    """The generation at which that link runs now."""
    return as_reading(board.ask(board.nvml.nvmlDeviceGetCurrPcieLinkGeneration))


def count_heat_s(board: Board) -> Reading:
    """Seconds for which heat has held it back. nvml.h, nvmlViolationTime_t: violationTime is in nanoseconds."""
    found = board.ask(board.nvml.nvmlDeviceGetViolationStatus, board.nvml.NVML_PERF_POLICY_THERMAL)
    return Missing(**found) if isinstance(found, dict) else float(found.violationTime) / 1e9


def read_counters(board: Board) -> dict[str, Reading]:
    """What counts up and never down: errors since the driver was loaded, rows for ever.

    Rows are those remapped for correctable and for uncorrectable errors, and one more each where a remapping is pending
    or has failed (nvmlDeviceGetRemappedRows).
    """
    nvml = board.nvml
    errors = board.ask(
        nvml.nvmlDeviceGetTotalEccErrors, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC
    )
    rows = board.ask(nvml.nvmlDeviceGetRemappedRows)
    return {
        "ecc_uncorrected": as_reading(errors),
        "remapped_rows": Missing(**rows) if isinstance(rows, dict) else float(sum(rows)),
    }


def subtract(end: Reading, begin: Reading) -> Reading:
    """What a counter of throttling has counted between two looks."""
    if isinstance(end, Missing) or isinstance(begin, Missing):
        return end if isinstance(end, Missing) else begin
    return end - begin if end >= begin else Missing(missing="its counter of throttling began anew")
