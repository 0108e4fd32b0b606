"""Benchmark x Site -> Job of ordered Launches. Pure: it looks at nothing but its arguments."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from hpcdl import networks
from hpcdl.errors import Mistake
from hpcdl.frozen import Frozen
from hpcdl.site import Site
from hpcdl.spec import Benchmark, Device, Engine, Layout, Precision, Source, Transport, digest

Launcher = Literal["srun", "mpirun", "direct"]

DIGITS_TRAINING_IMAGES = 1438
SMALL_NETWORK_FLOPS = 1e9


class Training(Frozen):
    """A training run with nothing left open but what only the node can know (`steps` when epochs are asked for).

    `mode` names which batch was held: the local one (weak) or the global one (strong).
    """

    model: str
    mode: Literal["weak", "strong"]
    local_batch: int
    global_batch: int
    steps: int | None
    epochs: int | None
    warmup: int
    engine: Engine
    transport: Transport
    data: Source
    data_dir: str | None
    device: Device
    precision: Precision
    layout: Layout
    threads: int
    learning_rate: float | None
    fusion_mb: int
    augment: bool
    dropout: bool
    validate_after: bool
    verify_data: bool
    seed: int


class Launch(Frozen):
    """One step of a job: so many tasks on so many nodes, doing one thing in fresh processes."""

    index: int
    name: str
    kind: Literal["train"] = "train"
    repeat: int
    nodes: int
    tasks_per_node: int
    cpus_per_task: int
    threads_per_core: int = 1
    gpus_per_node: int
    launcher: Launcher
    pmi: str | None
    network: str | None
    progress_timeout_s: float
    train: Training

    @property
    def world_size(self) -> int:
        """How many ranks there must be."""
        return self.nodes * self.tasks_per_node


class Job(Frozen):
    """One allocation and one batch script; on this machine, the same without Slurm."""

    schema_version: Literal[1] = 1
    run_id: str
    benchmark_id: str
    plan_hash: str
    created_utc: datetime
    attempt: int = 1
    name: str
    executor: Literal["slurm", "local"]
    nodes: int
    walltime_s: int
    run_dir: str
    python: str
    benchmark: Benchmark
    site: Site
    sources: dict[str, str]
    launches: tuple[Launch, ...]


class Size(Frozen):
    """How many nodes a launch takes, and how each of them is divided.

    `cpus_per_task` are hardware threads, as Slurm counts them; `threads_per_core` of them share a core.
    """

    nodes: int
    tasks_per_node: int
    cpus_per_task: int
    threads_per_core: int
    gpus_per_node: int


def cluster_sizes(benchmark: Benchmark, site: Site, *, cores: int) -> tuple[Size, ...]:
    """One size for each entry of `nodes`; by default one task per GPU, or per node where there is none.

    Args:
        benchmark: May ask for a number of tasks per node.
        site: Names GPUs, and its own habit of tasks per node.
        cores: Cores of one node.

    Raises:
        Mistake: More tasks than cores.
    """
    gpus = 0 if benchmark.train.device == "cpu" else site.node.gpus or 0
    tasks = benchmark.launches.tasks_per_node or site.node.tasks_per_node or gpus or 1
    if tasks > cores:
        raise Mistake(
            f"{tasks} tasks per node do not fit a node of {cores} cores.",
            do="Ask for fewer with --tasks-per-node, or correct [node] cores in the site file.",
        )
    threads = site.node.threads_per_core or 1
    return tuple(
        Size(
            nodes=nodes,
            tasks_per_node=tasks,
            cpus_per_task=cores // tasks * threads,
            threads_per_core=threads,
            gpus_per_node=gpus,
        )
        for nodes in benchmark.launches.nodes
    )


def local_sizes(benchmark: Benchmark, site: Site, *, cores: int) -> tuple[Size, ...]:
    """The same on one machine: every task of every node becomes a rank beside the others.

    All launches give a rank the same number of cores, so that the small ones are a fair base for the large.

    Raises:
        Mistake: More ranks than GPUs, where there are GPUs to be used.
    """
    each = benchmark.launches.tasks_per_node or 1
    ranks = [nodes * each for nodes in benchmark.launches.nodes]
    gpus = 0 if benchmark.train.device == "cpu" else site.node.gpus or 0
    if gpus and max(ranks) > gpus:
        raise Mistake(
            f"{max(ranks)} ranks cannot have a GPU each: there are {gpus} here.",
            do="Use fewer --ranks, or train with --device cpu.",
        )
    share, threads = max(1, cores // max(ranks)), site.node.threads_per_core or 1
    return tuple(
        Size(
            nodes=1,
            tasks_per_node=count,
            cpus_per_task=share * threads,
            threads_per_core=threads,
            gpus_per_node=gpus,
        )
        for count in ranks
    )


def make_launches(
    benchmark: Benchmark, site: Site, sizes: tuple[Size, ...], *, launcher: Launcher
) -> tuple[Launch, ...]:
    """The launches in the order in which they run: all sizes, once for each repeat.

    Repeats are interleaved (1, 2, 4, 1, 2, 4), so that what drifts over the job touches all points alike.

    Raises:
        Mistake: A global batch that the ranks cannot share equally, or an engine that cannot do the job.
    """
    wanted = [(repeat, size) for repeat in range(1, benchmark.launches.repeat + 1) for size in sizes]
    return tuple(
        Launch(
            index=index,
            name=_name(index, benchmark, size, launcher),
            repeat=repeat,
            launcher=launcher,
            pmi=_pmi(benchmark, site) if launcher == "srun" else None,
            network=site.node.network,
            progress_timeout_s=benchmark.launches.progress_timeout_s,
            train=resolve_training(benchmark, size),
            **size.model_dump(),
        )
        for index, (repeat, size) in enumerate(wanted, start=1)
    )


def _name(index: int, benchmark: Benchmark, size: Size, launcher: Launcher) -> str:
    count = f"{size.nodes}n" if launcher == "srun" else f"{size.tasks_per_node}r"
    return f"{index:03d}-{benchmark.train.model}-{count}"


def _pmi(benchmark: Benchmark, site: Site) -> str:
    """MPI ranks find each other through Slurm's PMI; Gloo and torch bring their own rendezvous."""
    train = benchmark.train
    needs_mpi = train.engine in {"auto", "horovod"} and train.transport != "gloo"
    if train.transport == "mpi" and site.slurm.pmi == "none":
        raise Mistake(
            "without a PMI each MPI rank would be a world of one, and --transport mpi was asked for.",
            do="Name one that `srun --mpi=list` shows with --pmi, or use --transport gloo.",
        )
    return site.slurm.pmi or "pmix" if needs_mpi else "none"


def resolve_training(benchmark: Benchmark, size: Size) -> Training:
    """Everything that a rank needs to know, in a launch of this size."""
    train = benchmark.train
    ranks = size.nodes * size.tasks_per_node
    if train.engine == "single" and ranks > 1:
        raise Mistake(
            f"engine 'single' trains on one rank, and this launch has {ranks}.",
            do="Use --engine horovod or --engine ddp.",
        )
    local, total = _batches(benchmark, ranks, gpu=size.gpus_per_node > 0)
    steps = train.steps or (None if train.epochs else _default_steps(train.model, size))
    kept = train.model_dump(exclude={"batch", "global_batch", "steps", "threads"})
    return Training(
        mode=train.mode,
        local_batch=local,
        global_batch=total,
        steps=steps,
        # One for each core: a second on the same core would wait for the first one's arithmetic.
        threads=train.threads or size.cpus_per_task // size.threads_per_core,
        **kept,
    )


def _batches(benchmark: Benchmark, ranks: int, *, gpu: bool) -> tuple[int, int]:
    train = benchmark.train
    if train.global_batch:
        if train.global_batch % ranks:
            raise Mistake(
                f"a global batch of {train.global_batch} cannot be shared equally by {ranks} ranks.",
                do="Choose a multiple, or hold the local batch with --batch.",
            )
        return train.global_batch // ranks, train.global_batch
    local = train.batch or default_batch(train.model, gpu=gpu)
    return local, local * ranks


def default_batch(model: str, *, gpu: bool) -> int:
    """Images per rank: the recipe's own batch; on a CPU at most 32 of the large networks, for the clock's sake."""
    network = networks.find(model)
    small = network.train_flops < SMALL_NETWORK_FLOPS
    return network.recipe.batch if gpu or small else min(32, network.recipe.batch)


def _default_steps(model: str, size: Size) -> int:
    small = networks.find(model).train_flops < SMALL_NETWORK_FLOPS
    return 200 if small or size.gpus_per_node else 20


def hash_plan(benchmark: Benchmark, site: Site, launches: tuple[Launch, ...]) -> str:
    """What was asked, wherever and whenever: a digest of benchmark, site and launches."""
    asked: dict[str, Any] = {
        "benchmark": benchmark.model_dump(mode="json"),
        "site": site.model_dump(mode="json"),
        "launches": [launch.model_dump(mode="json") for launch in launches],
    }
    return digest(asked)
