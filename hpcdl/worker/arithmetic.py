"""With what torch computes on this CPU: vector instructions, oneDNN, BLAS."""

from __future__ import annotations

import re
from pathlib import Path

import torch

CPUINFO = Path("/proc/cpuinfo")
# What torch names its own loops by, and what it asks of a processor for them (ATen/native/DispatchStub.cpp), in the
# kernel's flags: the widest first. What else there is, nobody is told to have left unused.
VECTORS: tuple[tuple[str, frozenset[str]], ...] = (
    ("AVX512", frozenset({"avx512vl", "avx512bw", "avx512dq", "fma"})),
    ("AVX2", frozenset({"avx2", "fma"})),
)


def read_vector() -> str:
    """'AVX512', 'AVX2', 'DEFAULT', …: what torch's own loops use here, which an environment variable may hold down."""
    return str(torch.backends.cpu.get_cpu_capability())


def read_vector_of_cpu(cpuinfo: Path = CPUINFO) -> str | None:
    """The widest of these instructions that the processor has; None where the kernel tells of none of them."""
    flags: set[str] = set()
    try:
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("flags"):
                flags = set(line.partition(":")[2].split())
                break
    except OSError:
        return None
    return next((name for name, needed in VECTORS if needed <= flags), None)


def read_onednn() -> str:
    """The version of oneDNN (MKL-DNN) that torch computes with; 'none' where it was built without, or it is off."""
    # Not every torch that hpcdl runs with lets it be switched off.
    enabled = getattr(torch.backends.mkldnn, "enabled", True)
    if not (enabled and torch.backends.mkldnn.is_available()):  # type: ignore[no-untyped-call]
        return "none"
    found = re.search(r"MKL-DNN v(\S+)", torch.__config__.show())
    return found[1] if found else "version not told"


def read_blas(configuration: str | None = None) -> str:
    """'MKL 2024.2', 'OpenBLAS', …: what torch multiplies matrices with beside oneDNN; 'none' without any.

    Args:
        configuration: What torch says of its build; None: ask it.
    """
    text = torch.__config__.show() if configuration is None else configuration
    kind = re.search(r"BLAS_INFO=(\w+)", text)
    if kind is None:
        return "none"
    mkl = re.search(r"Math Kernel Library Version (\S+?)(?:-\S+)? ", text)
    if kind[1] == "mkl" and mkl:
        return f"MKL {mkl[1]}"
    return {"mkl": "MKL", "open": "OpenBLAS", "accelerate": "Accelerate"}.get(kind[1], kind[1])
