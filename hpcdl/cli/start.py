"""`hpcdl submit` and `hpcdl run`: the same benchmark to Slurm, or on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpcdl.cli import completing
from hpcdl.cli.asking import add_tags
from hpcdl.cli.flags import NODES, RANKS, SLURM, TRAINING, Said, accept

if TYPE_CHECKING:
    from hpcdl.plan import Job
    from hpcdl.preparation import Asked
    from hpcdl.store import RunFolder, Store

BenchmarkArgument = Annotated[
    str | None,
    typer.Argument(
        help="One of the shipped benchmarks, or a TOML file.",
        metavar="[BENCHMARK]",
        autocompletion=completing.benchmarks,
    ),
]
StoreOption = Annotated[str | None, typer.Option("--store", help="Where runs are kept.", metavar="DIR")]
SiteOption = Annotated[str | None, typer.Option("--site", help="Another site file.", metavar="FILE")]
TagOption = Annotated[
    list[str] | None,
    typer.Option("--tag", help="A word to find the run by; may be said again.", metavar="NAME"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="For other programs.")]

# Settings of the benchmark; all others are the site's.
MEASURED = ("train.", "launches.", "power.")


@accept(NODES, TRAINING, SLURM)
def submit(
    benchmark: BenchmarkArgument = None,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Follow until it ends; then report.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the script; touch nothing.")] = False,
    test_only: Annotated[bool, typer.Option("--test-only", help="Ask Slurm whether it would run.")] = False,
    option: Annotated[
        list[str] | None, typer.Option("--option", help="Any other sbatch option.", metavar="NAME[=VALUE]")
    ] = None,
    tag: TagOption = None,
    store: StoreOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
    said: Said,
) -> None:
    """Submit a BENCHMARK to Slurm: one batch script, one job, its launches one after another."""
    default(said, "train.engine", "horovod")
    asked, place = resolve(benchmark, said, store, site, _read_options(option))
    asked = add_tags(asked, tag)
    if test_only:
        ask_slurm(asked, place)
    else:
        send_to_slurm(asked, place, wait=wait, dry_run=dry_run, as_json=as_json)


def ask_slurm(asked: Asked, place: Store) -> None:
    """Whether Slurm would run the job, in its own words."""
    from hpcdl import preparation, script, slurm

    job = preparation.prepare_cluster_job(asked, place)
    preparation.check_data(job)
    _show_plan(job, whole=False)
    print(slurm.test(script.render(job)))


def send_to_slurm(asked: Asked, place: Store, *, wait: bool, dry_run: bool, as_json: bool) -> None:
    """Prepare the job, show it, hand it to Slurm; with `wait`, follow it to its report."""
    from hpcdl import preparation, script

    job = preparation.prepare_cluster_job(asked, place)
    preparation.check_data(job)
    _show_plan(job, whole=dry_run)
    if dry_run:
        print(script.render(job), end="")
        return
    folder = hand_in(job)
    if not (wait and as_json):  # then the report is the one document on stdout
        _announce(job, folder, as_json=as_json)
    if wait:
        from hpcdl.cli import follow

        follow.follow_slurm(folder, as_json=as_json)


@accept(RANKS, TRAINING)
def run(
    benchmark: BenchmarkArgument = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the job; touch nothing.")] = False,
    tag: TagOption = None,
    store: StoreOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
    said: Said,
) -> None:
    """Run a BENCHMARK on this machine, without Slurm: the same job, the same records, the same report."""
    asked, place = resolve(benchmark, said, store, site, {})
    run_here(add_tags(asked, tag), place, dry_run=dry_run, as_json=as_json)


def run_here(asked: Asked, place: Store, *, dry_run: bool, as_json: bool) -> None:
    """Prepare the job, show it, run it on this machine to its report."""
    from hpcdl import jobs, preparation

    job = preparation.prepare_local_job(asked, place)
    preparation.check_data(job)
    _show_plan(job, whole=dry_run)
    if dry_run:
        print(job.model_dump_json(indent=1))
        return
    from hpcdl.cli import follow

    follow.follow_local(jobs.LocalRun(job), as_json=as_json)


def default(said: Said, key: str, value: Any) -> None:
    """What this command takes for granted, below anything that is said."""
    said[f"default:{key}"] = (value, "default")


def resolve(
    benchmark: str | None,
    said: Said,
    store: str | None,
    site: str | None,
    options: dict[str, Any],
    *,
    tuned: bool = True,
) -> tuple[Asked, Store]:
    """Benchmark and site with all that was said above them, and the store in which the run goes.

    What `hpcdl tune` has found for the site lies below the benchmark's file, unless it is not to be `tuned`.
    """
    from pathlib import Path

    from hpcdl import preparation, settings
    from hpcdl import site as sites
    from hpcdl.store import Store, default_root

    defaults = {key.removeprefix("default:"): v for key, (v, _) in said.items() if key.startswith("default:")}
    flags = {key: value for key, value in said.items() if not key.startswith("default:")}
    measured = {k: v for k, v in flags.items() if k.startswith(MEASURED)}
    measured = _split_engines(_split_data(measured))
    placed = {k: v for k, v in flags.items() if not k.startswith(MEASURED)}
    path = settings.find_benchmark(benchmark) if benchmark else None
    asked_for, sources = settings.resolve_benchmark(path, measured, defaults=defaults)
    loaded, loaded_from = sites.load(Path(site) if site else None)
    if options:
        placed["slurm.options"] = (loaded.slurm.options | options, "--option")
    resolved, site_sources = settings.resolve_site(loaded, loaded_from, placed)
    if tuned and (found := settings.choose_tuned(resolved, asked_for)):
        asked_for, sources = settings.resolve_benchmark(
            path, measured, defaults=defaults, tuned=found, tuned_in=f"tuned ({loaded_from or 'site'})"
        )
    root = Path(store).expanduser().absolute() if store else default_root(resolved.store)
    return preparation.Asked(asked_for, resolved, sources | site_sources), Store(root)


def _split_data(flags: Said) -> Said:
    """`--data` names a source, or the folder of a data set, whose format is seen from the names in it."""
    from pathlib import Path
    from typing import get_args

    from hpcdl.errors import UnknownName
    from hpcdl.spec import STORED, Source

    value, flag = flags.get("train.data", (None, "--data"))
    known = [name for name in get_args(Source) if name not in STORED]
    if value is None or value in known:
        return flags | {"train.data_dir": (None, flag)}
    root = Path(value).expanduser().absolute()
    if "/" not in value and not root.exists():
        raise UnknownName("data source", value, known, where="--data")
    from hpcdl.datasets.recognition import recognise

    return flags | {
        "train.data": (recognise(root).format, flag),
        "train.data_dir": (str(root), flag),
    }


def _split_engines(flags: Said) -> Said:
    """`--engine horovod,ddp` is two engines side by side."""
    value, flag = flags["train.engine"]
    if value is None or "," not in value:
        return flags
    return flags | {
        "train.engine": (None, flag),
        "launches.engines": (tuple(name.strip() for name in value.split(",")), flag),
    }


def _read_options(options: list[str] | None) -> dict[str, Any]:
    """`--option comment=x --option spread-job` as a mapping; a name alone is a switch."""
    pairs = [option.removeprefix("--").partition("=") for option in options or []]
    return {name: value if equals else True for name, equals, value in pairs}


def hand_in(job: Job) -> RunFolder:
    """Submit; of Slurm's refusal, with a word on where the refused value came from."""
    from hpcdl import jobs
    from hpcdl.errors import RefusedJob

    try:
        folder = jobs.submit(job)
    except RefusedJob as refusal:
        words = refusal.what.lower()
        guilty = [key for key in ("account", "partition", "qos", "reservation") if key in words]
        told = [
            f"{key} {getattr(job.site.slurm, key)!r} comes from {job.sources[f'slurm.{key}']}."
            for key in guilty
            if f"slurm.{key}" in job.sources
        ]
        raise RefusedJob(refusal.what, do=" ".join([*told, refusal.do]).strip()) from None
    return folder


def _show_plan(job: Job, *, whole: bool) -> None:
    """The values that matter and where each comes from, on stderr; `whole`: every value that somebody set."""
    from rich.table import Table

    from hpcdl.cli import screen

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    rows = describe_plan(job)
    if whole:
        rows += describe_rest(job, {key for _, _, key in rows})
    for label, value, key in rows:
        table.add_row(label, value, job.sources.get(key, "default"), style="dim")
    screen.talk.print(table)


def describe_plan(job: Job) -> list[tuple[str, str, str]]:
    """Label, value and setting of what a person should know before the job runs."""
    from hpcdl.report.wording import count
    from hpcdl.walltime import format_walltime

    first, train = job.launches[0], job.launches[0].train
    once = {launch.train.engine: None for launch in job.launches if launch.kind == "train"}
    sizes = ", ".join(
        str(launch.nodes if job.executor == "slurm" else launch.world_size)
        for launch in job.launches
        if launch.variant == "full" and launch.kind == "train" and launch.train.engine == next(iter(once))
    )
    largest = str(first.nodes if job.executor == "slurm" else first.world_size)
    engines = ", ".join(once) or train.engine
    batch = (
        f"{train.local_batch} per rank" if train.mode == "weak" else f"{train.global_batch} over all ranks"
    )
    length = f"{train.steps} steps" if train.steps else f"{train.epochs} epochs"
    if train.precision:
        length += f", at most {train.max_steps}, until {100 * train.precision:g} %"
    lengths = [
        ("data", train.data_dir or train.data, "train.data"),
        ("batch", batch, "train.batch" if train.mode == "weak" else "train.global_batch"),
        (
            "length",
            f"{length} after {train.warmup} of warm-up",
            "train.steps" if train.steps else "train.epochs",
        ),
    ]
    rows = [
        ("nodes" if job.executor == "slurm" else "ranks", sizes or largest, "launches.nodes"),
        ("model", train.model, "train.model"),
        *([] if first.kind == "probe" and not once else lengths),
        (
            "engine",
            f"{engines}, transport {train.transport}",
            "launches.engines" if job.benchmark.launches.engines else "train.engine",
        ),
        (
            "per task",
            f"{count(first.cpus_per_task, 'CPU')}, {count(train.threads, 'computing thread')}",
            "node.cores",
        ),
    ]
    if len(job.launches) > 1:
        probes = sum(launch.kind == "probe" for launch in job.launches)
        held = f"{len(job.launches)}" + (
            f", {count(probes, 'probe')} of communication first" if probes else ""
        )
        rows.append(("launches", held, "launches.repeat"))
    if job.executor == "slurm":
        per_node = f"{count(first.tasks_per_node, 'task')}, {count(first.gpus_per_node, 'GPU')}"
        rows += [
            ("per node", per_node, "launches.tasks_per_node"),
            ("partition", job.site.slurm.partition or "Slurm's default", "slurm.partition"),
            ("walltime", format_walltime(job.walltime_s), "slurm.walltime"),
        ]
    return rows


def describe_rest(job: Job, shown: set[str]) -> list[tuple[str, str, str]]:
    """The settings that somebody set and that `shown` does not hold, by their own names."""
    from hpcdl.settings import flatten

    values = flatten(job.benchmark.model_dump(mode="json")) | flatten(job.site.model_dump(mode="json"))
    hidden = {"name", "about", *shown}
    return [(key, str(values.get(key, "")), key) for key in sorted(job.sources) if key not in hidden]


def _announce(job: Job, folder: RunFolder, *, as_json: bool) -> None:
    import json

    submission = folder.submission()
    job_id = submission.slurm_job_id if submission else None
    if as_json:
        facts = {"run_id": job.run_id, "slurm_job_id": job_id, "directory": str(folder.path)}
        print(json.dumps(facts), flush=True)
        return
    minutes = -(-job.walltime_s // 60)
    hours = job.nodes * job.walltime_s / 3600
    print(
        f"run {job.run_id} · job {job_id} · partition {job.site.slurm.partition or 'default'} · "
        f"{job.nodes} nodes · at most {minutes} min, {hours:.2g} node-hours",
        flush=True,
    )
    print(f"directory {folder.path}", flush=True)
