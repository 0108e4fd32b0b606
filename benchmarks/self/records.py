"""How a report copes with many ranks: memory and time for the step records of a simulated launch of 8,192.

Each analysis is a process of its own; its CPU time and its largest resident set are what the kernel says of it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from startup import ROOT, Row, median_interval

RANKS, HOST_RANKS = 8192, 64
FEW, MANY = 100, 1000
ROUNDS = 3
# Ten times the steps may cost eleven times as much, and all of it has to fit into 2 GB.
TIME_TARGET, MEMORY_TARGET_BYTES = 11.0, 2e9

ANALYSE = """
import resource, sys, time
from pathlib import Path
from hpcdl.analysis.launch import analyse_launch
from hpcdl.store import LaunchFolder
begin_s = time.process_time()
launch = analyse_launch(LaunchFolder(Path(sys.argv[1])))
assert launch.interval is not None, launch.images_per_s
print(time.process_time() - begin_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def measure(rounds: int = ROUNDS) -> list[Row]:
    """Cost of 1,000 steps over 100, and memory over 2 GB."""
    with tempfile.TemporaryDirectory() as text:
        few, many = (_simulate(Path(text), steps) for steps in (FEW, MANY))
        costs, memories = [], []
        for _ in range(rounds):
            few_s, _ = _analyse(few)
            many_s, memory = _analyse(many)
            costs.append(many_s / few_s)
            memories.append(memory / MEMORY_TARGET_BYTES)
    name = f"records: analysis of {RANKS:,} ranks"
    return [
        _row(f"{name}, {MANY:,} steps over {FEW}", costs, TIME_TARGET),
        _row(f"{name}, memory over 2 GB", memories, 1.0),
    ]


def _simulate(root: Path, steps: int) -> Path:
    """The records of a launch that completed, in a process of its own: making them is not what is measured."""
    program = str(Path(__file__).with_name("records_maker.py"))
    folder = root / f"{steps}-steps"
    argv = [sys.executable, program, str(folder), str(RANKS), str(HOST_RANKS), str(steps)]
    subprocess.run(argv, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    return folder


def _analyse(folder: Path) -> tuple[float, float]:
    """CPU seconds and bytes."""
    argv = [sys.executable, "-c", ANALYSE, str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, check=True, capture_output=True, text=True, env=environment)
    seconds, memory = map(float, done.stdout.split())
    return seconds, memory


def _row(name: str, values: list[float], target: float) -> Row:
    low, high = median_interval(values)
    ratio = statistics.median(values)
    return Row(name=name, ratio=ratio, low=low, high=high, target=target, met=ratio <= target)
