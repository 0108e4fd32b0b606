"""What a reader should know of a launch's meters before trusting its energy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.analysis.boundaries import choose_node, choose_parts, find_excess
from hpcdl.analysis.meters import DISAGREEMENT
from hpcdl.records import Missing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.analysis.completeness import Layout
    from hpcdl.analysis.meters import Metered
    from hpcdl.metering import Covers, StepEnergy
    from hpcdl.trace import Trace


def list_findings(
    meters: Sequence[Metered],
    traces: Sequence[Trace],
    layout: Layout,
    account: StepEnergy | None,
) -> Iterator[str]:
    """One sentence for each thing that is not as it should be."""
    for meter in meters:
        yield from tell_meter(meter, f"{meter.source.name} on {meter.host}")
    excess = find_excess(meters)
    if excess:
        yield excess
    for trace in traces:
        if trace.closing is None:
            yield f"the sampler on {trace.host} did not end as it should"
    yield from _tell_devices(meters, layout)
    if account is not None:
        yield from _tell_account(meters, account, machines=len(layout.machines))


def tell_meter(meter: Metered, name: str) -> Iterator[str]:
    """What is not as it should be with one meter, under the name that it has for the reader."""
    source, check = meter.source, meter.check
    if check is not None and not check.agrees:
        yield (
            f"{name}: {check.what}: {check.first_j:,.1f} J against {check.second_j:,.1f} J "
            f"({100 * check.difference:+.1f} %)"
        )
    if not isinstance(meter.limited, Missing) and meter.limited > 0:
        limit = "" if isinstance(source.limit_w, Missing) else f" of {source.limit_w:,.0f} W"
        yield f"{name} ran into its power limit{limit} at {100 * meter.limited:.0f} % of the looks"
    if source.shared:
        yield f"{name}: {source.shared}"


def _tell_account(meters: Sequence[Metered], account: StepEnergy, *, machines: int) -> Iterator[str]:
    """Slurm's count of the whole step against what the meters saw while their samplers ran, which is about as long.

    Its plugins count different things: nodes, GPUs, or CPUs with their memory. It agrees where it is near any of them.
    """
    whole_nodes = [one for one in choose_node(meters, machines) if one.source.covers == "node"]
    chosen = [one for one in (*whole_nodes, *choose_parts(meters)) if not one.source.estimated]
    sums = [_sum_whole_w(chosen, kinds) for kinds in COUNTED_BY_SLURM]
    slurm_w = account.energy_j / account.elapsed_s
    seen = [watts for watts in sums if watts]
    near = any(abs(watts / slurm_w - 1) <= DISAGREEMENT for watts in seen)
    # Meters of parts see less than a node: only more than Slurm counted would be a contradiction.
    if seen and not near and (whole_nodes or max(seen) > (1 + DISAGREEMENT) * slurm_w):
        yield (
            f"Slurm counted {account.energy_j:,.0f} J in {account.elapsed_s:,.0f} s ({slurm_w:,.0f} W) for the whole "
            f"step, and the meters saw {max(seen):,.0f} W over all of it: these disagree, or count different things"
        )


COUNTED_BY_SLURM: tuple[frozenset[Covers], ...] = (
    frozenset({"node"}),
    frozenset({"gpu"}),
    frozenset({"package"}),
    frozenset({"package", "dram"}),
    frozenset({"gpu", "module", "package", "dram"}),
)


def _sum_whole_w(meters: Sequence[Metered], kinds: frozenset[Covers]) -> float:
    watts = [one.whole_w for one in meters if one.source.covers in kinds]
    return sum(one for one in watts if not isinstance(one, Missing))


def _tell_devices(meters: Sequence[Metered], layout: Layout) -> Iterator[str]:
    """GPUs that were metered and did not train."""
    for meter in meters:
        source = meter.source
        if layout.used and source.covers == "gpu" and source.uuid and source.uuid not in layout.used:
            counted = (
                "and is counted: it belongs to the allocation" if layout.allocated else "and is not counted"
            )
            yield f"{source.uuid} on {meter.host} trained nothing, {counted}"
    if layout.gpus and not any(meter.source.covers in {"gpu", "module"} for meter in meters):
        told = [
            f"{thing.sensor}: {thing.reason}" for _, thing in layout.unavailable if thing.sensor == "nvml"
        ]
        yield "no GPU board was metered" + (f" ({'; '.join(dict.fromkeys(told))})" if told else "")
