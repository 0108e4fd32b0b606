"""What surrounds a rank while it is measured: limits, throttling, heat, others' load, and its own arithmetic.

Nothing here may end a measurement: what cannot be read is missing, with the reason.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from hpcdl.power.clocks import read_clocks
from hpcdl.records import Conditions, Missing, Reading
from hpcdl.worker import load, processor
from hpcdl.worker.cgroups import Quota, read_quota
from hpcdl.worker.matrix import MatrixProbe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.power.clocks import Clocks
    from hpcdl.records import Stretch
    from hpcdl.worker.place import Place


@dataclass(frozen=True)
class _Counters:
    """What is read at either end of the window."""

    now_s: float
    cpu_s: float
    quota: Quota
    heat: processor.Heat
    scan: load.Scan | None
    gpu: Clocks | Missing


def watch(place: Place, device: torch.device, dtype: str | None) -> Watch:
    """A watch for this rank; without a `dtype` it leaves the matrix product out."""
    return Watch(place, device, dtype)


class Watch:
    """Reads the surroundings before and after a window; in between it does nothing."""

    def __init__(self, place: Place, device: torch.device, dtype: str | None) -> None:
        self._place = place
        self._device = device
        self._dtype = dtype
        self._gpu_uuid = _find_uuid(device)
        self._rates: list[float] = []
        self._begin: _Counters | None = None
        self._end: _Counters | None = None

    def prepare(self) -> None:
        """The first matrix product; to be called some steps before the window, which it would disturb."""
        self._multiply()

    def begin(self) -> None:
        """To be called right before the barrier that opens the window."""
        self._begin = self._read_counters()

    def end(self) -> None:
        """To be called right after the barrier that closes it."""
        self._end = self._read_counters()
        self._multiply()

    def _multiply(self) -> None:
        if self._dtype is None:
            return
        # Its memory is let go of at once: in between it is the training's. Where that has left too little, the
        # training is worth more than this number.
        try:
            self._rates.append(MatrixProbe(self._device, self._dtype).measure())
        except RuntimeError:  # torch's own errors, out of memory among them
            self._rates.clear()

    def read(self, stretches: Sequence[Stretch]) -> Conditions:
        """What was seen while these stretches, on this host's clock, were measured.

        Raises:
            RuntimeError: The window was not opened and closed.
        """
        if self._begin is None or self._end is None:
            raise RuntimeError("conditions are read after the window was opened and closed")
        begin, end = self._begin, self._end
        elapsed_s = end.now_s - begin.now_s
        foreign = _compare_scans(begin, end, elapsed_s)
        return Conditions(
            rank=self._place.rank,
            elapsed_s=elapsed_s,
            process_cpu_s=end.cpu_s - begin.cpu_s,
            cpu_limit_cores=end.quota.cores,
            cpu_throttled_s=_share_among_threads(
                _subtract(end.quota.throttled_s, begin.quota.throttled_s), torch.get_num_threads()
            ),
            thermal_throttles=_subtract(end.heat.events, begin.heat.events),
            thermal_throttled_s=_subtract(end.heat.throttled_s, begin.heat.throttled_s),
            clock_mhz=_read_clock(end.gpu),
            temperature_c=_read_temperature(end.gpu),
            load=_read_load(),
            cores_of_host=os.cpu_count() or 1,
            foreign_cores=foreign.cores,
            foreign=foreign.names,
            throttle_reasons=_join_reasons(begin.gpu, end.gpu),
            gpu_throttled_s=_subtract(_read_throttled(end.gpu), _read_throttled(begin.gpu)),
            matrix_flops_per_s=tuple(self._rates),
            stretches=tuple(stretches) if self._place.local_rank == 0 else (),
        )

    def _read_counters(self) -> _Counters:
        return _Counters(
            now_s=time.monotonic(),
            cpu_s=time.process_time(),
            quota=read_quota(),
            heat=processor.read_heat(os.sched_getaffinity(0)),
            # One rank of a host looks for all.
            scan=load.scan() if self._place.local_rank == 0 else None,
            gpu=read_clocks(self._gpu_uuid) if self._gpu_uuid else Missing(missing="no GPU is used"),
        )


def _find_uuid(device: torch.device) -> str | None:
    return str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else None


def _compare_scans(begin: _Counters, end: _Counters, elapsed_s: float) -> load.Foreign:
    if begin.scan is None or end.scan is None:
        return load.Foreign(Missing(missing="the first rank of the host looks for all"), ())
    return load.find_foreign(begin.scan, end.scan, elapsed_s)


def _subtract(end: Reading, begin: Reading) -> Reading:
    if isinstance(end, Missing) or isinstance(begin, Missing):
        return end if isinstance(end, Missing) else begin
    return max(0.0, end - begin)


def _share_among_threads(throttled_s: Reading, threads: int) -> Reading:
    """The kernel adds up what each of them was held back on its CPU (kernel/sched/fair.c, unthrottle_cfs_rq)."""
    return throttled_s if isinstance(throttled_s, Missing) else throttled_s / threads


def _read_load() -> Reading:
    try:
        return os.getloadavg()[0]
    except OSError:
        return Missing(missing="the kernel does not tell the load")


def _read_clock(gpu: Clocks | Missing) -> Reading:
    return processor.read_clock(os.sched_getaffinity(0)) if isinstance(gpu, Missing) else gpu.sm_clock_mhz


def _read_temperature(gpu: Clocks | Missing) -> Reading:
    return processor.read_temperature() if isinstance(gpu, Missing) else gpu.temperature_c


def _read_throttled(gpu: Clocks | Missing) -> Reading:
    return gpu if isinstance(gpu, Missing) else gpu.throttled_s


def _join_reasons(begin: Clocks | Missing, end: Clocks | Missing) -> tuple[str, ...] | Missing:
    """Those of either look; where one of them saw nothing, nobody knows."""
    reasons = [one if isinstance(one, Missing) else one.throttle_reasons for one in (begin, end)]
    missing = [one for one in reasons if isinstance(one, Missing)]
    if missing:
        return missing[0]
    return tuple(dict.fromkeys(name for one in reasons if not isinstance(one, Missing) for name in one))
