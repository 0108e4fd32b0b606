"""What CPUs and GPUs are specified to draw: the tables of specifications.toml, and how a part is found in them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from hpcdl.frozen import Frozen, parse, read_toml

if TYPE_CHECKING:
    from hpcdl.power.cpuinfo import Cpu

TABLES = Path(__file__).with_name("specifications.toml")
# Words of a CPU's or GPU's name that only some of its spellings have.
_FILLING = {"cpu", "nvidia", "tesla", "processor"}

Share = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class Part(Frozen):
    """One model of CPU: its cores, and its thermal design power (TDP) in watts."""

    name: str
    cores: Annotated[int, Field(gt=0)]
    tdp_w: Positive

    @property
    def core_w(self) -> float:
        """Watts of TDP for each core."""
        return self.tdp_w / self.cores


class CpuPart(Part):
    """One that names itself."""

    source: str


class Microarchitecture(Frozen):
    """All server parts of one family and model, between the least and the most TDP per core; steppings inclusive."""

    name: str
    vendor: str
    family: int
    model: int
    steppings: tuple[int, int] = (0, 255)
    low: Part
    high: Part
    source: str

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.low.core_w > self.high.core_w:
            raise ValueError(f"{self.low.name} has more TDP per core than {self.high.name}")
        return self

    def holds(self, cpu: Cpu) -> bool:
        """Whether this CPU is one of them."""
        same = (self.vendor, self.family, self.model) == (cpu.vendor, cpu.family, cpu.model)
        return same and self.steppings[0] <= cpu.stepping <= self.steppings[1]


class GpuPart(Frozen):
    """One model of GPU: the TDP of its board in watts."""

    name: str
    tdp_w: Positive
    source: str


class IdleShares(Frozen):
    """What is drawn when idle, as a share of the TDP, lowest and highest."""

    intel: tuple[Share, Share]
    amd: tuple[Share, Share]
    gpu: tuple[Share, Share]


class BusyShares(Frozen):
    """What is drawn at least when busy, as a share of the TDP."""

    cpu: Share
    gpu: Share


class Specifications(Frozen):
    """All of specifications.toml."""

    idle_share: IdleShares
    least_busy_share: BusyShares
    cpus: tuple[CpuPart, ...]
    microarchitectures: tuple[Microarchitecture, ...]
    gpus: tuple[GpuPart, ...]

    def find_cpu(self, cpu: Cpu) -> CpuPart | None:
        """The part that this CPU says it is."""
        return next((part for part in self.cpus if _names(part.name, cpu.name)), None)

    def find_microarchitecture(self, cpu: Cpu) -> Microarchitecture | None:
        """The parts that this CPU may be one of."""
        return next((one for one in self.microarchitectures if one.holds(cpu)), None)

    def find_gpu(self, product: str) -> GpuPart | None:
        """The part of this name; a slice of a GPU (MIG) is none."""
        if "MIG" in product.split():
            return None
        fitting = [part for part in self.gpus if _names(part.name, product)]
        return max(fitting, key=lambda part: len(part.name), default=None)


def _names(part: str, product: str) -> bool:
    return f" {_spell(part)} " in f" {_spell(product)} "


def _spell(name: str) -> str:
    """The words that matter: 'INTEL(R) XEON(R) PLATINUM 8592+' is 'Intel Xeon Platinum 8592+'."""
    plain = name.casefold().replace("(r)", " ").replace("(tm)", " ").replace("-", " ")
    return " ".join(word for word in plain.split() if word not in _FILLING)


@cache
def read_specifications() -> Specifications:
    """The tables that come with hpcdl."""
    return parse(Specifications, read_toml(TABLES), where=str(TABLES))
