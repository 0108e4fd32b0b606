"""In what a unit differs from its fleet: numbers far from the median of its like, words that few have."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from hpcdl.acceptance.looks import find_metric

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hpcdl.acceptance.evidence import Evidence, Unit
    from hpcdl.acceptance.metrics import Dimension, Metric, Scope

Key = tuple["Scope", str]
# So many like units at least make a fleet that one can differ from.
FEWEST = 3
# From the median, in robust standard deviations: 1.4826 MAD is one of a normal distribution (Rousseeuw & Croux 1993).
FAR, MAD_TO_DEVIATION = 5.0, 1.4826
# What is nearer to the median is nothing to tell, however alike the others are: a part of it, or as it stands.
NEAR_PART = 0.05
NEAR: dict[Dimension, float] = {"°C": 5.0, "s": 0.2, "cores": 0.3, "count": 0.0, "ratio": 0.03, "bytes": 0.0}
# Of memory, the firmware's own share varies.
NEAR_PARTS: dict[Dimension, float] = {"°C": 0.0, "s": 0.0, "cores": 0.0, "count": 0.0, "bytes": 0.01}


class Peculiarity(NamedTuple):
    """Of one metric of one unit: its number or word, and the fleet's; None: the fleet has none.

    `far` is by how much it is off, in parts of what is near enough.
    """

    metric: str
    unit: Unit
    value: float | str
    usual: float | str | None
    far: float = float("inf")


class Usual(NamedTuple):
    """Of a kind of units: the median number, what is near to it, and how many have one, of all that could."""

    value: float
    near: float
    having: int


@dataclass
class _Metric:
    """All of one metric, by unit."""

    numbers: defaultdict[Key, list[float]] = field(default_factory=lambda: defaultdict(list))
    words: defaultdict[Key, list[str]] = field(default_factory=lambda: defaultdict(list))
    reasons: dict[Key, str] = field(default_factory=dict)
    kinds: dict[Key, str] = field(default_factory=dict)


class Comparison:
    """The whole evidence, by metric and unit."""

    def __init__(self, evidence: Evidence) -> None:
        self._metrics: defaultdict[str, _Metric] = defaultdict(_Metric)
        self._units: dict[Key, Unit] = {}
        self._told: defaultdict[Key, dict[str, None]] = defaultdict(dict)
        self._of_node: defaultdict[str, dict[Key, None]] = defaultdict(dict)
        self._usual: dict[tuple[str, str], Usual | None] = {}
        self._common: dict[tuple[str, str], tuple[str, int] | None] = {}
        self._sizes: dict[str, Counter[str]] = {}
        for number in evidence.observations:
            key, found = self._note(number.metric, number.unit)
            found.numbers[key] += number.samples
        for trait in evidence.traits:
            key, found = self._note(trait.metric, trait.unit)
            found.words[key].append(trait.word)
        for absence in evidence.absences:
            key, found = self._note(absence.metric, absence.unit)
            found.reasons.setdefault(key, absence.reason)

    def _note(self, metric: str, unit: Unit) -> tuple[Key, _Metric]:
        key, found = _key(unit), self._metrics[metric]
        if key not in found.kinds:
            found.kinds[key] = unit.model
            self._told[key][metric] = None
            if key not in self._units:
                self._units[key] = unit
                if len(unit.nodes) == 1:
                    self._of_node[unit.nodes[0]][key] = None
        return key, found

    def units_of(self, node: str) -> list[Unit]:
        """The node and its devices."""
        return [self._units[key] for key in self._of_node.get(node, ())]

    def units_with(self, metric: str) -> list[Unit]:
        """All that have a number or a word of it."""
        found = self._metrics.get(metric, _Metric())
        return [self._units[key] for key in {**found.numbers, **found.words}]

    def find(self, scope: Scope, name: str) -> Unit | None:
        """The unit of that name."""
        return self._units.get((scope, name))

    def number(self, metric: str, unit: Unit) -> float | None:
        """The number of a unit: the median of what scatters, else the worst that was seen."""
        samples = self._metrics[metric].numbers.get(_key(unit)) if metric in self._metrics else None
        return _sum_up(find_metric(metric), samples) if samples else None

    def word(self, metric: str, unit: Unit) -> str | None:
        """The first word of a unit."""
        words = self._metrics[metric].words.get(_key(unit)) if metric in self._metrics else None
        return words[0] if words else None

    def usual(self, metric: str, unit: Unit) -> Usual | None:
        """What like units have; None: there are too few."""
        kind = self._metrics[metric].kinds.get(_key(unit), unit.model)
        if (metric, kind) not in self._usual:
            self._usual[metric, kind] = self._measure(metric, kind)
        return self._usual[metric, kind]

    def _measure(self, metric: str, kind: str) -> Usual | None:
        found, known = self._metrics[metric], find_metric(metric)
        values = [
            _sum_up(known, samples)
            for key, samples in found.numbers.items()
            if found.kinds[key] == kind and samples
        ]
        if len(values) < FEWEST:
            return None
        middle = median(values)
        deviation = MAD_TO_DEVIATION * median(abs(value - middle) for value in values)
        return Usual(middle, max(FAR * deviation, _find_near(known, middle)), len(values))

    def common(self, metric: str, unit: Unit) -> tuple[str, int] | None:
        """The word of more than half of the like units, and of how many; None: there is none, or too few units."""
        kind = self._metrics[metric].kinds.get(_key(unit), unit.model)
        if (metric, kind) not in self._common:
            self._common[metric, kind] = self._count(metric, kind)
        return self._common[metric, kind]

    def _count(self, metric: str, kind: str) -> tuple[str, int] | None:
        found = self._metrics[metric]
        votes = Counter(words[0] for key, words in found.words.items() if found.kinds[key] == kind)
        if not votes or votes.total() < FEWEST:
            return None
        word, count = votes.most_common(1)[0]
        return (word, count) if 2 * count > votes.total() else None

    def _size(self, metric: str, unit: Unit) -> int:
        """How many like units could have this."""
        found = self._metrics[metric]
        if metric not in self._sizes:
            self._sizes[metric] = Counter(found.kinds.values())
        return self._sizes[metric][found.kinds[_key(unit)]]

    # ---- What sticks out ----

    def list_peculiarities(self, units: Iterable[Unit]) -> Iterator[Peculiarity]:
        """All that is peculiar about these units; of several that share a metric, the most peculiar one."""
        worst: dict[str, Peculiarity] = {}
        for unit in units:
            for metric in self._told[_key(unit)]:
                found = self._compare(metric, unit)
                if found is not None and (metric not in worst or found.far > worst[metric].far):
                    worst[metric] = found
        yield from worst.values()

    def _compare(self, metric: str, unit: Unit) -> Peculiarity | None:
        number = self.number(metric, unit)
        if number is not None:
            return self._compare_number(metric, unit, number)
        word = self.word(metric, unit)
        return None if word is None else self._compare_word(metric, unit, word)

    def _compare_number(self, metric: str, unit: Unit, number: float) -> Peculiarity | None:
        size, usual = self._size(metric, unit), self.usual(metric, unit)
        having = self._count_having(metric, unit)
        if size >= FEWEST and 2 * having <= size:
            return Peculiarity(metric, unit, number, None)
        if usual is None:
            return None
        off = _find_harm(find_metric(metric), number - usual.value)
        if off <= usual.near or not off:
            return None
        return Peculiarity(
            metric, unit, number, usual.value, off / usual.near if usual.near else float("inf")
        )

    def _count_having(self, metric: str, unit: Unit) -> int:
        usual = self.usual(metric, unit)
        if usual is not None:
            return usual.having
        found = self._metrics[metric]
        return sum(found.kinds[key] == found.kinds[_key(unit)] for key in found.numbers)

    def _compare_word(self, metric: str, unit: Unit, word: str) -> Peculiarity | None:
        common = self.common(metric, unit)
        if common is None:
            return None
        return None if common[0] == word else Peculiarity(metric, unit, word, common[0])

    def list_lacks(self, units: Iterable[Unit]) -> Iterator[tuple[str, str]]:
        """Metric and reason of what these units could not tell, and most of their like could."""
        for unit in units:
            key = _key(unit)
            for metric in self._told[key]:
                found = self._metrics[metric]
                reason = found.reasons.get(key)
                if reason is None or key in found.numbers or key in found.words:
                    continue
                having = len(found.numbers) + len(found.words)
                if having >= FEWEST - 1 and 2 * having > len(found.kinds):
                    yield metric, reason


def _key(unit: Unit) -> Key:
    return unit.scope, unit.name


def _sum_up(metric: Metric | None, samples: Sequence[float]) -> float:
    if metric is None or metric.timed:
        return median(samples)
    return min(samples) if metric.better == "higher" else max(samples)


def _find_near(metric: Metric | None, middle: float) -> float:
    if metric is None:
        return NEAR_PART * abs(middle)
    part = NEAR_PARTS.get(metric.dimension, NEAR_PART)
    return max(NEAR.get(metric.dimension, 0.0), part * abs(middle))


def _find_harm(metric: Metric | None, off: float) -> float:
    """How far it is off to the worse; a unit that is better than the others explains nothing."""
    if metric is None or metric.better == "same":
        return abs(off)
    return -off if metric.better == "higher" else off
