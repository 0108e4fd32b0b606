"""How much of this machine a training step uses, and how much faster it is than a plain PyTorch loop.

Each side of a comparison is a process of its own (settings of memory and threads belong to a process) that
waits while the other works. The steps hold everything: forward, cross entropy, backward, update. The images
are random and made once. The yardsticks run in turn with the steps (yardstick, step, step, yardstick), so
that a machine that others slow down slows both.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from startup import Row, median_interval

from hpcdl import networks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 5
# The plain loop's steps vary the most: what its page faults cost depends on the machine's other tenants.
PLAIN_ROUNDS = 9
THREADS = 2
# Side of the square matrices whose product stands for the machine's fp32 FLOP/s, and products a reading.
MATRIX_SIDE = 4096
PRODUCTS = 3
# Steps until the heap has stopped growing: memory touched for the first time costs a step up to a third.
WARM_UP = 8


@dataclass(frozen=True)
class Question:
    """Network and batch, the share of the machine that a step should reach, and the speed-up over plain."""

    network: str
    batch: int
    share: float
    speed_up: float | None


QUESTIONS = (Question("alexnet", 128, 0.65, 2.0), Question("overfeat", 32, 0.75, None))


class Worker:
    """A process that carries out one kind of work whenever it is told to."""

    def __init__(self, *words: str) -> None:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("compute_worker.py")), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a worker has no pipes")
        self._process, self._ask, self._hear = process, process.stdin, process.stdout

    def time_s(self) -> float:
        """Seconds that one piece of work took, on the worker's clock."""
        self._ask.write("go\n")
        self._ask.flush()
        answer = self._hear.readline()
        if not answer:
            raise RuntimeError(f"a worker left with {self._process.wait()}")
        return float(answer)

    def close(self) -> None:
        self._process.communicate()


@contextlib.contextmanager
def working(*words: str) -> Iterator[Worker]:
    """A worker that has done its warm-up."""
    worker = Worker(*words)
    try:
        for _ in range(WARM_UP):
            worker.time_s()
        yield worker
    finally:
        worker.close()


def measure() -> list[Row]:
    """Every question's share of the matrix product's FLOP/s, and its speed-up where one is asked for."""
    rows: list[Row] = []
    for question in QUESTIONS:
        size = (question.network, str(question.batch), str(THREADS))
        with working("hpcdl", *size) as ours:
            rows.append(_share(question, ours))
            if question.speed_up:
                with working("plain", *size) as plain:
                    ratios = [paired(plain, ours) for _ in range(PLAIN_ROUNDS)]
                name = f"compute: {question.network}, batch {question.batch}, over a plain PyTorch loop"
                rows.append(row(name, question.speed_up, ratios))
    return rows


def _share(question: Question, ours: Worker) -> Row:
    flops = networks.find(question.network).train_flops * question.batch
    with working("matrix", str(MATRIX_SIDE), str(PRODUCTS), str(THREADS)) as matrix:
        scale = flops / (2 * MATRIX_SIDE**3 * PRODUCTS)
        shares = [scale * paired(matrix, ours) for _ in range(ROUNDS)]
    return row(
        f"compute: {question.network}, batch {question.batch}, over a matrix product", question.share, shares
    )


def paired(yardstick: Worker, ours: Worker) -> float:
    """The yardstick's seconds over ours, in the order ABBA."""
    a, b, c, d = yardstick.time_s(), ours.time_s(), ours.time_s(), yardstick.time_s()
    return (a + d) / (b + c)


def row(name: str, target: float, ratios: Sequence[float]) -> Row:
    """The median with its interval; the target is a least value."""
    low, high = median_interval(ratios)
    ratio = statistics.median(ratios)
    return Row(name=name, ratio=ratio, low=low, high=high, target=target, met=ratio >= target)
