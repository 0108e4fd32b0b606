"""Which GPUs this rank can see: as torch does, else as the driver lists them."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import torch

from hpcdl.metering import complete_uuid


@dataclass(frozen=True)
class Gpu:
    """One GPU; `vbios` is empty where nobody tells it."""

    uuid: str
    name: str
    vbios: str = ""


def list_gpus() -> tuple[Gpu, ...]:
    """Those that torch can use; on a machine where it can use none, those that the driver knows."""
    health = load_health()
    listed = health.list_gpus() if health else ()
    told = {uuid: Gpu(uuid, name, vbios) for uuid, name, vbios in listed}
    if not torch.cuda.is_available():
        return tuple(told.values())
    used = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    found = [(complete_uuid(str(gpu.uuid)), str(gpu.name)) for gpu in used]
    return tuple(told.get(uuid, Gpu(uuid, name)) for uuid, name in found)


def load_health() -> Any:
    """hpcdl.power.health, by which NVML is asked; None where this hpcdl has none."""
    try:
        return importlib.import_module("hpcdl.power.health")
    except ImportError:
        return None
