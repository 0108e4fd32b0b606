"""Benchmark x Site -> Job of ordered Launches. Pure: it looks at nothing but its arguments."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from hpcdl import networks
from hpcdl.checks import CheckName
from hpcdl.errors import Mistake
from hpcdl.frozen import Frozen
from hpcdl.site import Site
from hpcdl.spec import (
    Augmentation,
    Benchmark,
    Compression,
    Device,
    Dtype,
    Engine,
    Layout,
    Metering,
    Source,
    Transport,
    digest,
    forget_young,
)

Launcher = Literal["srun", "mpirun", "direct"]
Kind = Literal["train", "probe", "check"]
# Why a launch of such a kind has no throughput.
NO_TRAINING = {"probe": "a probe trains nothing", "check": "in a check of nodes each rank trains by itself"}
# How images reach the step: as the source delivers them; a few of its batches held on the device; random numbers.
Feed = Literal["streamed", "resident", "synthetic"]

DIGITS_TRAINING_IMAGES = 1438
SMALL_NETWORK_FLOPS = 1e9
# Looks double, so that this many times the first number of steps are five looks.
STEPS_GROW_TO = 16
# Ranks of a rehearsal share one machine's cores, and each takes the memory of a whole PyTorch.
MOST_RANKS_OF_A_CORE = 16


class Variant(NamedTuple):
    """What a launch of an attribution leaves out of the step."""

    name: str
    exchange: bool
    feed: Feed


FULL = Variant("full", exchange=True, feed="streamed")
# From full to each of the others one thing is missing; the last has nothing but arithmetic left.
VARIANTS = (
    FULL,
    Variant("no exchange", exchange=False, feed="streamed"),
    Variant("resident", exchange=True, feed="resident"),
    Variant("synthetic", exchange=False, feed="synthetic"),
)


class Training(Frozen):
    """A training run with nothing left open but what only the node can know (`steps` when epochs are asked for).

    `mode` names which batch was held: the local one (weak) or the global one (strong). Without `exchange` each
    rank trains by itself, to see what the exchange costs.
    """

    model: str
    mode: Literal["weak", "strong"]
    local_batch: int
    global_batch: int
    steps: int | None
    epochs: int | None
    precision: float | None
    max_steps: int | None
    min_window_s: float | None = None
    warmup: int
    engine: Engine
    transport: Transport
    data: Source
    data_dir: str | None
    feed: Feed = "streamed"
    exchange: bool = True
    device: Device
    dtype: Dtype
    layout: Layout
    threads: int
    learning_rate: float | None
    fusion_mb: int
    compile: bool = False
    cuda_graphs: bool = False
    compression: Compression = "none"
    accumulate: int = 1
    fused: bool = True
    data_threads: int | None = None
    prefetch: int | None = None
    augment: bool
    augmentation: Augmentation = Augmentation()
    dropout: bool
    validate_after: bool
    verify_data: bool
    seed: int


class NodeCheck(Frozen):
    """What each rank of a check looks at, alone: it meets no other, and none waits for it.

    `trainings` are those of a world of one rank, one for each network. All that is timed is timed `repeats` times,
    by turns. After everything else the last of the trainings goes on for `soak_s`, to see drift and heat.
    """

    checks: Annotated[tuple[CheckName, ...], Field(min_length=1)]
    trainings: tuple[Training, ...] = ()
    repeats: Annotated[int, Field(gt=0)] = 3
    data_dir: str | None = None
    soak_s: Annotated[float, Field(gt=0)] | None = None


class Launch(Frozen):
    """One step of a job: so many tasks on so many nodes, doing one thing in fresh processes.

    `test` names what it is for in an acceptance. It begins at the node `first_node` of the allocation, counted from 0.
    """

    index: int
    name: str
    kind: Kind = "train"
    test: str = ""
    variant: str = FULL.name
    repeat: int
    first_node: Annotated[int, Field(ge=0)] = 0
    nodes: int
    tasks_per_node: int
    cpus_per_task: int
    threads_per_core: int = 1
    gpus_per_node: int
    launcher: Launcher
    pmi: str | None
    network: str | None
    progress_timeout_s: float
    power: Metering | None = None
    train: Training
    check: NodeCheck | None = None

    @property
    def world_size(self) -> int:
        """How many ranks there must be."""
        return self.nodes * self.tasks_per_node

    @property
    def cpu_bind(self) -> str:
        """How srun binds its tasks where the site says nothing.

        Cores in order may be far from a task's GPU: tasks of several GPUs bind themselves (hpcdl.worker.binding).
        """
        return "none" if self.gpus_per_node and self.tasks_per_node > 1 else "cores"


class Job(Frozen):
    """One allocation and one batch script; on this machine, the same without Slurm."""

    schema_version: Literal[1] = 1
    run_id: str
    benchmark_id: str
    plan_hash: str
    created_utc: datetime
    attempt: int = 1
    tags: tuple[str, ...] = ()
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
    places = [(nodes, tasks) for nodes in benchmark.launches.nodes]
    if benchmark.launches.per == "gpu" and tasks > 1:
        places.insert(0, (1, 1))
    return tuple(
        Size(
            nodes=nodes,
            tasks_per_node=count,
            cpus_per_task=cores // tasks * threads,
            threads_per_core=threads,
            gpus_per_node=gpus,
        )
        for nodes, count in places
    )


def local_sizes(benchmark: Benchmark, site: Site, *, cores: int) -> tuple[Size, ...]:
    """The same on one machine: every task of every node becomes a rank beside the others.

    All launches give a rank the same number of cores, so that the small ones are a fair base for the large.

    Raises:
        Mistake: GPUs are asked for and there are none, or fewer than ranks; or there are far more ranks than cores.
    """
    each = benchmark.launches.tasks_per_node or 1
    ranks = [nodes * each for nodes in benchmark.launches.nodes]
    gpus = 0 if benchmark.train.device == "cpu" else site.node.gpus or 0
    if benchmark.train.device == "gpu" and not gpus:
        raise Mistake(
            "there is no NVIDIA GPU here.",
            do="Leave out --device gpu; or where there is one all the same, say [node] gpus in the site file.",
        )
    if gpus and max(ranks) > gpus:
        raise Mistake(
            f"{max(ranks)} ranks cannot have a GPU each: there are {gpus} here.",
            do="Use fewer --ranks, or train with --device cpu.",
        )
    if max(ranks) > MOST_RANKS_OF_A_CORE * cores:
        raise Mistake(
            f"{max(ranks)} ranks on {cores} core{'s' if cores > 1 else ''} would wait for each other, "
            "and fill the memory.",
            do=f"Use at most {MOST_RANKS_OF_A_CORE * cores} --ranks here, or `hpcdl submit` to a cluster.",
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
    """The launches in the order in which they run: all sizes, once for each repeat, between two of the base.

    Repeats are interleaved (1, 2, 4, 1, 2, 4, 1), so that what drifts over the job touches all points alike;
    engines and variants of one size stand side by side, in turns of their order.

    Raises:
        Mistake: A global batch that the ranks cannot share equally, or an engine that cannot do the job.
    """
    wanted = [
        *_plan_probe(benchmark, sizes, launcher),
        *(
            _Wanted("train", repeat, size, engine, variant)
            for repeat, size in _order_sizes(benchmark, sizes)
            for engine, variant in _order_sides(benchmark, size, repeat)
        ),
    ]
    if not wanted:
        raise Mistake(
            "this job would hold no launch: a probe needs at least two ranks.",
            do="Ask for more --nodes or --ranks.",
        )
    if benchmark.train.compression != "none" and max(_count_ranks(size) for size in sizes) == 1:
        raise Mistake(
            "compression is of gradients on their way to other ranks, and there is one rank alone.",
            do="Ask for more --nodes or --ranks, or leave out --compression.",
        )
    return tuple(
        Launch(
            index=index,
            name=_name(index, benchmark, one, launcher),
            kind=one.kind,
            variant=one.variant.name,
            repeat=one.repeat,
            launcher=launcher,
            pmi=_pmi(benchmark, site, one) if launcher == "srun" else None,
            network=site.node.network,
            progress_timeout_s=benchmark.launches.progress_timeout_s,
            power=benchmark.power if benchmark.power.sample and one.kind == "train" else None,
            train=resolve_training(benchmark, one.size, engine=one.engine, variant=one.variant),
            **one.size.model_dump(),
        )
        for index, one in enumerate(wanted, start=1)
    )


class _Wanted(NamedTuple):
    kind: Kind
    repeat: int
    size: Size
    engine: Engine
    variant: Variant


def _order_sizes(benchmark: Benchmark, sizes: tuple[Size, ...]) -> list[tuple[int, Size]]:
    launches = benchmark.launches
    if launches.probe == "only":
        return []
    order = [(repeat, size) for repeat in range(1, launches.repeat + 1) for size in sizes]
    base = min(sizes, key=_count_ranks)
    if launches.bracket and len(set(sizes)) > 1 and order[-1][1] != base:
        order.append((launches.repeat + 1, base))
    return order


def _count_ranks(size: Size) -> int:
    return size.nodes * size.tasks_per_node


def _order_sides(benchmark: Benchmark, size: Size, repeat: int) -> list[tuple[Engine, Variant]]:
    """Engines and variants of one size; every second time backwards, so that a steady drift cancels."""
    engines = benchmark.launches.engines or (benchmark.train.engine,)
    sides = [(engine, variant) for engine in engines for variant in _choose_variants(benchmark, size)]
    return sides if repeat % 2 else sides[::-1]


def _choose_variants(benchmark: Benchmark, size: Size) -> list[Variant]:
    """Those that differ: alone there is no exchange, and random numbers have no input."""
    if not benchmark.launches.attribution:
        return [FULL]
    alone, random = _count_ranks(size) == 1, benchmark.train.data == "synthetic"
    return [
        variant
        for variant in VARIANTS
        if variant == FULL
        or (variant.feed == "streamed" and not alone)
        or (variant.feed != "streamed" and not random)
    ]


def _plan_probe(benchmark: Benchmark, sizes: tuple[Size, ...], launcher: Launcher) -> list[_Wanted]:
    """Communication is measured first, on the largest size, by each engine that trains there."""
    launches = benchmark.launches
    largest = max(sizes, key=_count_ranks)
    needed = launcher == "srun" and (len(set(sizes)) > 1 or launches.attribution)
    wanted = launches.probe in {"also", "only"} or (launches.probe == "auto" and needed)
    if not wanted or _count_ranks(largest) == 1:
        return []
    engines = launches.engines or (benchmark.train.engine,)
    return [_Wanted("probe", 1, largest, engine, FULL) for engine in engines]


def _name(index: int, benchmark: Benchmark, wanted: _Wanted, launcher: Launcher) -> str:
    size = wanted.size
    parts = [
        "probe" if wanted.kind == "probe" else benchmark.train.model,
        f"{size.nodes}n" if launcher == "srun" else f"{size.tasks_per_node}r",
        wanted.engine if benchmark.launches.engines else "",
        "" if wanted.variant == FULL else wanted.variant.name.replace(" ", "-"),
    ]
    return "-".join([f"{index:03d}", *(part for part in parts if part)])


def _pmi(benchmark: Benchmark, site: Site, wanted: _Wanted) -> str:
    """MPI ranks find each other through Slurm's PMI; Gloo and torch bring their own rendezvous.

    A probe measures from node to node over MPI whatever the engine exchanges over, where the site names a PMI.
    """
    train = benchmark.train
    exchanges = wanted.engine in {"auto", "horovod"} and train.transport != "gloo"
    needs_mpi = exchanges or (wanted.kind == "probe" and site.slurm.pmi is not None)
    if train.transport == "mpi" and site.slurm.pmi == "none":
        raise Mistake(
            "without a PMI each MPI rank would be a world of one, and --transport mpi was asked for.",
            do="Name one that `srun --mpi=list` shows with --pmi, or use --transport gloo.",
        )
    return site.slurm.pmi or "pmix" if needs_mpi else "none"


def resolve_training(
    benchmark: Benchmark, size: Size, *, engine: Engine | None = None, variant: Variant = FULL
) -> Training:
    """Everything that a rank needs to know, in a launch of this size.

    Args:
        benchmark: What is asked.
        size: Where.
        engine: One of several side by side; None: the benchmark's own.
        variant: What an attribution leaves out.
    """
    train, chosen = benchmark.train, engine or benchmark.train.engine
    ranks = _count_ranks(size)
    if chosen == "single" and ranks > 1:
        raise Mistake(
            f"engine 'single' trains on one rank, and this launch has {ranks}.",
            do="Use --engine horovod or --engine ddp.",
        )
    if chosen == "ddp" and train.transport == "mpi":
        raise Mistake(
            "DDP exchanges over NCCL or Gloo, and --transport mpi was asked for.",
            do="Use --engine horovod, or leave the transport to the engine.",
        )
    local, total = _batches(benchmark, ranks, gpu=size.gpus_per_node > 0)
    if local % train.accumulate:
        raise Mistake(
            f"{local} images of a rank cannot be divided into {train.accumulate} micro-batches.",
            do="Choose --accumulate as a divisor of the batch.",
        )
    steps = train.steps or (None if train.epochs else _default_steps(train.model, size))
    resolved = {"batch", "global_batch", "steps", "max_steps", "threads", "engine", "validate_after"}
    kept = train.model_dump(exclude=resolved)
    return Training(
        mode=train.mode,
        local_batch=local,
        global_batch=total,
        steps=steps,
        max_steps=_limit_steps(train.max_steps, steps) if train.precision else None,
        # One for each core: a second on the same core would wait for the first one's arithmetic.
        threads=train.threads or size.cpus_per_task // size.threads_per_core,
        engine=chosen,
        exchange=variant.exchange,
        feed=variant.feed,
        # A network that was trained on something else has learnt something else.
        validate_after=train.validate_after and variant == FULL,
        **kept,
    )


def _limit_steps(asked: int | None, steps: int | None) -> int | None:
    if asked is not None and steps is not None and asked < steps:
        raise Mistake(
            f"--max-steps {asked} is less than the {steps} steps after which is looked first.",
            do="Ask for fewer --steps, or for more --max-steps.",
        )
    return asked or (None if steps is None else STEPS_GROW_TO * steps)


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
    # Sixty are enough for an interval where steps are even; --precision goes on where they are not.
    return 200 if small or size.gpus_per_node else 60


def hash_plan(benchmark: Benchmark, site: Site, launches: tuple[Launch, ...]) -> str:
    """What was asked, wherever and whenever: a digest of benchmark, site and launches.

    What nodes draw idle is a measurement, what they cost is bookkeeping, and what was tuned stands in the trainings:
    none of them asks anything.
    """
    asked: dict[str, Any] = {
        "benchmark": _forget_young(benchmark),
        "site": site.model_dump(mode="json", exclude={"power": {"idle_w"}, "cost": True, "tuned": True}),
        "launches": [_forget_young(launch) for launch in launches],
    }
    # Younger than the first plans: where a site has none of it, the plan is as old as they.
    table = asked["site"]
    # That srun binds to cores was said where now nothing is said.
    table["slurm"]["cpu_bind"] = table["slurm"]["cpu_bind"] or "cores"
    for owner, name in ((table, "container"), (table["setup"], "spack"), (table["setup"], "spack_root")):
        if owner[name] is None:
            del owner[name]
    return digest(asked)


def _forget_young(asked: Benchmark | Launch) -> dict[str, Any]:
    found = asked.model_dump(mode="json")
    return found | {"train": forget_young(found["train"])}
