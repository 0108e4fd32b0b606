"""The power counters of HPE Cray nodes: sys/cray/pm_counters, which the blade's controller fills ten times a second.

The files are described in HPE's 'User Access to Compute Node Power Data': energies in joules and powers in watts,
each followed by a time stamp. 'energy' is the node with its accelerators. Whether an accelerator's counter holds a
Grace Hopper module or only its GPU, HPE does not say there; nor do we know which GPU of NVML it is.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.metering import Covers, Source, Unavailable
from hpcdl.power.sensor import Looked, Opened, missing, sensor_root
from hpcdl.power.sysfs import Attribute, explain, read_number
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

COUNTERS = "sys/cray/pm_counters"
COVERS: dict[str, Covers] = {"": "node", "cpu": "package", "memory": "dram", "accel": "gpu"}
# The controller renews every file some ten times a second: one that stood still so long is not renewed any more.
STALE_S = 5.0


@dataclass(frozen=True)
class Counted:
    """What one file holds: joules or watts, and the controller's time stamp in microseconds, from version 3 on."""

    value: float
    stamp_us: int | None


def parse_counter(text: str) -> Counted:
    """'12345 J 1700000000000000 us', or without the time stamp.

    Raises:
        ValueError: It is neither.
    """
    words = text.split()
    if len(words) not in (2, 4) or words[1] not in ("J", "W") or words[3:] not in ([], ["us"]):
        raise ValueError(text)
    return Counted(float(words[0]), int(words[2]) if len(words) == 4 else None)


class Counter:
    """The energy of one part, and its power where there is a file of it."""

    def __init__(self, folder: Path, part: str, source: Source) -> None:
        """Opens its files.

        Raises:
            OSError: The energy may not be read.
            ValueError: It is not written as parse_counter expects.
        """
        self.source = source
        self._files = [Attribute(folder / f"{part}energy")]
        try:
            self._last = parse_counter(self._files[0].read())
            self._files.extend(Attribute(path) for path in (folder / f"{part}power",) if path.exists())
        except (OSError, ValueError):
            self.close()
            raise
        self._renewed_s = time.monotonic()
        self._lost = ""

    def look(self) -> Looked:
        looked = {"energy_j": self._look_at_energy()}
        if len(self._files) == 2:
            looked["power_w"] = self._look_at_power()
        return looked

    def _look_at_energy(self) -> float | dict[str, str]:
        """In joules since the node's start. A counter that went back began anew, and is missing from then on."""
        if self._lost:
            return missing(self._lost)
        try:
            now = parse_counter(self._files[0].read())
        except (OSError, ValueError) as problem:
            return missing(f"the counter is gone: {explain(problem)}")
        if now.value < self._last.value:
            self._lost = "the counter went back: the controller began anew"
            return missing(self._lost)
        return missing("the controller does not renew it") if self._stands_still(now) else now.value

    def _stands_still(self, now: Counted) -> bool:
        if now.stamp_us is None or now != self._last:
            self._last, self._renewed_s = now, time.monotonic()
        return time.monotonic() - self._renewed_s > STALE_S

    def _look_at_power(self) -> float | dict[str, str]:
        try:
            return parse_counter(self._files[1].read()).value
        except (OSError, ValueError) as problem:
            return missing(explain(problem))

    def close(self) -> None:
        for file in self._files:
            file.close()


class PmCounters:
    """All counters of this node."""

    def __init__(self, counters: Sequence[Counter]) -> None:
        self._counters = counters
        self.sources = tuple(counter.source for counter in counters)

    def look(self, *, closely: bool) -> dict[str, Looked]:  # noqa: ARG002 (it has nothing else)
        return {counter.source.name: counter.look() for counter in self._counters}

    def close(self) -> None:
        for counter in self._counters:
            counter.close()


def open_cray(root: Path | None = None) -> Opened:
    """The node, its packages, memory and accelerators, as far as there are counters of them."""
    folder = (sensor_root() if root is None else root) / COUNTERS
    if not folder.is_dir():
        return Opened(None, (Unavailable(sensor="cray", reason="no pm_counters: not an HPE Cray node"),))
    counters, refused = [], []
    for kind, number in _find_parts(folder):
        part = f"{kind}{number}_" if kind else ""
        try:
            counters.append(Counter(folder, part, _describe(folder, kind, number, part)))
        except (OSError, ValueError) as problem:
            refused.append(
                Unavailable(sensor="cray", reason=f"{part}energy cannot be read: {explain(problem)}")
            )
    if not counters and not refused:
        refused.append(Unavailable(sensor="cray", reason="pm_counters holds no energy"))
    return Opened(PmCounters(counters) if counters else None, tuple(refused))


def _find_parts(folder: Path) -> list[tuple[str, str]]:
    """Kind and number of each part; '' is the node. Where parts are numbered, their sum is left out."""
    names = sorted(path.name for path in folder.glob("*energy"))
    matches = (re.fullmatch(r"(?:(cpu|memory|accel)(\d*)_)?energy", name) for name in names)
    parts = [(match[1] or "", match[2] or "") for match in matches if match]
    numbered = {kind for kind, number in parts if number}
    return [(kind, number) for kind, number in parts if number or kind not in numbered]


def _describe(folder: Path, kind: str, number: str, part: str) -> Source:
    rate_hz = read_number(folder / "raw_scan_hz")
    return Source(
        name=f"{kind or 'node'} {number}".strip(),
        sensor="cray",
        covers=COVERS[kind],
        counter=True,
        counter_step_j=1.0,
        power="unspecified" if (folder / f"{part}power").exists() else None,
        update_s=1 / rate_hz if rate_hz else Missing(missing="raw_scan_hz does not tell"),
        limit_w=_read_limit(folder / f"{part}power_cap"),
    )


def _read_limit(path: Path) -> Reading:
    """In watts; 0 stands for no cap."""
    limit_w = read_number(path)
    if limit_w is None:
        return Missing(missing="no power_cap")
    return limit_w if limit_w > 0 else Missing(missing="no cap is set")
