"""Which power sensors this machine has, and what keeps us from reading them."""

from __future__ import annotations

import os
from pathlib import Path

from hpcdl.records import Condition

POWERCAP = Path("/sys/class/powercap")


def look_for_nvml() -> Condition:
    """The driver's NVML library, and the GPUs that it shows."""
    name = "NVML"
    try:
        import pynvml
    except ImportError:
        return Condition(
            name=name, value="nvidia-ml-py is not installed", ok=False, do="pip install 'hpcdl[worker]'"
        )
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as problem:
        reason = "no driver" if isinstance(problem, pynvml.NVMLError_LibraryNotFound) else str(problem)
        return Condition(
            name=name, value=reason, ok=False, do="no GPU here, or no driver: GPU power cannot be read"
        )
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        names = [_text(pynvml.nvmlDeviceGetName(handle)) for handle in handles]
        version = _text(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError as problem:
        return Condition(
            name=name, value=f"does not answer: {problem}", ok=False, do="see nvidia-smi and dmesg"
        )
    finally:
        pynvml.nvmlShutdown()
    if not names:
        return Condition(
            name=name,
            value=f"driver {version}, no GPU",
            ok=False,
            do="see nvidia-smi; inside a job, ask Slurm for GPUs",
        )
    return Condition(
        name=name, value=f"driver {version}, {len(names)} GPUs: {', '.join(sorted(set(names)))}", ok=True
    )


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def look_for_rapl(root: Path = POWERCAP) -> Condition:
    """The CPU's energy counters through powercap: packages only.

    Their parts (core, dram) are inside them, and the platform (psys) would count them twice.
    """
    name = "CPU power"
    names = sorted(root.glob("intel-rapl:*/name"))
    packages = [path.parent for path in names if path.read_text().startswith("package")]
    if not packages:
        return Condition(
            name=name,
            value="no powercap counters",
            ok=False,
            do="virtual machines have none; on metal: modprobe intel_rapl_common (AMD too)",
        )
    readable = [path for path in packages if os.access(path / "energy_uj", os.R_OK)]
    if len(readable) < len(packages):
        return Condition(
            name=name,
            value="powercap counters present, not readable",
            ok=False,
            do="ask the administrator for read access to /sys/class/powercap/*/energy_uj",
        )
    return Condition(name=name, value=f"powercap, {len(packages)} packages", ok=True)
