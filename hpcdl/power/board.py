"""One GPU, asked through NVML: its meters, its state, and its errors in NVML's words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from hpcdl.power.clocks import name_reasons
from hpcdl.power.fields import UNPACK, Fields
from hpcdl.power.sensor import Looked, missing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# nvml.h, nvmlReturn_t: GPU is lost, reset required, GPU not found. After these a GPU answers nothing until it is
# reset, and then its counter begins anew: what came later would not belong to what came before.
LOST = (15, 16, 28)
# nvml.h: NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION in mJ, NVML_FI_DEV_POWER_INSTANT and _AVERAGE in mW, each with its
# scope: 0 is the GPU, 1 the module of a CPU and its GPU (NVML_POWER_SCOPE_MODULE).
ENERGY, INSTANT, AVERAGE, MODULE = (83, 0), (186, 0), (185, 0), (186, 1)


class Board:
    """A GPU that can be asked: an error is {"missing": NVML's words}; a GPU that was lost is not asked again."""

    def __init__(self, pynvml: Any, handle: Any) -> None:
        self.nvml = pynvml
        self._handle = handle
        self._errors = (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError)
        self._lost: dict[str, str] | None = None

    def ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What an NVML function says of this GPU, or {"missing": why}."""
        if self._lost:
            return self._lost
        try:
            return function(self._handle, *arguments)
        except self._errors as problem:
            return self._note(problem)

    def ask_number(self, function: Callable[..., Any], *arguments: Any, per: float = 1) -> Any:
        """A number divided by `per`, or {"missing": why}."""
        found = self.ask(function, *arguments)
        return found if isinstance(found, dict) else float(found) / per

    def prepare(self, fields: Sequence[tuple[int, int]]) -> Fields:
        """These fields, to be asked again and again."""
        return Fields(self.nvml, self._handle, fields)

    def ask_fields(self, keys: Sequence[str], fields: Fields) -> Looked:
        """The values of fields in one call, by their keys; each has its own error. They are in thousandths: mJ, mW.

        Eight GPUs, ten times a second: what stands in this loop is most of what sampling costs.
        """
        if self._lost:
            return dict.fromkeys(keys, self._lost)
        try:
            answers = fields.read()
        except self._errors as problem:
            return dict.fromkeys(keys, self._note(problem))
        found: Looked = {}
        for key, (_, _, _, _, kind, error, raw) in zip(keys, answers, strict=True):
            if error or kind not in UNPACK:
                found[key] = self._explain(error, kind)
            else:
                found[key] = UNPACK[kind](raw)[0] / 1000
        return found

    def _explain(self, error: int, kind: int) -> dict[str, str]:
        if error:
            return self._note(self.nvml.NVMLError(error))
        return missing(f"NVML: a value of the unknown type {kind}")

    def _note(self, problem: Exception) -> dict[str, str]:
        reason = missing(f"NVML: {problem}")
        if getattr(problem, "value", None) in LOST:
            self._lost = reason
        return reason


@dataclass(frozen=True)
class Meters:
    """What a GPU measures: keys of a look, read all in one call as fields, or one by one as calls.

    `power` says what "power_w" is. "module_w" is the power of the CPU and GPU together. `refused` are errors of what
    there is no other way to read.
    """

    fields: dict[str, tuple[int, int]]
    calls: dict[str, Callable[..., Any]] = field(default_factory=dict)
    power: Literal["instant", "average", "unspecified"] | None = None
    refused: dict[str, str] = field(default_factory=dict)

    def has(self, key: str) -> bool:
        """Whether a look has this key."""
        return key in self.fields or key in self.calls


def find_meters(board: Board) -> Meters:
    """What this GPU answers now: the counter; the instant power, else the average, else what there is."""
    fields, power = _find_fields(board)
    calls: dict[str, Callable[..., Any]] = {}
    refused: dict[str, str] = {}
    for key, call in (
        ("energy_j", board.nvml.nvmlDeviceGetTotalEnergyConsumption),
        ("power_w", board.nvml.nvmlDeviceGetPowerUsage),
    ):
        if key in fields:
            continue
        if isinstance(found := board.ask(call), dict):
            refused[key] = found["missing"]
        else:
            calls[key] = call
    return Meters(fields, calls, power or ("unspecified" if "power_w" in calls else None), refused)


def _find_fields(
    board: Board,
) -> tuple[dict[str, tuple[int, int]], Literal["instant", "average"] | None]:
    """Each is asked for by itself, lest one that a driver does not know spoils the others."""
    read = {key: _ask_once(board, [key])[0] for key in (ENERGY, INSTANT, AVERAGE, MODULE)}
    answering = {key for key, value in read.items() if not isinstance(value, dict)}
    fields = {"energy_j": ENERGY} if ENERGY in answering else {}
    if INSTANT in answering:
        fields["power_w"] = INSTANT
        if AVERAGE in answering:
            fields["power_average_w"] = AVERAGE
        if MODULE in answering and _is_module(board):
            fields["module_w"] = MODULE
        return fields, "instant"
    if AVERAGE in answering:
        fields["power_w"] = AVERAGE
        return fields, "average"
    return fields, None


def _ask_once(board: Board, fields: Sequence[tuple[int, int]]) -> list[Any]:
    keys = [str(number) for number in range(len(fields))]
    try:
        prepared = board.prepare(fields)
    except AttributeError:
        # An old driver has no such call.
        return [missing("NVML: Function Not Found")] * len(fields)
    return list(board.ask_fields(keys, prepared).values())


def _is_module(board: Board) -> bool:
    """A driver that knows no scopes answers for the GPU again, to the milliwatt."""
    gpu, module = _ask_once(board, [INSTANT, MODULE])
    return not isinstance(module, dict) and bool(gpu != module)


class Meter:
    """The meters of one GPU, read again and again."""

    def __init__(self, board: Board, meters: Meters) -> None:
        self._board = board
        # The average is only beside the instant, and moves slowly: it can wait for a closer look.
        both = "power_w" in meters.fields and "power_average_w" in meters.fields
        brief = [key for key in meters.fields if not (both and key == "power_average_w")]
        self._fields = {
            closely: (keys, board.prepare([meters.fields[key] for key in keys]))
            for closely, keys in ((True, list(meters.fields)), (False, brief))
            if keys
        }
        self._calls = meters.calls
        self._counted_j = 0.0
        self._reset = False

    def read(self, *, closely: bool) -> Looked:
        """Joules and watts, by the keys of a look."""
        found: Looked = {}
        if closely in self._fields:
            keys, fields = self._fields[closely]
            found = self._board.ask_fields(keys, fields)
        for key, call in self._calls.items():
            found[key] = self._board.ask_number(call, per=1000)
        if "energy_j" in found:
            found["energy_j"] = self._watch(found["energy_j"])
        return found

    def _watch(self, energy_j: Any) -> Any:
        """A counter that runs backwards began anew: how much it had counted before is not known, now or later."""
        if isinstance(energy_j, dict):
            return energy_j
        self._reset = self._reset or energy_j < self._counted_j
        self._counted_j = energy_j
        return missing("the energy counter was reset") if self._reset else energy_j


def read_state(board: Board) -> Looked:
    """What changes slowly: shares of one, bytes, MHz, degrees Celsius, counts.

    The memory used is with what the driver sets aside for itself.
    """
    nvml = board.nvml
    return {
        **_read_utilisation(board),
        "memory_used_bytes": _read_memory(board),
        "sm_clock_mhz": board.ask_number(nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_SM),
        "memory_clock_mhz": board.ask_number(nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_MEM),
        "temperature_c": board.ask_number(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
        "reasons": _read_reasons(board),
    }


def read_surroundings(board: Board) -> Looked:
    """What hardly ever changes, and is worth a look now and then: the link, errors of memory, who else computes."""
    nvml = board.nvml
    return {
        "pcie_generation": board.ask_number(nvml.nvmlDeviceGetCurrPcieLinkGeneration),
        "pcie_width": board.ask_number(nvml.nvmlDeviceGetCurrPcieLinkWidth),
        "ecc_errors": board.ask_number(
            nvml.nvmlDeviceGetTotalEccErrors, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC
        ),
        "processes": _count_processes(board),
    }


def _read_utilisation(board: Board) -> Looked:
    found = board.ask(board.nvml.nvmlDeviceGetUtilizationRates)
    if isinstance(found, dict):
        return {"utilisation": found, "memory_utilisation": found}
    return {"utilisation": found.gpu / 100, "memory_utilisation": found.memory / 100}


def _read_memory(board: Board) -> Any:
    found = board.ask(board.nvml.nvmlDeviceGetMemoryInfo)
    return found if isinstance(found, dict) else float(found.used)


def _read_reasons(board: Board) -> Any:
    """By the older of two names for the same, which all drivers know."""
    bits = board.ask(board.nvml.nvmlDeviceGetCurrentClocksThrottleReasons)
    return bits if isinstance(bits, dict) else list(name_reasons(bits))


def _count_processes(board: Board) -> Any:
    found = board.ask(board.nvml.nvmlDeviceGetComputeRunningProcesses)
    return found if isinstance(found, dict) else float(len(found))
