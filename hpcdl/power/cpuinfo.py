"""Which CPU this is, as proc/cpuinfo tells it: that of the host, or what a virtual machine is shown of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.power.sysfs import read_text

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Cpu:
    """The CPUs that the kernel sees. `cpus` counts hardware threads, `virtual` says that a hypervisor is below."""

    name: str
    vendor: str
    family: int
    model: int
    stepping: int
    cpus: int
    sockets: int
    threads_per_core: int
    virtual: bool

    @property
    def cores(self) -> float:
        """Hardware threads / threads per core."""
        return self.cpus / self.threads_per_core


def read_cpu(root: Path) -> Cpu | None:
    """The CPU that proc/cpuinfo below `root` describes, or None."""
    return parse_cpuinfo(read_text(root / "proc/cpuinfo") or "")


def parse_cpuinfo(text: str) -> Cpu | None:
    """The CPU of this text, from the first of its blocks that begin with 'processor'; None where there is none.

    Arm has no vendor and model name, but 'CPU implementer' and 'CPU part': these stand as vendor and model.
    """
    lines = [
        (key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in text.splitlines())
    ]
    cpus = sum(key == "processor" for key, _ in lines)
    if not cpus:
        return None
    first = dict(reversed(lines))
    return Cpu(
        name=first.get("model name", ""),
        vendor=first.get("vendor_id", first.get("CPU implementer", "")),
        family=_number(first.get("cpu family", first.get("CPU architecture", ""))),
        model=_number(first.get("model", first.get("CPU part", ""))),
        stepping=_number(first.get("stepping", "")),
        cpus=cpus,
        sockets=max(1, len({value for key, value in lines if key == "physical id"})),
        threads_per_core=_count_threads_per_core(first),
        virtual="hypervisor" in first.get("flags", "").split(),
    )


def read_cores(root: Path, cpus: list[int]) -> list[tuple[int, ...]]:
    """These hardware threads, those of one core together; where the kernel does not tell, each is a core."""
    cores: dict[str, list[int]] = {}
    for cpu in cpus:
        topology = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
        cores.setdefault(read_text(topology / "thread_siblings_list") or str(cpu), []).append(cpu)
    return [tuple(threads) for threads in cores.values()]


def _count_threads_per_core(first: dict[str, str]) -> int:
    siblings, cores = _number(first.get("siblings", "")), _number(first.get("cpu cores", ""))
    return max(1, siblings // cores) if siblings > 0 and cores > 0 else 1


def _number(text: str) -> int:
    """-1 where it is none, which no CPU has."""
    try:
        return int(text, 0)
    except ValueError:
        return -1
