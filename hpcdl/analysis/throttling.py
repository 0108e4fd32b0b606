"""What held a rank back while it was measured: a CPU quota, heat, and what NVML says of its GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.records import Missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcdl.records import Conditions, Reading

# What held a rank back for longer than this part of the window has slowed it down.
THROTTLED_SHARE = 0.02
# At full load a GPU's clock rises until its board draws what it may: the limit in force belongs to the machine.
POWER_LIMIT = "power cap"


def tell_throttling(one: Conditions) -> Iterator[str]:
    """Each thing that took speed away from this rank, in words; nothing where none was seen."""
    quota = _find_share(one.cpu_throttled_s, one.elapsed_s)
    if quota > THROTTLED_SHARE:
        limit = "" if isinstance(one.cpu_limit_cores, Missing) else f" of {one.cpu_limit_cores:.2g} cores"
        yield f"a CPU quota{limit} held it back for {100 * quota:.0f} % of the time"
    for device, throttled_s in (("processor", one.thermal_throttled_s), ("GPU", one.gpu_throttled_s)):
        heat = _find_share(throttled_s, one.elapsed_s)
        if heat > THROTTLED_SHARE:
            yield f"heat held its {device} back for {100 * heat:.0f} % of the time"
    if isinstance(one.thermal_throttled_s, Missing) and _count(one.thermal_throttles):
        # An older kernel, which does not say for how long.
        yield f"the kernel counted {_count(one.thermal_throttles)} thermal events"
    reasons = [reason for reason in _list_reasons(one) if reason != POWER_LIMIT]
    if reasons:
        yield f"its GPU says {', '.join(reasons)}"


def is_at_power_limit(one: Conditions) -> bool:
    """Whether NVML said that the board's power limit held the clock down."""
    return POWER_LIMIT in _list_reasons(one)


def could_look(one: Conditions, *, on_gpu: bool) -> bool:
    """Whether this machine tells when it slows a rank down: the GPU where it computes, else the processor."""
    readings: tuple[object, ...] = (
        (one.gpu_throttled_s, one.throttle_reasons)
        if on_gpu
        else (one.cpu_throttled_s, one.thermal_throttled_s, one.thermal_throttles)
    )
    return not all(isinstance(reading, Missing) for reading in readings)


def _find_share(throttled_s: Reading, elapsed_s: float) -> float:
    """The part of the window, at most all of it."""
    if isinstance(throttled_s, Missing) or elapsed_s <= 0:
        return 0.0
    return min(1.0, throttled_s / elapsed_s)


def _count(events: Reading) -> int:
    return 0 if isinstance(events, Missing) else int(events)


def _list_reasons(one: Conditions) -> tuple[str, ...]:
    return () if isinstance(one.throttle_reasons, Missing) else one.throttle_reasons
