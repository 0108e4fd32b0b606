"""Power meters of the board through the kernel's hwmon: ACPI meters, and with them those of NVIDIA Grace.

Grace names its meters by socket. What they hold is from NVIDIA's Grace Performance Tuning Guide, 'Power Telemetry':
'Module' is all of a Grace Hopper module, with GPU, memories and regulator losses; 'Grace' is the socket with its
memory (so this package includes what would be dram elsewhere); 'CPU' and 'SysIO' are rails inside of it, and are
used only where nothing around them is metered. GPUs, disks and batteries have hwmon meters too: not used here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.metering import Covers, Source, Unavailable
from hpcdl.power.sensor import Looked, Opened, missing, sensor_root
from hpcdl.power.sysfs import Attribute, explain, read_number, read_text
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HWMON = "sys/class/hwmon"
ACPI = "power_meter"
# The driver amd_energy (Linux 5.8 to 5.12) counts each socket apart.
AMD, AMD_SOCKET = "amd_energy", r"Esocket(\d+)"
# What a label covers, the outermost first: of one socket's meters that cover the same, the first is taken.
LABELS: tuple[tuple[str, Covers], ...] = (
    (r"Module Power Socket (\d+)", "module"),
    (r"(?:Grace|Total) Power Socket (\d+)", "package"),
    (r"CPU Power Socket (\d+)", "package"),
)


@dataclass(frozen=True)
class Channel:
    """One meter: its chip's name, its files' folder and prefix ('power1'), and its label, if it has one."""

    chip: str
    folder: Path
    prefix: str
    label: str

    def path(self, attribute: str) -> Path:
        return self.folder / f"{self.prefix}_{attribute}"


class Meter:
    """One source and the file that it is read from."""

    def __init__(self, source: Source, path: Path) -> None:
        """Opens the file.

        Raises:
            OSError: It may not be read.
        """
        self.source = source
        self._quantity = "energy_j" if source.counter else "power_w"
        self._file = Attribute(path)

    def look(self) -> Looked:
        """Microwatts or microjoules (Linux, Documentation/hwmon/sysfs-interface.rst) in watts or joules."""
        try:
            return {self._quantity: int(self._file.read()) * 1e-6}
        except (OSError, ValueError) as problem:
            return {self._quantity: missing(explain(problem))}

    def close(self) -> None:
        self._file.close()


class Hwmon:
    """All meters of this host that cover what we know."""

    def __init__(self, meters: Sequence[Meter]) -> None:
        self._meters = meters
        self.sources = tuple(meter.source for meter in meters)

    def look(self, *, closely: bool) -> dict[str, Looked]:  # noqa: ARG002 (it has nothing else)
        return {meter.source.name: meter.look() for meter in self._meters}

    def close(self) -> None:
        for meter in self._meters:
            meter.close()


def open_hwmon(root: Path | None = None) -> Opened:
    """The meters of sockets, modules and the node; none of them inside another that covers the same."""
    channels = _find_channels((sensor_root() if root is None else root) / HWMON)
    chosen = _choose_labelled(channels) + _choose_counters(channels)
    nodes = [channel for channel in channels if channel.chip == ACPI and not channel.label]
    if len(nodes) == 1:
        chosen.append(("node (ACPI)", "node", nodes[0]))
    meters, lacking = _open_meters(chosen)
    if len(nodes) > 1:
        lacking.append(
            _lack(f"{len(nodes)} ACPI meters without a label: which of them covers what is not known")
        )
    if not meters and not lacking:
        lacking.append(
            _lack("no meter of the node, a socket or a module", "an ACPI meter: modprobe acpi_power_meter")
        )
    return Opened(Hwmon(meters) if meters else None, tuple(lacking))


def _lack(reason: str, do: str = "") -> Unavailable:
    return Unavailable(sensor="hwmon", reason=reason, do=do)


def _find_channels(hwmon: Path) -> list[Channel]:
    """All meters of power and energy. Older drivers keep their files in the device's folder, not in hwmon's own."""
    found = []
    for chip in sorted(hwmon.glob("hwmon*")):
        for folder in (chip, chip / "device"):
            name = read_text(chip / "name") or read_text(folder / "name") or ""
            found += [
                Channel(name, folder, prefix, _read_label(folder, prefix))
                for prefix in _find_prefixes(folder)
            ]
    return found


def _find_prefixes(folder: Path) -> list[str]:
    names = [path.name for pattern in ("power*_*", "energy*_input") for path in folder.glob(pattern)]
    matches = (re.fullmatch(r"(power\d+|energy\d+)_(average|input)", name) for name in names)
    prefixes = {match[1] for match in matches if match}
    return sorted(prefix for prefix in prefixes if read_number(folder / f"{prefix}_is_battery") != 1)


def _read_label(folder: Path, prefix: str) -> str:
    """ACPI's meters carry theirs as OEM information."""
    return read_text(folder / f"{prefix}_label") or read_text(folder / f"{prefix}_oem_info") or ""


def _choose_labelled(channels: Sequence[Channel]) -> list[tuple[str, Covers, Channel]]:
    chosen: dict[tuple[Covers, str], tuple[str, Covers, Channel]] = {}
    for pattern, covers in LABELS:
        for channel in channels:
            match = re.fullmatch(pattern, channel.label, re.IGNORECASE)
            if match:
                chosen.setdefault((covers, match[1]), (channel.label, covers, channel))
    return list(chosen.values())


def _choose_counters(channels: Sequence[Channel]) -> list[tuple[str, Covers, Channel]]:
    found = [
        (re.fullmatch(AMD_SOCKET, channel.label), channel) for channel in channels if channel.chip == AMD
    ]
    return [(f"package {match[1]} ({AMD})", "package", channel) for match, channel in found if match]


def _open_meters(chosen: Sequence[tuple[str, Covers, Channel]]) -> tuple[list[Meter], list[Unavailable]]:
    meters, lacking = [], []
    for name, covers, channel in chosen:
        average = channel.path("average")
        path = average if average.exists() else channel.path("input")
        try:
            meters.append(Meter(_describe(name, covers, channel, averages=path == average), path))
        except OSError as problem:
            lacking.append(
                _lack(f"{name}: {path.name} cannot be read: {explain(problem)}", "ask the administrator")
            )
    return meters, lacking


def _describe(name: str, covers: Covers, channel: Channel, *, averages: bool) -> Source:
    source = Source(name=name, sensor="hwmon", covers=covers, limit_w=_read_limit(channel))
    if channel.prefix.startswith("energy"):
        return source.model_copy(update={"counter": True, "counter_step_j": 1e-6})
    if not averages:
        return source.model_copy(update={"power": "instant"})
    interval_ms = read_number(channel.path("average_interval"))
    averaging_s = Missing(missing="no average_interval") if interval_ms is None else interval_ms * 1e-3
    return source.model_copy(update={"power": "average", "averaging_s": averaging_s})


def _read_limit(channel: Channel) -> Reading:
    limit_uw = read_number(channel.path("cap"))
    return limit_uw * 1e-6 if limit_uw else Missing(missing="no cap is told")
