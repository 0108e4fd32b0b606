"""From a started process to a rank among others: device, threads, engine, preflight, and the environment's record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.records import Environment
from hpcdl.spec import digest
from hpcdl.worker import preflight
from hpcdl.worker.binding import choose_device, prepare
from hpcdl.worker.delivery import check_delivery, read_delivery
from hpcdl.worker.engine import start
from hpcdl.worker.environment import read_host, read_slurm, read_versions
from hpcdl.worker.reporter import Prepared, Wired
from hpcdl.worker.topology import read as read_topology

if TYPE_CHECKING:
    import torch

    from hpcdl.plan import Launch, Training
    from hpcdl.records import Binding, Finding, Host
    from hpcdl.store import LaunchFolder
    from hpcdl.worker.beacon import Beacon
    from hpcdl.worker.engine import Engine
    from hpcdl.worker.place import Place
    from hpcdl.worker.reporter import Reporter


@dataclass(frozen=True)
class Rank:
    """What this process is and whom it talks to. `world` is what the preflight found of the number of ranks."""

    launch: Launch
    place: Place
    folder: LaunchFolder
    device: torch.device
    engine: Engine
    reporter: Reporter
    beacon: Beacon
    world: Finding
    binding: Binding | None = None

    @property
    def plan(self) -> Training:
        return self.launch.train

    @property
    def leads(self) -> bool:
        return self.place.rank == 0


@dataclass(frozen=True)
class Prospects:
    """What a launch has before it: steps to measure, images of an epoch (None: no end), classes, memory layout."""

    steps: int
    images: int | None
    classes: int
    layout: str


def join(launch: Launch, place: Place, folder: LaunchFolder, reporter: Reporter, beacon: Beacon) -> Rank:
    """Choose the device, set threads, and meet the other ranks.

    Raises:
        Refused: The engine cannot do what is asked, or the world has not the size that was planned.
    """
    device = choose_device(launch, place)
    binding = prepare(launch, place)
    beacon.show(0, "rendezvous")
    engine = start(launch, place, folder, device)
    beacon.show(0, "preflight")
    world = preflight.check_world(launch, place, engine)
    return Rank(launch, place, folder, device, engine, reporter, beacon, world, binding)


def introduce(rank: Rank, prospects: Prospects, *, data: str | None) -> tuple[Host, ...]:
    """Compare with all other ranks, record where and with what they run, and return that; `data` is a digest.

    Raises:
        Refused: The ranks are not fit to be measured together.
    """
    delivery = read_delivery()
    if rank.place.local_rank == 0:
        rank.reporter.say(Wired(topology=read_topology(host=rank.place.host)))
    card = preflight.Card(
        host=read_host(rank.place, rank.device, rank.binding),
        versions=read_versions(),
        plan=digest(rank.launch.model_dump(mode="json")),
        data=data,
        image=preflight.name_image(delivery),
    )
    cards = preflight.exchange(card, rank.engine)
    delivered = check_delivery(rank.launch, rank.folder, delivery)
    findings = (rank.world, delivered, *preflight.check_cards(rank.launch, cards))
    preflight.require(findings)
    hosts = tuple(one.host for one in cards)
    if rank.leads:
        environment = Environment(
            world_size=rank.engine.world_size,
            engine=rank.engine.name,
            transport=rank.engine.transport,
            device=rank.device.type,
            layout=prospects.layout,
            steps=prospects.steps,
            images=prospects.images,
            classes=prospects.classes,
            versions=cards[0].versions,
            hosts=hosts,
            findings=findings,
            delivery=delivery,
            slurm=read_slurm(),
        )
        rank.reporter.say(Prepared(environment=environment))
    return hosts
