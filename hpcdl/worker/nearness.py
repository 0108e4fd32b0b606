"""Which hardware threads each rank of a node takes: near its GPU as far as they go, and never another's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.processors import fold_cpus
from hpcdl.records import Binding, Missing, Nearness

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


def choose_cpus(
    near: Sequence[Collection[int]], each: int, allowed: Sequence[int], *, threads_per_core: int = 1
) -> tuple[tuple[int, ...], ...]:
    """The hardware threads of each local rank, in the order of `allowed`; none where they do not suffice for all.

    Those that are near are shared out first, equally among the ranks to which the same ones are near. What is left
    over then fills up who lacks some: so each rank has `each`, and nobody's threads are another's.

    Args:
        near: For each local rank, those that are near its GPU; empty where nobody knows.
        each: How many each rank is to have, which is what it has been given.
        allowed: Those that may be used by all ranks, those of one core together (hpcdl.processors.arrange_by_core).
        threads_per_core: Cores are not parted between ranks where `each` is whole cores.
    """
    if each < 1 or each * len(near) > len(allowed):
        return ()
    grain = threads_per_core if each % threads_per_core == 0 else 1
    chosen: list[list[int]] = [[] for _ in near]
    free = dict.fromkeys(allowed)
    for wish, ranks in _group(near, free).items():
        share = [cpu for cpu in free if cpu in wish]
        size = min(each, len(share) // len(ranks) // grain * grain)
        for place, rank in enumerate(ranks):
            chosen[rank] = share[place * size : (place + 1) * size]
        for cpu in share[: size * len(ranks)]:
            del free[cpu]
    _fill_up(chosen, near, each, list(free))
    order = {cpu: place for place, cpu in enumerate(allowed)}
    return tuple(tuple(sorted(cpus, key=order.__getitem__)) for cpus in chosen)


def _group(near: Sequence[Collection[int]], allowed: Collection[int]) -> dict[frozenset[int], list[int]]:
    """Ranks by what is near them, those with the least of it first: others can do without more easily."""
    groups: dict[frozenset[int], list[int]] = {}
    for rank, cpus in enumerate(near):
        groups.setdefault(frozenset(cpus).intersection(allowed), []).append(rank)
    return dict(sorted(groups.items(), key=lambda item: (len(item[0]), item[1])))


def _fill_up(chosen: list[list[int]], near: Sequence[Collection[int]], each: int, free: list[int]) -> None:
    """What is left of the near ones goes to all to whom it is near before anybody else has it."""
    everything = frozenset(free)
    for wishes in (near, [everything] * len(near)):
        for cpus, wish in zip(chosen, wishes, strict=True):
            taken = [cpu for cpu in free if cpu in wish][: each - len(cpus)]
            cpus.extend(taken)
            free[:] = [cpu for cpu in free if cpu not in taken]


@dataclass(frozen=True)
class Ranks:
    """The ranks of one node: how many, which one is meant, what each has been given, and who gave it."""

    count: int
    local_rank: int
    each: int
    by_slurm: bool


@dataclass(frozen=True)
class Choice:
    """Hardware threads to take; none: stay as it is. `binding` says so in words."""

    cpus: tuple[int, ...]
    binding: Binding


def leave_or_slice(ranks: Ranks, allowed: Sequence[int]) -> Choice:
    """Of a rank that computes on the processor: under Slurm the cores are Slurm's to give; here it takes its slice."""
    if ranks.by_slurm:
        # Which may be without any binding: not every cluster's Slurm can.
        where = f"left as Slurm started it, on CPUs {fold_cpus(allowed)}"
        return Choice((), Binding(action="left", detail=where))
    chosen = choose_cpus([()] * ranks.count, ranks.each, allowed)
    if not chosen:
        return Choice(
            (), _leave(allowed, f"{ranks.count} ranks of {ranks.each} do not fit {len(allowed)} CPUs")
        )
    cpus = chosen[ranks.local_rank]
    return Choice(cpus, Binding(action="bound", detail=f"bound to CPUs {fold_cpus(cpus)}, its slice"))


def approach(
    ranks: Ranks,
    allowed: Sequence[int],
    near: Sequence[Collection[int]] | Missing,
    *,
    threads_per_core: int = 1,
    numa: Mapping[int, Collection[int]] | None = None,
) -> Choice:
    """Of a rank that computes on the GPU of its number: near it where all ranks may choose among all CPUs.

    Args:
        ranks: Those of this node.
        allowed: What this rank may use, threads of a core together. Where that is less than all ranks need, each has
            been bound already, and stays.
        near: What is near each rank's GPU, as far as anybody tells.
        threads_per_core: Of those that are allowed.
        numa: The CPUs of each NUMA node, to name them by.
    """
    if isinstance(near, Missing):
        wishes: Sequence[Collection[int]] = [()] * ranks.count
    else:
        wishes = near
    wish = wishes[ranks.local_rank]
    chosen = choose_cpus(wishes, ranks.each, allowed, threads_per_core=threads_per_core)
    cpus = chosen[ranks.local_rank] if chosen else ()
    if not cpus or set(cpus) == set(allowed):
        return Choice((), _judge(ranks, allowed, near))
    where = f"CPUs {fold_cpus(cpus)}{_name_nodes(cpus, numa)}"
    found = judge_nearness(cpus, wish)
    if isinstance(near, Missing):
        detail = f"bound to {where} in order: {near.missing}"
    elif found == "all":
        detail = f"bound near GPU {ranks.local_rank}: {where}"
    else:
        inside = len(set(cpus) & set(wish))
        detail = (
            f"bound to {where}, {inside} of them near GPU {ranks.local_rank}: there are no more for each rank"
        )
    return Choice(cpus, Binding(action="bound", near=found, detail=detail))


def judge_nearness(cpus: Collection[int], near: Collection[int]) -> Nearness | None:
    """How many of these are near; None: nobody knows what is."""
    if not near:
        return None
    inside = len(set(cpus) & set(near))
    return "none" if inside == 0 else "all" if inside == len(set(cpus)) else "some"


def _leave(allowed: Sequence[int], why: str) -> Binding:
    return Binding(action="left", detail=f"left on CPUs {fold_cpus(allowed)}: {why}")


def _judge(ranks: Ranks, allowed: Sequence[int], near: Sequence[Collection[int]] | Missing) -> Binding:
    who = "left as Slurm bound" if ranks.by_slurm else "left as it is"
    if isinstance(near, Missing):
        return Binding(action="left", detail=f"{who}: {near.missing}")
    wish = near[ranks.local_rank]
    found = judge_nearness(allowed, wish)
    gpu = f"GPU {ranks.local_rank}"
    words = {
        "all": f"already near {gpu}",
        "some": f"{len(set(allowed) & set(wish))} of its {len(allowed)} CPUs are near {gpu}",
        "none": f"none of its CPUs {fold_cpus(allowed)} is near {gpu}, whose are {fold_cpus(wish)}",
        None: "no NUMA information",
    }
    return Binding(action="left", near=found, detail=f"{who}: {words[found]}")


def _name_nodes(cpus: Collection[int], numa: Mapping[int, Collection[int]] | None) -> str:
    nodes = [str(node) for node, those in (numa or {}).items() if set(cpus) & set(those)]
    return f" on NUMA {', '.join(nodes)}" if nodes else ""
