"""How busy the CPU's cores are: the share of time in which any thread of a core computed, by the kernel's count."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from hpcdl.power.cpuinfo import read_cores
from hpcdl.power.sysfs import Attribute, explain

if TYPE_CHECKING:
    from pathlib import Path

STAT = "proc/stat"
# Room for the lines of some thousand CPUs: they come first in that file.
STAT_BYTES = 1 << 17
# The kernel counts in ticks (USER_HZ, 100 a second). Over fewer of them a share would be a coin toss.
FEWEST_TICKS = 5
# On a node of many CPUs the file is long: it is read once a second at most.
RENEW_S = 1.0
NOTHING_YET = "nothing to compare with yet"

# Busy and all ticks of each CPU.
Ticks = dict[int, tuple[int, int]]


class Utilisation:
    """Busy share since the last time that it was asked, once enough ticks have passed; until then the last one."""

    def __init__(self, root: Path) -> None:
        """Opens proc/stat.

        Raises:
            OSError: It may not be read.
        """
        self._file = Attribute(root / STAT, STAT_BYTES)
        self._last = parse_stat(self._file.read())
        self._cores = read_cores(root, sorted(self._last))
        self._share: float | str = NOTHING_YET
        self._due_s = 0.0

    def ask(self) -> float | str:
        """A share of one, or why there is none.

        Threads of one core share what it can compute, and it draws nearly as much for one as for both: a core is as
        busy as the busiest of its threads.
        """
        now_s = time.monotonic()
        if now_s < self._due_s:
            return self._share
        self._due_s = now_s + RENEW_S
        try:
            now = parse_stat(self._file.read())
        except OSError as problem:
            return f"{STAT}: {explain(problem)}"
        if not self._cores:
            return f"{STAT} shows no CPU"
        passed = sum(now[cpu][1] - self._last[cpu][1] for cpu in now.keys() & self._last.keys())
        if passed >= FEWEST_TICKS * len(now) > 0:
            self._share = share_busy(self._last, now, self._cores)
            self._last = now
        return self._share

    def close(self) -> None:
        self._file.close()


def parse_stat(text: str) -> Ticks:
    """The lines 'cpu0 user nice system idle iowait irq softirq steal …'; whatever else there is, is left out.

    Time that a hypervisor gave to others (steal) is idle: this machine drew nothing in it.
    """
    ticks = {}
    # The CPUs come first; the line of interrupts after them has a number for each, and takes longest to split.
    for line in text.partition("\nintr")[0].splitlines():
        name, *words = line.split() or [""]
        number = name.removeprefix("cpu")
        if (
            name != number
            and number.isdecimal()
            and len(words) >= 4
            and all(word.isdecimal() for word in words)
        ):
            counts = [int(word) for word in words[:8]]
            idle = sum(counts[3:5]) + sum(counts[7:8])
            ticks[int(number)] = (sum(counts) - idle, sum(counts))
    return ticks


def share_busy(before: Ticks, now: Ticks, cores: list[tuple[int, ...]]) -> float:
    """The mean over the cores of their busiest thread's busy share, between 0 and 1; a CPU that is off is idle."""
    return sum(max(_share(before, now, cpu) for cpu in core) for core in cores) / len(cores)


def _share(before: Ticks, now: Ticks, cpu: int) -> float:
    if cpu not in before or cpu not in now:
        return 0.0
    passed = now[cpu][1] - before[cpu][1]
    # Counts of idle time may go back a little (proc(5)).
    return min(1.0, max(0.0, (now[cpu][0] - before[cpu][0]) / passed)) if passed > 0 else 0.0
