"""What a CPU or GPU may draw by its specification, where nothing measures it. Nothing here is a measurement.

Power is taken to grow with utilisation from what is drawn when idle to the thermal design power (TDP):
power_w = idle + utilisation x (TDP - idle). The bounds hold what the specification leaves open, not every error of
that straight line: a package is idle between two shares of its TDP; busy, it may stay below the TDP; a CPU that does
not say its model may be any of several.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hpcdl.metering import Source, Unavailable
from hpcdl.power.cpuinfo import Cpu, read_cpu
from hpcdl.power.sensor import Looked, Opened, missing, sensor_root
from hpcdl.power.specifications import Part, Specifications, read_specifications
from hpcdl.power.sysfs import explain
from hpcdl.power.utilisation import Utilisation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from hpcdl.metering import Covers

SENSOR = "estimate"
CPU_NAME = "CPU (estimated)"
NAME_TDP = "name its TDP: [power] cpu_tdp_w in the site file"


@dataclass(frozen=True)
class Specified:
    """What is known of a device: lowest and highest watts of TDP and idle, and in words where they are from.

    `least_busy_share` is the share of the TDP that it draws at least when busy.
    """

    tdp_w: tuple[float, float]
    idle_w: tuple[float, float]
    least_busy_share: float
    words: str
    product: str

    def basis(self) -> str:
        return (
            f"estimated from {self.words}: TDP {_span(self.tdp_w)} W, idle {_span(self.idle_w)} W, "
            "scaled by utilisation"
        )

    def bounds_w(self, lowest: float, highest: float) -> Looked:
        """The least and the most that it draws at utilisations between these."""
        busy_w = max(self.idle_w[0], self.least_busy_share * self.tdp_w[0])
        low_w = self.idle_w[0] + lowest * (busy_w - self.idle_w[0])
        return {
            "power_low_w": low_w,
            "power_high_w": self.idle_w[1] + highest * (self.tdp_w[1] - self.idle_w[1]),
        }

    def look(self, utilisation: float | str) -> Looked:
        """The estimate at a share of one, or why that is not known: then only its bounds are."""
        if isinstance(utilisation, str):
            return {
                "power_w": missing(utilisation),
                "utilisation": missing(utilisation),
                **self.bounds_w(0.0, 1.0),
            }
        idle_w, tdp_w = sum(self.idle_w) / 2, sum(self.tdp_w) / 2
        power_w = idle_w + utilisation * (tdp_w - idle_w)
        return {
            "power_w": power_w,
            "utilisation": utilisation,
            **self.bounds_w(utilisation, utilisation),
        }


@dataclass(frozen=True)
class Device:
    """One source, what it is specified to draw, and the question for its utilisation: a share, or why there is none."""

    source: Source
    specified: Specified
    ask: Callable[[], float | str]


class Estimate:
    """The devices of this host that nothing measures."""

    def __init__(self, devices: Sequence[Device], close: Callable[[], None]) -> None:
        self.sources = tuple(device.source for device in devices)
        self._devices = devices
        self._close = close

    def look(self, *, closely: bool) -> dict[str, Looked]:  # noqa: ARG002 (it has nothing else)
        return {device.source.name: device.specified.look(device.ask()) for device in self._devices}

    def close(self) -> None:
        self._close()


def open_estimate(
    root: Path | None = None,
    *,
    covered: frozenset[Covers],
    cpu_tdp_w: float | None = None,
    cpu_idle_w: float | None = None,
    gpus: Sequence[tuple[str, str]] = (),
) -> Opened:
    """Estimates of what is not covered.

    Args:
        root: The folder that stands for /.
        covered: What sensors measure. CPU packages are estimated unless these or a module around them are covered.
        cpu_tdp_w: TDP of one CPU package, instead of the tables'.
        cpu_idle_w: What one package draws when idle, instead of the tables' share.
        gpus: UUID and product of each GPU whose power nobody tells.
    """
    root = sensor_root() if root is None else root
    found: list[Device | Unavailable] = []
    with contextlib.ExitStack() as opened:
        if not covered & {"package", "module"}:
            found.append(_open_cpu(root, cpu_tdp_w, cpu_idle_w, opened))
        found += [_open_gpu(uuid, product, opened) for uuid, product in gpus]
        close = opened.pop_all().close
    devices = [one for one in found if isinstance(one, Device)]
    lacking = tuple(one for one in found if isinstance(one, Unavailable))
    return Opened(Estimate(devices, close) if devices else None, lacking)


def _open_cpu(
    root: Path, tdp_w: float | None, idle_w: float | None, opened: contextlib.ExitStack
) -> Device | Unavailable:
    cpu = read_cpu(root)
    if cpu is None:
        return Unavailable(sensor=SENSOR, reason="proc/cpuinfo names no CPU")
    specified = specify_cpu(cpu, read_specifications(), tdp_w, idle_w)
    if isinstance(specified, str):
        return Unavailable(sensor=SENSOR, reason=specified, do=NAME_TDP)
    try:
        utilisation = Utilisation(root)
    except OSError as problem:
        return Unavailable(sensor=SENSOR, reason=f"proc/stat cannot be read: {explain(problem)}")
    opened.callback(utilisation.close)
    return Device(_describe(CPU_NAME, "package", specified), specified, utilisation.ask)


def _open_gpu(uuid: str, product: str, opened: contextlib.ExitStack) -> Device | Unavailable:
    specified = specify_gpu(product, read_specifications())
    if specified is None:
        return Unavailable(sensor=SENSOR, reason=f"{product or uuid}: this GPU's power is in no table")
    source = _describe(f"{uuid} (estimated)", "gpu", specified, uuid)
    return Device(source, specified, _open_gpu_utilisation(uuid, opened))


def specify_cpu(
    cpu: Cpu, tables: Specifications, tdp_w: float | None = None, idle_w: float | None = None
) -> Specified | str:
    """What all CPUs that the kernel sees are specified to draw together, or why nothing is known of that.

    A virtual machine has a share of a package: as many cores as it sees. Where it sees one thread in each, these may
    be threads of the host's, two to a core, and the lower bound is half.
    """
    found = _specify_packages(cpu, tdp_w) if tdp_w else _specify_cores(cpu, tables)
    if found is None:
        return "this CPU's power is in no table"
    shares = tables.idle_share.amd if cpu.vendor == "AuthenticAMD" else tables.idle_share.intel
    found = replace(
        found,
        idle_w=(found.tdp_w[0] * shares[0], found.tdp_w[1] * shares[1]),
        least_busy_share=tables.least_busy_share.cpu,
    )
    if idle_w is None:
        return found
    idle_w *= cpu.sockets
    if idle_w > found.tdp_w[1]:
        return f"cpu_idle_w gives {idle_w:g} W, more than the TDP of {found.tdp_w[1]:g} W"
    return replace(found, idle_w=(min(idle_w, found.tdp_w[0]), idle_w))


def _specify_packages(cpu: Cpu, tdp_w: float) -> Specified:
    total_w = tdp_w * cpu.sockets
    return Specified((total_w, total_w), (0, 0), 1, f"cpu_tdp_w, {tdp_w:g} W x {cpu.sockets}", cpu.name)


def _specify_cores(cpu: Cpu, tables: Specifications) -> Specified | None:
    part = tables.find_cpu(cpu)
    if part and not cpu.virtual:
        found = _specify_packages(cpu, part.tdp_w)
        return replace(found, words=f"{part.name} x {cpu.sockets} ({part.source})", product=part.name)
    kind = tables.find_microarchitecture(cpu)
    if part:
        return _share_package(cpu, part, part, f"{_per_core(part)} ({part.source})", part.name)
    if kind:
        words = f"{kind.name}, between {_per_core(kind.low)} and {_per_core(kind.high)} ({kind.source})"
        return _share_package(cpu, kind.low, kind.high, words, kind.name)
    return None


def _share_package(cpu: Cpu, low: Part, high: Part, words: str, product: str) -> Specified:
    hidden = 2 if cpu.virtual and cpu.threads_per_core == 1 else 1
    tdp_w = (low.core_w * cpu.cores / hidden, high.core_w * cpu.cores)
    return Specified(tdp_w, (0, 0), 1, f"{words}, {cpu.cores:g} cores", product)


def _per_core(part: Part) -> str:
    return f"{part.name} with {part.tdp_w:g} W / {part.cores} cores"


def specify_gpu(product: str, tables: Specifications) -> Specified | None:
    """What the board of this name is specified to draw, or None."""
    part = tables.find_gpu(product)
    if part is None:
        return None
    low, high = tables.idle_share.gpu
    return Specified(
        (part.tdp_w, part.tdp_w),
        (low * part.tdp_w, high * part.tdp_w),
        tables.least_busy_share.gpu,
        f"{part.name} ({part.source})",
        product,
    )


def _describe(name: str, covers: Covers, specified: Specified, uuid: str | None = None) -> Source:
    return Source(
        name=name,
        sensor=SENSOR,
        covers=covers,
        product=specified.product,
        uuid=uuid,
        power="unspecified",
        basis=specified.basis(),
    )


def _span(values_w: tuple[float, float]) -> str:
    low, high = (f"{value_w:.3g}" for value_w in values_w)
    return low if low == high else f"{low} to {high}"


def _open_gpu_utilisation(uuid: str, opened: contextlib.ExitStack) -> Callable[[], float | str]:
    """The question for a GPU's utilisation: NVML may tell that where it does not tell power."""
    try:
        import pynvml
    except ImportError:
        return lambda: "nvidia-ml-py is not installed"
    try:
        pynvml.nvmlInit()
        opened.callback(pynvml.nvmlShutdown)
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
    except pynvml.NVMLError as problem:
        reason = f"NVML: {problem}"
        return lambda: reason
    return lambda: _ask_gpu(pynvml, handle)


def _ask_gpu(pynvml: Any, handle: Any) -> float | str:
    try:
        return float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100
    except pynvml.NVMLError as problem:
        return f"NVML: {problem}"
