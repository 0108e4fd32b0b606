"""Which GPUs this rank can see: as torch does, else as the driver lists them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hpcdl.metering import complete_uuid
from hpcdl.power import health


@dataclass(frozen=True)
class Gpu:
    """One GPU; `vbios` is empty where nobody tells it."""

    uuid: str
    name: str
    vbios: str = ""


def list_gpus() -> tuple[Gpu, ...]:
    """Those that torch can use; on a machine where it can use none, those that the driver knows."""
    told = {uuid: Gpu(uuid, name, vbios) for uuid, name, vbios in health.list_gpus()}
    if not torch.cuda.is_available():
        return tuple(told.values())
    used = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    found = [(complete_uuid(str(gpu.uuid)), str(gpu.name)) for gpu in used]
    return tuple(told.get(uuid, Gpu(uuid, name)) for uuid, name in found)
