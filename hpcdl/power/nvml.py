"""The power and energy of the job's NVIDIA GPUs, as NVML tells them."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from hpcdl.metering import Source, Unavailable
from hpcdl.power.allocation import read_allocation
from hpcdl.power.board import Board, Meter, Meters, find_meters, read_state, read_surroundings
from hpcdl.power.sensor import Looked, Opened
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Mapping

SENSOR = "nvml"
# nvml.h, nvmlReturn_t.
NO_PERMISSION = 4
OPEN_DEVICES = (
    "the administrator has to let the job's user open /dev/nvidiactl and /dev/nvidia<n> (driver option "
    "NVreg_DeviceFileMode=0666; in Slurm, the File= of gres.conf); with MIG also the capability mig/monitor"
)
SEE = "see nvidia-smi and dmesg"
HELPING = {"Insufficient Permissions": OPEN_DEVICES, "Not Supported": ""}
# nvmlReturn_t of nvmlInit: what is behind it, and what helps.
STARTING = {
    NO_PERMISSION: OPEN_DEVICES,
    9: "the administrator has to load the driver (modprobe nvidia; dmesg says why it is not), if there is a GPU here",
    12: "no libnvidia-ml.so.1: install NVIDIA's driver, if there is a GPU here; in a container, start it with "
    "the host's driver (apptainer --nv, docker --gpus)",
    13: "the driver is older than nvidia-ml-py: update the driver",
    18: "the driver was updated while loaded: the administrator has to reload it or reboot the node; in a container, "
    "use the host's libnvidia-ml.so.1 and not one of its own",
}
# nvml.h, nvmlDeviceArchitecture_t.
AMPERE, UNKNOWN_ARCHITECTURE = 7, 0xFFFFFFFF
# Yang et al., SC24, arXiv 2312.02741, A100 and H100: an instant reading is over about 25 ms of each 100 ms.
# For later architectures nobody has published it; the same is assumed.
INSTANT_S = 0.025
# nvml.h, NVML_FI_DEV_POWER_AVERAGE: over one second.
AVERAGE_S = 1.0
SLICED = "a MIG slice has no power of its own: this is its whole GPU, with all that others run on it"


def open_nvml(environ: Mapping[str, str] = os.environ) -> Opened:
    """The job's GPUs, each once, by UUID.

    Which those are `hpcdl.power.allocation` says: note its limits for GPUs of several kinds in one node. What cannot
    be had is told, and the rest is measured. A MIG slice is measured as its GPU, and marked as shared.
    """
    try:
        import pynvml
    except ImportError:
        return _have_nothing("nvidia-ml-py is not installed", "pip install 'hpcdl[worker]'")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as problem:
        return _have_nothing(f"NVML: {problem}", STARTING.get(problem.value, SEE))
    try:
        return _open(pynvml, environ)
    except pynvml.NVMLError as problem:
        _shut_down(pynvml)
        return _have_nothing(f"NVML: {problem}", SEE)


def _have_nothing(reason: str, do: str) -> Opened:
    return Opened(None, (Unavailable(sensor=SENSOR, reason=reason, do=do),))


def _shut_down(pynvml: Any) -> None:
    with contextlib.suppress(pynvml.NVMLError):
        pynvml.nvmlShutdown()


def _open(pynvml: Any, environ: Mapping[str, str]) -> Opened:
    listed = _list_gpus(pynvml)
    denied = {uuid: found for uuid, found in listed.items() if _is_denial(found)}
    # CUDA does not count what it may not open, so its indices skip it.
    shown = [uuid for uuid in listed if uuid not in denied]
    allocation = read_allocation(environ, shown, lambda entry: _find_parent(pynvml, entry))
    unavailable = list(allocation.unavailable)
    if unavailable or not allocation.listed_by:
        unavailable += [_complain(uuid, f"NVML: {found}") for uuid, found in denied.items()]
    gpus = []
    for uuid, sliced in allocation.gpus.items():
        gpu, problems = _open_gpu(pynvml, uuid, listed[uuid], sliced=sliced)
        gpus += [gpu] if gpu else []
        unavailable += problems
    if gpus:
        return Opened(_Nvml(pynvml, gpus), tuple(unavailable))
    _shut_down(pynvml)
    if not unavailable:
        return _have_nothing("NVML shows no GPU", "see nvidia-smi; inside a job, ask Slurm for GPUs")
    return Opened(None, tuple(unavailable))


def _list_gpus(pynvml: Any) -> dict[str, Any]:
    """Handles by UUID, in NVML's order; of one that does not answer, its error, by 'GPU 3' or so."""
    found: dict[str, Any] = {}
    for index in range(pynvml.nvmlDeviceGetCount()):
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            found[pynvml.nvmlDeviceGetUUID(handle)] = handle
        except pynvml.NVMLError as problem:
            found[f"GPU {index}"] = problem
    return found


def _is_denial(found: Any) -> bool:
    return isinstance(found, Exception) and getattr(found, "value", None) == NO_PERMISSION


def _find_parent(pynvml: Any, entry: str) -> str:
    try:
        handle = pynvml.nvmlDeviceGetHandleByUUID(entry)
        parent = pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)
        return str(pynvml.nvmlDeviceGetUUID(parent))
    except pynvml.NVMLError as problem:
        raise LookupError(f"{entry}: NVML: {problem}") from problem


def _complain(uuid: str, reason: str) -> Unavailable:
    """What helps goes by NVML's own words, as pynvml has them; nothing helps a GPU that has no such meter."""
    do = next((do for words, do in HELPING.items() if reason.endswith(words)), SEE)
    return Unavailable(sensor=SENSOR, reason=f"{uuid}: {reason}", do=do)


def _open_gpu(pynvml: Any, uuid: str, handle: Any, *, sliced: bool) -> tuple[_Gpu | None, list[Unavailable]]:
    if isinstance(handle, Exception):
        return None, [_complain(uuid, f"NVML: {handle}")]
    board = Board(pynvml, handle)
    meters = find_meters(board)
    problems = [_complain(uuid, f"{key} is not told: {reason}") for key, reason in meters.refused.items()]
    # One that tells neither energy nor power is named all the same: an estimate can stand in.
    return _Gpu(board, meters, _describe(board, uuid, meters, sliced=sliced)), problems


def _describe(board: Board, uuid: str, meters: Meters, *, sliced: bool) -> tuple[Source, ...]:
    product = board.ask(board.nvml.nvmlDeviceGetName)
    common = {
        "sensor": SENSOR,
        "product": "" if isinstance(product, dict) else product,
        "uuid": uuid,
        "averaging_s": _know_averaging(board, meters),
        "shared": SLICED if sliced or _has_slices(board) else None,
        "power": meters.power,
    }
    gpu = Source(
        name=uuid,
        covers="gpu",
        counter=meters.has("energy_j"),
        counter_step_j=0.001 if meters.has("energy_j") else None,
        limit_w=_read_limit(board, board.nvml.nvmlDeviceGetEnforcedPowerLimit),
        default_limit_w=_read_limit(board, board.nvml.nvmlDeviceGetPowerManagementDefaultLimit),
        **common,
    )
    if not meters.has("module_w"):
        return (gpu,)
    return gpu, Source(name=_name_module(uuid), covers="module", **common)


def _name_module(uuid: str) -> str:
    return f"module of {uuid}"


def _know_averaging(board: Board, meters: Meters) -> Reading:
    if meters.power == "average":
        return AVERAGE_S
    architecture = board.ask(board.nvml.nvmlDeviceGetArchitecture)
    known = not isinstance(architecture, dict) and AMPERE <= architecture < UNKNOWN_ARCHITECTURE
    if meters.power == "instant" and known:
        return INSTANT_S
    return Missing(missing="nobody has published it for this GPU")


def _has_slices(board: Board) -> bool:
    """Whether MIG is on: then an index means one of its slices."""
    modes = board.ask(board.nvml.nvmlDeviceGetMigMode)
    return not isinstance(modes, dict) and bool(modes[0])


def _read_limit(board: Board, function: Any) -> Reading:
    found = board.ask_number(function, per=1000)
    return Missing(**found) if isinstance(found, dict) else float(found)


# Of so many close looks one tells also what hardly ever changes.
RARELY = 10


class _Gpu:
    """One GPU, and the module that it is part of, if it has a meter."""

    def __init__(self, board: Board, meters: Meters, sources: tuple[Source, ...]) -> None:
        self.sources = sources
        self._board = board
        self._meter = Meter(board, meters)
        self._name = sources[0].name
        self._close_looks = 0

    def look(self, *, closely: bool) -> dict[str, Looked]:
        found = self._meter.read(closely=closely)
        module_w = found.pop("module_w", None)
        if closely:
            found |= read_state(self._board)
            if self._close_looks % RARELY == 0:
                found |= read_surroundings(self._board)
            self._close_looks += 1
        looks = {self._name: found}
        if module_w is not None:
            looks[_name_module(self._name)] = {"power_w": module_w}
        return looks


class _Nvml:
    """All of the job's GPUs: a sensor."""

    def __init__(self, pynvml: Any, gpus: list[_Gpu]) -> None:
        self.sources = tuple(source for gpu in gpus for source in gpu.sources)
        self._nvml = pynvml
        self._gpus = gpus

    def look(self, *, closely: bool) -> Mapping[str, Looked]:
        found: dict[str, Looked] = {}
        for gpu in self._gpus:
            found |= gpu.look(closely=closely)
        return found

    def close(self) -> None:
        _shut_down(self._nvml)
