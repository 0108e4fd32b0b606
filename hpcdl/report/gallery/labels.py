"""What stands inside a picture beside its title: whose numbers these are, and the marks that they carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.records import Missing
from hpcdl.report.wording import name_engine, name_hardware, name_model, name_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.launch import LaunchResult


@dataclass(frozen=True)
class Shown:
    """A launch that stands for its run's others of the same network and engine. `only`: there is no other run."""

    result: RunResult
    launch: LaunchResult
    only: bool

    @property
    def key(self) -> str:
        """What tells its pictures from those of other runs and launches: empty where there are none."""
        alone = len(self.result.trainings) == 1
        return (
            f"-{self.launch.plan.index}" * (not alone)
            if self.only
            else f"-{self.result.short_id}-{self.launch.plan.index}"
        )

    @property
    def words(self) -> str:
        """'run k3f9, launch 3: AlexNet · …'."""
        return f"run {self.result.short_id}, launch {self.launch.plan.index}: {describe(self.launch)}"


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


def choose_largest(results: Sequence[RunResult]) -> list[Shown]:
    """Of each run, network and engine the largest launch that completed in full: one picture stands for its repeats.

    One that is published goes before one that is not.
    """
    chosen: dict[tuple[str, str, str], Shown] = {}
    for result in results:
        for launch in _find_complete(result.trainings):
            key = (result.run_id, launch.plan.train.model, launch.engine)
            if key not in chosen or _weigh(launch) > _weigh(chosen[key].launch):
                chosen[key] = Shown(result, launch, only=len(results) == 1)
    return list(chosen.values())


def _weigh(launch: LaunchResult) -> tuple[int, bool]:
    return launch.world_size, not isinstance(launch.images_per_s, Missing)


def _find_complete(launches: Iterable[LaunchResult]) -> list[LaunchResult]:
    return [one for one in launches if one.state == "completed" and one.plan.variant == "full"]


def number(key: str, place: int, count: int) -> str:
    """The key of one of several pictures: 'speed-up', or 'speed-up-2' of more than one."""
    return key if count == 1 else f"{key}-{place + 1}"
