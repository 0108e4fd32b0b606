"""Is this machine ours? Others' work does not slow two engines alike: one that wakes often wins the scheduler."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil

from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Of all cores. Below it, taking turns (ABBA) and the median deal with others.
TOLERATED = 0.05
LOOK_S = 2.0
PATIENCE_S = 900.0


class Onlooker:
    """How much of the machine somebody else used, since it was made.

    Args:
        own: Processes whose work is not somebody else's.
    """

    def __init__(self, own: Sequence[int]) -> None:
        self._own = [psutil.Process(number) for number in own]
        self._began_s = time.monotonic()
        self._busy_s, self._own_s = self._read_s()

    def others(self) -> float:
        """The share of all cores, from 0 to 1."""
        busy_s, own_s = self._read_s()
        elapsed_s = time.monotonic() - self._began_s
        return (busy_s - self._busy_s - (own_s - self._own_s)) / elapsed_s / (psutil.cpu_count() or 1)

    def _read_s(self) -> tuple[float, float]:
        times = psutil.cpu_times()
        own = [process.cpu_times() for process in self._own]
        return sum(times) - times.idle - times.iowait, sum(one.user + one.system for one in own)


def undisturbed(measure: Callable[[], float], own: Sequence[int], count: int) -> list[float]:
    """As many readings as asked for, each taken while nobody else worked; others are thrown away and repeated.

    Raises:
        Mistake: The machine did not become quiet in a quarter of an hour.
    """
    readings: list[float] = []
    waiting_since_s = time.monotonic()
    while len(readings) < count:
        if time.monotonic() - waiting_since_s > PATIENCE_S:
            raise Mistake(
                f"others have been using this machine for {PATIENCE_S / 60:.0f} minutes.",
                do="Run this bench where nothing else runs: only there do its ratios say something.",
            )
        if not _is_quiet(own):
            continue
        onlooker = Onlooker(own)
        reading = measure()
        if onlooker.others() <= TOLERATED:
            readings.append(reading)
            waiting_since_s = time.monotonic()
    return readings


def _is_quiet(own: Sequence[int]) -> bool:
    onlooker = Onlooker(own)
    time.sleep(LOOK_S)
    return onlooker.others() <= TOLERATED
