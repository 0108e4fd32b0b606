"""The sections of a communication probe: allreduce by size, and the heat map of the links."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from hpcdl.records import Missing
from hpcdl.report.content import Cell, Column, Fact, Quantity, Table
from hpcdl.report.numbers import format_quantity, format_value
from hpcdl.report.wording import TRANSPORTS, join, name_engine, name_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcdl.analysis.communication import Communication, Links
    from hpcdl.estimates.intervals import Interval

# From a slow link to a fast one.
HEAT = "░▒▓█"


def make_probe_table(probe: Communication) -> Table:
    """Allreduce through the engine, one row for each size, beside MPI itself."""
    with_mpi = any(not isinstance(message.mpi_s, Missing) for message in probe.messages)
    columns = (
        Column("size_bytes", "message"),
        Column("time_s", "time"),
        Column("time_interval", "interval", rank=2),
        Column("algorithm_bytes_per_s", "algorithm bandwidth"),
        Column("bus_bytes_per_s", "bus bandwidth"),
        Column("mpi_s", "MPI alone", hidden=not with_mpi),
        Column("repetitions", "repetitions", hidden=True),
    )
    rows = tuple(
        (
            Quantity(message.size_bytes, "bytes"),
            _make_time(message.time_s),
            Quantity(message.time_s.half_width, "half-width"),
            Quantity(message.algorithm_bytes_per_s, "bytes/s"),
            Quantity(message.bus_bytes_per_s, "bytes/s"),
            _make_time(message.mpi_s),
            message.time_s.count,
        )
        for message in probe.messages
    )
    engine = name_engine(probe.engine, probe.transport)
    title = f"Allreduce: {engine}, {name_size(probe.nodes, probe.ranks)}"
    return Table("probes", title, columns, rows, _list_facts(probe), tuple(_caption(probe)), many=True)


def _make_time(time_s: Interval | Missing) -> Quantity:
    if isinstance(time_s, Missing):
        return Quantity(time_s, "s")
    return Quantity(time_s.value, "s", low=time_s.low, high=time_s.high)


def _list_facts(probe: Communication) -> tuple[Fact, ...]:
    fit = probe.fit
    latency: float | Missing = fit if isinstance(fit, Missing) else fit.latency_s
    bandwidth: float | Missing = fit if isinstance(fit, Missing) else fit.bandwidth_bytes_per_s
    if isinstance(bandwidth, float) and not math.isfinite(bandwidth):
        bandwidth = Missing(missing="time does not grow with the size")
    return (
        Fact("launch", "launch", probe.launch.plan.name),
        Fact("engine", "engine", probe.engine),
        Fact("transport", "transport", probe.transport),
        Fact("ranks", "ranks", probe.ranks),
        Fact("nodes", "nodes", probe.nodes),
        Fact("latency_s", "latency", Quantity(latency, "s")),
        Fact("bandwidth_bytes_per_s", "bandwidth", Quantity(bandwidth, "bytes/s")),
        Fact("fit_worst", "largest error of the fit", Quantity(_worst(probe), "fraction")),
        Fact("gradient_bytes", "gradients", Quantity(probe.gradient_bytes, "bytes")),
        Fact("gradients_s", "exchange of all gradients", _make_time(probe.gradients_s)),
        Fact("rehearsal", "rehearsal", probe.rehearsal),
    )


def _worst(probe: Communication) -> float | Missing:
    return probe.fit if isinstance(probe.fit, Missing) else probe.fit.worst


def _caption(probe: Communication) -> Iterator[str]:
    size = format_value(probe.gradient_bytes, "bytes")
    alone = format_quantity(_make_time(probe.gradients_s))
    yield f"all gradients at once ({size}), with nothing to compute meanwhile: {alone}"
    fit = probe.fit
    if not isinstance(fit, Missing) and math.isfinite(fit.bandwidth_bytes_per_s):
        yield (
            f"fit: {format_value(fit.latency_s, 's')} + bytes / {format_value(fit.bandwidth_bytes_per_s, 'bytes/s')}, "
            f"wrong by at most {format_value(fit.worst, 'fraction')}"
        )
    yield "bus bandwidth: algorithm bandwidth x 2(n-1)/n; medians, with their 95 % intervals"


def make_link_table(links: Links) -> Table:
    """The heat map: bandwidth from node to node, each cell with its shade."""
    names = [Column(f"to_{place}", place) for place in links.places]
    fastest = max(value for row in links.bandwidth_bytes_per_s for value in row if not math.isnan(value))
    rows = tuple(
        (place, *(_shade(value, fastest) for value in row))
        for place, row in zip(links.places, links.bandwidth_bytes_per_s, strict=True)
    )
    slow = [f"{links.places[a]} - {links.places[b]}" for a, b in links.slow]
    latencies_s = [value for row in links.latency_s for value in row if not math.isnan(value)]
    usual_s, highest_s = statistics.median(latencies_s), max(latencies_s)
    facts = (
        Fact("transport", "transport", links.over),
        Fact("latency_s", "latency", Quantity(usual_s, "s")),
        Fact("highest_latency_s", "highest latency", Quantity(highest_s, "s")),
        Fact("slow_links", "slow links", join(slow) or None),
        Fact("suspects", "nodes in common", join(links.places[node] for node in links.suspects) or None),
    )
    captions = (
        f"bandwidth of one large message; {HEAT[-1]} as fast as the fastest, {HEAT[0]} below a quarter",
        f"latency of 8 bytes: {format_value(usual_s, 's')} in the middle, {format_value(highest_s, 's')} at most",
    )
    return Table(
        "links",
        f"From {'GPU to GPU' if links.over == 'nccl' else 'node to node'}, over {TRANSPORTS[links.over]}",
        (Column("host", "", left=True), *names),
        rows,
        facts,
        captions,
        many=True,
    )


def _shade(value: float, fastest: float) -> Cell:
    if math.isnan(value):
        return None
    return Quantity(value, "bytes/s", shade=HEAT[min(int(4 * value / fastest), 3)])


def describe_slow_links(links: Links) -> Iterator[str]:
    """What a person should look at; nothing where all links are alike."""
    if links.suspects:
        named = join(links.places[node] for node in links.suspects)
        plural = len(links.suspects) > 1
        yield (
            f"slow network: every link of {named} is slow over {TRANSPORTS[links.over]}; "
            f"look at {'their' if plural else 'its'} adapter and cable"
        )
    left = [link for link in links.slow if not set(link) & set(links.suspects)]
    if left:
        shown = [f"{links.places[a]} - {links.places[b]}" for a, b in left[:8]]
        more = f" and {len(left) - 8} more" if len(left) > 8 else ""
        yield f"slow {'link' if len(left) == 1 else 'links'} over {TRANSPORTS[links.over]}: {join(shown)}{more}"
