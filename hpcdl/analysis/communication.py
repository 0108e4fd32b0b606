"""Probe records -> what the network can do, what the engine makes of it, and which links are slow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpcdl.analysis.machines import find_disguise, gather_machines
from hpcdl.analysis.telling import tell_restart
from hpcdl.estimates.fits import LatencyBandwidth, fit_latency_bandwidth
from hpcdl.estimates.intervals import Interval, TooFew
from hpcdl.estimates.links import find_slow_links, find_suspects
from hpcdl.records import Missing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hpcdl.analysis.launch import LaunchResult
    from hpcdl.probes import Collective, PairTable, Probe
    from hpcdl.records import Environment, Host


# The smallest and the largest of n hold the median in 1 - 2^(1 - n) of all cases.
FEWEST_FOR_MEDIAN = 6


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
    gradients_s: Interval | Missing
    links: tuple[Links, ...] | Missing
    rehearsal: str | None


def analyse_probe(launch: LaunchResult) -> Communication | Missing:
    """The numbers of a probe launch that completed."""
    probe, environment = launch.probe, launch.environment
    if launch.state != "completed" or probe is None or environment is None:
        return Missing(missing=launch.story or "the probe left no complete record")
    unfit = _find_unfitness(launch, probe, environment)
    if unfit:
        return Missing(missing=unfit)
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


def _find_unfitness(launch: LaunchResult, probe: Probe, environment: Environment) -> str:
    """Why its numbers are not those of the launch that was planned; empty where they are."""
    if launch.restarts:
        return tell_restart(launch.restarts)
    if not launch.world_size == probe.world_size == environment.world_size > 1:
        return f"{launch.world_size} ranks were to probe, and {probe.world_size} did"
    known = {host.rank for host in environment.hosts}
    tables = () if isinstance(probe.links, Missing) else probe.links
    strangers = {
        rank for table in tables for pair in table.pairs for rank in (pair.a_rank, pair.b_rank)
    } - known
    return f"its links name rank {min(strangers)}, which is not of this launch" if strangers else ""


def find_alone(probes: Sequence[Communication]) -> Callable[[LaunchResult], Interval | Missing]:
    """For a training launch: seconds of its gradients' exchange by itself.

    Args:
        probes: Of the same run; one counts that exchanged the same buckets between ranks in the same places.
    """

    def find(launch: LaunchResult) -> Interval | Missing:
        asked = launch.plan.train
        for probe in probes:
            train = probe.launch.plan.train
            way = (probe.engine, probe.transport) == (launch.engine, launch.transport)
            places = (probe.ranks, probe.nodes) == (launch.world_size, launch.plan.nodes)
            buckets = (train.model, train.fusion_mb) == (asked.model, asked.fusion_mb)
            if way and places and buckets:
                return probe.gradients_s
        return Missing(
            missing="no probe of this engine, size and --fusion-mb ran in the job (--probe also runs one)"
        )

    return find


def bus_factor(ranks: int) -> float:
    """2 (n - 1) / n: each rank sends and receives that part of an allreduce's bytes (nccl-tests, PERFORMANCE.md)."""
    return 2 * (ranks - 1) / ranks


def bound_median(seconds: Sequence[float]) -> Interval | Missing:
    """The median with the order statistics that hold it in 95 of 100 cases, whatever the distribution.

    Fewer than six hold it less often than that, even between the smallest and the largest.
    """
    ordered = sorted(seconds)
    count = len(ordered)
    if count < FEWEST_FOR_MEDIAN:
        return Missing(missing=f"it took so long that it was repeated {count} times only: 6 bound a median")
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
        if isinstance(time_s, Missing):
            continue
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
    # The GPUs of one node are wired unlike each other by design: a slower link there is no fault.
    one_node = len({host.host for host in hosts if host.rank in places}) == 1
    slow = () if one_node else find_slow_links(bandwidth)
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
