"""Which of the GPUs that NVML shows are the job's: what CUDA and Slurm say of it in the environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.metering import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

CUDA_LIST = "CUDA_VISIBLE_DEVICES"
# The step's list is of this node and of now; the job's is set only where the batch script runs.
SLURM_LISTS = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS")
# What ends CUDA's list, and what older versions of Slurm wrote for a job that has no GPU.
ENDS = ("-1", "NoDevFiles")


@dataclass(frozen=True)
class Allocation:
    """The job's GPUs by UUID, each once: True where only a MIG slice of it is the job's.

    `listed_by` is the variable that says so, or None where nobody does. `unavailable` is what its list names and
    what cannot be had, or is named twice.
    """

    gpus: dict[str, bool]
    listed_by: str | None = None
    unavailable: tuple[Unavailable, ...] = ()


def read_allocation(
    environ: Mapping[str, str], shown: Sequence[str], find_parent: Callable[[str], str]
) -> Allocation:
    """The GPUs of CUDA_VISIBLE_DEVICES; where it is not set, of Slurm's list; where there is none, all that are shown.

    Slurm's lists are of the whole node. Where cgroups hide the GPUs of others, NVML shows no more than the job's and
    numbers them anew, so such a list counts only where NVML shows more.

    An index of CUDA_VISIBLE_DEVICES is taken as NVML's, which goes by PCI bus. CUDA goes by it too only where
    CUDA_DEVICE_ORDER is PCI_BUS_ID; by default its fastest GPU is 0. For GPUs of one kind both orders agree; for GPUs
    of several kinds indices may mean others than CUDA does, which cannot be found out without CUDA. UUIDs never do.

    Args:
        environ: The environment of the job.
        shown: UUIDs in NVML's order.
        find_parent: The UUID of the GPU that a MIG slice is part of; raises LookupError, with the reason.
    """
    if CUDA_LIST in environ:
        return _Reading(CUDA_LIST, environ[CUDA_LIST], shown, find_parent).allocate()
    for variable in SLURM_LISTS:
        if entries := _split(environ.get(variable, "")):
            if len(shown) > len(set(entries)):
                return _Reading(variable, environ[variable], shown, find_parent).allocate()
            return Allocation(dict.fromkeys(shown, False), variable, _note_hidden(variable, entries, shown))
    return Allocation(dict.fromkeys(shown, False))


def _split(listed: str) -> list[str]:
    return [entry.strip() for entry in listed.split(",") if entry.strip()]


def _note_hidden(variable: str, entries: list[str], shown: Sequence[str]) -> tuple[Unavailable, ...]:
    if len(set(entries)) <= len(shown):
        return ()
    reason = f"{variable}={','.join(entries)} names {len(set(entries))} GPUs, but NVML shows {len(shown)}"
    return (Unavailable(sensor="nvml", reason=reason, do="see nvidia-smi -L inside the job, and dmesg"),)


class _Reading:
    """One list being read, entry by entry."""

    def __init__(
        self, variable: str, listed: str, shown: Sequence[str], find_parent: Callable[[str], str]
    ) -> None:
        self._variable = variable
        self._listed = listed
        self._shown = shown
        self._find_parent = find_parent
        self._gpus: dict[str, bool] = {}
        self._slices: set[str] = set()
        self._unavailable: list[Unavailable] = []

    def allocate(self) -> Allocation:
        self._read_entries()
        if not (self._gpus or self._unavailable):
            self._complain("gives this process no GPU", "ask Slurm for GPUs (--gpus-per-node)")
        return Allocation(self._gpus, self._variable, tuple(self._unavailable))

    def _read_entries(self) -> None:
        do = f"name each of the job's GPUs once in {self._variable}, as nvidia-smi -L lists them, or leave it to Slurm"
        for entry in _split(self._listed):
            if entry in ENDS:
                return  # CUDA reads no further
            try:
                self._take(entry)
            except LookupError as problem:
                self._complain(str(problem.args[0]), do)

    def _complain(self, reason: str, do: str) -> None:
        told = f"{self._variable}={self._listed!r}: {reason}"
        self._unavailable.append(Unavailable(sensor="nvml", reason=told, do=do))

    def _take(self, entry: str) -> None:
        if entry.startswith("MIG-"):
            self._take_slice(entry)
            return
        uuid = self._find_uuid(entry) if entry.startswith("GPU-") else self._find_index(entry)
        if uuid in self._gpus:
            raise LookupError(f"names {uuid} twice; it is measured once")
        self._gpus[uuid] = False

    def _take_slice(self, entry: str) -> None:
        """Several slices of one GPU are no contradiction, but the same slice twice is."""
        if entry in self._slices:
            raise LookupError(f"names {entry} twice; its GPU is measured once")
        parent = self._find_parent(entry)
        if parent not in self._shown:
            raise LookupError(f"{entry} is a slice of {parent}, which NVML does not show")
        self._slices.add(entry)
        self._gpus[parent] = True

    def _find_uuid(self, entry: str) -> str:
        """A UUID may be cut short, as CUDA allows it, as long as it means one GPU."""
        matching = [uuid for uuid in self._shown if uuid.lower().startswith(entry.lower())]
        if not matching:
            raise LookupError(f"NVML shows no {entry}")
        if len(matching) > 1:
            raise LookupError(f"{entry} may be any of {len(matching)} GPUs")
        return matching[0]

    def _find_index(self, entry: str) -> str:
        if not entry.isdecimal():
            raise LookupError(f"{entry!r} is neither an index nor a UUID")
        if int(entry) >= len(self._shown):
            raise LookupError(f"index {entry} is beyond the {len(self._shown)} GPUs that NVML shows")
        return self._shown[int(entry)]
