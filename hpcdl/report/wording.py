"""The words by which a report calls networks, engines, sizes and bases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl import networks
from hpcdl.errors import UnknownName
from hpcdl.records import Missing
from hpcdl.report.numbers import format_number, format_value
from hpcdl.site import UNNAMED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.launch import LaunchResult
    from hpcdl.analysis.question import Question
    from hpcdl.analysis.scaling import Scaling

ENGINES = {"horovod": "Horovod", "ddp": "DDP", "single": "one rank", "auto": "engine not chosen yet"}
KINDS = {"probe": "Communication", "check": "Checks of nodes"}
TRANSPORTS = {"nccl": "NCCL", "mpi": "MPI", "gloo": "Gloo"}


def count(number: int, word: str) -> str:
    """'1 rank', '4 ranks'."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def join(words: Iterable[str]) -> str:
    """The distinct words in order: 'a', 'a and b', 'a, b and c'."""
    distinct = list(dict.fromkeys(words))
    if len(distinct) < 2:
        return "".join(distinct)
    return f"{', '.join(distinct[:-1])} and {distinct[-1]}"


def name_model(model: str) -> str:
    """The network's title; a network that this version does not know keeps its name."""
    try:
        return networks.find(model).title
    except UnknownName:
        return model


def name_engine(engine: str, transport: str) -> str:
    """'Horovod/MPI'; an engine without a transport stands alone."""
    name = ENGINES.get(engine, engine)
    return f"{name}/{TRANSPORTS[transport]}" if transport in TRANSPORTS else name


def name_question(question: Question) -> str:
    """'AlexNet · weak scaling, 256 images per rank · Horovod/MPI'."""
    means = question.means
    parts = [name_model(question.work.model), question.batch.text]
    if means is not None:
        parts.append(name_engine(means.engine, means.transport))
    return " · ".join(parts)


def name_size(nodes: int, ranks: int) -> str:
    """'1 rank', '4 ranks on 2 nodes'."""
    return (
        count(ranks, "rank") if nodes == ranks == 1 else f"{count(ranks, 'rank')} on {count(nodes, 'node')}"
    )


def caption_scaling(scaling: Scaling) -> Iterator[str]:
    """What stands below a scaling table: its base, what several allocations mean, what Karp-Flatt is applied to."""
    yield f"{name_base(scaling)} · intervals are of 95 %"
    if scaling.runs > 1:
        yield f"over {scaling.runs} separate jobs: points and base do not share machine and weather"
    if any(not isinstance(point.karp_flatt, Missing) for point in scaling.points):
        how = (
            "applied to the scaled speed-up"
            if scaling.question.batch.mode == "weak"
            else "at a fixed problem size"
        )
        yield f"Karp-Flatt: the experimentally determined serial fraction, {how}"


def name_base(scaling: Scaling) -> str:
    """The base case with its absolute value, how often it was measured, and how far it drifted."""
    base = scaling.base
    rate = base.images_per_s
    shown = "not published" if isinstance(rate, Missing) else f"{format_number(rate)} images/s"
    parts = [f"base: {name_size(base.nodes, base.ranks)}, {shown}"]
    if base.count > 1:
        parts.append(f"harmonic mean of {base.count} launches")
    if not isinstance(scaling.drift, Missing):
        bracketed = "bracketed, " if scaling.bracketed else ""
        parts.append(f"{bracketed}drift {format_value(scaling.drift, 'fraction')}")
    return " · ".join(parts)


def name_runs(results: Sequence[RunResult]) -> str:
    """The header line: network, batch, engine, ranks on hosts, hardware, site."""
    launches = [launch for result in results for launch in result.trainings or result.launches]
    if not launches:
        return join(result.job.name for result in results)
    kinds = {launch.plan.kind for launch in launches}
    probing = "train" not in kinds
    largest = max(launches, key=lambda launch: (len(launch.machines), launch.world_size))
    parts = [
        join(KINDS[kind] for kind in sorted(kinds))
        if probing
        else join(name_model(launch.plan.train.model) for launch in launches),
        "" if probing else _name_mode(launches),
        "" if probing else join(_name_batch(launch) for launch in launches),
        _name_engines(launches),
        _name_ranks(largest),
        name_hardware(largest),
    ]
    sites = join(result.job.site.name for result in results if result.job.site.name != UNNAMED)
    title = " · ".join(part for part in parts if part)
    return f"{title} ({sites})" if sites else title


def _name_engines(launches: Sequence[LaunchResult]) -> str:
    """As resolved, where any launch came so far; a single rank among others has nothing to add."""
    resolved = [launch for launch in launches if launch.environment] or launches
    parallel = [launch for launch in resolved if launch.engine != "single"] or resolved
    return join(name_engine(launch.engine, launch.transport) for launch in parallel)


def _name_mode(launches: Sequence[LaunchResult]) -> str:
    """Scaling is named where there is some."""
    sizes = {launch.world_size for launch in launches}
    return f"{join(launch.plan.train.mode for launch in launches)} scaling" if len(sizes) > 1 else ""


def _name_batch(launch: LaunchResult) -> str:
    train = launch.plan.train
    if train.mode == "weak":
        return f"{train.local_batch:,} images per rank"
    return f"global batch {train.global_batch:,}"


def _name_ranks(launch: LaunchResult) -> str:
    hosts = len(launch.hosts)
    if not hosts:
        return name_size(launch.plan.nodes, launch.world_size)
    return f"{count(launch.world_size, 'rank')} on {count(hosts, 'host')}"


def name_hardware(launch: LaunchResult) -> str:
    """The GPUs that trained; the CPUs where there are none."""
    gpus = join(gpu for machine in launch.machines for gpu in machine.gpus)
    return gpus or join(machine.cpu for machine in launch.machines)
