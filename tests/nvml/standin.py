"""A stand-in for NVIDIA's NVML library: GPUs whose power over time is planted, for the real pynvml.

`build` compiles it; `Scenario.write` says what it shows. A whole simulated node has it when its processes get
`environment`: the loader finds the library by LD_LIBRARY_PATH. Within one process, `put_in` gives it to pynvml.

Powers are in watts, times in seconds since the scenario's epoch, on the machine's monotonic clock.
"""

from __future__ import annotations

import ctypes
import math
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).with_name("standin.c")
LIBRARY = "libnvidia-ml.so.1"  # the name that pynvml loads
VARIABLE = "HPCDL_NVML_SCENARIO"

# nvml.h, nvmlReturn_t
NOT_SUPPORTED = 3
NO_PERMISSION = 4
GPU_IS_LOST = 15


# ---- Power over time ----


@dataclass(frozen=True)
class Constant:
    """The same power at all times."""

    watts: float

    def line(self) -> str:
        return f"constant {self.watts!r}"


@dataclass(frozen=True)
class Steps:
    """(begin, watts) of each step, from 0 on; each lasts until the next. Repeated after `repeat_s`, if given."""

    steps: tuple[tuple[float, float], ...]
    repeat_s: float = 0

    def line(self) -> str:
        numbers = " ".join(f"{begin!r} {watts!r}" for begin, watts in self.steps)
        return f"steps {self.repeat_s!r} {numbers}"


@dataclass(frozen=True)
class Sine:
    """`mean` and an oscillation by `amplitude` around it."""

    mean: float
    amplitude: float
    period_s: float

    def line(self) -> str:
        return f"sine {self.mean!r} {self.amplitude!r} {self.period_s!r}"


@dataclass(frozen=True)
class Bursts:
    """`high` for the first `on_s` of each period, else `low`."""

    low: float
    high: float
    on_s: float
    period_s: float

    def line(self) -> str:
        return f"bursts {self.low!r} {self.high!r} {self.on_s!r} {self.period_s!r}"


Profile = Constant | Steps | Sine | Bursts


def planted_energy_j(profile: Profile, begin_s: float, end_s: float) -> float:
    """The joules between two times, in closed form: written apart from the C code, so that one checks the other."""
    if isinstance(profile, Sine):
        half, turn = (end_s - begin_s) / 2, math.pi / profile.period_s
        wave = math.sin(turn * (begin_s + end_s)) * math.sin(2 * turn * half)
        return profile.mean * 2 * half + profile.amplitude / turn * wave
    return sum(
        watts * max(0.0, min(end, end_s) - max(begin, begin_s))
        for begin, end, watts in _pieces(profile, begin_s, end_s)
    )


def _pieces(profile: Profile, begin_s: float, end_s: float):
    """(begin, end, watts) of all constant pieces that may touch the time between."""
    if isinstance(profile, Constant):
        return [(begin_s, end_s, profile.watts)]
    if isinstance(profile, Bursts):
        profile = Steps(((0, profile.high), (profile.on_s, profile.low)), profile.period_s)
    ends = [begin for begin, _ in profile.steps[1:]] + [profile.repeat_s or math.inf]
    once = [(begin, end, watts) for (begin, watts), end in zip(profile.steps, ends, strict=True)]
    if not profile.repeat_s:
        return once
    turns = range(int(begin_s // profile.repeat_s), int(end_s // profile.repeat_s) + 1)
    shifts = [turn * profile.repeat_s for turn in turns]
    return [(shift + begin, shift + end, watts) for shift in shifts for begin, end, watts in once]


# ---- What a node has ----


@dataclass(frozen=True)
class Error:
    """What `function` returns from a time on.

    The function is named as pynvml names it, without _v2 or _v3. "field:186" is one field of
    nvmlDeviceGetFieldValues, "field:186:1" the same in module scope; "*" is every function.
    """

    function: str
    code: int
    from_s: float = -math.inf

    def line(self) -> str:
        return f"error {self.function} {self.code} {self.from_s}"


@dataclass(frozen=True)
class Gpu:
    """One GPU, by default an H100 as far as NVML goes.

    The counter is updated every `counter_update_s`, begins at `counter_start_j` and at `reset_s` begins anew from 0.
    A power reading is the mean over a window before its last update. `module_w` is what the rest of the module draws:
    None is no module, NaN a driver that knows no scopes. `value_types` are nvmlValueType_t of energies and powers.
    From `reasons_from_s` on heat holds it back for `throttled_share` of the time, beside the `throttled_ns` before.
    `later_c` is (from when, degrees), `later_link` (from when, generation, width). `rows` are remapped: correctable,
    uncorrectable, pending, failed. `xids` are (when, number); what came before somebody watched is never told.
    `bus_id` is in NVML's writing ("": not told). `nvlinks` are (active, nvmlIntNvLinkDeviceType_t, bus id at the other
    end, "-" where it is not told); `ways` are (UUID of another GPU, nvmlGpuTopologyLevel_t, nvmlGpuP2PStatus_t).
    """

    uuid: str
    profile: Profile = Constant(300.0)
    name: str = "NVIDIA H100 80GB HBM3"
    architecture: int = 9
    counter_update_s: float = 0.1
    counter_start_j: float = 0.0
    reset_s: float = math.inf
    instant_update_s: float = 0.1
    instant_window_s: float = 0.025
    average_update_s: float = 0.1
    average_window_s: float = 1.0
    module_w: float | None = None
    limit_w: float = 700.0
    default_limit_w: float = 700.0
    gpu_percent: int = 97
    memory_percent: int = 41
    memory_used_bytes: int = 60 * 2**30
    memory_total_bytes: int = 80 * 2**30
    sm_clock_mhz: int = 1980
    memory_clock_mhz: int = 2619
    temperature_c: int = 61
    reasons: int = 0
    reasons_from_s: float = 0.0
    throttled_ns: int = 0
    throttled_share: float = 0.0
    later_c: tuple[float, int] | None = None
    later_link: tuple[float, int, int] | None = None
    rows: tuple[int, int, int, int] = (0, 0, 0, 0)
    xids: tuple[tuple[float, int], ...] = ()
    vbios: str = "96.00.74.00.01"
    pcie_generation: int = 5
    pcie_width: int = 16
    ecc_errors: int = 0
    processes: int = 1
    value_types: tuple[int, int] = (3, 1)
    slices: tuple[str, ...] = ()
    bus_id: str = ""
    pcie_max: tuple[int, int] = (5, 16)
    nvlinks: tuple[tuple[int, int, str], ...] = ()
    ways: tuple[tuple[str, int, int], ...] = ()
    errors: tuple[Error, ...] = ()

    def lines(self) -> list[str]:
        module = "" if self.module_w is None else f"module {self.module_w}"
        return [
            f"device {self.uuid}",
            f"name {self.name}",
            f"vbios {self.vbios}",
            f"architecture {self.architecture}",
            f"profile {self.profile.line()}",
            f"counter {self.counter_update_s} {self.counter_start_j} {self.reset_s}",
            f"instant {self.instant_update_s} {self.instant_window_s}",
            f"average {self.average_update_s} {self.average_window_s}",
            module,
            f"limits {self.limit_w * 1000:.0f} {self.default_limit_w * 1000:.0f}",
            f"utilisation {self.gpu_percent} {self.memory_percent}",
            f"memory {self.memory_used_bytes} {self.memory_total_bytes}",
            f"clocks {self.sm_clock_mhz} {self.memory_clock_mhz}",
            " ".join(["temperature", str(self.temperature_c), *map(str, self.later_c or ())]),
            f"reasons {self.reasons} {self.reasons_from_s} {self.throttled_ns} {self.throttled_share}",
            " ".join(map(str, ["pcie", self.pcie_generation, self.pcie_width, *(self.later_link or ())])),
            f"rows {' '.join(map(str, self.rows))}",
            *(f"xid {from_s} {number}" for from_s, number in self.xids),
            f"ecc {self.ecc_errors}",
            f"processes {self.processes}",
            f"types {self.value_types[0]} {self.value_types[1]}",
            *(f"slice {uuid}" for uuid in self.slices),
            f"bus {self.bus_id}" if self.bus_id else "",
            f"pcie_max {self.pcie_max[0]} {self.pcie_max[1]}",
            *(f"nvlink {active} {kind} {bus}" for active, kind, bus in self.nvlinks),
            *(f"way {uuid} {level} {peer}" for uuid, level, peer in self.ways),
            *(error.line() for error in self.errors),
        ]


def lack(*functions: str, code: int = NOT_SUPPORTED) -> tuple[Error, ...]:
    """These functions or fields fail from the beginning."""
    return tuple(Error(function, code) for function in functions)


# What a GPU does not have: before Volta there is no counter; before driver 530 there are no power fields.
NO_COUNTER = lack("nvmlDeviceGetTotalEnergyConsumption", "field:83")
NO_INSTANT = lack("field:186")
NO_POWER_FIELDS = lack("field:185", "field:186")


@dataclass(frozen=True)
class Scenario:
    """The GPUs of one node. `epoch_s` is what the monotonic clock shows at time 0; `errors` concern no GPU."""

    gpus: tuple[Gpu, ...] = ()
    epoch_s: float = 0.0
    driver: str = "580.95.05"
    errors: tuple[Error, ...] = field(default=())

    def write(self, path: Path) -> Path:
        lines = [f"epoch {self.epoch_s!r}", f"driver {self.driver}", *(error.line() for error in self.errors)]
        lines += [line for gpu in self.gpus for line in gpu.lines()]
        path.write_text("".join(f"{line}\n" for line in lines))
        return path


# ---- The library ----


def build(folder: Path) -> Path:
    """Compile it into this folder, which then goes on LD_LIBRARY_PATH."""
    library = folder / LIBRARY
    argv = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*argv, "-o", str(library), str(SOURCE), "-lm"], check=True)
    return library


def environment(library: Path, scenario: Path) -> dict[str, str]:
    """What a process needs for this library to be its NVML, before any other on LD_LIBRARY_PATH."""
    folders = [str(library.parent), os.environ.get("LD_LIBRARY_PATH", "")]
    return {"LD_LIBRARY_PATH": ":".join(filter(None, folders)), VARIABLE: str(scenario)}


def put_in(monkeypatch, library: Path, scenario: Path) -> ctypes.CDLL:
    """Make it the NVML of this very process, for one test. Its `standin_skip` lets time pass at once."""
    import pynvml

    loaded = ctypes.CDLL(str(library))
    loaded.standin_skip.argtypes = [ctypes.c_double]
    while loaded.nvmlShutdown() == 0:
        pass  # what an earlier test left open
    monkeypatch.setenv(VARIABLE, str(scenario))
    monkeypatch.setattr(pynvml, "nvmlLib", loaded)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    monkeypatch.setattr(pynvml, "_nvmlLib_refcount", 0)
    return loaded
