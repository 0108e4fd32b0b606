"""How the hardware fares while it works: heat, clocks, throttling, errors, and who else computes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from hpcdl.records import Missing
from hpcdl.worker import processor
from hpcdl.worker.check.gpus import list_gpus, load_health
from hpcdl.worker.check.post import Seen
from hpcdl.worker.check.soak import find_hottest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from hpcdl.plan import Training
    from hpcdl.records import Conditions, Reading
    from hpcdl.worker.check.post import Post

NOTHING_TRAINED = Missing(missing="nothing was trained, so that nobody watched")


class Watching:
    """The GPUs under this rank's eyes, by UUID with their names, from now until it is asked what it saw."""

    def __init__(self, gpus: Mapping[str, str]) -> None:
        self.gpus = gpus
        health = load_health() if gpus else None
        self._watch: Any = health.Watch(tuple(gpus)) if health else None
        if self._watch is not None:
            self._watch.__enter__()

    def end(self) -> Mapping[str, Mapping[str, Reading]]:
        """What it saw of each GPU; nothing where nobody can ask them."""
        watch, self._watch = self._watch, None
        if watch is None:
            return {}
        watch.__exit__(None, None, None)
        seen: Mapping[str, Mapping[str, Reading]] = watch.seen
        return seen


@contextlib.contextmanager
def watching(post: Post) -> Iterator[None]:
    """Have the rank's GPUs watched while it works; whatever keeps us from it, the work goes on."""
    post.watching, post.why_unwatched = None, ""
    if "health" in post.check.checks:
        try:
            post.watching = Watching(_choose_gpus(post))
        except Exception as problem:  # noqa: BLE001 (whatever a driver made of it, it is told)
            post.why_unwatched = f"{type(problem).__name__}: {problem}"
    try:
        yield
    finally:
        if post.watching is not None:
            with contextlib.suppress(Exception):
                post.watching.end()


def _choose_gpus(post: Post) -> dict[str, str]:
    """The rank's own. Where the node trains on its processor, the first rank looks at all of the node's GPUs."""
    if post.device.type == "cuda":
        return {post.device_id: post.device_model}
    return {gpu.uuid: gpu.name for gpu in list_gpus()} if post.place.local_rank == 0 else {}


def look(post: Post, training: Training | None) -> Iterator[Seen]:  # noqa: ARG001
    """Each GPU by itself, or the processor; then, from the first rank, what is the node's."""
    watched = post.watching
    seen = watched.end() if watched else {}
    for uuid, name in (watched.gpus if watched else {}).items():
        yield Seen(numbers=seen.get(uuid) or _miss(post), device=uuid, model=name)
    if post.device.type != "cuda":
        yield Seen(numbers=_read_processor(post.conditions))
    if post.place.local_rank == 0:
        yield Seen(numbers=sum_up(post.conditions), device="")


def _miss(post: Post) -> dict[str, Reading]:
    """A GPU that nobody can ask is not a healthy one."""
    reason = Missing(missing=post.why_unwatched or "nobody asked this GPU")
    keys = ("temperature_c", "throttled_s", "clock_mhz", "ecc_uncorrected", "xid", "remapped_rows")
    return dict.fromkeys((*keys, "pcie_width", "pcie_generation"), reason)


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
