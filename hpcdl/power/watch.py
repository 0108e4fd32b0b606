"""GPUs under watch while they work: a thread that looks at them, and collects their XID events."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any, Self

from hpcdl.metering import complete_uuid
from hpcdl.power.session import open_session
from hpcdl.power.vitals import (
    KEYS,
    count_heat_s,
    find_board,
    read_clock,
    read_counters,
    read_generation,
    read_temperature,
    read_width,
    subtract,
)
from hpcdl.records import Missing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from hpcdl.power.board import Board
    from hpcdl.power.session import Session
    from hpcdl.records import Reading

PERIOD_S = 0.1
# nvml.h, nvmlClocksEventReasons: hardware slowdown, software and hardware thermal slowdown; the power brake is a signal
# from the power supply.
HEAT, BRAKE = 0x8 | 0x20 | 0x40, 0x80
# The hardware's slowdown is set by the brake too: beside it, it does not say that heat is the reason.
SLOWDOWN = 0x8
# An idle GPU slows its link and its clock down to save power: only what was seen at such a utilisation counts.
LOAD = 0.05
IDLE = "it was never seen at work: an idle GPU slows its clock and its link down"
_LOADED = {"clock_mhz": read_clock, "pcie_width": read_width, "pcie_generation": read_generation}


@dataclass
class _Watched:
    """What was seen of one GPU so far. `loaded` are readings while it worked; `heat_s` is by the polls."""

    board: Board
    counted_s: Reading
    last_s: float
    hottest_c: Reading = field(default_factory=lambda: Missing(missing="nobody looked"))
    loaded: dict[str, list[float]] = field(default_factory=lambda: {key: [] for key in _LOADED})
    unread: dict[str, Missing] = field(default_factory=dict)
    heat_s: float = 0.0
    brake_s: float = 0.0

    def poll(self) -> None:
        """One look."""
        now_s = time.monotonic()
        self._add_temperature(read_temperature(self.board))
        self._add_reasons(now_s - self.last_s)
        self.last_s = now_s
        if self._is_at_work():
            for key, question in _LOADED.items():
                found = question(self.board)
                if isinstance(found, Missing):
                    self.unread[key] = found
                else:
                    self.loaded[key].append(found)

    def _add_temperature(self, found: Reading) -> None:
        hottest = self.hottest_c
        if isinstance(found, Missing):
            self.hottest_c = found if isinstance(hottest, Missing) else hottest
        else:
            self.hottest_c = found if isinstance(hottest, Missing) else max(hottest, found)

    def _add_reasons(self, passed_s: float) -> None:
        """By the older of two names for the same, which all drivers know."""
        bits = self.board.ask(self.board.nvml.nvmlDeviceGetCurrentClocksThrottleReasons)
        if isinstance(bits, dict):
            self.unread["reasons"] = Missing(**bits)
            return
        braked = bool(bits & BRAKE)
        self.heat_s += passed_s * bool(bits & (HEAT & ~SLOWDOWN if braked else HEAT))
        self.brake_s += passed_s * braked

    def _is_at_work(self) -> bool:
        """Where nobody tells, it is."""
        found = self.board.ask(self.board.nvml.nvmlDeviceGetUtilizationRates)
        return isinstance(found, dict) or found.gpu / 100 >= LOAD

    def sum_up(self, xid: Reading) -> dict[str, Reading]:
        """All that was seen, by the keys of KEYS. Its clock is the mean at work, its link the slowest."""
        return {
            **read_counters(self.board),
            "temperature_c": self.hottest_c,
            "throttled_s": self._add_throttling(),
            "clock_mhz": self._at_work("clock_mhz", fmean),
            "pcie_width": self._at_work("pcie_width", min),
            "pcie_generation": self._at_work("pcie_generation", min),
            "xid": xid,
        }

    def _add_throttling(self) -> Reading:
        """By NVML's counter where it has one, which misses nothing; the brake, and else heat too, by the polls."""
        unread = self.unread.get("reasons")
        if isinstance(self.counted_s, Missing):
            # A look that did not tell: nobody knows for how long it was held back.
            return unread or self.heat_s + self.brake_s
        counted_s = subtract(count_heat_s(self.board), self.counted_s)
        # Of the brake only the polls tell: without them no throttling is not known to be none.
        if isinstance(counted_s, Missing) or (unread is not None and not counted_s):
            return unread or counted_s
        return counted_s + self.brake_s

    def _at_work(self, key: str, how: Any) -> Reading:
        if self.loaded[key]:
            return float(how(self.loaded[key]))
        return self.unread.get(key, Missing(missing=IDLE))


class _Events:
    """NVML's set of events: XIDs of the GPUs that could be registered. `unread` says why those of a GPU are not."""

    def __init__(self, nvml: Any, boards: Mapping[str, Board]) -> None:
        self._nvml = nvml
        self.counts = dict.fromkeys(boards, 0)
        self.unread: dict[str, Missing] = {}
        self._set: Any = None
        try:
            self._set = nvml.nvmlEventSetCreate()
        except nvml.NVMLError as problem:
            self.unread = dict.fromkeys(boards, Missing(missing=f"NVML: {problem}"))
            return
        for uuid, board in boards.items():
            found = board.ask(nvml.nvmlDeviceRegisterEvents, nvml.nvmlEventTypeXidCriticalError, self._set)
            if isinstance(found, dict):
                self.unread[uuid] = Missing(**found)

    def collect(self) -> None:
        """All that have come meanwhile, without waiting."""
        while self._set is not None and len(self.unread) < len(self.counts):
            try:
                event = self._nvml.nvmlEventSetWait_v2(self._set, 0)
                uuid = str(self._nvml.nvmlDeviceGetUUID(event.device))
            except self._nvml.NVMLError as problem:
                # 10 is NVML_ERROR_TIMEOUT: there is none.
                if problem.value != self._nvml.NVML_ERROR_TIMEOUT:
                    why = Missing(missing=f"NVML: {problem}")
                    self.unread = dict.fromkeys(self.counts, why) | self.unread
                return
            if uuid in self.counts:
                self.counts[uuid] += 1

    def count(self, uuid: str) -> Reading:
        """Events of a GPU. One that has come is one, whatever could not be read after it."""
        seen = self.counts[uuid]
        return float(seen) if seen else self.unread.get(uuid, 0.0)

    def close(self) -> None:
        """Let go of it."""
        if self._set is not None:
            try:
                self._nvml.nvmlEventSetFree(self._set)
            except self._nvml.NVMLError:
                return


class Watch:
    """Looks at GPUs about ten times a second, in a thread of its own, from the begin to the end of a block.

    `seen` holds of each, by the UUID that was given, the keys of KEYS: the hottest temperature, seconds of throttling
    by heat or power brake meanwhile, the mean clock and the slowest link at work, XID events meanwhile, and what its
    counters of errors say at the end.
    """

    def __init__(self, uuids: Iterable[str], *, period_s: float = PERIOD_S) -> None:
        self.seen: Mapping[str, Mapping[str, Reading]] = {}
        self._uuids = {complete_uuid(uuid): uuid for uuid in uuids}
        self._period_s = period_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gpu-health", daemon=True)
        self._watched: dict[str, _Watched] = {}
        self._absent: dict[str, Missing] = {}
        self._broken: Missing | None = None
        self._session: Session | None = None
        self._events: _Events | None = None

    def __enter__(self) -> Self:
        session = open_session()
        if isinstance(session, Missing):
            self._absent = dict.fromkeys(self._uuids, session)
            return self
        self._session, nvml = session, session.__enter__()
        for uuid in self._uuids:
            board = find_board(nvml, uuid)
            if isinstance(board, Missing):
                self._absent[uuid] = board
            else:
                self._watched[uuid] = _Watched(board, count_heat_s(board), time.monotonic())
        self._events = _Events(nvml, {uuid: one.board for uuid, one in self._watched.items()})
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is None or self._events is None:
            self.seen = {uuid: dict.fromkeys(KEYS, self._absent[full]) for full, uuid in self._uuids.items()}
            return
        self._stop.set()
        self._thread.join()
        self.seen = {uuid: self._sum_up(full) for full, uuid in self._uuids.items()}
        self._events.close()
        self._session.__exit__()

    def _sum_up(self, uuid: str) -> dict[str, Reading]:
        absent = self._absent.get(uuid) or self._broken
        if absent is not None or self._events is None:
            return dict.fromkeys(KEYS, absent or Missing(missing="nobody looked"))
        return self._watched[uuid].sum_up(self._events.count(uuid))

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._period_s):
                self._poll()
            self._poll()
        except Exception as problem:  # noqa: BLE001 (whatever a driver made of it, it is told)
            self._broken = Missing(missing=f"{type(problem).__name__}: {problem}")

    def _poll(self) -> None:
        for watched in self._watched.values():
            watched.poll()
        if self._events is not None:
            self._events.collect()
