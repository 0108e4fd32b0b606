"""What measuring costs: a training step that is clocked and recorded over one that is not, and the CPU time of it.

The rank is the product's own Trainer; what it says goes down a pipe to a supervisor's own reading and writing, here
in this process, whose CPU time is what the instruments cost beside the rank.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from startup import ROOT, Row, median_interval

from hpcdl.durable import Appender
from hpcdl.worker.reporter import Stepped, parse_message

if TYPE_CHECKING:
    from collections.abc import Sequence

ROUNDS = 9
# Of window x cores; and the ratio of steps per second, which is shown beside it.
CPU_TARGET, SPEED_TARGET = 0.005, 0.98
FLUSH_S = 2.0
# Until the recorder has read what the rank has said.
SETTLE_S = 0.2


class Recorder(threading.Thread):
    """What a supervisor does with the steps of its rank, and how much CPU time that took."""

    def __init__(self, pipe: int, stream: Path) -> None:
        super().__init__(daemon=True)
        self._pipe = pipe
        self._stream = Appender(stream)
        self.cpu_s = 0.0

    def run(self) -> None:
        flushed_s, torn = time.monotonic(), b""
        while data := os.read(self._pipe, 1 << 20):
            *lines, torn = (torn + data).split(b"\n")
            for line in lines:
                message = parse_message(line)
                if isinstance(message, Stepped):
                    self._stream.add(message.step)
            if time.monotonic() - flushed_s > FLUSH_S:
                self._stream.flush()
                flushed_s = time.monotonic()
            self.cpu_s = time.thread_time()


def measure(rounds: int = ROUNDS) -> list[Row]:
    """CPU time of the instruments over window x cores, and steps per second with them over without (ABBA)."""
    reader, writer = os.pipe()
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(reader, Path(folder) / "steps.jsonl")
        recorder.start()
        with start_worker(writer) as worker:
            speeds, shares = _take_turns(worker, recorder, rounds)
    return [
        make_row("instruments: CPU time over window x cores", shares, CPU_TARGET, at_most=True),
        make_row("instruments: steps/s with them over without", speeds, SPEED_TARGET, at_most=False),
    ]


def start_worker(pipe: int) -> subprocess.Popen[str]:
    """A rank that trains as it is told (`work`), and says to this pipe what a rank says; the end here is closed."""
    worker = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("instruments_worker.py")), str(pipe)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=[pipe],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    os.close(pipe)
    return worker


def _take_turns(
    worker: subprocess.Popen[str], recorder: Recorder, rounds: int
) -> tuple[list[float], list[float]]:
    speeds, shares = [], []
    cores = len(os.sched_getaffinity(0))
    for _ in range(rounds):
        windows: dict[str, list[tuple[float, float]]] = {"on": [], "off": []}
        for mode in ("on", "off", "off", "on"):
            windows[mode].append(work(worker, mode))
        (on_s, off_s) = (sum(elapsed_s for elapsed_s, _ in windows[mode]) for mode in ("on", "off"))
        speeds.append(off_s / on_s)
        before_s = recorder.cpu_s
        bare_s = sum(work(worker, "bare")[1] for _ in windows["on"])
        time.sleep(SETTLE_S)
        shares.append((bare_s + recorder.cpu_s - before_s) / (on_s * cores))
    return speeds, shares


def work(worker: subprocess.Popen[str], mode: str) -> tuple[float, float]:
    """Seconds and CPU seconds of one window."""
    if worker.stdin is None or worker.stdout is None:
        raise RuntimeError("the worker has no pipes")
    worker.stdin.write(f"{mode}\n")
    worker.stdin.flush()
    elapsed_s, cpu_s = map(float, worker.stdout.readline().split())
    return elapsed_s, cpu_s


def make_row(name: str, values: Sequence[float], target: float, *, at_most: bool) -> Row:
    """The median of ratios with its interval, held to a target; a single one is its own."""
    low, high = median_interval(values) if len(values) > 1 else (values[0], values[0])
    ratio = statistics.median(values)
    met = ratio <= target if at_most else ratio >= target
    return Row(name=name, ratio=ratio, low=low, high=high, target=target, met=met)
