"""A fleet in tables: what its nodes are, in groups of equal ones."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.acceptance.words import cut
from hpcdl.report.content import Column, Table
from hpcdl.report.requirements import flatten_word, write_amount

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from hpcdl.acceptance.evidence import Evidence
    from hpcdl.report.content import Cell

IDENTITY, SINGLE_VERSION = "identity.", "identity.version."
LIMITS = frozenset({"identity.cpu_limit_cores", "identity.memory_limit_bytes"})
# A fleet of more kinds than that is told by its largest groups.
MOST_GROUPS, MOST_NAMED = 12, 8
UNKNOWN = "not known"
LONGEST = 120


@dataclass(frozen=True)
class Group:
    """Nodes that are alike in all that was looked at: metric -> the word, or the number in words."""

    nodes: tuple[str, ...]
    traits: Mapping[str, str]


def group_nodes(evidence: Evidence) -> list[Group]:
    """Nodes by what they are, the largest group first."""
    traits: dict[str, dict[str, str]] = {node: {} for node in evidence.nodes}
    for node, metric, word in _list_traits(evidence):
        # What one node says of itself in several jobs is told as far as it differs.
        known = traits.setdefault(node, {}).get(metric)
        traits[node][metric] = word if known in (None, word) else f"{known}, then {word}"
    groups: dict[tuple[tuple[str, str], ...], list[str]] = defaultdict(list)
    for node, found in traits.items():
        groups[tuple(sorted(found.items()))].append(node)
    return sorted(
        (Group(tuple(nodes), dict(key)) for key, nodes in groups.items()),
        key=lambda group: (-len(group.nodes), group.nodes),
    )


def _list_traits(evidence: Evidence) -> Iterator[tuple[str, str, str]]:
    for trait in evidence.traits:
        # All versions stand in one trait too.
        if trait.metric.startswith(IDENTITY) and not trait.metric.startswith(SINGLE_VERSION):
            yield trait.unit.nodes[0], trait.metric, trait.word
    for absent in evidence.absences:
        # That there is no limit is known, and is not the same as not to know of one.
        if absent.metric in LIMITS and len(absent.unit.nodes) == 1:
            yield absent.unit.nodes[0], absent.metric, absent.reason
    for seen in evidence.observations:
        if seen.metric.startswith(IDENTITY) and len(seen.unit.nodes) == 1 and seen.samples:
            yield seen.unit.nodes[0], seen.metric, write_amount(seen.metric, seen.samples[-1])


def make_fleet_table(groups: Sequence[Group]) -> Table:
    """One row for each kind of node, with what tells it from the most common one."""
    columns = (
        Column("group", "group", left=True),
        Column("count", "nodes"),
        Column("nodes", "which", left=True),
        Column("differs", "differs in", left=True),
    )
    shown, rest = groups[:MOST_GROUPS], groups[MOST_GROUPS:]
    rows: list[tuple[Cell, ...]] = [
        (
            _letter(place),
            len(group.nodes),
            name_nodes(group.nodes),
            _compare(groups[0], group) if place else "",
        )
        for place, group in enumerate(shown)
    ]
    captions = ["nodes of a group are alike in all that was looked at"]
    if rest:
        captions.append(
            f"and {len(rest):,} more groups, of {sum(len(one.nodes) for one in rest):,} nodes together"
        )
    return Table(
        "fleet", "The fleet, in groups of equal nodes", columns, tuple(rows), captions=tuple(captions)
    )


def _compare(usual: Group, group: Group) -> str:
    if not group.traits:
        return "nothing is known of them"
    told = []
    for name in sorted(usual.traits.keys() | group.traits.keys()):
        ours, theirs = usual.traits.get(name, UNKNOWN), group.traits.get(name, UNKNOWN)
        if ours != theirs:
            told.append(f"{name.removeprefix(IDENTITY)}: {cut(_differ(ours, theirs), LONGEST)}")
    return "; ".join(told)


def _differ(usual: str, word: str) -> str:
    """Of tables of versions only the versions that differ."""
    known = set(flatten_word(usual).split(", "))
    parts = [part for part in flatten_word(word).split(", ") if part not in known]
    return ", ".join(parts) or flatten_word(word)


def make_hardware_table(groups: Sequence[Group]) -> Table:
    """What the nodes of each group are: one row for each trait, a column for each group."""
    shown = groups[:3]
    metrics = sorted({name for group in shown for name in group.traits})
    columns = (
        Column("trait", "", left=True),
        *(
            Column(f"group_{_letter(place).lower()}", f"group {_letter(place)}", left=True)
            for place in range(len(shown))
        ),
    )
    rows = tuple(
        (
            metric.removeprefix(IDENTITY),
            *(write_amount(metric, group.traits.get(metric, UNKNOWN)) for group in shown),
        )
        for metric in metrics
    )
    captions = ("the three largest groups",) if len(groups) > len(shown) else ()
    return Table("hardware", "Hardware and software", columns, rows, captions=captions)


def _letter(place: int) -> str:
    return chr(ord("A") + place) if place < 26 else str(place + 1)


def name_nodes(nodes: Iterable[str]) -> str:
    """'node[1-3,7], head': names of nodes as Slurm writes lists of them; the first few ranges of many."""
    by_stem: dict[tuple[str, str], list[str]] = defaultdict(list)
    plain: list[str] = []
    for node in dict.fromkeys(nodes):
        found = re.fullmatch(r"(.*?)(\d{1,9})(\D*)", node, re.ASCII)
        if found is None:
            plain.append(node)
        else:
            by_stem[found[1], found[3]].append(found[2])
    names = [*plain]
    for (stem, tail), digits in by_stem.items():
        padded = any(text.startswith("0") and len(text) > 1 for text in digits)
        # Numbers with zeros before them are of one width; others may be of any.
        for width in sorted({len(text) for text in digits}) if padded else [0]:
            numbers = sorted(int(text) for text in digits if width in (0, len(text)))
            names.append(_name_stem(stem, width, tail, numbers))
    return ", ".join(
        [*names[:MOST_NAMED], *([f"and {len(names) - MOST_NAMED:,} more"] if len(names) > MOST_NAMED else [])]
    )


def _name_stem(stem: str, width: int, tail: str, numbers: Sequence[int]) -> str:
    ranges = list(_find_ranges(numbers))
    if len(numbers) == 1:
        return f"{stem}{numbers[0]:0{width}d}{tail}"
    texts = [
        f"{low:0{width}d}" if low == high else f"{low:0{width}d}-{high:0{width}d}" for low, high in ranges
    ]
    more = f",… {len(texts) - MOST_NAMED:,} more" if len(texts) > MOST_NAMED else ""
    return f"{stem}[{','.join(texts[:MOST_NAMED])}{more}]{tail}"


def _find_ranges(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    begin = previous = numbers[0]
    for number in numbers[1:]:
        if number != previous + 1:
            yield begin, previous
            begin = number
        previous = number
    yield begin, previous


def count_models(evidence: Evidence) -> list[tuple[str, int]]:
    """Devices by their models' names: how many of each, the most common first."""
    units = {
        seen.unit.name: seen.unit.model
        for seen in evidence.observations
        if seen.unit.scope == "device" and seen.unit.model
    }
    return Counter(units.values()).most_common()
