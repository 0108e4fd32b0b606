"""Is this launch what was planned? Asked before the first step; where the answer is no, nothing is measured."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hpcdl.errors import Refused
from hpcdl.frozen import Frozen, Model
from hpcdl.records import Delivery, Finding, Host, Versions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hpcdl.plan import Launch
    from hpcdl.worker.engine import Engine
    from hpcdl.worker.place import Place


class Card(Frozen):
    """What each rank lays on the table."""

    host: Host
    versions: Versions
    plan: str
    data: str | None
    image: str | None = None


def name_image(delivery: Delivery) -> str | None:
    """By which the images of two ranks are compared; local copies of one file may be of different days."""
    if delivery.runtime is None:
        return None
    size = delivery.image_bytes
    return f"{delivery.runtime} image of {size} bytes" if isinstance(size, int) else delivery.runtime


def check_world(launch: Launch, place: Place, engine: Engine) -> Finding:
    """Does the world have as many ranks as were asked for?

    An srun without PMI starts N worlds of one, each of which would report N times its true share.

    Raises:
        Refused: It has not.
    """
    if engine.world_size == place.world_size == launch.world_size:
        return Finding(check="world size", outcome="held", detail=f"{engine.world_size} ranks")
    raise Refused(
        f"{launch.world_size} ranks were asked for; {launch.launcher} started {place.world_size}, "
        f"and {engine.name} over {engine.transport} sees a world of {engine.world_size}.",
        do="Launcher and MPI do not speak the same PMI: see `srun --mpi=list`, and [slurm] pmi in the site file."
        if engine.world_size == 1
        else "Do not start the launch by hand with other numbers than the plan's.",
    )


def exchange(record: Model, engine: Engine) -> tuple[Model, ...]:
    """Every rank's record, by rank, on every rank."""
    kind = type(record)
    return tuple(kind.model_validate_json(text) for text in engine.gather(record.model_dump_json()))


def check_cards(launch: Launch, cards: Sequence[Card]) -> tuple[Finding, ...]:
    """All findings over the gathered cards, in the order in which they are shown. Pure."""
    hosts = [card.host for card in cards]
    return (
        _check_places(launch, hosts),
        _check_gpus(hosts),
        _check_fingerprints(cards),
        _check_cores(launch, hosts),
    )


def require(findings: Sequence[Finding]) -> None:
    """Raise Refused where a finding failed; 'could not look' is shown and does not stop the launch."""
    failed = [finding for finding in findings if finding.outcome == "failed"]
    if failed:
        raise Refused("; ".join(f"{finding.check}: {finding.detail}" for finding in failed) + ".")


def _check_places(launch: Launch, hosts: Sequence[Host]) -> Finding:
    check = "one rank for each place"
    pair = _find_pair(hosts, lambda host: (host.host, host.local_rank))
    if pair:
        one, other = pair
        detail = f"ranks {one.rank} and {other.rank} are both local rank {one.local_rank} of {one.host}"
        return Finding(check=check, outcome="failed", detail=detail)
    names = Counter(host.host for host in hosts)
    if len(names) != launch.nodes or set(names.values()) != {launch.tasks_per_node}:
        found = ", ".join(f"{count} on {name}" for name, count in sorted(names.items())[:8])
        detail = f"{launch.tasks_per_node} ranks on each of {launch.nodes} nodes were planned, and there are {found}"
        return Finding(check=check, outcome="failed", detail=detail)
    return Finding(check=check, outcome="held", detail=f"{len(names)} hosts")


def _check_gpus(hosts: Sequence[Host]) -> Finding:
    check = "one GPU for each rank"
    without = [host for host in hosts if host.gpu_uuid is None]
    if len(without) == len(hosts):
        return Finding(check=check, outcome="held", detail="no GPU is used")
    if without:
        detail = f"{_name(without[0])} has none; {len(hosts) - len(without)} of {len(hosts)} ranks have one"
        return Finding(check=check, outcome="failed", detail=detail)
    pair = _find_pair(hosts, lambda host: host.gpu_uuid)
    if pair:
        detail = f"GPU {pair[0].gpu_uuid} is used by {_name(pair[0])} and by {_name(pair[1])}"
        return Finding(check=check, outcome="failed", detail=detail)
    return Finding(check=check, outcome="held", detail=f"{len(hosts)} distinct UUIDs")


def _find_pair(hosts: Sequence[Host], key: Callable[[Host], object]) -> tuple[Host, Host] | None:
    """The first two that have the same key."""
    seen: dict[object, Host] = {}
    for host in hosts:
        first = seen.setdefault(key(host), host)
        if first is not host:
            return first, host
    return None


def _name(host: Host) -> str:
    return f"rank {host.rank} ({host.host})"


def _check_fingerprints(cards: Sequence[Card]) -> Finding:
    check = "same software, plan and data"
    for what in ("versions", "plan", "data", "image"):
        if len({str(getattr(card, what)) for card in cards}) > 1:
            return Finding(check=check, outcome="failed", detail=_describe_difference(what, cards))
    return Finding(check=check, outcome="held", detail=f"hpcdl {cards[0].versions.hpcdl} on all ranks")


def _describe_difference(what: str, cards: Sequence[Card]) -> str:
    first = cards[0]
    other = next(card for card in cards if getattr(card, what) != getattr(first, what))
    where = _name(other.host)
    if what != "versions":
        images = f": {other.image}, not {first.image}" if what == "image" else ""
        return f"the {what} of {where} is not that of {_name(first.host)}{images}"
    ours, theirs = first.versions.model_dump(), other.versions.model_dump()
    named = [f"{key} {theirs[key]} instead of {ours[key]}" for key in ours if ours[key] != theirs[key]]
    return f"{where} runs {', '.join(named)}"


def _check_cores(launch: Launch, hosts: Sequence[Host]) -> Finding:
    check = "cores as asked"
    short = [host for host in hosts if host.cores_visible < launch.cpus_per_task]
    if short:
        worst = min(short, key=lambda host: host.cores_visible)
        return Finding(
            check=check,
            outcome="failed",
            detail=f"{_name(worst)} may use {worst.cores_visible} cores, "
            f"and the plan says {launch.cpus_per_task} for each task",
        )
    return Finding(check=check, outcome="held", detail=f"{launch.cpus_per_task} for each task")
