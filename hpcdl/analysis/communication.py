"""Probe records -> what the network can do, what the engine makes of it, and which links are slow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpcdl.analysis.machines import find_disguise, gather_machines
from hpcdl.estimates.fits import LatencyBandwidth, fit_latency_bandwidth
from hpcdl.estimates.intervals import Interval, TooFew
from hpcdl.estimates.links import find_slow_links, find_suspects
from hpcdl.records import Missing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hpcdl.analysis.launch import LaunchResult
    from hpcdl.records import Collective, Environment, Host, PairTable, Probe


@dataclass(frozen=True)
class Message:
    """One size of an allreduce. `time_s` is the median, with the distribution-free 95 % interval of the median.

    Algorithm bandwidth is bytes / time; bus bandwidth is that times 2 (n - 1) / n, what each link has to carry
    (nccl-tests, PERFORMANCE.md). `mpi_s` is MPI's own median for the same size.
    """

    size_bytes: int
    time_s: Interval
    algorithm_bytes_per_s: float
    bus_bytes_per_s: float
    mpi_s: Interval | Missing


@dataclass(frozen=True)
class Links:
    """Every pair of nodes, or of one node's GPUs. Matrices are (places, places), symmetric, NaN on the diagonal.

    `over` is what carried the messages. `slow` are the links, as indices, whose bandwidth is far below the others';
    `suspects` the places that they have in common.
    """

    over: str
    places: tuple[str, ...]
    latency_s: tuple[tuple[float, ...], ...]
    bandwidth_bytes_per_s: tuple[tuple[float, ...], ...]
    slow: tuple[tuple[int, int], ...]
    suspects: tuple[int, ...]


@dataclass(frozen=True)
class Communication:
    """One probe. `gradients_s` is the exchange of all gradients by itself; `fit` is over the engine's messages."""

    launch: LaunchResult
    nodes: int
    ranks: int
    engine: str
    transport: str
    messages: tuple[Message, ...]
    fit: LatencyBandwidth | Missing
    gradient_bytes: int
    gradients_s: Interval
    links: tuple[Links, ...] | Missing
    rehearsal: str | None


def analyse_probe(launch: LaunchResult) -> Communication | Missing:
    """The numbers of a probe launch that completed."""
    probe, environment = launch.probe, launch.environment
    if launch.state != "completed" or probe is None or environment is None:
        return Missing(missing=launch.story or "the probe left no complete record")
    messages = tuple(_measure_messages(probe))
    return Communication(
        launch=launch,
        nodes=launch.plan.nodes,
        ranks=probe.world_size,
        engine=environment.engine,
        transport=environment.transport,
        messages=messages,
        fit=_fit(messages),
        gradient_bytes=probe.gradients.size_bytes,
        gradients_s=bound_median(probe.gradients.seconds),
        links=_map_links(probe.links, environment),
        rehearsal=find_disguise(gather_machines(environment), local=launch.plan.launcher != "srun"),
    )


def find_alone(probes: Sequence[Communication]) -> Callable[[LaunchResult], Interval | Missing]:
    """For a training launch: seconds of its gradients' exchange by itself, by a probe of its engine and size."""

    def find(launch: LaunchResult) -> Interval | Missing:
        for probe in probes:
            alike = (probe.engine, probe.transport, probe.ranks) == (
                launch.engine,
                launch.transport,
                launch.world_size,
            )
            if alike and probe.launch.plan.train.model == launch.plan.train.model:
                return probe.gradients_s
        return Missing(missing="no probe of this engine and size ran in the job (--probe also)")

    return find


def bus_factor(ranks: int) -> float:
    """2 (n - 1) / n: each rank sends and receives that part of an allreduce's bytes (nccl-tests, PERFORMANCE.md)."""
    return 2 * (ranks - 1) / ranks


def bound_median(seconds: Sequence[float]) -> Interval:
    """The median with the order statistics that hold it in 95 of 100 cases, whatever the distribution."""
    ordered = sorted(seconds)
    count = len(ordered)
    # Binomial with p = 1/2, as a normal: n/2 -+ 0.98 sqrt(n).
    reach = 0.98 * count**0.5
    low = max(0, int(np.floor(count / 2 - reach)) - 1)
    high = min(count - 1, int(np.ceil(count / 2 + reach)))
    return Interval(float(np.median(ordered)), ordered[low], ordered[high], count, float(count))


def _measure_messages(probe: Probe) -> list[Message]:
    through_mpi: Mapping[int, Collective] = (
        {} if isinstance(probe.mpi, Missing) else {one.size_bytes: one for one in probe.mpi}
    )
    absent = (
        probe.mpi if isinstance(probe.mpi, Missing) else Missing(missing="MPI was not asked for this size")
    )
    messages = []
    for one in probe.allreduce:
        time_s = bound_median(one.seconds)
        rate = one.size_bytes / time_s.value
        other = through_mpi.get(one.size_bytes)
        messages.append(
            Message(
                size_bytes=one.size_bytes,
                time_s=time_s,
                algorithm_bytes_per_s=rate,
                bus_bytes_per_s=rate * bus_factor(probe.world_size),
                mpi_s=bound_median(other.seconds) if other else absent,
            )
        )
    return messages


def _fit(messages: Sequence[Message]) -> LatencyBandwidth | Missing:
    try:
        sizes = [message.size_bytes for message in messages]
        return fit_latency_bandwidth(sizes, [message.time_s.value for message in messages])
    except TooFew as few:
        return Missing(missing=str(few))


def _map_links(
    tables: Sequence[PairTable] | Missing, environment: Environment
) -> tuple[Links, ...] | Missing:
    if isinstance(tables, Missing):
        return tables
    return tuple(_map_table(table, environment.hosts) for table in tables)


def _map_table(table: PairTable, hosts: Sequence[Host]) -> Links:
    ranks = sorted({rank for pair in table.pairs for rank in (pair.a_rank, pair.b_rank)})
    places = {rank: place for place, rank in enumerate(ranks)}
    latency, bandwidth = np.full((2, len(ranks), len(ranks)), np.nan)
    for pair in table.pairs:
        a, b = places[pair.a_rank], places[pair.b_rank]
        latency[a, b] = latency[b, a] = pair.latency_s
        bandwidth[a, b] = bandwidth[b, a] = pair.bandwidth_bytes_per_s
    slow = find_slow_links(bandwidth)
    return Links(
        over=table.over,
        places=_name_places(ranks, hosts),
        latency_s=tuple(map(tuple, latency.tolist())),
        bandwidth_bytes_per_s=tuple(map(tuple, bandwidth.tolist())),
        slow=slow,
        suspects=find_suspects(slow, len(ranks)),
    )


def _name_places(ranks: Sequence[int], hosts: Sequence[Host]) -> tuple[str, ...]:
    """By host; where one host has several of them, by GPU."""
    chosen = [host for rank in ranks for host in hosts if host.rank == rank]
    if len({host.host for host in chosen}) == len(chosen):
        return tuple(host.host for host in chosen)
    return tuple(f"{host.host}:{host.local_rank}" for host in chosen)
