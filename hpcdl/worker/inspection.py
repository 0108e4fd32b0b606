"""What works here, found by trying: `python -m hpcdl.worker.inspection` prints conditions as JSON lines."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from hpcdl.power.presence import look_for_nvml, look_for_rapl
from hpcdl.records import Condition

if TYPE_CHECKING:
    from collections.abc import Callable


def look_for_torch() -> Condition:
    """torch, and the GPUs that it can use."""
    try:
        import torch
    except (ImportError, OSError) as problem:
        return _absent("torch", problem, "pip install 'hpcdl[worker]'")
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return Condition(name="torch", value=f"{torch.__version__}, {gpus or 'no'} GPUs", ok=True)


def look_for_horovod() -> Condition:
    """Horovod, and what it was built with."""
    try:
        import horovod
        import horovod.torch as hvd
    except (ImportError, OSError) as problem:
        return _absent("Horovod", problem, "build it with `make horovod`; until then use --engine ddp")
    built = [
        name
        for name, has in (("NCCL", hvd.nccl_built()), ("MPI", hvd.mpi_built()), ("Gloo", hvd.gloo_built()))
        if has
    ]
    do = "" if "NCCL" in built else "without NCCL: on a GPU node, `make horovod NCCL=1`"
    return Condition(name="Horovod", value=f"{horovod.__version__}: {', '.join(built)}", ok=True, do=do)


def look_for_mpi() -> Condition:
    """An MPI library that mpi4py can load, asked in a process of its own: a broken MPI ends its process."""
    code = "from mpi4py import MPI; print(MPI.Get_library_version().split(',')[0].strip())"
    environment = os.environ | {"OMPI_MCA_btl": "self"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it does not start"])[-1]
        do = "apt-get install openmpi-bin libopenmpi-dev, or load the site's MPI module; pip install 'hpcdl[mpi]'"
        return Condition(name="MPI", value=reason, ok=False, do=do)
    launcher = "" if shutil.which("mpirun") else ", without mpirun"
    return Condition(name="MPI", value=done.stdout.strip() + launcher, ok=True)


def look_for_dali() -> Condition:
    """DALI, and whether its operators run on the CPU alone or on GPUs too."""
    try:
        from nvidia import dali
    except (ImportError, OSError) as problem:
        return _absent(
            "DALI", problem, "pip install nvidia-dali-cuda130 (or -cuda120); until then, synthetic data"
        )
    return Condition(name="DALI", value=str(dali.__version__), ok=True)


def _absent(name: str, problem: ImportError | OSError, do: str) -> Condition:
    missing = isinstance(problem, ModuleNotFoundError) and (problem.name or "").split(".")[0].lower() in {
        name.lower(),
        "nvidia",
    }
    return Condition(
        name=name, value="not installed" if missing else f"does not load: {problem}", ok=False, do=do
    )


LOOKS: dict[str, Callable[[], Condition]] = {
    "torch": look_for_torch,
    "Horovod": look_for_horovod,
    "MPI": look_for_mpi,
    "DALI": look_for_dali,
    "NVML": look_for_nvml,
    "CPU power": look_for_rapl,
}


def main() -> None:
    """Print one condition a line, as each is found."""
    for name in LOOKS:
        print(_look(name).model_dump_json(), flush=True)


def _look(name: str) -> Condition:
    try:
        return LOOKS[name]()
    except Exception as problem:  # noqa: BLE001 (whatever is out of order here, the other looks go on)
        reason = f"{type(problem).__name__}: {problem}"
        return Condition(name=name, value=f"could not look: {reason}", ok=False, do="see to that first")


if __name__ == "__main__":
    main()
