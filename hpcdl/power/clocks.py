"""What slows a GPU down: its clock, its temperature, and the reasons that NVML gives for a clock below the highest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpcdl.metering import complete_uuid
from hpcdl.power.session import open_session
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Callable

# nvml.h, nvmlClocksEventReasons: those that take speed away. Not idle, and not clocks that somebody set.
SLOWING = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}


@dataclass(frozen=True)
class Clocks:
    """One look at a GPU: MHz of its multiprocessors, degrees Celsius, the reasons that slow it down now.

    `throttled_s` counts the seconds for which heat has held it back since the driver was loaded.
    """

    sm_clock_mhz: Reading
    temperature_c: Reading
    throttle_reasons: tuple[str, ...] | Missing
    throttled_s: Reading


def read_clocks(gpu_uuid: str) -> Clocks | Missing:
    """One look at the GPU of this UUID ('GPU-…' or without it); an NVML error is a missing reading, in its words."""
    session = open_session()
    if isinstance(session, Missing):
        return session
    with session as nvml:
        try:
            handle = nvml.nvmlDeviceGetHandleByUUID(complete_uuid(gpu_uuid))
            return Clocks(
                _ask(nvml, lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
                _ask(nvml, lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
                _read_reasons(nvml, handle),
                _ask(nvml, lambda: _count_heat_s(nvml, handle)),
            )
        except nvml.NVMLError as problem:
            return Missing(missing=f"NVML: {problem}")


def _ask(pynvml: Any, question: Callable[[], Any]) -> Reading:
    try:
        return float(question())
    except pynvml.NVMLError as problem:
        return Missing(missing=f"NVML: {problem}")


def _count_heat_s(pynvml: Any, handle: Any) -> float:
    """nvml.h, nvmlViolationTime_t: violationTime is in nanoseconds."""
    found = pynvml.nvmlDeviceGetViolationStatus(handle, pynvml.NVML_PERF_POLICY_THERMAL)
    return float(found.violationTime) / 1e9


def _read_reasons(pynvml: Any, handle: Any) -> tuple[str, ...] | Missing:
    bits = _ask(pynvml, lambda: pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
    return bits if isinstance(bits, Missing) else name_reasons(int(bits))


def name_reasons(bits: int) -> tuple[str, ...]:
    """Those of NVML's reasons that take speed away, by name."""
    return tuple(name for bit, name in SLOWING.items() if bits & bit)
