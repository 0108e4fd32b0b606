"""How the hardware fares while it works: heat, clocks, throttling, errors, and who else computes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from hpcdl.power.health import KEYS, Watch
from hpcdl.records import Missing
from hpcdl.worker import processor
from hpcdl.worker.check.gpus import list_gpus
from hpcdl.worker.check.post import Seen
from hpcdl.worker.check.soak import find_hottest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from hpcdl.plan import Training
    from hpcdl.records import Conditions, Reading
    from hpcdl.worker.check.post import Post

NOTHING_TRAINED = Missing(missing="nothing was trained, so that nobody watched")


class Watching:
    """GPUs under this rank's eyes, by UUID with their names. `why_not` is what keeps it from seeing them."""

    def __init__(self, gpus: Mapping[str, str]) -> None:
        self.gpus = gpus
        self.why_not = "nobody asked this GPU"
        self._watch: Watch | None = None

    def begin(self) -> None:
        """From now on; whatever keeps us from it, the work goes on."""
        try:
            self._watch = Watch(self.gpus).__enter__() if self.gpus else None
        except Exception as problem:  # noqa: BLE001 (whatever a driver made of it, it is told)
            self.why_not = f"{type(problem).__name__}: {problem}"

    def end(self) -> dict[str, Mapping[str, Reading]]:
        """What it saw of each GPU until now; a GPU that nobody can ask is not a healthy one."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.__exit__(None, None, None)
        seen = watch.seen if watch is not None else {}
        unseen = dict.fromkeys(KEYS, Missing(missing=self.why_not))
        return {uuid: seen.get(uuid, unseen) for uuid in self.gpus}


@contextlib.contextmanager
def watching(post: Post) -> Iterator[None]:
    """Have the rank's GPUs watched while it works, where that is asked for."""
    post.watching = Watching(_choose_gpus(post) if "health" in post.check.checks else {})
    post.watching.begin()
    try:
        yield
    finally:
        with contextlib.suppress(Exception):
            post.watching.end()


def _choose_gpus(post: Post) -> dict[str, str]:
    """The rank's own. Where the node trains on its processor, the first rank looks at all of the node's GPUs."""
    if post.device.type == "cuda":
        return {post.device_id: post.device_model}
    return {gpu.uuid: gpu.name for gpu in list_gpus()} if post.place.local_rank == 0 else {}


def look(post: Post, training: Training | None) -> Iterator[Seen]:  # noqa: ARG001
    """Each GPU by itself, or the processor; then, from the first rank, what is the node's."""
    if post.watching is not None:
        for uuid, seen in post.watching.end().items():
            yield Seen(numbers=seen, device=uuid, model=post.watching.gpus[uuid])
    if post.device.type != "cuda":
        yield Seen(numbers=_read_processor(post.conditions))
    if post.place.local_rank == 0:
        yield Seen(numbers=sum_up(post.conditions), device="")


def _read_processor(conditions: Sequence[Conditions]) -> dict[str, Reading]:
    """The hottest, and the slowest clock, at the ends of the windows in which it trained."""
    hottest = find_hottest([one.temperature_c for one in conditions] or [processor.read_temperature()])
    clock = _combine([one.clock_mhz for one in conditions], min)
    return {"temperature_c": hottest, "clock_mhz": clock}


def sum_up(conditions: Sequence[Conditions]) -> dict[str, Reading]:
    """Seconds for which a CPU quota held the rank back in all windows; cores that others kept busy in the worst."""
    return {
        "cpu_throttled_s": _combine([one.cpu_throttled_s for one in conditions], sum),
        "foreign_cores": _combine([one.foreign_cores for one in conditions], max),
    }


def _combine(readings: Sequence[Reading], how: Callable[[list[float]], float]) -> Reading:
    """Missing where any of them is: of a window that nobody could look into, nobody knows."""
    missing = next((one for one in readings if isinstance(one, Missing)), None)
    if missing is not None or not readings:
        return missing or NOTHING_TRAINED
    return float(how([one for one in readings if not isinstance(one, Missing)]))
