"""Energy of one command on one node, from the looks of the sampler that ran beside it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpcdl.analysis.boundaries import choose_device, choose_node, find_excess, name_covers, name_uncovered
from hpcdl.analysis.completeness import find_hole
from hpcdl.analysis.energy_findings import tell_meter
from hpcdl.analysis.looks import Energy
from hpcdl.analysis.meters import add_peaks, name_meter, read_meter
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.analysis.boundaries import Boundary
    from hpcdl.analysis.meters import Metered
    from hpcdl.metering import Unavailable
    from hpcdl.trace import Trace


@dataclass(frozen=True)
class Total:
    """All meters within a boundary, together. `estimated` of them follow from a specification."""

    boundary: Boundary
    covers: str
    uncovered: str
    sensors: tuple[str, ...]
    measured: int
    estimated: int
    energy: Energy | Missing
    average_w: Reading
    peak_w: Reading
    coverage: float


@dataclass(frozen=True)
class Metering:
    """What all meters of a host saw between two times of its clock, and what a reader should know."""

    host: str
    elapsed_s: float
    totals: tuple[Total, ...]
    meters: tuple[Metered, ...]
    unavailable: tuple[Unavailable, ...]
    findings: tuple[str, ...]


def meter(trace: Trace, begin_s: float, end_s: float, *, lengthen: str) -> Metering:
    """Energy and power of every source of a host between two times, and their totals at `device` and `node`.

    Args:
        trace: The looks of the host's sampler.
        begin_s: On the host's monotonic clock.
        end_s: Likewise.
        lengthen: How to have a window that is long enough, up to its length: 'let it run for at least'.
    """
    opening = trace.opening
    meters = tuple(
        read_meter(
            series, opening.host, opening.boot_id, ((begin_s, end_s),), opening.period_s, lengthen=lengthen
        )
        for series in trace.series
        if series.source.metered
    )
    return Metering(
        host=opening.host,
        elapsed_s=end_s - begin_s,
        totals=tuple(_add_all(meters, [(opening.host, one) for one in opening.unavailable])),
        meters=meters,
        unavailable=opening.unavailable,
        findings=tuple(_find(meters)),
    )


def _add_all(meters: Sequence[Metered], unavailable: Sequence[tuple[str, Unavailable]]) -> Iterator[Total]:
    device = choose_device(meters, gpus=any(one.source.covers == "gpu" for one in meters))
    node = choose_node(meters, 1)
    for boundary, chosen in (("device", device), ("node", node)):
        # The same things under another name would be no further figure.
        if not chosen or (boundary == "node" and node == device):
            continue
        total = _add("device" if boundary == "device" else "node", chosen)
        why = find_hole(chosen, unavailable) or (find_excess(meters) if boundary == "node" else None)
        yield total if why is None else _withhold(total, Missing(missing=why))


def _withhold(total: Total, why: Missing) -> Total:
    return replace(total, energy=why, average_w=why, peak_w=why)


def _add(boundary: Boundary, meters: Sequence[Metered]) -> Total:
    energy = _add_energy(meters)
    elapsed_s = meters[0].elapsed_s
    return Total(
        boundary=boundary,
        covers=name_covers(meters),
        uncovered=name_uncovered(meters),
        sensors=tuple(dict.fromkeys(name_meter(one) for one in meters)),
        measured=sum(not one.source.estimated for one in meters),
        estimated=sum(one.source.estimated for one in meters),
        energy=energy,
        average_w=energy if isinstance(energy, Missing) else energy.value / elapsed_s,
        peak_w=energy if isinstance(energy, Missing) else add_peaks(meters),
        coverage=min(one.coverage for one in meters),
    )


def _add_energy(meters: Sequence[Metered]) -> Energy | Missing:
    """The sum with its bounds; missing, and named, where one of them is."""
    found: list[Energy] = []
    for one in meters:
        if isinstance(one.energy, Missing):
            return Missing(missing=f"{one.source.name}: {one.energy.missing}")
        found.append(one.energy)
    return Energy(sum(e.value for e in found), sum(e.low for e in found), sum(e.high for e in found))


def _find(meters: Sequence[Metered]) -> Iterator[str]:
    for one in meters:
        yield from tell_meter(one, one.source.name)
    excess = find_excess(meters)
    if excess:
        yield excess
