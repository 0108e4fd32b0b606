"""What an acceptance asks -> a Job: node checks, links, scaling and convergence as launches, one after another."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from hpcdl import preparation, slurm
from hpcdl.errors import Mistake
from hpcdl.plan import (
    Job,
    Launch,
    NodeCheck,
    cluster_sizes,
    hash_plan,
    local_sizes,
    make_launches,
    resolve_training,
)
from hpcdl.spec import Benchmark, Launches, Metering, Train
from hpcdl.store import new_run_id
from hpcdl.walltime import estimate_walltime_s, parse_walltime_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hpcdl.acceptance.folder import Acceptance, AcceptanceFolder
    from hpcdl.acceptance.metrics import Test
    from hpcdl.acceptance.suite import NodeTest, Suite
    from hpcdl.plan import Launcher, Size
    from hpcdl.site import Site

# first: all that is asked, on all nodes; node: one of many jobs of one node; added: nodes that joined later.
RoundKind = Literal["first", "node", "added", "rerun", "bisection", "switch"]
TESTS: tuple[Test, ...] = ("node", "links", "scaling", "convergence")
T = TypeVar("T")
_TAG = "round:"
_LONGEST_NAME = 61


@dataclass(frozen=True)
class Round:
    """What one job of an acceptance is for: which tests, on which nodes.

    Without `nodes` it is any `count` of them but those of `without`. `switch` is whose nodes they are.
    """

    kind: RoundKind
    tests: tuple[Test, ...]
    count: int
    nodes: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    switch: str = ""


@dataclass(frozen=True)
class Ground:
    """Where launches are to run: the site with nothing left open, the cores of a node, and what starts the ranks."""

    site: Site
    cores: int
    launcher: Launcher
    longest_s: int | None = None

    def sizes(self, benchmark: Benchmark) -> tuple[Size, ...]:
        """One for each of the benchmark's numbers of nodes; on this machine, of ranks.

        Raises:
            Mistake: More tasks than cores, or than GPUs.
        """
        size = cluster_sizes if self.launcher == "srun" else local_sizes
        return size(benchmark, self.site, cores=self.cores)

    def count_tasks(self) -> int:
        """Ranks on one node where nothing else is asked for."""
        gpus = self.site.node.gpus or 0
        return (self.site.node.tasks_per_node or gpus or 1) if self.launcher == "srun" else gpus or 1


def plan_round(asked: Acceptance, folder: AcceptanceFolder, wanted: Round) -> Job:
    """The job of a round, as the executor will get it. Looks at sinfo, or at this machine; changes nothing.

    Raises:
        Mistake: It holds no launch, or does not fit the nodes; its walltime is none; or the Python is not here.
    """
    sources = dict(asked.sources)
    ground = look_at_ground(asked, sources)
    launches = plan_launches(asked.suite, wanted, ground, beside=Path(asked.suite_file).parent)
    site = _place(ground.site, wanted)
    benchmark = _stand_for(asked.suite, launches)
    run_id = new_run_id()
    local = asked.executor == "local"
    return Job(
        run_id=run_id,
        benchmark_id=benchmark.benchmark_id,
        plan_hash=hash_plan(benchmark, site, launches),
        created_utc=datetime.now(UTC),
        tags=(f"{_TAG}{wanted.kind}",),
        name=benchmark.name,
        executor=asked.executor,
        nodes=1 if local else wanted.count,
        walltime_s=_choose_walltime(ground, launches, sources),
        run_dir=str(folder.runs.root / run_id),
        python=preparation.find_python_here(site) if local else preparation.choose_python(site),
        benchmark=benchmark,
        site=site,
        sources=sources,
        launches=launches,
    )


def read_kind(job: Job) -> RoundKind | None:
    """What a job of an acceptance was for; None: it is none."""
    kinds: dict[str, RoundKind] = {
        f"{_TAG}{kind}": kind for kind in ("first", "node", "added", "rerun", "bisection", "switch")
    }
    return next((kinds[tag] for tag in job.tags if tag in kinds), None)


def look_at_ground(asked: Acceptance, sources: dict[str, str]) -> Ground:
    """The nodes as sinfo knows them, or this machine; `sources` learns where values came from."""
    if asked.executor == "local":
        site, cores = preparation.look_here(asked.site, sources)
        return Ground(site, cores, "direct")
    site, longest_s = preparation.look_at_cluster(asked.site, sources)
    return Ground(site, site.node.cores or 1, "srun", longest_s)


def _place(site: Site, wanted: Round) -> Site:
    """The site with the round's nodes in the place of those that were asked for."""
    update: dict[str, str | None] = {}
    if wanted.nodes:
        update = {"nodelist": slurm.fold_hosts(wanted.nodes)}
    elif wanted.without:
        others = [site.slurm.exclude] if site.slurm.exclude else []
        update = {"nodelist": None, "exclude": ",".join([*others, slurm.fold_hosts(wanted.without)])}
    return site.model_copy(update={"slurm": site.slurm.model_copy(update=update)})


def _choose_walltime(ground: Ground, launches: tuple[Launch, ...], sources: dict[str, str]) -> int:
    if ground.site.slurm.walltime is not None:
        return parse_walltime_s(ground.site.slurm.walltime)
    estimate_s = estimate_walltime_s(launches, seen_step_s=None)
    sources["slurm.walltime"] = f"estimated: {len(launches)} launches, assumed speed, x1.5"
    if ground.longest_s is not None and estimate_s > ground.longest_s:
        sources["slurm.walltime"] = f"the partition's limit; {sources['slurm.walltime']} would be longer"
        return ground.longest_s
    return estimate_s


def list_tests(suite: Suite, count: int) -> tuple[Test, ...]:
    """Those of a suite that so many nodes can do: what is between nodes needs two."""
    asked = [test for test in TESTS if getattr(suite.tests, test) is not None]
    return tuple(test for test in asked if count > 1 or test in {"node", "convergence"})


def plan_launches(
    suite: Suite, wanted: Round, ground: Ground, *, beside: Path | None = None
) -> tuple[Launch, ...]:
    """The launches of a round, in the order of TESTS. Pure.

    Args:
        suite: What is tested.
        wanted: Of which tests, on how many nodes.
        ground: Where.
        beside: The folder to which a suite's `data_dir` is relative.

    Raises:
        Mistake: There is none: what is between nodes needs two of them.
    """
    possible = list_tests(suite, wanted.count)
    launches = [
        launch
        for test in TESTS
        if test in wanted.tests and test in possible
        for launch in PLANNERS[test](suite, wanted, ground)
    ]
    if not launches:
        raise Mistake(
            f"suite {suite.name} tests nothing on {wanted.count} node{'s' * (wanted.count > 1)}.",
            do="What is between nodes needs --nodes 2 or more.",
        )
    return tuple(_renumber(launches, beside))


def _renumber(launches: list[Launch], beside: Path | None) -> Iterator[Launch]:
    for index, launch in enumerate(launches, start=1):
        # A part of the nodes says so in its name: 003-probe-2n-half-1.
        part = launch.test.partition("-")[2]
        name = "-".join([f"{index:03d}", launch.name.partition("-")[2], *([part] if part else [])])
        check = launch.check
        if check and check.data_dir is not None:
            path = (beside or Path()) / Path(os.path.expandvars(check.data_dir)).expanduser()
            check = check.model_copy(update={"data_dir": str(path.absolute())})
        yield launch.model_copy(update={"index": index, "name": name, "check": check})


def _stand_for(suite: Suite, launches: tuple[Launch, ...]) -> Benchmark:
    """A job is of one benchmark: here one that stands for the suite, by what it trains first."""
    train = launches[0].train
    return Benchmark(
        name=name_job(suite),
        about=suite.about,
        train=Train(model=train.model, batch=train.local_batch, steps=train.steps, engine=train.engine),
        launches=Launches(nodes=(max(launch.nodes for launch in launches),)),
    )


def name_job(suite: Suite) -> str:
    """The name of an acceptance's jobs."""
    return f"accept-{suite.name}"[:_LONGEST_NAME]


def _plan_node(suite: Suite, wanted: Round, ground: Ground) -> list[Launch]:
    test = _require(suite.tests.node)
    count = wanted.count if ground.launcher == "srun" else _count_local(test, ground)
    benchmarks = [_train_alone(test, model, count) for model in test.models]
    size = ground.sizes(benchmarks[0])[0]
    alone = size.model_copy(update={"nodes": 1, "tasks_per_node": 1})
    trainings = tuple(resolve_training(benchmark, alone) for benchmark in benchmarks)
    check = NodeCheck(
        checks=test.checks,
        trainings=trainings,
        repeats=test.repeats,
        data_dir=test.data_dir,
        soak_s=test.soak,
    )
    shape = f"{size.nodes}n" if ground.launcher == "srun" else f"{size.tasks_per_node}r"
    launch = Launch(
        index=1,
        name=f"001-check-{shape}",
        kind="check",
        test="node",
        repeat=1,
        launcher=ground.launcher,
        # Ranks that meet nobody need no PMI to find each other.
        pmi="none" if ground.launcher == "srun" else None,
        network=ground.site.node.network,
        progress_timeout_s=benchmarks[0].launches.progress_timeout_s,
        power=Metering(),
        train=trainings[0],
        check=check,
        **size.model_dump(),
    )
    return [launch]


def _train_alone(test: NodeTest, model: str, count: int) -> Benchmark:
    train = Train(
        model=model,
        batch=test.batch,
        steps=test.steps,
        warmup=test.warmup,
        engine="single",
        device=test.device,
        threads=test.threads,
        validate_after=False,
        verify_data=False,
    )
    return Benchmark(train=train, launches=Launches(nodes=(count,)))


def _count_local(test: NodeTest, ground: Ground) -> int:
    return 1 if test.device == "cpu" else ground.count_tasks()


def _plan_links(suite: Suite, wanted: Round, ground: Ground) -> list[Launch]:
    return [
        launch.model_copy(update={"test": name, "first_node": first})
        for name, first, count in _list_groups(suite, wanted)
        if count * ground.count_tasks() > 1
        for launch in _probe(suite, count, ground)
    ]


def _list_groups(suite: Suite, wanted: Round) -> list[tuple[str, int, int]]:
    """Name, first node and number of nodes of each group that is to be measured."""
    test, count = _require(suite.tests.links), wanted.count
    half = count // 2
    halves = [("links-half-1", 0, half), ("links-half-2", half, count - half)]
    if wanted.kind == "bisection":
        return halves
    if wanted.kind == "switch":
        return [(f"links-switch-{re.sub(r'[^a-z0-9]+', '-', wanted.switch.lower()).strip('-')}", 0, count)]
    return [
        *([("links", 0, count)] if "all" in test.groups else []),
        *(halves if "halves" in test.groups and count > 2 else []),
    ]


def _probe(suite: Suite, count: int, ground: Ground) -> tuple[Launch, ...]:
    test = _require(suite.tests.links)
    benchmark = Benchmark(
        train=Train(model=test.model, engine=test.engine, transport=test.transport),
        launches=Launches(nodes=(count,), probe="only"),
    )
    return make_launches(benchmark, ground.site, ground.sizes(benchmark), launcher=ground.launcher)


def _plan_scaling(suite: Suite, wanted: Round, ground: Ground) -> list[Launch]:
    """One node, all, one again: the base shares the weather of the whole."""
    test = _require(suite.tests.scaling)
    benchmark = Benchmark(
        train=Train(
            model=test.model,
            batch=test.batch,
            steps=test.steps,
            engine=test.engine,
            transport=test.transport,
            validate_after=False,
        ),
        launches=Launches(nodes=(1, wanted.count), repeat=test.repeat, probe="never"),
    )
    return _mark("scaling", benchmark, ground)


def _plan_convergence(suite: Suite, wanted: Round, ground: Ground) -> list[Launch]:
    test = _require(suite.tests.convergence)
    tasks = ground.count_tasks()
    nodes = wanted.count if ground.launcher == "srun" else 1
    # A batch cannot be cut finer than to an image for each rank: then not all nodes take part.
    nodes = max(1, min(nodes, test.global_batch // tasks))
    ranks = nodes * tasks
    train = Train(
        model="lenet",
        epochs=test.epochs,
        # The nearest below that the ranks can share equally.
        global_batch=max(1, test.global_batch // ranks) * ranks,
        engine=test.engine if ranks > 1 else "single",
        transport=test.transport if ranks > 1 else "auto",
        data="digits",
    )
    spread = nodes if ground.launcher == "srun" else ranks
    return _mark(
        "convergence", Benchmark(train=train, launches=Launches(nodes=(spread,), probe="never")), ground
    )


def _mark(test: Test, benchmark: Benchmark, ground: Ground) -> list[Launch]:
    launches = make_launches(benchmark, ground.site, ground.sizes(benchmark), launcher=ground.launcher)
    return [launch.model_copy(update={"test": test}) for launch in launches]


def _require(test: T | None) -> T:
    if test is None:
        raise Mistake("this test is not in the suite.")
    return test


PLANNERS: dict[Test, Callable[[Suite, Round, Ground], list[Launch]]] = {
    "node": _plan_node,
    "links": _plan_links,
    "scaling": _plan_scaling,
    "convergence": _plan_convergence,
}
