"""`hpcdl status`, `logs`, `report`, `cancel`: over the store, by run id, Slurm job id or `last`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from hpcdl.analysis.ending import JobState
    from hpcdl.analysis.job import RunResult
    from hpcdl.store import RunFolder, Store
    from hpcdl.stores import Stores

RunArgument = Annotated[
    str, typer.Argument(help="Run id (shortened is fine), Slurm job id, or last.", metavar="[RUN]")
]
StoreOption = Annotated[str | None, typer.Option("--store", help="Where runs are kept.", metavar="DIR")]
StoresOption = Annotated[
    list[str] | None, typer.Option("--store", help="Where runs are kept; several are one.", metavar="DIR")
]
JsonOption = Annotated[bool, typer.Option("--json", help="For other programs.")]


def open_store(named: str | None) -> Store:
    """The store that is named, else the site's, else the user's."""
    from pathlib import Path

    from hpcdl import site
    from hpcdl.store import Store, default_root

    if named:
        return Store(Path(named).expanduser().absolute())
    return Store(default_root(site.load()[0].store))


def analyse(folder: RunFolder, *, with_steps: bool = True) -> RunResult:
    """What a run's records say, and what the executor says of it where they lack something."""
    from hpcdl import jobs
    from hpcdl.analysis.job import analyse_run

    standing = jobs.look_patiently(folder, jobs.Standing(over=False, word="unknown"))
    jobs.keep_energy(folder, standing)
    return analyse_run(folder, standing.job_state, with_steps=with_steps)


def open_stores(named: list[str] | None) -> Stores:
    """The stores that are named, as one; without any, the one that `open_store` opens."""
    from hpcdl.stores import Stores

    return Stores([open_store(name) for name in named] if named else [open_store(None)])


def ask_executors(folders: list[RunFolder]) -> dict[str, JobState]:
    """What the executors say of runs, by run id; nothing, and a word on stderr, where Slurm does not answer."""
    from hpcdl import jobs
    from hpcdl.cli import say
    from hpcdl.errors import Failure

    try:
        return {run_id: standing.job_state for run_id, standing in jobs.look(folders).items()}
    except Failure as silence:
        say(silence)
        return {}


def status(run: RunArgument = "last", *, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Where a run stands: its job, its launches, how far each is."""
    from hpcdl import jobs
    from hpcdl.analysis.job import analyse_run
    from hpcdl.cli import screen
    from hpcdl.report.standing import describe_standing

    folder = open_store(store).find(run)
    standing = jobs.look_patiently(folder, jobs.Standing(over=False, word="unknown"))
    result = analyse_run(folder, standing.job_state)
    words = f"{standing.word} ({standing.reason})" if standing.reason else standing.word
    screen.show(describe_standing(result, words), as_json=as_json)


def logs(
    run: RunArgument = "last",
    *,
    launch: Annotated[int | None, typer.Option("--launch", help="Only this launch, by number.")] = None,
    store: StoreOption = None,
) -> None:
    """What the job and its ranks printed, and the stacks of those that hung or crashed."""
    from hpcdl.errors import Mistake

    folder = open_store(store).find(run)
    places = folder.launches()
    if launch is not None and not 1 <= launch <= len(places):
        raise Mistake(
            f"run {folder.run_id} has launches 1 to {len(places)}, not {launch}.", do="See hpcdl status."
        )
    chosen = places if launch is None else [places[launch - 1]]
    paths = [folder.output_path] if launch is None else []
    paths += [path for place in chosen for path in place.logs()]
    written = [path for path in paths if path.is_file() and path.stat().st_size]
    if not written:
        raise Mistake(f"run {folder.run_id} has printed nothing yet.", do=f"Its folder is {folder.path}.")
    for path in written:
        print(f"==> {path} <==")
        print(path.read_text(encoding="utf-8", errors="replace"), end="")


def report(
    runs: Annotated[list[str] | None, typer.Argument(help="Runs; without any, the last one.")] = None,
    *,
    form: Annotated[str, typer.Option("--format", help="terminal, markdown or json.")] = "terminal",
    output: Annotated[str | None, typer.Option("--output", "-o", help="Into a file.", metavar="FILE")] = None,
    force: Annotated[bool, typer.Option("--force", help="Show what is withheld, marked as such.")] = False,
    site: Annotated[
        str | None, typer.Option("--site", help="Prices of this site file.", metavar="FILE")
    ] = None,
    boundary: Annotated[str | None, typer.Option("--boundary", help="device, node or facility.")] = None,
    accuracy: Annotated[str | None, typer.Option("--accuracy", help="CPU against GPU up to it: 98%.")] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """The report of one run, or of several together: throughput, steps, phases, scaling, power, cost."""
    from pathlib import Path

    from hpcdl import report as reports
    from hpcdl.cli import screen
    from hpcdl.cli.pricing import read_accuracy, read_pricing

    pricing, reached = read_pricing(site), read_accuracy(accuracy)

    place = open_store(store)
    content = reports.build(
        [analyse(place.find(run)) for run in runs or ["last"]],
        force=force,
        pricing=pricing,
        boundary=boundary,
        accuracy=reached,
    )
    if output is None:
        screen.show(content, form, as_json=as_json)
    else:
        _write(Path(output), screen.write(content, "json" if as_json else form))


def _write(path: Path, text: str) -> None:
    from hpcdl.errors import Mistake

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise Mistake(f"{path} cannot be written ({problem.strerror}).") from None


def cancel(run: RunArgument = "last", *, store: StoreOption = None) -> None:
    """End a run. What it has measured is kept."""
    from hpcdl import jobs
    from hpcdl.cli import screen

    folder = open_store(store).find(run)
    screen.talk.print(f"asked {jobs.cancel(folder)}; see hpcdl status {folder.run_id}", soft_wrap=True)
