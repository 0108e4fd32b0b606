"""What an acceptance asks -> a Job: node checks, links, scaling and convergence as launches, one after another."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from hpcdl import delivery, preparation, slurm
from hpcdl.acceptance.launches import PLANNERS
from hpcdl.acceptance.rounds import TESTS, Ground, Round, RoundKind
from hpcdl.errors import Mistake
from hpcdl.spec import Benchmark, Launches, Train
from hpcdl.walltime import estimate_walltime_s, parse_walltime_s

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcdl.acceptance.folder import Acceptance, AcceptanceFolder
    from hpcdl.acceptance.metrics import Test
    from hpcdl.acceptance.suite import Suite
    from hpcdl.plan import Job, Launch
    from hpcdl.site import Site

_TAG = "round:"
_LONGEST_NAME = 61


def plan_round(asked: Acceptance, folder: AcceptanceFolder, wanted: Round) -> Job:
    """The job of a round, as the executor will get it. Looks at sinfo, or at this machine; changes nothing.

    Raises:
        Mistake: It holds no launch, or does not fit the nodes; its walltime is none; or its software is not there.
    """
    sources = dict(asked.sources)
    ground = look_at_ground(asked, sources)
    launches = plan_launches(asked.suite, wanted, ground, beside=Path(asked.suite_file).parent)
    site = _place(ground.site, wanted)
    benchmark = _stand_for(asked.suite, launches)
    local = asked.executor == "local"
    if not local:
        delivery.check(site, folder.runs.root)
    return preparation.assemble(
        benchmark,
        site,
        launches,
        root=folder.runs.root,
        sources=sources,
        walltime_s=_choose_walltime(ground, launches, sources),
        tags=(f"{_TAG}{wanted.kind}",),
        executor=asked.executor,
        nodes=1 if local else wanted.count,
        python=preparation.find_python_here(site) if local else preparation.choose_python(site),
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
