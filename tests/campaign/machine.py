"""The machine that a campaign ran on, as its report names it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("torch", "horovod", "nvidia-dali-cuda130", "mpi4py", "pydantic", "typer")


def describe() -> dict[str, str]:
    """Facts by name. What is not installed is named as such."""
    return {
        "CPU": _first_value(Path("/proc/cpuinfo"), "model name"),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.1f} GB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        # Of all its programs, those of the controller do not ask for a configuration first.
        "Slurm": _ask("slurmctld", "-V"),
        "Open MPI": _ask("mpirun", "--version"),
        **{name: _version(name) for name in PACKAGES},
    }


def _first_value(path: Path, key: str) -> str:
    for line in path.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return "unknown"


def _ask(*argv: str) -> str:
    if shutil.which(argv[0]) is None:
        return "not installed"
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout.splitlines()[0].split()[-1] if done.stdout else "unknown"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
