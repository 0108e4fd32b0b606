"""The clocks of a step: input, compute, exchange, update, without making the device wait to be timed."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch

from hpcdl.records import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcdl.worker.beacon import Beacon


class Clock(Protocol):
    """Told of each turn of a step; hands out the steps whose times are known."""

    def begin(self, step: int, *, warmup: bool) -> None:
        """A step begins, and with it the wait for input."""

    def have_input(self) -> None:
        """The batch is there; computing begins."""

    def gradient_ready(self) -> None:
        """One gradient was accumulated. The last one of a step ends its computing."""

    def exchanged(self) -> None:
        """Every gradient is the mean over all ranks; the update begins."""

    def updated(self, images: int, loss: torch.Tensor) -> None:
        """The step is over."""

    def finished(self, *, wait: bool = False) -> Iterator[Step]:
        """The steps whose times are known by now; with `wait`, all of them."""
        ...


def make_clock(device: torch.device, rank: int, parameters: int, beacon: Beacon) -> Clock:
    """CPU: the monotonic clock. GPU: CUDA events on the stream, read some steps later."""
    turns = Turns(beacon, parameters)
    return CudaClock(rank, turns) if device.type == "cuda" else CpuClock(rank, turns)


class Turns:
    """Shows on the beacon where a step is. Counts gradients: after the last one, the rank only waits."""

    def __init__(self, beacon: Beacon, parameters: int) -> None:
        self._beacon = beacon
        self._parameters = parameters
        self._ready = 0
        self.step = 0
        self.warmup = False

    def begin(self, step: int, *, warmup: bool) -> None:
        self.step, self.warmup, self._ready = step, warmup, 0
        self.show("input")

    def show(self, phase: str) -> None:
        self._beacon.show(self.step, phase)

    def gradient_ready(self) -> None:
        self._ready += 1
        if self._ready == self._parameters:
            self.show("exchange")


class CpuClock:
    """Everything happens when it is called, so the monotonic clock tells the phases."""

    def __init__(self, rank: int, turns: Turns) -> None:
        self._rank = rank
        self._turns = turns
        self._done: list[Step] = []
        self._begin = self._input = self._computed = self._exchanged = 0.0

    def begin(self, step: int, *, warmup: bool) -> None:
        self._turns.begin(step, warmup=warmup)
        self._begin = time.monotonic()

    def have_input(self) -> None:
        self._input = self._computed = time.monotonic()
        self._turns.show("compute")

    def gradient_ready(self) -> None:
        self._computed = time.monotonic()
        self._turns.gradient_ready()

    def exchanged(self) -> None:
        self._exchanged = time.monotonic()
        self._turns.show("update")

    def updated(self, images: int, loss: torch.Tensor) -> None:
        now = time.monotonic()
        self._done.append(
            Step(
                rank=self._rank,
                step=self._turns.step,
                warmup=self._turns.warmup,
                images=images,
                begin_s=self._begin,
                input_s=self._input - self._begin,
                compute_s=self._computed - self._input,
                exchange_s=self._exchanged - self._computed,
                update_s=now - self._exchanged,
                loss=finite(loss),
            )
        )

    def finished(self, *, wait: bool = False) -> Iterator[Step]:  # noqa: ARG002 (on a CPU all are known)
        done, self._done = self._done, []
        yield from done


def finite(loss: torch.Tensor) -> float | None:
    """The loss as a number; None where it is not one (diverged): JSON has no NaN, and zero would be a lie."""
    value = float(loss.detach())
    return value if -float("inf") < value < float("inf") else None


@dataclass
class _Marks:
    """The events of one step that is still under way on the device."""

    step: int
    warmup: bool
    begin_s: float
    images: int = 0
    loss: torch.Tensor | None = None
    events: dict[str, torch.cuda.Event] = field(default_factory=dict)

    def mark(self, name: str) -> None:
        # Recording an event again moves it: so the last gradient of a step is the one that counts.
        if name not in self.events:
            self.events[name] = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        self.events[name].record()

    def between_s(self, first: str, second: str) -> float:
        return _elapsed_s(self.events[first], self.events[second])

    def until_s(self, later: _Marks) -> float:
        """From the beginning of this step on the device to that of a later one."""
        return _elapsed_s(self.events["begin"], later.events["begin"])


def _elapsed_s(first: torch.cuda.Event, second: torch.cuda.Event) -> float:
    return max(0.0, float(first.elapsed_time(second)) / 1000.0)


class CudaClock:
    """Events on the stream mark the phases; they are read when the device has passed them, so nothing waits.

    The CPU runs ahead of the device, so a step begins where the device begins it: so much after the step before,
    by their events. The first step after all were waited for begins at once, and the CPU's clock tells when.
    """

    def __init__(self, rank: int, turns: Turns) -> None:
        self._rank = rank
        self._turns = turns
        self._open: deque[_Marks] = deque()
        self._before: _Marks | None = None

    def begin(self, step: int, *, warmup: bool) -> None:
        self._turns.begin(step, warmup=warmup)
        self._open.append(_Marks(step, warmup, time.monotonic()))
        self._open[-1].mark("begin")

    def have_input(self) -> None:
        self._turns.show("compute")
        self._open[-1].mark("input")

    def gradient_ready(self) -> None:
        self._open[-1].mark("computed")
        self._turns.gradient_ready()

    def exchanged(self) -> None:
        self._open[-1].mark("exchanged")
        self._turns.show("update")

    def updated(self, images: int, loss: torch.Tensor) -> None:
        marks = self._open[-1]
        marks.images = images
        marks.loss = loss.detach().to("cpu", non_blocking=True)
        marks.mark("end")

    def finished(self, *, wait: bool = False) -> Iterator[Step]:
        while self._open and "end" in self._open[0].events:
            marks = self._open[0]
            if wait:
                marks.events["end"].synchronize()
            elif not marks.events["end"].query():  # type: ignore[no-untyped-call]
                return
            self._open.popleft()
            yield self._read(marks)
        if wait:
            self._before = None

    def _read(self, marks: _Marks) -> Step:
        if self._before is not None:
            marks.begin_s = self._before.begin_s + self._before.until_s(marks)
        self._before = marks
        return Step(
            rank=self._rank,
            step=marks.step,
            warmup=marks.warmup,
            images=marks.images,
            begin_s=marks.begin_s,
            input_s=marks.between_s("begin", "input"),
            compute_s=marks.between_s("input", "computed"),
            exchange_s=marks.between_s("computed", "exchanged"),
            update_s=marks.between_s("exchanged", "end"),
            loss=finite(marks.loss) if marks.loss is not None else None,
        )
