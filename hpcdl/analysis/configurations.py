"""Configurations: one question at one size under one tariff, over all launches that asked it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.analysis.amounts import Amount, from_estimate
from hpcdl.analysis.machines import find_disguise
from hpcdl.analysis.question import Question, group
from hpcdl.analysis.repeats import combine, why_absent
from hpcdl.analysis.tariffs import Tariff, choose_tariff

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.launch import LaunchResult
    from hpcdl.prices import Pricing


@dataclass(frozen=True, eq=False)
class Configuration:
    """One thing that was measured, with its price. `letter` names it in tables and pictures.

    `rate` is in images/s over all launches. `withheld` is why its nodes cannot be priced as so many.
    """

    letter: str
    question: Question
    nodes: int
    ranks: int
    device: str
    tariff: Tariff
    launches: tuple[LaunchResult, ...]
    rate: Amount
    withheld: str | None

    @property
    def subject(self) -> tuple[object, ...]:
        """What an image of it is: only images of one subject have costs to be compared."""
        work = self.question.work
        return (work.model, work.data, work.data_dir, work.feed, work.augment, work.dropout)


def gather_configurations(
    results: Sequence[RunResult], pricing: Pricing | None = None
) -> tuple[Configuration, ...]:
    """All sizes of all questions of these runs, in the order in which they were asked; variants are not among them."""
    owners = {id(launch): result for result in results for launch in result.trainings}
    launches = [one for result in results for one in result.trainings if one.plan.variant == "full"]
    found: dict[tuple[Question, int, int, Tariff], list[LaunchResult]] = {}
    for question, members in group(launches).items():
        for launch in members:
            tariff = choose_tariff(owners[id(launch)], pricing)
            key = (question, launch.plan.nodes, launch.world_size, tariff)
            found.setdefault(key, []).append(launch)
    return tuple(
        _make(_name(place), key, members, [owners[id(one)] for one in members])
        for place, (key, members) in enumerate(found.items())
    )


def _make(
    letter: str,
    key: tuple[Question, int, int, Tariff],
    launches: Sequence[LaunchResult],
    runs: Sequence[RunResult],
) -> Configuration:
    question, nodes, ranks, tariff = key
    reasons = (why_not_whole(launch, run) for launch, run in zip(launches, runs, strict=True))
    return Configuration(
        letter=letter,
        question=question,
        nodes=nodes,
        ranks=ranks,
        device=launches[0].device,
        tariff=tariff,
        launches=tuple(launches),
        rate=from_estimate(combine([one.interval for one in launches]) or why_absent(launches)),
        withheld=next((reason for reason in reasons if reason), None),
    )


def why_not_whole(launch: LaunchResult, run: RunResult) -> str | None:
    """Why the price of so many nodes would not be that of what has worked here; None: it is.

    Whole nodes are priced, whatever part of them a launch kept busy: nobody else could use them meanwhile. Where
    somebody could, their price is not the launch's, and nobody knows what part of it would be.
    """
    nodes, machines = launch.plan.nodes, launch.boot_ids
    # Over all launches: one of a single node may have run on one name of a machine that has several.
    disguise = find_disguise([machine for one in run.launches for machine in one.machines], local=False)
    if launch.machines and nodes > 1 and "" in machines:
        return "some boot ids could not be read, so nobody knows how many machines there are to be priced"
    if launch.machines and len(machines) < nodes:
        seen = "1 machine" if len(machines) == 1 else f"{len(machines)} machines"
        return f"{nodes} nodes were {seen}: the price of {nodes} would not be that of what has worked"
    if disguise:
        return f"{disguise}: none of them is a node by itself"
    node, slurm = run.job.site.node, run.job.site.slurm
    taken = launch.plan.tasks_per_node * launch.plan.cpus_per_task
    left = (node.cores or 0) * (node.threads_per_core or 1) - taken
    # What does not divide among the tasks is less than a task's.
    if run.job.executor == "slurm" and not slurm.exclusive and left >= launch.plan.cpus_per_task:
        return f"the job had {taken} of {taken + left} CPUs of a node that others may have used: whole nodes are priced"
    return None


def _name(place: int) -> str:
    """A to Z, then AA."""
    tens, ones = divmod(place, 26)
    return ("" if tens == 0 else _name(tens - 1)) + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[ones]
