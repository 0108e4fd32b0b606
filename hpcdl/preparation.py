"""Benchmark and site as asked for -> a job, with what sinfo, this machine and earlier runs know filled in."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import shutil
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcdl import delivery, local, slurm
from hpcdl.errors import Mistake
from hpcdl.plan import DIGITS_TRAINING_IMAGES, Job, cluster_sizes, hash_plan, local_sizes, make_launches
from hpcdl.processors import count_threads_per_core
from hpcdl.store import new_run_id
from hpcdl.walltime import estimate_walltime_s, parse_walltime_s

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hpcdl.plan import Launch, Launcher, Size
    from hpcdl.site import Site
    from hpcdl.spec import Benchmark
    from hpcdl.store import Store

Sources = dict[str, str]
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})


@dataclass(frozen=True)
class Asked:
    """Benchmark and site as resolved, who said what, and the words by which the run is to be found."""

    benchmark: Benchmark
    site: Site
    sources: Sources
    tags: tuple[str, ...] = ()


def prepare_cluster_job(asked: Asked, store: Store, *, attempt: int = 1) -> Job:
    """The job as Slurm will get it. Looks at sinfo where the site file is silent; changes nothing.

    Raises:
        Mistake: What was asked does not fit the nodes, its walltime is none, or its software is not there.
    """
    sources = dict(asked.sources)
    site, limit_s = look_at_cluster(asked.site, sources)
    delivery.check(site, store.root)
    sizes = cluster_sizes(asked.benchmark, site, cores=site.node.cores or 1)
    filled = Asked(asked.benchmark, site, sources, asked.tags)
    return _make_job(filled, store, sizes, "srun", attempt=attempt, limit_s=limit_s)


def look_at_cluster(site: Site, sources: Sources) -> tuple[Site, int | None]:
    """The site with what sinfo knows where nobody said it, and the partition's longest walltime, s (None: none known).

    `sources` learns where the values came from.
    """
    facts = slurm.node_facts(site.slurm.partition) if slurm.is_here() else None
    if facts is not None:
        found = {"cores": facts.cores, "threads_per_core": facts.threads_per_core, "gpus": facts.gpus}
        site = _fill_in(site, sources, found, "sinfo")
    here = {"cores": os.cpu_count() or 1}
    site = _fill_in(site, sources, here, "this machine (no site file, no sinfo)")
    return site, facts.max_walltime_s if facts else None


def prepare_local_job(asked: Asked, store: Store) -> Job:
    """The same job for this machine.

    Raises:
        Mistake: GPUs are asked for and there are none, or fewer than ranks; MPI, Horovod or the site's Python is asked
            for and is not here.
    """
    python = find_python_here(asked.site)
    _find_engine_here(asked.benchmark, python)
    sources = dict(asked.sources)
    site, cores = look_here(asked.site, sources)
    sizes = local_sizes(asked.benchmark, site, cores=cores)
    launcher = local.choose_launcher(asked.benchmark.train.transport)
    job = _make_job(Asked(asked.benchmark, site, sources, asked.tags), store, sizes, launcher, attempt=1)
    return job.model_copy(update={"python": python})


def _find_engine_here(benchmark: Benchmark, python: str) -> None:
    """What another Python than this one has is left to the ranks."""
    asked = {benchmark.train.engine, *benchmark.launches.engines}
    if "horovod" in asked and python == sys.executable and importlib.util.find_spec("horovod") is None:
        raise Mistake(
            "Horovod is not installed here.", do="Build it with tools/install-horovod, or use --engine ddp."
        )


def look_here(site: Site, sources: Sources) -> tuple[Site, int]:
    """The site as this machine is, and the cores that this process may use; `sources` learns where they came from."""
    cpus = os.sched_getaffinity(0)
    found = {"threads_per_core": count_threads_per_core(cpus), "gpus": local.count_gpus()}
    # The site file describes the cluster's nodes; a wrong number here would be threads too few or too many.
    node = site.node.model_copy(update={"threads_per_core": None})
    filled = _fill_in(site.model_copy(update={"node": node}), sources, found, "this machine")
    return filled, len(cpus) // found["threads_per_core"]


def find_python_here(site: Site) -> str:
    """The site's Python on this machine.

    Raises:
        Mistake: It is not here.
    """
    python = str(Path(choose_python(site, here=True)).expanduser())
    if shutil.which(python) is None:
        raise Mistake(
            f"there is no Python {python!r} on this machine.",
            do="Correct [setup] python or venv in the site file.",
        )
    return python


def _fill_in(site: Site, sources: Sources, found: Mapping[str, int], source: str) -> Site:
    """The site with its nodes' facts where nobody named them; `sources` learns where they came from."""
    missing = {name: value for name, value in found.items() if getattr(site.node, name) is None}
    sources |= {f"node.{name}": source for name in missing}
    return site.model_copy(update={"node": site.node.model_copy(update=missing)})


def _make_job(
    asked: Asked,
    store: Store,
    sizes: tuple[Size, ...],
    launcher: Launcher,
    *,
    attempt: int,
    limit_s: int | None = None,
) -> Job:
    benchmark, site, sources = asked.benchmark, asked.site, dict(asked.sources)
    launches = make_launches(benchmark, site, sizes, launcher=launcher)
    return assemble(
        benchmark,
        site,
        launches,
        root=store.root,
        sources=sources,
        walltime_s=_choose_walltime(asked, launches, store, sources, limit_s),
        attempt=attempt,
        tags=asked.tags,
        executor="slurm" if launcher == "srun" else "local",
    )


def assemble(
    benchmark: Benchmark,
    site: Site,
    launches: tuple[Launch, ...],
    *,
    root: Path,
    sources: Sources,
    walltime_s: int,
    **other: Any,
) -> Job:
    """A job of these launches, with a run id of its own and a folder of that name below `root`.

    Args:
        benchmark: What is measured.
        site: Where, with nothing left open.
        launches: In their order; the largest says how many nodes there are.
        root: The store.
        sources: Where each value came from.
        walltime_s: How long Slurm lets it run, s.
        other: Further fields of the job; what is left out is a job for Slurm, with the Python that the site names.
    """
    run_id = new_run_id()
    usual = {
        "name": benchmark.name,
        "executor": "slurm",
        "nodes": max(launch.nodes for launch in launches),
        "python": choose_python(site),
    }
    return Job(
        run_id=run_id,
        benchmark_id=benchmark.benchmark_id,
        plan_hash=hash_plan(benchmark, site, launches),
        created_utc=datetime.now(UTC),
        walltime_s=walltime_s,
        run_dir=str(root / run_id),
        benchmark=benchmark,
        site=site,
        sources=sources,
        launches=launches,
        **usual | other,
    )


def choose_python(site: Site, *, here: bool = False) -> str:
    """The Python that the site names, else the one that runs here.

    Args:
        site: With a container, its Python is the one inside the image.
        here: Without a batch script, which alone enters images and environments of Spack.
    """
    if site.container is not None and not here:
        return site.container.python
    if site.setup.python:
        return os.path.expandvars(site.setup.python)
    if site.setup.venv:
        return f"{os.path.expandvars(site.setup.venv)}/bin/python"
    if site.setup.spack is not None and not here:
        return "python3"
    return sys.executable


def _choose_walltime(
    asked: Asked, launches: tuple[Launch, ...], store: Store, sources: Sources, limit_s: int | None
) -> int:
    if asked.site.slurm.walltime is not None:
        return parse_walltime_s(asked.site.slurm.walltime)
    seen_s = last_seen_step_s(store, asked.benchmark.benchmark_id, launches[0])
    images = count_images(asked.benchmark)
    estimate_s = estimate_walltime_s(launches, seen_step_s=seen_s, images=images)
    basis = f"last seen {seen_s:.3g} s a step" if seen_s else "assumed speed"
    several = f"{len(launches)} launches, " if len(launches) > 1 else ""
    sources["slurm.walltime"] = f"estimated: {several}{basis}, x1.5"
    if limit_s is not None and estimate_s > limit_s:
        sources["slurm.walltime"] = f"the partition's limit; {sources['slurm.walltime']} would be longer"
        return limit_s
    return estimate_s


def last_seen_step_s(store: Store, benchmark_id: str, like: Launch) -> float | None:
    """Seconds a step took when this very benchmark last completed on tasks of the same shape; None: it has not yet."""
    for run in reversed(store.runs()[-50:]):
        try:
            job = run.job()
        except Mistake:
            continue
        if job.benchmark_id != benchmark_id or _shape(job.launches[0]) != _shape(like):
            continue
        windows = [summary.window for launch in run.launches() if (summary := launch.summary())]
        if windows:
            return max(window.elapsed_s / window.steps for window in windows)
    return None


def _shape(launch: Launch) -> tuple[object, ...]:
    return (launch.launcher, launch.tasks_per_node, launch.cpus_per_task, launch.gpus_per_node)


def count_images(benchmark: Benchmark) -> int:
    """Images in the training data. A data set is counted only where epochs of it are asked for; it may be large."""
    train = benchmark.train
    if train.data_dir is None or train.epochs is None:
        return DIGITS_TRAINING_IMAGES
    from hpcdl.datasets.formats import find_format
    from hpcdl.datasets.recognition import recognise

    found = recognise(Path(train.data_dir))
    if found.manifest is not None:
        return found.manifest.parts["train"].samples
    if found.format == "folder":
        return sum(1 for _ in _images(found.root))
    with contextlib.closing(find_format(found.format).open(found.parts["train"])) as part:
        return len(part.labels)


def check_data(job: Job) -> None:
    """A first look at the data, light enough for a login node; the nodes verify every sample.

    Raises:
        Mistake: There is no such folder, or it holds something else than was asked for; or there are fewer images than
            one step takes, as far as a manifest or the names in it tell.
    """
    train = job.launches[0].train
    wanted = max(launch.train.global_batch for launch in job.launches)
    if train.data == "digits":
        _require_images(DIGITS_TRAINING_IMAGES, wanted, "digits")
    if train.data_dir is None:
        return
    # Formats read with numpy, which jobs without data do without.
    from hpcdl.datasets.recognition import recognise

    found = recognise(Path(train.data_dir))
    if found.format != train.data:
        raise Mistake(
            f"{found.root} holds data in the format {found.format}, and {train.data} was asked for.",
            do=f'Say data = "{found.format}" in the benchmark, or --data {found.root}.',
        )
    if found.manifest is not None:
        _require_images(found.manifest.parts["train"].samples, wanted, str(found.root))
    elif found.format == "folder":
        _check_tree(found.root, wanted)


def _check_tree(root: Path, wanted: int) -> None:
    # Counting ends where it is enough: a large data set is not listed for this.
    found = sum(1 for _ in itertools.islice(_images(root), wanted))
    if not found:
        raise Mistake(
            f"{root} holds no images in the ImageNet layout, and no data set in another format.",
            do="Expected are FOLDER/<class>/*.jpg, or FOLDER/train/<class>/*.jpg and FOLDER/val/<class>/*.jpg; "
            "or what `hpcdl data make` makes.",
        )
    _require_images(found, wanted, str(root))


def _images(root: Path) -> Iterator[Path]:
    """The images to train on: those below train/, where there is one."""
    part = root / "train" if (root / "train").is_dir() else root
    return (path for path in part.glob("*/**/*") if path.suffix.lower() in IMAGE_SUFFIXES)


def _require_images(found: int, wanted: int, where: str) -> None:
    if found < wanted:
        raise Mistake(
            f"{where} has {found} images to train on, and one step over all ranks takes {wanted}.",
            do="Use fewer ranks, a smaller --batch or --global-batch, or more images.",
        )
