"""What surrounds a rank while it is measured: limits, throttling, heat, others' load, and its own arithmetic."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcdl.power.clocks import read_clocks
from hpcdl.records import Conditions, Missing, Reading
from hpcdl.worker import load
from hpcdl.worker.cgroups import Quota, read_quota
from hpcdl.worker.matrix import MatrixProbe

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from hpcdl.power.clocks import Clocks
    from hpcdl.worker.place import Place

SYSFS = Path("/sys")
CPU_ZONES = ("x86_pkg_temp", "cpu", "acpitz", "soc")


@dataclass(frozen=True)
class _Counters:
    """What is read at either end of the window."""

    now_s: float
    cpu_s: float
    quota: Quota
    thermal: Reading
    processes: Mapping[tuple[int, int], load.Process] | None
    gpu: Clocks | Missing


def watch(place: Place, device: torch.device, dtype: str) -> Watch:
    """A watch for this rank."""
    return Watch(place, device, dtype)


class Watch:
    """Reads the surroundings before and after a window; in between it does nothing."""

    def __init__(self, place: Place, device: torch.device, dtype: str) -> None:
        self._place = place
        self._device = device
        self._dtype = dtype
        self._gpu_uuid = _find_uuid(device)
        self._rates: list[float] = []
        self._begin: _Counters | None = None
        self._end: _Counters | None = None

    def begin(self) -> None:
        """To be called right before the barrier that opens the window."""
        self._rates.append(self._multiply())
        self._begin = self._read_counters()

    def end(self) -> None:
        """To be called right after the barrier that closes it."""
        self._end = self._read_counters()
        self._rates.append(self._multiply())

    def _multiply(self) -> float:
        # Its memory is let go of at once: in between it is the training's.
        return MatrixProbe(self._device, self._dtype).measure()

    def read(self) -> Conditions:
        """What was seen.

        Raises:
            RuntimeError: The window was not opened and closed.
        """
        if self._begin is None or self._end is None:
            raise RuntimeError("conditions are read after the window was opened and closed")
        begin, end = self._begin, self._end
        elapsed_s = end.now_s - begin.now_s
        foreign = _compare_scans(begin, end, elapsed_s)
        return Conditions(
            rank=self._place.rank,
            elapsed_s=elapsed_s,
            process_cpu_s=end.cpu_s - begin.cpu_s,
            cpu_limit_cores=end.quota.cores,
            cpu_throttled_s=_subtract(end.quota.throttled_s, begin.quota.throttled_s),
            thermal_throttles=_subtract(end.thermal, begin.thermal),
            clock_mhz=_read_clock(end.gpu),
            temperature_c=_read_temperature(end.gpu),
            load=os.getloadavg()[0],
            cores_of_host=os.cpu_count() or 1,
            foreign_cores=foreign.cores,
            foreign=foreign.names,
            throttle_reasons=_join_reasons(begin.gpu, end.gpu),
            matrix_flops_per_s=tuple(self._rates),
        )

    def _read_counters(self) -> _Counters:
        return _Counters(
            now_s=time.monotonic(),
            cpu_s=time.process_time(),
            quota=read_quota(),
            thermal=count_thermal_events(),
            # One rank of a host looks for all.
            processes=load.scan() if self._place.local_rank == 0 else None,
            gpu=read_clocks(self._gpu_uuid) if self._gpu_uuid else Missing(missing="no GPU is used"),
        )


def _find_uuid(device: torch.device) -> str | None:
    if device.type != "cuda":
        return None
    import torch

    return str(torch.cuda.get_device_properties(device).uuid)


def _compare_scans(begin: _Counters, end: _Counters, elapsed_s: float) -> load.Foreign:
    if begin.processes is None or end.processes is None:
        return load.Foreign(Missing(missing="the first rank of the host looks for all"), ())
    return load.find_foreign(begin.processes, end.processes, elapsed_s)


def _subtract(end: Reading, begin: Reading) -> Reading:
    if isinstance(end, Missing) or isinstance(begin, Missing):
        return end if isinstance(end, Missing) else begin
    return max(0.0, end - begin)


def count_thermal_events(sysfs: Path = SYSFS) -> Reading:
    """Times that the kernel saw a core throttled for heat, over all cores of the machine."""
    paths = list((sysfs / "devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))
    counts = [count for path in paths if (count := _read_number(path)) is not None]
    return sum(counts) if counts else Missing(missing="the kernel counts no thermal events here")


def _read_number(path: Path) -> float | None:
    try:
        return float(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _read_clock(gpu: Clocks | Missing) -> Reading:
    return gpu.sm_clock_mhz if not isinstance(gpu, Missing) else read_cpu_clock(os.sched_getaffinity(0))


def read_cpu_clock(cpus: set[int], *, sysfs: Path = SYSFS, cpuinfo: Path = Path("/proc/cpuinfo")) -> Reading:
    """MHz, the mean over these CPUs: as cpufreq says, else /proc/cpuinfo."""
    files = [sysfs / f"devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq" for cpu in cpus]
    clocks = [khz / 1000 for path in files if (khz := _read_number(path)) is not None] or [
        clock for cpu, clock in _read_cpuinfo(cpuinfo).items() if cpu in cpus
    ]
    return sum(clocks) / len(clocks) if clocks else Missing(missing="the kernel does not tell the clock")


def _read_cpuinfo(path: Path) -> dict[int, float]:
    """CPU -> MHz."""
    clocks: dict[int, float] = {}
    cpu = -1
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return clocks
    for line in lines:
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "processor" and value.isdigit():
            cpu = int(value)
        elif key == "cpu MHz":
            clocks[cpu] = float(value)
    return clocks


def _read_temperature(gpu: Clocks | Missing) -> Reading:
    return gpu.temperature_c if not isinstance(gpu, Missing) else read_cpu_temperature()


def read_cpu_temperature(sysfs: Path = SYSFS) -> Reading:
    """Degrees Celsius, the hottest of the kernel's thermal zones that are a processor's."""
    zones = []
    for zone in (sysfs / "class/thermal").glob("thermal_zone*"):
        try:
            kind = (zone / "type").read_text(encoding="ascii").strip().lower()
        except OSError:
            continue
        milli = _read_number(zone / "temp")
        if milli is not None and kind.startswith(CPU_ZONES):
            zones.append(milli / 1000)
    return max(zones) if zones else Missing(missing="the kernel shows no temperature of the processor")


def _join_reasons(begin: Clocks | Missing, end: Clocks | Missing) -> tuple[str, ...] | Missing:
    if isinstance(begin, Missing) or isinstance(end, Missing):
        return begin if isinstance(begin, Missing) else end if isinstance(end, Missing) else ()
    for one in (begin, end):
        if isinstance(one.throttle_reasons, Missing):
            return one.throttle_reasons
    return tuple(
        dict.fromkeys(
            reason
            for one in (begin, end)
            if not isinstance(one.throttle_reasons, Missing)
            for reason in one.throttle_reasons
        )
    )
