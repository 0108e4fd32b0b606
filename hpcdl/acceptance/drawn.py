"""What each node drew while it trained: images per joule and watts of its meters, repeat by repeat.

Estimates are no evidence. The ranks of a node train side by side, each at its own pace: what counts is the time in
which all of them did.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from hpcdl.acceptance.evidence import Absence, Observation
from hpcdl.acceptance.looks import node_unit
from hpcdl.analysis.boundaries import choose_node, find_excess
from hpcdl.analysis.completeness import Layout, find_lack, name_machine
from hpcdl.analysis.meters import read_meter
from hpcdl.metering import complete_uuid
from hpcdl.records import Missing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hpcdl.acceptance.evidence import Unit
    from hpcdl.acceptance.fleet import Devices, Fleet
    from hpcdl.acceptance.node_launches import NodeLaunch
    from hpcdl.analysis.meters import Metered
    from hpcdl.analysis.windows import Span
    from hpcdl.checks import Checked
    from hpcdl.trace import Trace

# Of the shortest window of a node's ranks, so much at least has to be common to all of them.
COMMON = 0.5


class Drawn(NamedTuple):
    """Over one window of a node."""

    images_per_j: float
    power_w: float


def observe_power(launch: NodeLaunch, fleet: Fleet, devices: Devices) -> Iterator[Observation | Absence]:
    """train.<network>.images_per_j and .power_w of each node, or why there is none."""
    if "train" not in launch.check.checks:
        return
    models = tuple(dict.fromkeys(training.model for training in launch.check.trainings))
    traces = {node: trace for trace in launch.folder.traces() if (node := fleet.find(trace.host)) is not None}
    sharing = _count_sharing(traces)
    for node in launch.nodes:
        unit = node_unit(node, devices, "train")
        looks = _group_looks(launch.looks.get(node, ()))
        for model in models:
            found = [
                _measure(launch, repeat, traces.get(node), sharing)
                for repeat in looks.get(model, {}).values()
            ]
            if not found:
                found = [Missing(missing=launch.explain(node, fleet))]
            yield from _tell(found, model, unit, launch.block)


def _tell(
    found: Sequence[Drawn | Missing], model: str, unit: Unit, block: str
) -> Iterator[Observation | Absence]:
    drawn = [one for one in found if not isinstance(one, Missing)]
    reasons = [one.missing for one in found if isinstance(one, Missing)]
    for name in Drawn._fields:
        metric = f"train.{model}.{name}"
        if drawn:
            yield Observation(metric, unit, block, tuple(getattr(one, name) for one in drawn))
        else:
            yield Absence(metric, unit, block, reasons[0])


def _group_looks(looks: Sequence[Checked]) -> dict[str, dict[int, list[Checked]]]:
    """The windows of training of a node: network -> repeat -> one for each rank."""
    found: defaultdict[str, defaultdict[int, list[Checked]]] = defaultdict(lambda: defaultdict(list))
    for look in looks:
        if look.check == "train" and look.outcome == "looked":
            found[look.subject][look.repeat].append(look)
    return {model: dict(sorted(repeats.items())) for model, repeats in found.items()}


def _count_sharing(traces: Mapping[str, Trace]) -> dict[str, int]:
    """How many nodes are one machine, by that machine: they have one set of meters."""
    counts: defaultdict[str, int] = defaultdict(int)
    for trace in traces.values():
        counts[name_machine(trace)] += 1
    return dict(counts)


def _measure(
    launch: NodeLaunch, looks: Sequence[Checked], trace: Trace | None, sharing: Mapping[str, int]
) -> Drawn | Missing:
    if launch.plan.power is None:
        return Missing(missing="power was not sampled")
    if trace is None:
        return Missing(missing="no sampler has left readings of this node")
    spans, images = _find_common(launch, looks), _add_rates(looks)
    if isinstance(spans, Missing):
        return spans
    if isinstance(images, Missing):
        return images
    power_w = _add_meters(launch, looks, trace, spans, sharing)
    return power_w if isinstance(power_w, Missing) else Drawn(images / power_w, power_w)


def _add_rates(looks: Sequence[Checked]) -> float | Missing:
    """Images/s of all ranks of the node."""
    total = 0.0
    for look in looks:
        rate = look.numbers.get("images_per_s", Missing(missing="its speed was not recorded"))
        if isinstance(rate, Missing):
            return rate
        total += rate
    return total


def _find_common(launch: NodeLaunch, looks: Sequence[Checked]) -> list[Span] | Missing:
    """The stretches in which all ranks of the node trained, on its own clock."""
    if len({look.local_rank for look in looks}) < launch.ranks:
        return Missing(missing=f"{len(looks)} of the node's {launch.ranks} ranks have trained")
    told = next(
        (look.conditions.stretches for look in looks if look.conditions and look.conditions.stretches), ()
    )
    if not told:
        return Missing(missing="no rank has told when it was measured")
    begin_s, end_s = max(look.begin_s for look in looks), min(look.end_s for look in looks)
    common = [(max(one.begin_s, begin_s), min(one.end_s, end_s)) for one in told]
    spans = [(begin, end) for begin, end in common if end > begin]
    shortest_s = min(look.end_s - look.begin_s for look in looks)
    share = sum(end - begin for begin, end in spans) / shortest_s if shortest_s > 0 else 0.0
    if share < COMMON:
        return Missing(missing=f"its ranks trained together for {100 * share:.0f} % of the time only")
    return spans


def _add_meters(
    launch: NodeLaunch,
    looks: Sequence[Checked],
    trace: Trace,
    spans: Sequence[Span],
    sharing: Mapping[str, int],
) -> float | Missing:
    """Watts of all that is metered of the node, each thing once."""
    machine, period_s = name_machine(trace), trace.opening.period_s
    meters = [
        read_meter(series, trace.host, machine, spans, period_s)
        for series in trace.series
        if series.source.metered and not series.source.estimated
    ]
    chosen = choose_node(meters, 1)
    if not chosen:
        return Missing(missing=_tell_nothing(trace))
    lack = _find_flaw(chosen, meters, _lay_out(launch, looks, trace), sharing.get(machine, 1))
    if lack is not None:
        return Missing(missing=lack)
    total_j = 0.0
    for meter in chosen:
        if isinstance(meter.energy, Missing):
            return Missing(missing=f"{meter.source.name}: {meter.energy.missing}")
        total_j += meter.energy.value
    return total_j / chosen[0].elapsed_s


def _find_flaw(
    chosen: Sequence[Metered], meters: Sequence[Metered], layout: Layout, sharing: int
) -> str | None:
    """Why the sum of these meters is not what the node drew for its ranks; None: it is."""
    shared = next((meter.source.shared for meter in chosen if meter.source.shared), None)
    if sharing > 1 and any(meter.source.uuid is None for meter in chosen):
        shared = f"its meters are those of {sharing} nodes that are one machine"
    return shared or find_lack("node", chosen, layout) or find_excess(meters)


def _lay_out(launch: NodeLaunch, looks: Sequence[Checked], trace: Trace) -> Layout:
    gpus = {complete_uuid(look.device): trace.host for look in looks if look.device not in {"", "cpu"}}
    return Layout(
        machines={name_machine(trace): (trace.host,)},
        gpus=launch.plan.gpus_per_node,
        used=gpus,
        allocated=launch.plan.launcher == "srun",
        unavailable=[(trace.host, thing) for thing in trace.unavailable],
    )


def _tell_nothing(trace: Trace) -> str:
    if any(series.source.estimated for series in trace.series):
        return "nothing measures it: it is only estimated, from a specification"
    told = [f"{thing.sensor}: {thing.reason}" for thing in trace.unavailable]
    return f"nothing measures it ({'; '.join(dict.fromkeys(told)) or 'no sensor was asked for that is here'})"
