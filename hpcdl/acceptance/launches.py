"""The launches of each test of a suite. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from hpcdl.errors import Mistake
from hpcdl.plan import Launch, NodeCheck, make_launches, resolve_training
from hpcdl.spec import Benchmark, Launches, Metering, Train

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcdl.acceptance.metrics import Test
    from hpcdl.acceptance.rounds import Ground, Round
    from hpcdl.acceptance.suite import NodeTest, Suite

T = TypeVar("T")


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
