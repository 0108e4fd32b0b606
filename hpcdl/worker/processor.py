"""What the kernel tells of the processor: its clock, its temperature, and when heat held it back."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcdl.power.sysfs import read_text
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

SYSFS = Path("/sys")
CPUINFO = Path("/proc/cpuinfo")
CPU_ZONES = ("x86_pkg_temp", "cpu", "acpitz", "soc")


@dataclass(frozen=True)
class Heat:
    """How often heat has held some cores back so far, and for how many seconds; of the worst of them."""

    events: Reading
    throttled_s: Reading


def read_heat(cpus: Collection[int], sysfs: Path = SYSFS) -> Heat:
    """Of these CPUs, since the kernel started; older kernels do not tell for how long.

    Linux, Documentation/ABI/testing/sysfs-devices-system-cpu, thermal_throttle.
    """
    folders = [sysfs / f"devices/system/cpu/cpu{cpu}/thermal_throttle" for cpu in cpus]
    times_ms = _read_numbers(folder / "core_throttle_total_time_ms" for folder in folders)
    counts = _read_numbers(folder / "core_throttle_count" for folder in folders)
    absent = Missing(missing="the kernel counts no thermal events here")
    return Heat(max(counts, default=absent), max(times_ms) / 1000 if times_ms else absent)


def read_clock(cpus: Collection[int], *, sysfs: Path = SYSFS, cpuinfo: Path = CPUINFO) -> Reading:
    """MHz, the mean over these CPUs: as cpufreq says, else /proc/cpuinfo."""
    files = [sysfs / f"devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq" for cpu in cpus]
    clocks = [khz / 1000 for khz in _read_numbers(files)] or [
        clock for cpu, clock in _read_cpuinfo(cpuinfo).items() if cpu in cpus
    ]
    return sum(clocks) / len(clocks) if clocks else Missing(missing="the kernel does not tell the clock")


def _read_cpuinfo(path: Path) -> dict[int, float]:
    """CPU -> MHz."""
    clocks: dict[int, float] = {}
    cpu = -1
    try:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = (part.strip() for part in line.partition(":"))
            if key == "processor" and value.isdigit():
                cpu = int(value)
            elif key == "cpu MHz":
                clocks[cpu] = float(value)
    except (OSError, ValueError):
        return {}
    return clocks


def read_temperature(sysfs: Path = SYSFS) -> Reading:
    """Degrees Celsius, the hottest of the kernel's thermal zones that are a processor's."""
    zones = []
    for zone in (sysfs / "class/thermal").glob("thermal_zone*"):
        try:
            kind = (zone / "type").read_text(encoding="ascii", errors="replace").strip().lower()
        except OSError:
            continue
        if kind.startswith(CPU_ZONES):
            zones += [milli / 1000 for milli in _read_numbers([zone / "temp"])]
    return max(zones, default=Missing(missing="the kernel shows no temperature of the processor"))


def cpu_name(cpuinfo: Path = CPUINFO) -> str:
    """The processor's name from /proc/cpuinfo, else what the kernel calls the machine."""
    for line in (read_text(cpuinfo) or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _read_numbers(paths: Iterable[Path]) -> list[float]:
    """The numbers in those of the files that can be read and hold one."""
    found = []
    for path in paths:
        try:
            found.append(float(path.read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return found
