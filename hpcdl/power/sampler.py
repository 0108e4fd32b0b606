"""The sampler of one node: `python -m hpcdl.power.sampler LAUNCH_DIR`, in a step of its own beside the ranks'.

It looks at every source of the node at a steady pace and writes down what it saw, until it is told to end. Nothing
that a sensor does may end it. With --stdout it writes to standard output instead, for whoever started it.
"""

from __future__ import annotations

import argparse
import gc
import math
import os
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, get_args

import numpy as np

from hpcdl import site as sites
from hpcdl.durable import Appender, encode_line
from hpcdl.errors import HpcdlError
from hpcdl.estimates.integral import find_update_period
from hpcdl.metering import PERIOD_S, Closing, Opening, Source, Unavailable
from hpcdl.power.registry import open_sensors
from hpcdl.power.sensor import missing
from hpcdl.power.sysfs import read_text
from hpcdl.records import Missing, Reading
from hpcdl.spec import SensorName
from hpcdl.store import LaunchFolder, RunFolder
from hpcdl.worker.rank import ask_for_signal_when_parent_dies
from hpcdl.worker.rescue import rescue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hpcdl.frozen import Frozen
    from hpcdl.power.sensor import Looked, Sensor
    from hpcdl.site import Power

FLUSH_S = 2.0
# Clocks, temperatures and utilisations change slowly, and asking for them takes longer than for power.
CLOSELY_S = 1.0
# How long, and how often, it is looked how often each source changes: as fast as sensors are that are worth reading.
UPDATES_S, UPDATES_PERIOD_S = 1.0, 0.002
ENDING = {signal.SIGTERM, signal.SIGINT, signal.SIGUSR2}


class Sink(Protocol):
    """Where the lines go."""

    def add(self, record: Frozen | dict[str, object]) -> None:
        """Take a line."""

    def flush(self) -> None:
        """Make what was taken safe."""


class Output:
    """Lines to standard output."""

    def add(self, record: Frozen | dict[str, object]) -> None:
        sys.stdout.buffer.write(encode_line(record))

    def flush(self) -> None:
        sys.stdout.flush()


@dataclass(frozen=True)
class Asked:
    """What is to be sampled: sensors by name, how often, what the site knows, and where it goes."""

    sensors: tuple[str, ...]
    period_s: float
    power: Power
    sink: Sink


class Sampler:
    """Looks at sensors, again and again."""

    def __init__(self, sensors: Sequence[Sensor], sink: Sink, period_s: float) -> None:
        self._sensors = sensors
        self._sink = sink
        self._period_s = period_s
        self._flushed_s = self._closely_s = -math.inf
        self._problem: OSError | None = None

    def run(self, opening: Opening, ending: Ending, *, seconds: float | None = None) -> None:
        """From the opening line to the closing one: until a signal asks for the end, or for so many seconds."""
        self._sink.add(opening)
        # All that was imported stays: to look through it again and again would cost more than the looks do.
        gc.freeze()
        begin_s = next_s = time.monotonic()
        reason = "as long as was asked"
        while seconds is None or time.monotonic() - begin_s < seconds:
            self.look()
            next_s = max(next_s + self._period_s, time.monotonic())
            told = ending.wait(next_s - time.monotonic())
            if told is not None:
                reason = f"told by {told.name}"
                break
        # The last look lies behind the window whose end it has to bound.
        self.look()
        self._sink.add(Closing(at_s=time.monotonic(), reason=reason))
        self._flush()
        if self._problem and isinstance(self._sink, Appender):
            rescue({self._sink.path: self._sink.pending}, self._problem)

    def look(self) -> None:
        """One look at everything."""
        begin_s = time.monotonic()
        closely = begin_s - self._closely_s >= CLOSELY_S
        if closely:
            self._closely_s = begin_s
        looks = look_at(self._sensors, closely=closely)
        took_s = time.monotonic() - begin_s
        # In the middle of the looking, which is what a reading is nearest to.
        self._sink.add({"kind": "sample", "at_s": begin_s + took_s / 2, "took_s": took_s, "looks": looks})
        if begin_s - self._flushed_s >= FLUSH_S:
            self._flush()

    def _flush(self) -> None:
        self._flushed_s = time.monotonic()
        # A full disk may have room again later: what is pending stays pending.
        try:
            self._sink.flush()
        except OSError as problem:
            self._problem = problem
        else:
            self._problem = None


def look_at(sensors: Iterable[Sensor], *, closely: bool) -> dict[str, Looked]:
    """One look at all sources of all sensors; a sensor that breaks is missing, and ends nothing."""
    looks: dict[str, Looked] = {}
    for sensor in sensors:
        try:
            looks.update(sensor.look(closely=closely))
        except Exception as problem:  # noqa: BLE001 (whatever a driver made of it)
            why = missing(f"{type(problem).__name__}: {problem}")
            looks.update({source.name: {"energy_j": why, "power_w": why} for source in sensor.sources})
    return looks


class Ending:
    """Hears the signals that ask for the end, whichever thread the kernel hands them to.

    To block them and wait would lose some: numpy has started its threads by now, and what comes while the main
    thread looks at sensors would go to one of those, where nothing is blocked, and kill the process.
    """

    def __init__(self) -> None:
        self._reader, writer = os.pipe()
        os.set_blocking(writer, False)
        for number in ENDING:
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(writer)

    def wait(self, seconds: float) -> signal.Signals | None:
        """Sleep, or wake up because one of ENDING came, or had come before."""
        readable, _, _ = select.select([self._reader], [], [], max(0.0, seconds))
        return signal.Signals(os.read(self._reader, 1)[0]) if readable else None


def measure_updates(sensors: Sequence[Sensor], *, seconds: float = UPDATES_S) -> tuple[Source, ...]:
    """The sources, each with how often its readings change: seconds, or why that is not known."""
    seen: list[tuple[float, Mapping[str, Looked]]] = []
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        seen.append((time.monotonic(), look_at(sensors, closely=False)))
        time.sleep(UPDATES_PERIOD_S)
    return tuple(_with_update(source, seen, seconds) for one in sensors for source in one.sources)


def _with_update(
    source: Source, seen: Sequence[tuple[float, Mapping[str, Looked]]], seconds: float
) -> Source:
    first = "energy_j" if source.counter else "power_w"
    found = {"update_s": _find_period(source.name, first, seen, source.update_s, seconds)}
    if source.counter and source.power is not None:
        known = source.power_update_s
        found["power_update_s"] = _find_period(source.name, "power_w", seen, known, seconds)
    return source.model_copy(update=found)


def _find_period(
    name: str,
    quantity: str,
    seen: Sequence[tuple[float, Mapping[str, Looked]]],
    known: Reading,
    seconds: float,
) -> Reading:
    values = np.array([_number(looks.get(name, {}).get(quantity)) for _, looks in seen])
    period_s = find_update_period(np.array([at_s for at_s, _ in seen]), values)
    if period_s is not None:
        return period_s
    # What the sensor knows by itself still holds.
    absent = Missing(missing=f"its readings did not change often enough in {seconds:g} s")
    return absent if isinstance(known, Missing) else known


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def begin(asked: Asked) -> tuple[list[Sensor], Opening]:
    """Open the sensors of this host and say what there is.

    Raises:
        Mistake: A sensor that nobody knows.
    """
    opened, unavailable = _open(asked)
    return opened, Opening(
        host=socket.gethostname(),
        boot_id=read_text(Path("/proc/sys/kernel/random/boot_id")) or "unknown",
        at_s=time.monotonic(),
        period_s=asked.period_s,
        sources=measure_updates(opened) if opened else (),
        unavailable=tuple(unavailable),
    )


def _open(asked: Asked) -> tuple[list[Sensor], list[Unavailable]]:
    if not asked.sensors:
        why = "on a shared node the GPUs that were not asked for are somebody else's"
        return [], [Unavailable(sensor="nvml", reason=why, do="ask for --exclusive, or for other --sensors")]
    return open_sensors(asked.sensors, cpu_tdp_w=asked.power.cpu_tdp_w, cpu_idle_w=asked.power.cpu_idle_w)


def main() -> None:
    """Sample until told to end."""
    ending = Ending()
    options = _parse(sys.argv[1:])
    try:
        code = _sample(options, ending)
    except HpcdlError as problem:
        print(f"hpcdl: {problem}", file=sys.stderr)
        code = problem.exit_code
    except BrokenPipeError:
        # Whoever listened has left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("launch", nargs="?", type=Path)
    parser.add_argument("--stdout", action="store_true")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--period", type=float, default=PERIOD_S)
    parser.add_argument("--sensors", default="")
    return parser.parse_args(arguments)


def _sample(options: argparse.Namespace, ending: Ending) -> int:
    asked = _ask_here(options) if options.stdout else _ask_launch(LaunchFolder(options.launch))
    if asked is None:
        return 0
    sensors, opening = begin(asked)
    try:
        Sampler(sensors, asked.sink, asked.period_s).run(opening, ending, seconds=options.seconds)
    finally:
        for sensor in sensors:
            sensor.close()
    return 0


def _ask_here(options: argparse.Namespace) -> Asked:
    names = tuple(name for name in options.sensors.split(",") if name) or get_args(SensorName)
    site, _ = sites.load()
    return Asked(names, options.period, site.power, Output())


def _ask_launch(folder: LaunchFolder) -> Asked | None:
    """What the plan asks for; None where it asks for no power."""
    launch, job = folder.plan(), RunFolder(folder.path.parent).job()
    if launch.power is None:
        return None
    if launch.launcher != "srun":
        # Slurm clears up behind itself, and what its threads start outlives them.
        ask_for_signal_when_parent_dies(signal.SIGTERM)
    names = launch.power.sensors or get_args(SensorName)
    if launch.launcher == "srun" and not launch.gpus_per_node and not job.site.slurm.exclusive:
        # On a shared node GPUs that were not asked for are somebody else's.
        names = tuple(name for name in names if name != "nvml")
    sink = Appender(folder.power_path(socket.gethostname()))
    return Asked(names, launch.power.period_s, job.site.power, sink)


if __name__ == "__main__":
    main()
