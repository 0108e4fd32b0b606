"""What stands inside a picture beside its title: whose numbers these are, and the marks that they carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.report.wording import name_engine, name_hardware, name_model, name_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.launch import LaunchResult


def describe(launch: LaunchResult) -> str:
    """'AlexNet · Horovod/NCCL · 4 ranks on 2 nodes · NVIDIA H200'; a rehearsal says so."""
    parts = [
        name_model(launch.plan.train.model) if launch.plan.kind == "train" else "",
        name_engine(launch.engine, launch.transport),
        name_size(launch.plan.nodes, launch.world_size),
        name_hardware(launch),
    ]
    return mark(" · ".join(part for part in parts if part), launch.rehearsal)


def mark(text: str, rehearsal: str | None) -> str:
    """The text with what keeps its numbers from being a cluster's."""
    return f"{text} · REHEARSAL: {rehearsal}" if rehearsal else text


def choose_largest(results: Sequence[RunResult]) -> list[LaunchResult]:
    """Of each run and network the largest launch that completed in full: one picture stands for its repeats."""
    chosen: dict[tuple[str, str, str], LaunchResult] = {}
    for result in results:
        for launch in _find_complete(result.trainings):
            key = (result.run_id, launch.plan.train.model, launch.engine)
            if key not in chosen or launch.world_size > chosen[key].world_size:
                chosen[key] = launch
    return list(chosen.values())


def _find_complete(launches: Iterable[LaunchResult]) -> list[LaunchResult]:
    return [one for one in launches if one.state == "completed" and one.plan.variant == "full"]


def number(key: str, place: int, count: int) -> str:
    """The key of one of several pictures: 'speed-up', or 'speed-up-2' of more than one."""
    return key if count == 1 else f"{key}-{place + 1}"
