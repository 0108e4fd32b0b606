"""What sampling power costs: CPU time of the sampler, its memory over an hour, and the training beside it.

Eight GPUs, those of the tests' stand-in for NVML: what the real driver costs comes on top, and is not hpcdl's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from instruments import make_row, start_worker, work
from startup import ROOT, Row

from tests.nvml.standin import Gpu, Scenario, Sine, build, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

GPUS, ROUNDS, WINDOW_S = 8, 9, 4.0
# Of one core; what memory may have grown by; and the ratio of steps per second, which is shown beside it.
CPU_TARGET, MEMORY_TARGET, SPEED_TARGET = 0.005, 1.02, 0.98
# A sampler imports, looks how often its meters change, and then is in its stride.
SETTLE_S = 4.0
HOUR = 36_000


def measure(rounds: int = ROUNDS) -> list[Row]:
    """CPU time over one core at 10 Hz, memory after an hour over that after a minute, steps/s with it over without."""
    with tempfile.TemporaryDirectory() as folder:
        found = _make_environment(Path(folder))
        with _sampler(found) as sampler:
            shares = [_measure_share(sampler.pid) for _ in range(rounds)]
            speeds = _compare_speeds(sampler, rounds)
        growth = _measure_growth(found)
    return [
        make_row("sampling: CPU time over one core, 8 GPUs at 10 Hz", shares, CPU_TARGET, at_most=True),
        make_row("sampling: memory after an hour over after a minute", [growth], MEMORY_TARGET, at_most=True),
        make_row("sampling: steps/s with it over without", speeds, SPEED_TARGET, at_most=False),
    ]


def _make_environment(folder: Path) -> dict[str, str]:
    gpus = tuple(Gpu(f"GPU-{place}", profile=Sine(400, 100, 7.0 + place)) for place in range(GPUS))
    scenario = Scenario(gpus).write(folder / "scenario")
    return os.environ | {"PYTHONPATH": str(ROOT)} | environment(build(folder), scenario)


@contextlib.contextmanager
def _sampler(found: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    argv = [sys.executable, "-m", "hpcdl.power.sampler", "--stdout"]
    with subprocess.Popen(argv, env=found, stdout=subprocess.DEVNULL) as sampler:
        time.sleep(SETTLE_S)
        try:
            yield sampler
        finally:
            sampler.send_signal(signal.SIGCONT)
            sampler.terminate()


def _measure_share(pid: int) -> float:
    begin_s, spent_s = time.monotonic(), _read_cpu_s(pid)
    time.sleep(WINDOW_S)
    return (_read_cpu_s(pid) - spent_s) / (time.monotonic() - begin_s)


def _read_cpu_s(pid: int) -> float:
    """User and system time of all its threads: by the scheduler's nanoseconds, where ticks would be too coarse."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9


def _compare_speeds(sampler: subprocess.Popen[bytes], rounds: int) -> list[float]:
    """Steps of a training rank while the sampler samples and while it is stopped, by turns (ABBA)."""
    reader, writer = os.pipe()
    with start_worker(writer) as worker:
        speeds = [_take_turns(sampler, worker) for _ in range(rounds)]
        worker.stdin.close()  # type: ignore[union-attr]
    os.close(reader)
    return speeds


def _take_turns(sampler: subprocess.Popen[bytes], worker: subprocess.Popen[str]) -> float:
    taken_s = {signal.SIGCONT: 0.0, signal.SIGSTOP: 0.0}
    for state in (signal.SIGCONT, signal.SIGSTOP, signal.SIGSTOP, signal.SIGCONT):
        sampler.send_signal(state)
        taken_s[state] += work(worker, "off")[0]
    return taken_s[signal.SIGSTOP] / taken_s[signal.SIGCONT]


GROWTH = """
import sys
from pathlib import Path
from hpcdl.durable import Appender
from hpcdl.power.registry import open_sensors
from hpcdl.power.sampler import Sampler

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])

sensors, _ = open_sensors(["nvml"])
sampler = Sampler(sensors, Appender(Path(sys.argv[1])), 0.1)
begin = 0
for look in range(int(sys.argv[2])):
    sampler.look()
    if look % 20 == 0:
        sampler._flush()
    if look == 600:
        begin = resident()
print(resident() / begin)
"""


def _measure_growth(found: dict[str, str]) -> float:
    """Resident memory after as many looks as an hour has, over that after a minute's; looked as fast as it goes."""
    with tempfile.TemporaryDirectory() as folder:
        argv = [sys.executable, "-c", GROWTH, str(Path(folder) / "power.jsonl"), str(HOUR)]
        done = subprocess.run(argv, env=found, check=True, capture_output=True, text=True)
    return float(done.stdout)
