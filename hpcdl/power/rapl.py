"""The CPU's energy counters (RAPL) through the kernel's powercap: those of Intel, and of AMD under the same name.

A package holds its cores and its uncore, so these sub-zones are left out; the memory (dram) is apart from it. The
platform (psys) would count all of them again, and intel-rapl-mmio shows the same packages by another way.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Literal

from hpcdl.metering import Source, Unavailable
from hpcdl.power.cpuinfo import read_cpu
from hpcdl.power.sensor import Looked, Opened, missing, sensor_root
from hpcdl.power.sysfs import Attribute, explain, read_number, read_text
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

POWERCAP = "sys/class/powercap"
# More than a package draws: what seems to have wrapped after so much was reset.
MOST_W = 5000.0
# What a package may draw for long: how often a counter has to be read follows from it and from its range.
PLAUSIBLE_W = 1000.0
# Looks may follow each other at once, and the counter be behind by a little.
SHORTEST_S = 0.1
# What energy_uj resolves, in joules. The hardware's own step is some 15 to 61 microjoules, and it tells no one.
STEP_J = 1e-6


class Zone:
    """One counter, unwrapped: it goes on where the hardware's begins again at 0."""

    def __init__(self, source: Source, path: Path) -> None:
        """Opens the counter.

        Raises:
            OSError: It may not be read.
            ValueError: It holds no number.
        """
        self.source = source
        self._file = Attribute(path / "energy_uj")
        self._range_uj = read_number(path / "max_energy_range_uj")
        self._energy_uj = 0.0
        self._looked_s = time.monotonic()
        self._lost = ""
        try:
            self._last_uj = int(self._file.read())
        except (OSError, ValueError):
            self._file.close()
            raise

    def look(self) -> Looked:
        """Joules since it was opened. A counter that was lost once stays missing: what it had counted is unknown."""
        if not self._lost:
            self._lost = self._advance()
        return {"energy_j": missing(self._lost) if self._lost else self._energy_uj * 1e-6}

    def _advance(self) -> str:
        """Why the count cannot go on, or nothing."""
        try:
            now_uj = int(self._file.read())
        except (OSError, ValueError) as problem:
            return f"the counter is gone: {explain(problem)}"
        step_uj: float = now_uj - self._last_uj
        if step_uj < 0 and self._range_uj is None:
            return "the counter went back, and at what value it wraps cannot be read"
        if step_uj < 0:
            step_uj += self._range_uj or 0
        now_s, before_s = time.monotonic(), self._looked_s
        if self._range_uj is not None and PLAUSIBLE_W * 1e6 * (now_s - before_s) > self._range_uj:
            return "nobody looked for so long that the counter may have wrapped more than once"
        if step_uj > MOST_W * 1e6 * max(now_s - before_s, SHORTEST_S):
            return "the counter began anew, and what it had counted is lost"
        self._energy_uj += step_uj
        self._last_uj, self._looked_s = now_uj, now_s
        return ""

    def close(self) -> None:
        self._file.close()


class Rapl:
    """All counters of this host."""

    def __init__(self, zones: Sequence[Zone]) -> None:
        self._zones = zones
        self.sources = tuple(zone.source for zone in zones)

    def look(self, *, closely: bool) -> dict[str, Looked]:  # noqa: ARG002 (it has nothing else)
        return {zone.source.name: zone.look() for zone in self._zones}

    def close(self) -> None:
        for zone in self._zones:
            zone.close()


def open_rapl(root: Path | None = None) -> Opened:
    """The packages and memories that powercap shows, as far as they may be read."""
    root = sensor_root() if root is None else root
    cpu = read_cpu(root)
    zones, refused = [], {}
    for path, name, covers in _find_zones(root / POWERCAP):
        source = Source(
            name=name,
            sensor="rapl",
            covers=covers,
            product=cpu.name if cpu and covers == "package" else "",
            counter=True,
            counter_step_j=STEP_J,
            limit_w=_read_limit(path),
        )
        try:
            zones.append(Zone(source, path))
        except (OSError, ValueError) as problem:
            refused[name] = explain(problem)
    return Opened(Rapl(zones) if zones else None, _say_what_lacks(root, found=bool(zones), refused=refused))


def _find_zones(powercap: Path) -> Iterator[tuple[Path, str, Literal["package", "dram"]]]:
    for package in _list_zones(powercap, r"intel-rapl:\d+"):
        kind, _, number = (read_text(package / "name") or "").partition("-")
        if kind != "package":
            continue
        number = number.replace("-", " ")  # of a part with several dies: 'package-0-die-1'
        yield package, f"package {number}", "package"
        for part in _list_zones(package, rf"{package.name}:\d+") or _list_zones(
            powercap, rf"{package.name}:\d+"
        ):
            if read_text(part / "name") == "dram":
                yield part, f"dram {number}", "dram"


def _list_zones(folder: Path, pattern: str) -> list[Path]:
    """In the order of their numbers: 10 after 9."""
    found = [path for path in folder.glob("intel-rapl:*") if re.fullmatch(pattern, path.name)]
    return sorted(found, key=lambda path: [int(number) for number in path.name.split(":")[1:]])


def _read_limit(path: Path) -> Reading:
    """The power in watts that the zone may hold for long: the constraint that the kernel names 'long_term'."""
    for name in path.glob("constraint_*_name"):
        if read_text(name) == "long_term":
            limit_uw = read_number(path / name.name.replace("_name", "_power_limit_uw"))
            return Missing(missing="not readable") if limit_uw is None else limit_uw * 1e-6
    return Missing(missing="the zone has no long-term limit")


def _say_what_lacks(root: Path, *, found: bool, refused: dict[str, str]) -> tuple[Unavailable, ...]:
    if refused:
        reasons = ", ".join(sorted(set(refused.values())))
        return (
            Unavailable(
                sensor="rapl",
                reason=f"energy_uj of {', '.join(refused)} cannot be read: {reasons}",
                do="root only since Linux 5.10: the administrator opens it with chmod a+r on "
                "/sys/class/powercap/intel-rapl*/energy_uj, best in a udev rule (weigh CVE-2020-8694)",
                covers="package" if any(name.startswith("package") for name in refused) else "dram",
            ),
        )
    if found:
        return ()
    if _list_zones(root / POWERCAP, r"intel-rapl:\d+"):
        return (
            Unavailable(
                sensor="rapl",
                reason="powercap shows no package that can be read",
                do="a container hides /sys/devices/virtual/powercap: run outside, or have it mounted",
            ),
        )
    return (
        Unavailable(
            sensor="rapl",
            reason="no powercap counters",
            do="virtual machines have none; on metal: modprobe intel_rapl_common intel_rapl_msr (AMD too)",
        ),
    )
