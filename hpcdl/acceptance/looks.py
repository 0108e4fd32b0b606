"""The looks of one launch of checks as evidence: repeats become samples, and what was planned and not seen an absence.

Each look's numbers and words carry the names of `metrics`, after the name of its check and of its network.
"""

from __future__ import annotations

import functools
import statistics
from collections import defaultdict
from typing import TYPE_CHECKING

from hpcdl.acceptance.evidence import Absence, Observation, Trait, Unit
from hpcdl.acceptance.fleet import is_gpu
from hpcdl.acceptance.metrics import METRICS, Metric, find
from hpcdl.errors import HpcdlError
from hpcdl.records import Missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcdl.acceptance.fleet import Devices, Fleet
    from hpcdl.acceptance.node_launches import NodeLaunch
    from hpcdl.checks import Checked, CheckName
    from hpcdl.records import Conditions, Reading

# What a node is and what it holds is compared among all nodes, whatever they compute on.
WHOLE_FLEET = frozenset({"identity", "data", "node"})
# Of several ranks of a node, the first looks at the node.
NODE_CHECKS = frozenset({"identity", "data", "storage", "decode"})
# Made from several records, elsewhere.
DERIVED = frozenset({"images_per_j", "power_w"})
# A standard deviation of fewer says little.
FEWEST_FOR_SPREAD = 3
# The check was there, and had no such number or word.
UNTOLD = "it was looked for, and is not told there"
# By which hosts are told apart as machines: it is of no fleet's majority.
BOOT_ID = "boot_id"

Seen = Observation | Trait | Absence
Key = tuple[str, Unit]


@functools.lru_cache(maxsize=4096)
def find_metric(name: str) -> Metric | None:
    """The metric of that name; None: it is only a clue."""
    try:
        return find(name)
    except HpcdlError:
        return None


@functools.lru_cache(maxsize=256)
def list_metrics(check: str, models: tuple[str, ...]) -> tuple[tuple[str, Metric], ...]:
    """What a check makes known of these networks, by name; without what is derived from it."""
    found = []
    for name, metric in METRICS.items():
        first, _, last = name.rpartition(".")
        if first.split(".")[0] == check and last not in DERIVED:
            names = [name.replace("{model}", model) for model in models] if "{model}" in name else [name]
            found += [(one, metric) for one in names]
    return tuple(found)


def node_unit(node: str, devices: Devices, check: str) -> Unit:
    """The node as a whole, as this check looks at it."""
    return Unit("node", node, (node,), "" if check in WHOLE_FLEET else devices.model_of(node))


def observe_looks(launch: NodeLaunch, fleet: Fleet, devices: Devices) -> Iterator[Seen]:
    """All numbers and words of a launch, and of each node what it was to tell and did not."""
    gathered = Looks(launch, devices)
    for node, looks in launch.looks.items():
        for look in looks:
            gathered.add(node, look)
    told: dict[Key, int] = {}
    failed: set[Key] = set()
    for seen in gathered.tell():
        key = seen.metric, seen.unit
        told[key] = max(told.get(key, 0), len(seen.samples) if isinstance(seen, Observation) else 0)
        if isinstance(seen, Absence):
            failed.add(key)
        yield seen
    for node in launch.nodes:
        looked = {(look.check, look.local_rank) for look in launch.looks.get(node, ())}
        for name, unit, local_rank in _list_expected(launch, node, devices):
            if (name, unit) not in told:
                there = (name.partition(".")[0], local_rank or 0) in looked
                reason = UNTOLD if there else launch.explain(node, fleet, local_rank)
                yield Absence(name, unit, launch.block, reason)
            elif _is_cut_short(launch, name, told[name, unit]) and (name, unit) not in failed:
                some = f"{told[name, unit]} of {launch.check.repeats} repeats"
                yield Absence(
                    name, unit, launch.block, f"{some}: {launch.explain(node, fleet, local_rank or 0)}"
                )


def _is_cut_short(launch: NodeLaunch, name: str, samples: int) -> bool:
    metric = find_metric(name)
    return metric is not None and metric.timed and 0 < samples < launch.check.repeats


def list_absences(
    launch: NodeLaunch, nodes: tuple[str, ...], fleet: Fleet, devices: Devices
) -> Iterator[Absence]:
    """All that was planned, of nodes that no launch has reached."""
    for node in nodes:
        reason = fleet.fault(node) or "the node was never reached"
        yield Absence("node.finished", Unit("node", node, (node,)), "", reason)
        for name, unit, _ in _list_expected(launch, node, devices):
            yield Absence(name, unit, "", reason)


class Looks:
    """What the looks of a launch say, while they are being read.

    Where several ranks tell the same of a node, or a check and the conditions of a training the same of a device,
    the worst of each repeat counts; where nothing is better or worse, the first.
    """

    def __init__(self, launch: NodeLaunch, devices: Devices) -> None:
        self._launch = launch
        self._devices = devices
        self._samples: defaultdict[Key, dict[int, float]] = defaultdict(dict)
        self._words: defaultdict[Key, dict[str, None]] = defaultdict(dict)
        self._unread: dict[Key, str] = {}
        self._failed: dict[Key, str] = {}

    def add(self, node: str, look: Checked) -> None:
        """One look of a node."""
        if look.outcome == "could not look":
            for name, unit in self._list_missed(node, look):
                self._failed.setdefault((name, unit), look.reason or "it could not be looked at")
        for word, reading in look.numbers.items():
            self._add_number(node, look, _name(look, word), reading)
        for word, text in look.words.items():
            if word != BOOT_ID:
                name = _name(look, word)
                self._words[name, self._unit(node, look, name)][text] = None
        if look.conditions is not None:
            self._add_conditions(node, look, look.conditions)

    def _unit(self, node: str, look: Checked, name: str) -> Unit:
        metric = find_metric(name)
        scope = (
            metric.scope if metric else ("node" if look.check in NODE_CHECKS or not look.device else "device")
        )
        if scope == "node":
            return node_unit(node, self._devices, name.split(".", maxsplit=1)[0])
        return self._devices.unit(node, look.local_rank, look.device, self._launch.ranks)

    def _add_number(self, node: str, look: Checked, name: str, reading: Reading) -> None:
        metric = find_metric(name)
        if metric is not None and metric.gpu and isinstance(reading, Missing) and not is_gpu(look.device):
            return
        key = name, self._unit(node, look, name)
        if isinstance(reading, Missing):
            self._unread.setdefault(key, reading.missing)
            return
        samples = self._samples[key]
        known = samples.get(look.repeat)
        samples[look.repeat] = reading if known is None else _choose_worse(metric, known, reading)

    def _add_conditions(self, node: str, look: Checked, conditions: Conditions) -> None:
        """How a node fared while it trained; what follows from no metric is a clue."""
        for name, reading in _list_conditions(conditions, on_gpu=is_gpu(look.device)):
            # Of the node's load only its first rank knows, and says so.
            if not (isinstance(reading, Missing) and look.local_rank):
                self._add_number(node, look, name, reading)
        if conditions.foreign:
            unit = node_unit(node, self._devices, "health")
            self._words["health.foreign", unit][conditions.foreign[0]] = None

    def _list_missed(self, node: str, look: Checked) -> Iterator[Key]:
        models = (look.subject,) if look.subject else _list_models(self._launch, look.check)
        for name, metric in list_metrics(look.check, models):
            if not metric.gpu or is_gpu(look.device):
                yield name, self._unit(node, look, name)

    def tell(self) -> Iterator[Seen]:
        """The evidence."""
        block = self._launch.block
        for (name, unit), by_repeat in self._samples.items():
            samples = tuple(by_repeat[repeat] for repeat in sorted(by_repeat))
            yield Observation(name, unit, block, samples)
            if name.startswith("train.") and name.endswith(".images_per_s"):
                yield _measure_spread(name, unit, block, samples)
        for (name, unit), words in self._words.items():
            yield from (Trait(name, unit, block, word) for word in words)
        for (name, unit), reason in self._failed.items():
            yield Absence(name, unit, block, reason)
        for key, reason in self._unread.items():
            if key not in self._samples and key not in self._failed:
                yield Absence(*key, block, reason)


def _name(look: Checked, word: str) -> str:
    """With the network where the metric has one."""
    plain = f"{look.check}.{word}"
    return plain if plain in METRICS or not look.subject else f"{look.check}.{look.subject}.{word}"


def _choose_worse(metric: Metric | None, one: float, other: float) -> float:
    if metric is None or metric.better == "same":
        return one
    return min(one, other) if metric.better == "higher" else max(one, other)


def _list_conditions(conditions: Conditions, *, on_gpu: bool) -> Iterator[tuple[str, Reading]]:
    yield "health.temperature_c", conditions.temperature_c
    yield "health.clock_mhz", conditions.clock_mhz
    yield "health.cpu_throttled_s", conditions.cpu_throttled_s
    yield "health.foreign_cores", conditions.foreign_cores
    yield "health.thermal_throttled_s", conditions.thermal_throttled_s
    yield "identity.cpu_limit_cores", conditions.cpu_limit_cores
    if on_gpu:
        yield "health.throttled_s", conditions.gpu_throttled_s


def _measure_spread(name: str, unit: Unit, block: str, samples: tuple[float, ...]) -> Observation | Absence:
    """Standard deviation over mean of the repeats."""
    metric = name.removesuffix("images_per_s") + "spread"
    if len(samples) < FEWEST_FOR_SPREAD:
        few = f"{len(samples)} of {FEWEST_FOR_SPREAD} repeats that a spread needs"
        return Absence(metric, unit, block, few)
    return Observation(metric, unit, block, (statistics.stdev(samples) / statistics.fmean(samples),))


def _list_models(launch: NodeLaunch, check: CheckName) -> tuple[str, ...]:
    """The networks that a check looks at: the last of them goes on."""
    models = tuple(dict.fromkeys(training.model for training in launch.check.trainings))
    return models[-1:] if check == "soak" else models


def _list_expected(launch: NodeLaunch, node: str, devices: Devices) -> Iterator[tuple[str, Unit, int | None]]:
    """What a node was to tell: metric, unit, and the rank whose task it was (None: the node's first)."""
    for check in launch.check.checks:
        for name, metric in list_metrics(check, _list_models(launch, check)):
            if metric.scope == "node":
                yield name, node_unit(node, devices, check), None
                continue
            for device, local_rank in _list_devices(launch, node, devices, check):
                # Where nobody knows what is in a node, it may be what others have.
                if not metric.gpu or is_gpu(device) or (not device and devices.any_gpu):
                    yield name, devices.unit(node, local_rank, device, launch.ranks), local_rank


def _list_devices(
    launch: NodeLaunch, node: str, devices: Devices, check: CheckName
) -> Iterator[tuple[str, int]]:
    for local_rank in range(launch.ranks):
        yield devices.own(node, local_rank), local_rank
    if check == "health":
        yield from ((uuid, 0) for uuid in devices.others(node, launch.ranks))
