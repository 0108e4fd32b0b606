"""Which launches ask the same question: only those share a scaling table."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hpcdl.analysis.launch import LaunchResult


@dataclass(frozen=True)
class Work:
    """What is trained, as planned: everything that changes the speed of a step, but not its batch."""

    model: str
    data: str
    data_dir: str | None
    dtype: str
    threads: int
    fusion_mb: int
    augment: bool
    dropout: bool
    feed: str
    exchange: bool


@dataclass(frozen=True)
class Batch:
    """Which batch is held as ranks are added: the local one (weak) or the global one (strong)."""

    mode: Literal["weak", "strong"]
    held: int

    @property
    def text(self) -> str:
        """'weak scaling, 256 images per rank' or 'strong scaling, global batch 1,024'."""
        kept = f"{self.held:,} images per rank" if self.mode == "weak" else f"global batch {self.held:,}"
        return f"{self.mode} scaling, {kept}"


@dataclass(frozen=True)
class Means:
    """With what it is trained, as resolved on the nodes."""

    engine: str
    transport: str
    device: str
    layout: str
    hardware: tuple[str, ...]
    software: tuple[str | None, ...]

    def takes_in(self, other: Means) -> bool:
        """One rank alone has nobody to exchange with, so its engine and transport do not matter."""
        alone = other.engine == "single"
        return alone and (self.device, self.layout, self.hardware, self.software) == (
            other.device,
            other.layout,
            other.hardware,
            other.software,
        )


@dataclass(frozen=True)
class Question:
    """Launches with equal questions differ in nothing but how many ranks there were.

    `means` is None where no launch came as far as resolving them.
    """

    work: Work
    batch: Batch
    means: Means | None


def read_work(launch: LaunchResult) -> Work:
    """What a launch trains, as planned."""
    train = launch.plan.train
    return Work(
        model=train.model,
        data=train.data,
        data_dir=train.data_dir,
        dtype=train.dtype,
        threads=train.threads,
        fusion_mb=train.fusion_mb,
        augment=train.augment,
        dropout=train.dropout,
        feed=train.feed,
        exchange=train.exchange,
    )


def read_batch(launch: LaunchResult) -> Batch:
    """Which batch a launch holds."""
    train = launch.plan.train
    return Batch(train.mode, train.local_batch if train.mode == "weak" else train.global_batch)


def read_means(launch: LaunchResult) -> Means | None:
    """With what a launch trained; None before its environment is known."""
    if launch.environment is None:
        return None
    hardware = {gpu for machine in launch.machines for gpu in machine.gpus} or {
        machine.cpu for machine in launch.machines
    }
    versions = launch.environment.versions
    return Means(
        launch.engine,
        launch.transport,
        launch.device,
        launch.layout,
        hardware=tuple(sorted(hardware)),
        # Not Horovod's: a single rank does not load it, and may be the base all the same.
        software=(versions.hpcdl, versions.code, versions.torch, versions.dali, versions.cuda),
    )


def list_differences(one: Question, other: Question) -> Iterator[str]:
    """What makes the work of two questions unlike, whatever machines do it."""
    if one.batch != other.batch:
        yield f"batch: {one.batch.text} against {other.batch.text}"
    for field in fields(one.work):
        here, there = getattr(one.work, field.name), getattr(other.work, field.name)
        # Threads belong to the machine, and the fusion buffer to the engine.
        if here != there and field.name not in {"threads", "fusion_mb"}:
            yield f"{field.name}: {here} against {there}"


def group(launches: Iterable[LaunchResult]) -> dict[Question, list[LaunchResult]]:
    """The launches by question, each group in the order given.

    Single-rank launches of engine 'single', and launches that never came as far as an environment, join the
    group of the same work and batch, if there is exactly one that they fit.
    """
    asked: defaultdict[tuple[Work, Batch], list[LaunchResult]] = defaultdict(list)
    for launch in launches:
        asked[read_work(launch), read_batch(launch)].append(launch)
    return {
        Question(work, batch, means): members
        for (work, batch), group_of_one in asked.items()
        for means, members in _split(group_of_one).items()
    }


def _split(launches: Sequence[LaunchResult]) -> dict[Means | None, list[LaunchResult]]:
    seen = list(dict.fromkeys(read_means(launch) for launch in launches))
    homes = {means: _find_home(means, seen) for means in seen}
    groups: defaultdict[Means | None, list[LaunchResult]] = defaultdict(list)
    for launch in launches:
        groups[homes[read_means(launch)]].append(launch)
    return groups


def _find_home(means: Means | None, seen: Sequence[Means | None]) -> Means | None:
    known = [other for other in seen if other is not None]
    if means is None:
        parallel = [other for other in known if other.engine != "single"]
        return parallel[0] if len(parallel) == 1 else known[0] if len(known) == 1 else None
    hosts = [other for other in known if other != means and other.takes_in(means)]
    return hosts[0] if len(hosts) == 1 else means
