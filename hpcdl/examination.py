"""The job that looks at nodes, for `hpcdl doctor --nodes`: one rank on each, which trains nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl import preparation
from hpcdl.plan import Job, Launch, NodeCheck, Size, resolve_training
from hpcdl.spec import Benchmark, Launches, Train
from hpcdl.walltime import estimate_walltime_s, parse_walltime_s

if TYPE_CHECKING:
    from hpcdl.checks import CheckName
    from hpcdl.preparation import Asked
    from hpcdl.site import Site
    from hpcdl.store import Store

NAME = "doctor"
CHECKS: tuple[CheckName, ...] = ("identity", "topology")
# A node that has not looked at itself by then never will: importing torch over a busy file system takes longest.
PATIENCE_S = 300.0


def prepare_examination(asked: Asked, store: Store, nodes: int) -> Job:
    """The job as Slurm will get it. Looks at sinfo where the site file is silent; changes nothing.

    Raises:
        Mistake: Its walltime is none.
    """
    sources = dict(asked.sources)
    site, longest_s = preparation.look_at_cluster(asked.site, sources)
    benchmark = _stand_for(nodes)
    launches = (_plan(benchmark, site, nodes),)
    if site.slurm.walltime is not None:
        walltime_s = parse_walltime_s(site.slurm.walltime)
    else:
        estimate_s = estimate_walltime_s(launches, seen_step_s=None)
        walltime_s = min(estimate_s, longest_s or estimate_s)
        sources["slurm.walltime"] = "estimated: one look at each node"
    return preparation.assemble(
        benchmark, site, launches, root=store.root, sources=sources, walltime_s=walltime_s
    )


def _stand_for(nodes: int) -> Benchmark:
    """A job is of one benchmark: here one that is never trained."""
    train = Train(
        model="lenet", batch=1, steps=1, warmup=0, engine="single", device="cpu", validate_after=False
    )
    return Benchmark(
        name=NAME,
        about="What nodes are, and how they are wired",
        train=train,
        launches=Launches(nodes=(nodes,)),
    )


def _plan(benchmark: Benchmark, site: Site, nodes: int) -> Launch:
    """All of each node for its one rank: what it is not given, it may not see."""
    threads = site.node.threads_per_core or 1
    size = Size(
        nodes=nodes,
        tasks_per_node=1,
        cpus_per_task=(site.node.cores or 1) * threads,
        threads_per_core=threads,
        gpus_per_node=site.node.gpus or 0,
    )
    alone = size.model_copy(update={"nodes": 1})
    return Launch(
        index=1,
        name=f"001-check-{nodes}n",
        kind="check",
        repeat=1,
        launcher="srun",
        pmi="none",
        network=site.node.network,
        progress_timeout_s=PATIENCE_S,
        train=resolve_training(benchmark, alone),
        check=NodeCheck(checks=CHECKS, repeats=1),
        **size.model_dump(),
    )
