"""Who else computes on this host: the CPU time of processes that are not of this job.

What the kernel counts beyond all processes that are seen belongs to some that have ended, or that are hidden from
this user (hidepid, a container of their own): it is somebody's all the same.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROC = Path("/proc")
KERNEL_THREAD = 0x00200000  # PF_KTHREAD in the kernel's sched.h
# Who used less is not worth a look at whose it is.
NOTABLE_CORES = 0.02
NAMED = 3


class Process(NamedTuple):
    """What /proc/PID/stat says of one: CPU seconds of its own so far, the clock tick of its start."""

    pid: int
    name: str
    parent: int
    start: int
    cpu_s: float


@dataclass(frozen=True)
class Foreign:
    """Cores kept busy by processes of others, and the busiest of them in words."""

    cores: Reading
    names: tuple[str, ...]


@dataclass(frozen=True)
class Scan:
    """All processes that can be seen, by pid and start, and what they and the kernel's own threads have used.

    `busy_s` is the CPU time of all that ever ran on this host, as the kernel counts it.
    """

    processes: Mapping[tuple[int, int], Process]
    kernel_s: float
    busy_s: Reading


def scan(proc: Path = PROC) -> Scan:
    """One look at all processes."""
    tick = os.sysconf("SC_CLK_TCK")
    found = [one for path in proc.iterdir() if path.name.isdigit() and (one := _read(path, tick))]
    return Scan(
        processes={(one.pid, one.start): one for one, is_kernel in found if not is_kernel},
        kernel_s=sum(one.cpu_s for one, is_kernel in found if is_kernel),
        busy_s=_read_busy(proc, tick),
    )


def _read(path: Path, tick: int) -> tuple[Process, bool] | None:
    """The process, and whether it is a thread of the kernel's."""
    try:
        text = (path / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None  # it has left meanwhile
    before, _, after = text.rpartition(")")
    fields = after.split()
    if len(fields) < 20:
        return None
    cpu_s = (int(fields[11]) + int(fields[12])) / tick
    process = Process(int(path.name), before.partition("(")[2], int(fields[1]), int(fields[19]), cpu_s)
    return process, bool(int(fields[6]) & KERNEL_THREAD)


def _read_busy(proc: Path, tick: int) -> Reading:
    """user, nice and system of all CPUs (man 5 proc); interrupts are nobody's."""
    try:
        first = (proc / "stat").read_text(encoding="ascii", errors="replace").partition("\n")[0].split()
        return sum(int(field) for field in first[1:4]) / tick
    except (OSError, ValueError):
        return Missing(missing="/proc/stat cannot be read")


def find_foreign(
    before: Scan,
    after: Scan,
    elapsed_s: float,
    *,
    proc: Path = PROC,
    own_pid: int | None = None,
) -> Foreign:
    """What processes that are not ours have used between two scans.

    Ours are this process and those above it, all that stems from the topmost of them that is hpcdl's, and whatever
    belongs to the same Slurm job.
    """
    own_pid = own_pid or os.getpid()
    unseen = _measure_unseen(before, after, elapsed_s)
    if isinstance(unseen, Missing):
        return Foreign(unseen, ())
    busy = list(_list_busy(before.processes, after.processes, elapsed_s))
    parents = {process.pid: process.parent for process in after.processes.values()}
    line = list(_climb(own_pid, parents))
    roots = [pid for pid in line if _runs_hpcdl(_read_text(proc, pid, "cmdline"))]
    root = roots[-1] if roots else own_pid
    job = _read_job(proc, own_pid)
    foreign = [
        (process, cores)
        for process, cores in busy
        if process.pid not in line
        and root not in _climb(process.pid, parents)
        and not (job and _read_job(proc, process.pid) == job)
    ]
    named = [(f"{one.name} (pid {one.pid})", cores) for one, cores in foreign]
    if unseen > NOTABLE_CORES:
        named.append(("processes that have ended or are hidden", unseen))
    named.sort(key=lambda pair: -pair[1])
    names = tuple(f"{name}: {cores:.2g} cores" for name, cores in named[:NAMED])
    return Foreign(unseen + sum(cores for _, cores in foreign), names)


def _measure_unseen(before: Scan, after: Scan, elapsed_s: float) -> Reading:
    """Cores kept busy by what neither scan has seen."""
    if isinstance(before.busy_s, Missing) or isinstance(after.busy_s, Missing):
        return before.busy_s if isinstance(before.busy_s, Missing) else after.busy_s
    seen_s = after.kernel_s - before.kernel_s
    for key, process in after.processes.items():
        earlier = before.processes.get(key)
        seen_s += process.cpu_s - (earlier.cpu_s if earlier else 0.0)
    return max(0.0, after.busy_s - before.busy_s - seen_s) / max(elapsed_s, 1e-9)


def _runs_hpcdl(cmdline: str) -> bool:
    """The program itself: a shell or an editor in a folder of that name is somebody's, and so is all below it."""
    words = cmdline.split("\0")
    module = any(one == "-m" and other.split(".")[0] == "hpcdl" for one, other in pairwise(words))
    return module or any(Path(word).name == "hpcdl" for word in words[:2])


def _list_busy(
    before: Mapping[tuple[int, int], Process], after: Mapping[tuple[int, int], Process], elapsed_s: float
) -> Iterator[tuple[Process, float]]:
    for key, process in after.items():
        earlier = before.get(key)
        cores = (process.cpu_s - (earlier.cpu_s if earlier else 0.0)) / max(elapsed_s, 1e-9)
        if cores > NOTABLE_CORES:
            yield process, cores


def _climb(pid: int, parents: Mapping[int, int]) -> Iterator[int]:
    """A process and those above it, up to the one below pid 1."""
    seen: set[int] = set()
    while pid > 1 and pid not in seen:
        yield pid
        seen.add(pid)
        pid = parents.get(pid, 0)


def _read_text(proc: Path, pid: int, name: str) -> str:
    try:
        return (proc / str(pid) / name).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _read_job(proc: Path, pid: int) -> str | None:
    """The Slurm job of a process; only those of the same user can be asked."""
    entries = _read_text(proc, pid, "environ").split("\0")
    return next((entry for entry in entries if entry.startswith("SLURM_JOB_ID=")), None)
