"""Whether anybody works on this machine: how busy its CPUs and GPUs are, and who keeps them so."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpcdl.metering import Opening, Sample

PROC = Path("/proc")
# Idle is what keeps less than this share of all CPUs busy, or of a GPU's time.
BUSY_CPUS, BUSY_GPU = 0.10, 0.05
LOOK_S = 1.0
SMI = ("nvidia-smi", "--query-compute-apps=gpu_uuid,pid,process_name", "--format=csv,noheader")
SMI_TIMEOUT_S = 20.0
# Who used less is not worth naming.
NOTABLE_CORES, NAMED = 0.02, 3


@dataclass(frozen=True)
class Look:
    """All CPUs since the kernel's start, in ticks; and each process that can be seen: name and its CPU ticks."""

    busy: int
    all: int
    processes: Mapping[int, tuple[str, int]]


@dataclass(frozen=True)
class Use:
    """The share of all CPUs that was busy, of one, and the busiest processes in words."""

    share: float
    names: tuple[str, ...]

    @property
    def by(self) -> str:
        """Who it was, for a sentence."""
        return ", ".join(self.names) or "processes that have ended or cannot be seen from here"


def look(proc: Path = PROC) -> Look:
    """One look at /proc.

    Raises:
        OSError: It cannot be read.
    """
    # proc(5): user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already.
    words = (proc / "stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:9]
    counts = [int(word) for word in words]
    # What a hypervisor gave to others (steal) is not ours.
    idle = sum(counts[3:5]) + sum(counts[7:8])
    paths = (path for path in proc.iterdir() if path.name.isdigit())
    read = ((int(path.name), _read_process(path)) for path in paths)
    return Look(sum(counts) - idle, sum(counts), {pid: found for pid, found in read if found is not None})


def _read_process(path: Path) -> tuple[str, int] | None:
    """Name and CPU ticks; None where it has ended meanwhile."""
    try:
        before, _, after = (path / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")
    except OSError:
        return None
    fields = after.split()
    return (before.partition("(")[2], int(fields[11]) + int(fields[12])) if len(fields) > 12 else None


def compare(before: Look, after: Look) -> Use:
    """What was in use between two looks; this process does not count among the busiest."""
    passed = max(after.all - before.all, 1)
    cpus = os.cpu_count() or 1
    used = {
        pid: (name, (ticks - before.processes.get(pid, (name, 0))[1]) / passed * cpus)
        for pid, (name, ticks) in after.processes.items()
        if pid != os.getpid()
    }
    busiest = sorted(used.items(), key=lambda item: item[1][1], reverse=True)[:NAMED]
    names = tuple(
        f"{name} (process {pid}, {cores:.2f} cores)"
        for pid, (name, cores) in busiest
        if cores >= NOTABLE_CORES
    )
    return Use(max(0.0, (after.busy - before.busy) / passed), names)


def watch(seconds: float = LOOK_S) -> Use:
    """What is in use for so long from now on."""
    before = look()
    time.sleep(seconds)
    return compare(before, look())


def find_busy_cpus(use: Use) -> str | None:
    """Who keeps the CPUs busy, for a sentence; None where nobody does."""
    if use.share <= BUSY_CPUS:
        return None
    return f"{100 * use.share:.0f} % of its CPUs are busy: {use.by}"


def name_gpus(opening: Opening) -> tuple[str, ...]:
    """UUIDs of the GPUs that are looked at, and their names where they have none."""
    return tuple(source.uuid or source.name for source in opening.sources if source.covers == "gpu")


def find_busy_gpus(opening: Opening, sample: Sample) -> str | None:
    """Who keeps a GPU busy at this look; None where nobody does, or where it does not tell."""
    shares: dict[str, Reading] = {}
    for source in opening.sources:
        seen = sample.looks.get(source.name)
        if source.covers == "gpu" and seen is not None and seen.utilisation is not None:
            shares[source.uuid or source.name] = seen.utilisation
    return describe_busy_gpus(shares)


def describe_busy_gpus(shares: Mapping[str, Reading]) -> str | None:
    """The same for utilisations, of one, by UUID."""
    busy = {
        gpu: share for gpu, share in shares.items() if not isinstance(share, Missing) and share > BUSY_GPU
    }
    if not busy:
        return None
    told = ", ".join(f"{gpu} is {100 * share:.0f} % busy" for gpu, share in busy.items())
    names = _name_gpu_processes(set(busy))
    return f"{told}: {', '.join(names) if names else 'nvidia-smi shows no process of it'}"


def _name_gpu_processes(gpus: set[str]) -> list[str]:
    if shutil.which(SMI[0]) is None:
        return []
    try:
        done = subprocess.run(
            SMI, capture_output=True, text=True, errors="replace", timeout=SMI_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    found = [[word.strip() for word in line.split(",", 2)] for line in done.stdout.splitlines()]
    return [f"{line[2]} (process {line[1]})" for line in found if len(line) == 3 and line[0] in gpus]
