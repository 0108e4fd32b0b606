"""`hpcdl probe`: what the network between the ranks can do, here or on a cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from hpcdl.cli.flags import SLURM, Flag, Said, accept, read_counts
from hpcdl.cli.start import JsonOption, SiteOption, StoreOption, default, resolve, run_here, send_to_slurm

PROBED = (
    Flag("--model", "train.model", "Up to the size of this network's gradients."),
    Flag(
        "--engine",
        "train.engine",
        "Through it: auto, horovod, ddp; several by commas.",
        metavar="NAME[,NAME…]",
    ),
    Flag("--transport", "train.transport", "What carries the messages: auto, nccl, mpi, gloo."),
    Flag("--device", "train.device", "auto, cpu, gpu."),
    Flag("--fusion-mb", "train.fusion_mb", "Fusion buffer (Horovod) or bucket (DDP).", int, metavar="MB"),
    Flag("--tasks-per-node", "launches.tasks_per_node", "Ranks on each node.", int),
)


@accept(PROBED, SLURM)
def probe(
    *,
    nodes: Annotated[int | None, typer.Option("--nodes", help="On so many nodes of the cluster.")] = None,
    ranks: Annotated[int | None, typer.Option("--ranks", help="Among so many ranks here.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print script or job; touch nothing.")] = False,
    store: StoreOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
    said: Said,
) -> None:
    """Measure communication: allreduce through the engine that trains, and from node to node."""
    from hpcdl.errors import Mistake

    if (nodes is None) == (ranks is None):
        raise Mistake(
            "where is to be measured?", do="Say --nodes N for a cluster, or --ranks N for this machine."
        )
    flag, count = ("--nodes", nodes) if ranks is None else ("--ranks", ranks)
    said["launches.nodes"] = (read_counts(str(count), flag), flag)
    said["launches.probe"] = ("only", "hpcdl probe")
    if ranks is None:
        default(said, "train.engine", "horovod")
        asked, place = resolve(None, said, store, site, {})
        send_to_slurm(asked, place, wait=True, dry_run=dry_run, as_json=as_json)
    else:
        if _suits_mpi(said):
            # It shows what the engine costs above it.
            default(said, "train.transport", "mpi")
        asked, place = resolve(None, said, store, site, {})
        run_here(asked, place, dry_run=dry_run, as_json=as_json)


def _suits_mpi(said: Said) -> bool:
    """Whether Horovod over MPI is what would train on this machine's processors; GPUs exchange over NCCL."""
    import importlib.util
    import shutil

    from hpcdl.local import count_gpus

    engine, device = said["train.engine"][0], said["train.device"][0]
    if engine not in {None, "auto", "horovod"} or (count_gpus() and device != "cpu"):
        return False
    here = (importlib.util.find_spec(name) is not None for name in ("horovod", "mpi4py"))
    return shutil.which("mpirun") is not None and all(here)
