"""The communication probe: allreduce through the engine that trains, beside MPI itself; and from node to node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl import networks
from hpcdl.probes import Probe
from hpcdl.worker.joining import Prospects, introduce, join
from hpcdl.worker.probe.allreduce import measure_gradients, measure_sizes, message_sizes
from hpcdl.worker.probe.group import Group
from hpcdl.worker.probe.mpi import World, enter_world
from hpcdl.worker.probe.pairs import measure_links, open_messengers
from hpcdl.worker.reporter import Probed

if TYPE_CHECKING:
    from hpcdl.plan import Launch
    from hpcdl.store import LaunchFolder
    from hpcdl.worker.beacon import Beacon
    from hpcdl.worker.place import Place
    from hpcdl.worker.reporter import Reporter


def probe(launch: Launch, place: Place, folder: LaunchFolder, reporter: Reporter, beacon: Beacon) -> None:
    """One probe of one rank, from the first handshake to the last barrier.

    MPI is begun before the engine, so that it outlives it: an engine's own threads go on talking between the ranks,
    and beside them nothing is measured alone.

    Raises:
        Refused: The preflight found the launch unfit to be measured.
    """
    world = enter_world(launch)
    rank = join(launch, place, folder, reporter, beacon)
    network = networks.find(launch.train.model)
    hosts = introduce(
        rank, Prospects(steps=0, images=None, classes=network.classes, layout="nchw"), data=None
    )
    sizes = message_sizes(network.gradient_bytes())
    allreduce = measure_sizes(rank, rank.engine, rank.engine.exchange, sizes)
    gradients = measure_gradients(rank, network)
    messengers = open_messengers(rank, hosts, world)
    if not any(isinstance(one, Group) and one.is_engine for one in messengers):
        rank.engine.close()
    found = Probe(
        world_size=place.world_size,
        allreduce=allreduce,
        mpi=measure_sizes(rank, world, world.exchange, sizes) if isinstance(world, World) else world,
        gradients=gradients,
        links=measure_links(rank, hosts, messengers),
    )
    for messenger in messengers:
        messenger.barrier()
    if rank.leads:
        rank.reporter.say(Probed(probe=found))
    for messenger in messengers:
        messenger.leave()
