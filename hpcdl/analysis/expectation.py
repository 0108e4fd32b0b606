"""What a step should take on N ranks, from one rank's step and a communication probe.

Backward makes gradients ready from the last layer to the first. Each bucket of them starts when it is ready and the
one before it is through; the step ends when both computing and the last bucket have. Nothing else is assumed to
change: that ranks slow each other down, or wait for a slow one, is what the difference to the measurement shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpcdl import networks
from hpcdl.analysis.question import group
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.communication import Communication
    from hpcdl.analysis.launch import LaunchResult
    from hpcdl.analysis.question import Question
    from hpcdl.analysis.scaling import Scaling
    from hpcdl.networks import Network

NUMBER_BYTES = 4
MIB = 1 << 20


@dataclass(frozen=True)
class Expectation:
    """A step on so many ranks: seconds, and how much of it is communication that computing does not hide."""

    ranks: int
    step_s: float
    exposed_s: float


def expect(base: LaunchResult, probe: Communication, ranks: int, local_batch: int) -> Expectation | Missing:
    """The step to be expected on `ranks`, each with `local_batch` images.

    Args:
        base: A launch of one rank with known step phases.
        probe: Of the same engine; at another number of ranks its times are scaled by the bus factor.
        ranks: How many.
        local_batch: Images of each rank; computing is taken to grow with them.
    """
    steps = base.statistics
    shares = (steps.input_share, steps.compute_share, steps.update_share)
    known = [share for share in shares if not isinstance(share, Missing)]
    if base.interval is None or len(known) < len(shares):
        return Missing(missing="there is no step of one rank to start from")
    if base.world_size != 1:
        return Missing(
            missing="the base has more than one rank, so its computing cannot be told from its exchange"
        )
    train = base.plan.train
    grown = local_batch / train.local_batch
    step_s = train.global_batch / base.interval.value
    input_s, compute_s, update_s = (share * step_s for share in known)
    network = networks.find(train.model)
    buckets = fill_buckets(network, train.fusion_mb)
    end_s = pass_buckets(network, buckets, compute_s * grown, probe, ranks)
    exposed_s = max(0.0, end_s - compute_s * grown)
    return Expectation(ranks, input_s * grown + compute_s * grown + exposed_s + update_s, exposed_s)


def fill_buckets(network: Network, fusion_mb: int) -> list[tuple[int, int]]:
    """(index of the layer that completes it, bytes) of each bucket, in the order in which they become ready."""
    buckets, held = [], 0
    layers = [index for index, row in enumerate(network.rows) if row.parameters]
    for index in reversed(layers):
        held += network.rows[index].parameters * NUMBER_BYTES
        if held >= fusion_mb * MIB or index == layers[0]:
            buckets.append((index, held))
            held = 0
    return buckets


def find_ready_times(network: Network, compute_s: float) -> dict[int, float]:
    """Layer -> seconds after the step's begin at which its gradient is there: time follows MACs.

    Forward is one part; backward two, of weights and of inputs, but one for the first layer with weights.
    """
    rows = network.rows
    first = next(index for index, row in enumerate(rows) if row.macs)
    backward = [row.macs * (1 if index == first else 2) for index, row in enumerate(rows)]
    forward = sum(row.macs for row in rows)
    total = forward + sum(backward)
    done, ready = float(forward), {}
    for index in range(len(rows) - 1, -1, -1):
        done += backward[index]
        ready[index] = compute_s * done / total
    return ready


def pass_buckets(
    network: Network, buckets: Sequence[tuple[int, int]], compute_s: float, probe: Communication, ranks: int
) -> float:
    """When the last bucket is through, in seconds after the step's begin."""
    ready = find_ready_times(network, compute_s)
    end_s = 0.0
    for layer, size in buckets:
        end_s = max(end_s, ready[layer]) + interpolate_time_s(probe, size, ranks)
    return end_s


def interpolate_time_s(probe: Communication, size_bytes: int, ranks: int) -> float:
    """An allreduce of this size by the probe: straight between two measured sizes in logarithms, in bytes beyond."""
    sizes = np.array([message.size_bytes for message in probe.messages], dtype=float)
    times = np.array([message.time_s.value for message in probe.messages])
    if size_bytes > sizes[-1]:
        time_s = float(times[-1] * size_bytes / sizes[-1])
    else:
        time_s = float(np.exp(np.interp(np.log(size_bytes), np.log(sizes), np.log(times))))
    return time_s * (ranks - 1) / ranks / ((probe.ranks - 1) / probe.ranks)


def explain_difference(measured: LaunchResult, expectation: Expectation) -> str:
    """Which phase of the measured step is longer than expected, in words; empty where they agree within 5 %."""
    rate = measured.images_per_s
    if isinstance(rate, Missing):
        return ""
    step_s = measured.plan.train.global_batch / rate
    if abs(step_s / expectation.step_s - 1) < 0.05:
        return ""
    exposed_s = _share(measured.statistics.exchange_share) * step_s
    more_waiting_s = exposed_s - expectation.exposed_s
    difference_s = step_s - expectation.step_s
    if difference_s < 0:
        return "faster than expected: computing hides more of the exchange than the order of gradients lets expect"
    if more_waiting_s > 0.5 * difference_s:
        return (
            "slower than expected, most of it waiting: for a slow rank, or since messages hinder each other"
        )
    return "slower than expected, most of it computing: ranks take each other's cores, memory or power"


def _share(reading: Reading) -> float:
    return 0.0 if isinstance(reading, Missing) else reading


@dataclass(frozen=True)
class Outlook:
    """What was to be expected of one size of a sweep: its step, its efficiency, and why it came otherwise."""

    nodes: int
    ranks: int
    step_s: Reading
    efficiency: Reading
    explanation: str


def expect_sizes(
    scaling: Scaling, runs: Sequence[tuple[Sequence[LaunchResult], Sequence[Communication]]]
) -> dict[tuple[int, int], Outlook]:
    """(ranks, nodes) -> outlook, for every size of a scaling table but the base; none where no probe fits it.

    Args:
        scaling: The table.
        runs: Training launches and probes of each run; those of the table among them.
    """
    launches = [one for trainings, _ in runs for one in trainings if one.plan.variant == "full"]
    # Grouped as for the table, so that each engine's figures come from its own launches.
    own = group(launches).get(scaling.question, [])
    probes = _choose_probes(scaling.question, own, runs)
    if not probes:
        return {}
    base = next((one for one in own if one.world_size == 1 and one.interval is not None), None)
    found = {}
    for point in scaling.points[1:]:
        size = (point.ranks, point.nodes)
        launch = next(one for one in own if (one.world_size, one.plan.nodes) == size)
        probe = min(probes, key=lambda one: (one.nodes != point.nodes, one.ranks != point.ranks))
        found[size] = _look_out(scaling, base, probe, launch, withheld=point.speed_up)
    return found


def _choose_probes(
    question: Question,
    own: Sequence[LaunchResult],
    runs: Sequence[tuple[Sequence[LaunchResult], Sequence[Communication]]],
) -> list[Communication]:
    """Those that ran in one job with launches of the table, on as many nodes as one of these."""
    asked = {id(launch) for launch in own if launch.world_size > 1}
    return [
        probe
        for trainings, probes in runs
        for probe in probes
        if _fits(probe, question, {one.plan.nodes for one in trainings if id(one) in asked})
    ]


def _fits(probe: Communication, question: Question, nodes: set[int]) -> bool:
    """The same buckets by the same engine and transport; the number of ranks may be another."""
    means, work, train = question.means, question.work, probe.launch.plan.train
    if means is None or probe.nodes not in nodes or not probe.messages:
        return False
    way = (probe.engine, probe.transport) == (means.engine, means.transport)
    return way and (train.model, train.fusion_mb) == (work.model, work.fusion_mb)


def _look_out(
    scaling: Scaling,
    base: LaunchResult | None,
    probe: Communication,
    launch: LaunchResult,
    *,
    withheld: Reading,
) -> Outlook:
    nodes, ranks = launch.plan.nodes, launch.world_size
    none = Missing(missing="there is no launch of one rank to start from")
    expected = expect(base, probe, ranks, launch.plan.train.local_batch) if base else none
    if isinstance(expected, Missing) or base is None or base.interval is None:
        absent = expected if isinstance(expected, Missing) else none
        return Outlook(nodes, ranks, absent, absent, "")
    rate = launch.plan.train.global_batch / expected.step_s
    efficiency = rate / base.interval.value / ranks
    # What is withheld of the measurement is not given away by its expectation.
    shown = (
        withheld if isinstance(withheld, Missing) and scaling.rehearsal and not scaling.forced else efficiency
    )
    return Outlook(nodes, ranks, expected.step_s, shown, explain_difference(launch, expected))
