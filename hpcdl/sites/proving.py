"""A site -> the job of a minute that proves its entries: nodes say what they are, then all ranks meet in one world."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpcdl import preparation, slurm
from hpcdl.plan import Job, Launch, NodeCheck, cluster_sizes, make_launches
from hpcdl.spec import Benchmark, Launches, Train
from hpcdl.walltime import parse_walltime_s

if TYPE_CHECKING:
    from hpcdl.plan import Size
    from hpcdl.site import Site
    from hpcdl.spec import Engine, Transport
    from hpcdl.store import Store

NAME = "site-check"
# It ends within one; a busy file system may take its time to bring torch to the nodes.
WALLTIME_S = 300
STEPS = 3


@dataclass(frozen=True)
class Wish:
    """What is to be proven: a site with the sources of its values, on so many nodes (None: two, if there are two)."""

    site: Site
    sources: dict[str, str]
    nodes: int | None = None
    engine: Engine = "horovod"


def plan_check(wish: Wish, store: Store) -> Job:
    """The job as Slurm will get it. Looks at sinfo; changes nothing.

    The site's own walltime is not this job's: see `plan_asked_walltime`.

    Raises:
        Mistake: The site contradicts itself: more tasks than cores.
    """
    sources = dict(wish.sources)
    site, limit_s = preparation.look_at_cluster(wish.site, sources)
    facts = slurm.node_facts(site.slurm.partition)
    nodes = wish.nodes or min(2, facts.nodes if facts else 1)
    launches = plan_launches(replace(wish, site=site), nodes)
    sources["slurm.pmi"] = sources.get("slurm.pmi", "default")
    benchmark = _make_benchmark(wish, nodes, tasks=None)
    return preparation.assemble(
        benchmark,
        site,
        launches,
        root=store.root,
        sources=sources,
        walltime_s=min(WALLTIME_S, limit_s or WALLTIME_S),
        tags=(NAME,),
    )


def plan_asked_walltime(job: Job) -> Job | None:
    """The same job for as long as the site's jobs are to take, for Slurm to test; None: the site names no walltime."""
    asked = job.site.slurm.walltime
    return None if asked is None else job.model_copy(update={"walltime_s": parse_walltime_s(asked)})


def plan_launches(wish: Wish, nodes: int) -> tuple[Launch, ...]:
    """What each node is; then a few steps of all ranks. Pure.

    Args:
        wish: With nothing left open in its site's nodes.
        nodes: On so many.
    """
    cores = wish.site.node.cores or 1
    [size] = cluster_sizes(_make_benchmark(wish, nodes, tasks=None), wish.site, cores=cores)
    tasks = _count_tasks(size, cores)
    benchmark = _make_benchmark(wish, nodes, tasks=tasks)
    [size] = cluster_sizes(benchmark, wish.site, cores=cores)
    [training] = make_launches(benchmark, wish.site, (size,), launcher="srun")
    look = training.model_copy(
        update={
            "name": f"001-check-{nodes}n",
            "kind": "check",
            # Ranks that meet nobody need no PMI to find each other.
            "pmi": "none",
            "power": None,
            "check": NodeCheck(checks=("identity",), repeats=1),
        }
    )
    return look, training.model_copy(update={"index": 2, "name": f"002-world-{nodes}n", "power": None})


def _count_tasks(size: Size, cores: int) -> int | None:
    """One rank alone meets nobody: on one node there are two, where it has the cores and no GPUs to share."""
    alone = size.nodes * size.tasks_per_node == 1
    return 2 if alone and cores > 1 and not size.gpus_per_node else None


def _make_benchmark(wish: Wish, nodes: int, *, tasks: int | None) -> Benchmark:
    train = Train(
        model="lenet",
        batch=4,
        steps=STEPS,
        warmup=1,
        engine=wish.engine,
        transport=_choose_transport(wish),
        validate_after=False,
        verify_data=False,
    )
    shape = Launches(nodes=(nodes,), tasks_per_node=tasks, probe="never")
    return Benchmark(name=NAME, about="Proves the entries of a site file.", train=train, launches=shape)


def _choose_transport(wish: Wish) -> Transport:
    """MPI where there is a PMI to prove; GPUs exchange over NCCL, after MPI has brought the ranks together."""
    if wish.engine != "horovod" or wish.site.node.gpus:
        return "auto"
    return "gloo" if wish.site.slurm.pmi == "none" else "mpi"
