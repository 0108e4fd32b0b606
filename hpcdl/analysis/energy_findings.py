"""What a reader should know of a launch's meters before trusting its energy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.analysis.boundaries import choose_node, find_excess
from hpcdl.analysis.meters import DISAGREEMENT
from hpcdl.records import Missing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.analysis.meters import Metered
    from hpcdl.metering import StepEnergy
    from hpcdl.records import Environment
    from hpcdl.trace import Trace


def list_findings(
    meters: Sequence[Metered],
    traces: Sequence[Trace],
    environment: Environment,
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
    yield from _tell_devices(meters, environment)
    if account is not None:
        yield from _tell_account(meters, account, hosts=len({host.host for host in environment.hosts}))


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


def _tell_account(meters: Sequence[Metered], account: StepEnergy, *, hosts: int) -> Iterator[str]:
    """Slurm's count of the whole step against what the meters saw while their samplers ran, which is about as long.

    Meters of parts see less than the whole nodes that Slurm counts; only more would be a contradiction.
    """
    chosen = choose_node(meters, hosts)
    seen = [meter.whole_w for meter in chosen if not meter.source.estimated]
    if not seen or any(isinstance(watts, Missing) for watts in seen):
        return
    total_w = sum(watts for watts in seen if not isinstance(watts, Missing))
    slurm_w = account.energy_j / account.elapsed_s
    whole = all(meter.source.covers == "node" for meter in chosen)
    if total_w > (1 + DISAGREEMENT) * slurm_w or (whole and total_w < (1 - DISAGREEMENT) * slurm_w):
        yield (
            f"Slurm counted {account.energy_j:,.0f} J in {account.elapsed_s:,.0f} s ({slurm_w:,.0f} W) for the whole "
            f"step, and the meters saw {total_w:,.0f} W over all of it: these disagree"
        )


def _tell_devices(meters: Sequence[Metered], environment: Environment) -> Iterator[str]:
    """GPUs that trained and were not metered, or were metered and did not train."""
    used = {host.gpu_uuid: host for host in environment.hosts if host.gpu_uuid}
    boards = {
        meter.source.uuid: meter for meter in meters if meter.source.covers == "gpu" and meter.source.uuid
    }
    if not used or not boards:
        return
    for uuid, host in used.items():
        if uuid not in boards:
            yield f"{uuid}, on which rank {host.rank} trained, was not metered"
    for uuid, meter in boards.items():
        if uuid not in used:
            yield f"{uuid} on {meter.host} trained nothing, and is counted: it belongs to the allocation"
