"""The drills by name: what is counted."""

from __future__ import annotations

from tests.campaign import on_acceptance, on_cluster, on_this_machine
from tests.campaign.drill import Drill

DRILLS: dict[str, Drill] = {
    "cluster-kill": Drill(
        claim="One rank of four on the cluster is killed by SIGKILL: all ranks end within 75 s, the report names "
        "the rank and its host, the steps are kept, marked partial, and each rank leaves an exit record.",
        timed="from the kill until Slurm has nothing left of the job",
        trials=10,
        attempt=on_cluster.kill_one_rank,
        missing=on_cluster.missing,
    ),
    "local-kill": Drill(
        claim="One rank of two of a local run is killed by SIGKILL: the command leaves with 1, the report names "
        "the rank, the steps are kept, marked partial, and each rank leaves an exit record.",
        timed="from the kill until the command has left",
        trials=10,
        attempt=on_this_machine.kill_one_rank,
        missing=on_this_machine.missing,
    ),
    "local-interrupt": Drill(
        claim="Ctrl-C at a random moment of a local run: the command leaves with 130 and without a traceback, and "
        "10 s later no process of the run is left.",
        timed="from Ctrl-C until command and ranks have left",
        trials=10,
        attempt=on_this_machine.interrupt,
        missing=on_this_machine.missing,
    ),
    "local-healthy": Drill(
        claim="A healthy local run is reported as completed (what fails here is a false alarm).",
        timed="of the whole command",
        trials=20,
        attempt=on_this_machine.stay_healthy,
        missing=on_this_machine.missing,
    ),
    "cluster-slow-link": Drill(
        claim="One node of four may send 50 Mbit/s only: the probe's report names that node, and no other.",
        timed="of the whole command",
        trials=10,
        attempt=on_cluster.throttle_one_link,
        missing=on_cluster.missing,
    ),
    "cluster-straggler": Drill(
        claim="One node of four has a CPU quota of 20 % of a core: the report of a training run names its rank, and "
        "no other.",
        timed="of the whole command",
        trials=10,
        attempt=on_cluster.starve_one_node,
        missing=on_cluster.missing,
    ),
    "cluster-quiet": Drill(
        claim="Nothing is planted: a probe and a training run, by turns, name no link, no node and no rank (what "
        "fails here is a false alarm).",
        timed="of the whole command",
        trials=40,
        attempt=on_cluster.leave_in_peace,
        missing=on_cluster.missing,
    ),
} | on_acceptance.DRILLS
