"""Which machines a launch ran on, and whether they are as many as they seem."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.records import Missing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hpcdl.checks import Checked
    from hpcdl.records import Environment, Host, Reading


@dataclass(frozen=True)
class Machine:
    """One host as its ranks saw it. `cores_visible` and `threads` are those of one rank; None: not told."""

    host: str
    boot_id: str
    ranks: tuple[int, ...]
    cpu: str
    cores_visible: int | None
    threads: int | None
    memory_bytes: int | None
    gpus: tuple[str, ...]
    gpu_uuids: tuple[str, ...]

    @property
    def shares_a_device(self) -> bool:
        """Several ranks, and not a GPU of its own for each of them."""
        return len(self.ranks) > 1 and len(set(self.gpu_uuids)) < len(self.ranks)


def gather_machines(environment: Environment | None) -> tuple[Machine, ...]:
    """The hosts of a launch in the order of their first rank; none where nothing is known yet."""
    views: defaultdict[str, list[Host]] = defaultdict(list)
    for view in sorted(environment.hosts if environment else (), key=lambda host: host.rank):
        views[view.host].append(view)
    return tuple(_gather(views_of_one) for views_of_one in views.values())


def _gather(views: list[Host]) -> Machine:
    first = views[0]
    return Machine(
        host=first.host,
        boot_id=first.boot_id,
        ranks=tuple(view.rank for view in views),
        cpu=first.cpu,
        cores_visible=first.cores_visible,
        threads=first.threads,
        memory_bytes=first.memory_bytes,
        gpus=tuple(view.gpu for view in views if view.gpu),
        gpu_uuids=tuple(view.gpu_uuid for view in views if view.gpu_uuid),
    )


def gather_checked(checks: Iterable[Checked]) -> tuple[Machine, ...]:
    """The same of a check, whose ranks do not meet: as each host's own identity tells. Nobody counts its threads."""
    views: defaultdict[str, list[Checked]] = defaultdict(list)
    for checked in sorted(checks, key=lambda one: one.rank):
        views[checked.host].append(checked)
    return tuple(_gather_checked(views_of_one) for views_of_one in views.values())


def _gather_checked(views: list[Checked]) -> Machine:
    told = next((view for view in views if view.check == "identity" and view.words), None)
    words, numbers = (told.words, told.numbers) if told else ({}, {})
    gpus = {view.device: view.model for view in views if view.device not in {"", "cpu"}}
    return Machine(
        host=views[0].host,
        boot_id=words.get("boot_id", ""),
        ranks=tuple(sorted({view.rank for view in views})),
        cpu=words.get("cpu", ""),
        cores_visible=_count(numbers.get("cores_visible")),
        threads=None,
        memory_bytes=_count(numbers.get("memory_bytes")),
        gpus=tuple(gpus.values()),
        gpu_uuids=tuple(gpus),
    )


def _count(reading: Reading | None) -> int | None:
    return None if reading is None or isinstance(reading, Missing) else int(reading)


def find_disguise(machines: Iterable[Machine], *, local: bool) -> str | None:
    """Why a run on these machines is a rehearsal, or None where it is not one.

    Hosts that share a boot id are one machine. So are several ranks started without a resource manager,
    unless each has a GPU of its own.

    Args:
        machines: All machines of a launch, or of all launches that are to be compared.
        local: The ranks were started on this machine without Slurm.
    """
    machines = list(machines)
    boot_ids = {machine.host: machine.boot_id for machine in machines}
    distinct = set(boot_ids.values())
    if len(boot_ids) > 1 and "" in distinct:
        return "the boot ids of some hosts could not be read, so nobody knows how many machines there are"
    if len(distinct) < len(boot_ids):
        count = "one boot id" if len(distinct) == 1 else f"{len(distinct)} boot ids"
        return f"{len(boot_ids)} hosts share {count}"
    crowded = max((m for m in machines if m.shares_a_device), key=lambda m: len(m.ranks), default=None)
    if local and crowded is not None:
        return f"{len(crowded.ranks)} ranks share one machine"
    return None
