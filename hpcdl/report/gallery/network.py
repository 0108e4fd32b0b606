"""What the network can do: bandwidth over message size, and every pair of places."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hpcdl.analysis.communication import bus_factor
from hpcdl.records import Missing
from hpcdl.report.gallery.labels import describe, number
from hpcdl.report.pictures import Axis, Dot, HeatMap, Lines, Picture, Series

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.analysis.communication import Communication, Links
    from hpcdl.estimates.intervals import Interval


def draw_network(probes: Sequence[Communication]) -> Iterator[Picture]:
    """Bus bandwidth of the allreduce for each probe, and a map of its links."""
    for place, probe in enumerate(probes):
        if probe.messages:
            yield _draw_bandwidth(probe, number("allreduce", place, len(probes)))
        tables = () if isinstance(probe.links, Missing) else probe.links
        for links in tables:
            yield _draw_links(
                probe, links, f"links-{links.over}{'' if len(probes) == 1 else f'-{place + 1}'}"
            )


def _draw_bandwidth(probe: Communication, key: str) -> Picture:
    factor = bus_factor(probe.ranks)
    own = [_place(one.size_bytes, one.time_s, factor) for one in probe.messages]
    mpi = [
        _place(one.size_bytes, one.mpi_s, factor)
        for one in probe.messages
        if not isinstance(one.mpi_s, Missing)
    ]
    series = [Series(f"allreduce by {probe.engine}", "measured", tuple(own))]
    if mpi:
        series.append(Series("MPI's own allreduce", "measured", tuple(mpi)))
    if not isinstance(probe.fit, Missing):
        sizes = [one.size_bytes for one in probe.messages]
        law = tuple(Dot(size, factor * size / probe.fit.time_s(size)) for size in sizes)
        series.append(Series("fit: latency and bandwidth", "predicted", law))
    best = max(own, key=lambda dot: dot.y)
    return Picture(
        key=key,
        title="Allreduce: bus bandwidth",
        beside="probes",
        subtitle=describe(probe.launch),
        alt=f"Bus bandwidth over message size; at most {best.y / 1e9:.3g} GB/s, at {best.x:,.0f} bytes.",
        form=Lines(
            Axis("message", "bytes", log=True, zero=False), Axis("bus bandwidth", "bytes/s"), tuple(series)
        ),
        caption="bus bandwidth: bytes / time x 2 (n - 1) / n, what each link has to carry",
    )


def _place(size_bytes: int, time_s: Interval, factor: float) -> Dot:
    """A time's upper end is the bandwidth's lower one."""
    bytes_ = factor * size_bytes
    return Dot(size_bytes, bytes_ / time_s.value, bytes_ / time_s.high, bytes_ / time_s.low)


def _draw_links(probe: Communication, links: Links, key: str) -> Picture:
    slow = ", ".join(f"{links.places[a]} to {links.places[b]}" for a, b in links.slow[:5])
    return Picture(
        key=key,
        title="Bandwidth of every pair",
        beside="links",
        subtitle=f"{describe(probe.launch)} · by {links.over}",
        alt=f"{len(links.places)} places; "
        + (f"slow: {slow}." if slow else "no pair is far below the others."),
        form=HeatMap(
            Axis("to"),
            Axis("from"),
            Axis("bandwidth", "bytes/s"),
            worst="lowest",
            columns=links.places,
            rows=links.places,
            values=tuple(
                tuple(None if math.isnan(value) else value for value in row)
                for row in links.bandwidth_bytes_per_s
            ),
        ),
    )
