"""What the kernel holds this process to: CPU quota and memory, and for how long it has held it back.

cgroups of both versions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Iterator

PROC = Path("/proc/self")
NO_QUOTA = Missing(missing="no CPU quota is set")
NO_LIMIT = Missing(missing="no memory limit is set")
NO_LIMIT_BYTES = 2**60


@dataclass(frozen=True)
class Quota:
    """The tightest of a process' quotas, and how long its cgroup has been held back so far."""

    cores: Reading
    throttled_s: Reading


def read_quota(proc: Path = PROC) -> Quota:
    """The CPU quota over this process' cgroup and all above it that can be seen.

    In a container the path that the kernel names may lead outside of what is mounted: then only what is there counts.
    """
    found = [
        quota for folder in _find_folders(proc) for quota in (_read_v2(folder), _read_v1(folder)) if quota
    ]
    if not found:
        absent = Missing(missing="no CPU cgroup of this process can be read")
        return Quota(absent, absent)
    limited = [quota for quota in found if not isinstance(quota.cores, Missing)]
    if limited:
        return min(limited, key=lambda quota: quota.cores if not isinstance(quota.cores, Missing) else 0)
    return found[0]


def read_memory_limit(proc: Path = PROC) -> Reading:
    """Bytes: the tightest memory limit of this process' cgroup and all above it that can be seen.

    Version 1 has no word for 'none': there it is the highest multiple of a page below 2^63.
    """
    found = [
        text
        for folder in _find_folders(proc, "memory")
        for name in ("memory.max", "memory.limit_in_bytes")
        for text in _read_lines(folder / name)[:1]
    ]
    if not found:
        return Missing(missing="no memory cgroup of this process can be read")
    limits = [int(text) for text in found if text.isdigit() and int(text) < NO_LIMIT_BYTES]
    return float(min(limits)) if limits else NO_LIMIT


def _find_folders(proc: Path, controller: str = "cpu") -> Iterator[Path]:
    """The folders of this process' cgroup of a controller, the innermost first."""
    mounts = dict(_read_mounts(proc))
    for line in _read_lines(proc / "cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        # Version 2 names no controllers.
        mount = mounts.get(
            "cgroup2" if not controllers else controller if controller in controllers.split(",") else ""
        )
        if mount is None:
            continue
        parts = [part for part in path.split("/") if part not in {"", ".."}]
        for depth in range(len(parts), -1, -1):
            folder = mount.joinpath(*parts[:depth])
            if folder.is_dir():
                yield folder


def _read_mounts(proc: Path) -> Iterator[tuple[str, Path]]:
    """'cgroup2' and the controllers of version 1 -> where they are mounted (man 5 proc, mountinfo)."""
    for line in _read_lines(proc / "mountinfo"):
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2":
            yield "cgroup2", Path(fields[4])
        elif kind[0] == "cgroup":
            yield from ((controller, Path(fields[4])) for controller in kind[2].split(","))


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _read_v2(folder: Path) -> Quota | None:
    """cpu.max: 'quota period' in microseconds, or 'max'; cpu.stat: throttled_usec. The root has neither."""
    lines = _read_lines(folder / "cpu.max")
    if not lines:
        return None
    quota, _, period = lines[0].partition(" ")
    cores: Reading = NO_QUOTA if quota == "max" else int(quota) / int(period or 100_000)
    return Quota(cores, _read_throttled(folder, "throttled_usec", 1e-6))


def _read_v1(folder: Path) -> Quota | None:
    """cpu.cfs_quota_us (-1: none) over cpu.cfs_period_us; cpu.stat: throttled_time in nanoseconds."""
    quota, period = _read_lines(folder / "cpu.cfs_quota_us"), _read_lines(folder / "cpu.cfs_period_us")
    if not quota or not period:
        return None
    cores: Reading = NO_QUOTA if int(quota[0]) < 0 else int(quota[0]) / int(period[0])
    return Quota(cores, _read_throttled(folder, "throttled_time", 1e-9))


def _read_throttled(folder: Path, key: str, unit_s: float) -> Reading:
    for line in _read_lines(folder / "cpu.stat"):
        name, _, value = line.partition(" ")
        if name == key:
            return int(value) * unit_s
    return Missing(missing="the kernel does not count throttling here")
