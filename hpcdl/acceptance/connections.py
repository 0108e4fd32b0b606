"""What passes between nodes, from probes: every pair, and allreduce over all of them or over a part."""

from __future__ import annotations

from math import isnan
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from hpcdl.acceptance.evidence import Absence, Observation, Unit
from hpcdl.analysis.communication import analyse_probe, bus_factor
from hpcdl.records import Missing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from hpcdl.acceptance.fleet import Fleet
    from hpcdl.analysis.communication import Communication, Links
    from hpcdl.analysis.launch import LaunchResult
    from hpcdl.probes import Probe

BANDWIDTH, LATENCY = "link.bandwidth_bytes_per_s", "link.latency_s"
ALLREDUCE, RATIO = "allreduce.bandwidth_bytes_per_s", "allreduce.expected_ratio"
# Whose allreduce is that of the whole system; the others are parts of it, by name.
ALL = "links"
UNMET = "the probe has not measured this pair"


def observe_links(
    result: LaunchResult, test: str, block: str, fleet: Fleet, *, planned: tuple[str, ...] = ()
) -> Iterator[Observation | Absence]:
    """Bandwidth and latency of every pair, bus bandwidth of the largest allreduce, and how that was to be expected.

    Args:
        result: A launch that probes.
        test: 'links' over all nodes; another name over those of its hosts.
        block: Names the launch in the evidence.
        fleet: Knows the nodes.
        planned: The nodes that were to meet, as far as that is known.
    """
    hosts = fleet.find_all(result.hosts) or planned
    system = _name_group(test, hosts, fleet)
    whole = test != ALL or result.plan.nodes >= len(fleet.nodes)
    pairs = Unit("pair", system.name, system.nodes)
    found = analyse_probe(result)
    if isinstance(found, Missing) or result.probe is None:
        reason = found.missing if isinstance(found, Missing) else "the probe left no record"
        yield from (Absence(name, pairs, block, reason) for name in (BANDWIDTH, LATENCY))
        yield from (Absence(name, system, block, reason) for name in (ALLREDUCE, RATIO))
        return
    links = _choose_links(found, fleet)
    if isinstance(links, Missing):
        yield from (Absence(name, pairs, block, links.missing) for name in (BANDWIDTH, LATENCY))
        usual: float | Missing = links
    else:
        yield from _observe_pairs(links, block, fleet)
        usual = float(np.nanmedian(links.bandwidth_bytes_per_s))
    if not whole and hosts:
        reason = tell_part(hosts, fleet)
        yield from (Absence(name, system, block, reason) for name in (ALLREDUCE, RATIO))
        system = name_part(hosts)
    yield from _observe_allreduce(result.probe, usual, system, block)


def are_mostly_measured(nodes: Sequence[str], measured: Collection[frozenset[str]]) -> bool:
    """Whether half of the links among these nodes have been: those within two halves of a fleet are fewer."""
    among = frozenset(nodes)
    if len(among) == 2:
        return among in measured
    return 2 * sum(pair <= among for pair in measured) >= len(among) * (len(among) - 1) / 2


def _name_group(test: str, hosts: tuple[str, ...], fleet: Fleet) -> Unit:
    if test == ALL or not hosts:
        # A part of which nobody knows the nodes is named by what it was for.
        return Unit("system", "all" if test == ALL else test, hosts or fleet.nodes)
    return name_part(hosts)


def name_part(nodes: tuple[str, ...]) -> Unit:
    """Some of the nodes together."""
    return Unit("system", f"nodes {','.join(nodes)}", nodes)


def tell_part(nodes: tuple[str, ...], fleet: Fleet) -> str:
    """Why a launch does not tell of the fleet as a whole: it has grown since, or not all of it could be had."""
    return f"it was measured over {len(nodes)} of the {len(fleet.nodes)} nodes"


def _choose_links(found: Communication, fleet: Fleet) -> Links | Missing:
    """Of several tables over the same pairs the last: GPUs talk over NCCL where they can, and that is what trains."""
    if isinstance(found.links, Missing):
        return found.links
    links = found.links[-1]
    strangers = [place for place in links.places if fleet.find(place) is None]
    if strangers:
        return Missing(missing=f"{strangers[0]} is no node of this fleet")
    return links


def _observe_pairs(links: Links, block: str, fleet: Fleet) -> Iterator[Observation | Absence]:
    nodes = [fleet.find(place) or place for place in links.places]
    for one in range(len(nodes)):
        for other in range(one + 1, len(nodes)):
            members = fleet.sort((nodes[one], nodes[other]))
            unit = Unit("pair", "-".join(members), members)
            for name, table in ((BANDWIDTH, links.bandwidth_bytes_per_s), (LATENCY, links.latency_s)):
                if isnan(table[one][other]):
                    yield Absence(name, unit, block, UNMET)
                else:
                    yield Observation(name, unit, block, (table[one][other],))


def _observe_allreduce(
    probe: Probe, usual: float | Missing, system: Unit, block: str
) -> Iterator[Observation | Absence]:
    """Each link has to carry the bus bandwidth (nccl-tests, PERFORMANCE.md): that of the usual pair bounds it."""
    largest = max(probe.allreduce, key=lambda one: one.size_bytes, default=None)
    if largest is None:
        reason = "no message was exchanged"
        yield from (Absence(name, system, block, reason) for name in (ALLREDUCE, RATIO))
        return
    bus = bus_factor(probe.world_size) * largest.size_bytes / median(largest.seconds)
    expected = None if isinstance(usual, Missing) else usual
    yield Observation(ALLREDUCE, system, block, (bus,), expected=expected)
    if isinstance(usual, Missing):
        yield Absence(RATIO, system, block, usual.missing)
    else:
        yield Observation(RATIO, system, block, (bus / usual,))
