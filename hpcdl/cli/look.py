"""`hpcdl status`, `logs`, `report`, `cancel`: over the store, by run id, Slurm job id or `last`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hpcdl.cli import completing

if TYPE_CHECKING:
    from hpcdl.analysis.ending import JobState
    from hpcdl.analysis.index import Ask
    from hpcdl.analysis.job import RunResult
    from hpcdl.store import RunFolder, Store
    from hpcdl.stores import Stores

SiteOption = Annotated[
    str | None, typer.Option("--site", help="The site file that has today's prices.", metavar="FILE")
]
RunArgument = Annotated[
    str,
    typer.Argument(
        help="Run id (shortened is fine), Slurm job id, or last.",
        metavar="[RUN]",
        autocompletion=completing.runs,
    ),
]
StoreOption = Annotated[str | None, typer.Option("--store", help="Where runs are kept.", metavar="DIR")]
StoresOption = Annotated[
    list[str] | None, typer.Option("--store", help="Where runs are kept; several are one.", metavar="DIR")
]
JsonOption = Annotated[bool, typer.Option("--json", help="For other programs.")]


def open_store(named: str | None) -> Store:
    """The store that is named, else the site's, else the user's.

    Raises:
        Mistake: It is named, and there is no such folder; what nobody has named may be yet to come.
    """
    from pathlib import Path

    from hpcdl import site
    from hpcdl.errors import Mistake
    from hpcdl.store import Store, default_root

    if named is None:
        return Store(default_root(site.load()[0].store))
    root = Path(named).expanduser().absolute()
    if not named.strip() or not root.is_dir():
        what = "this is a file" if root.is_file() else "there is no such folder"
        raise Mistake(f"--store {named or repr(named)}: {what}.", do="Name the folder that holds the runs.")
    return Store(root)


def analyse(folder: RunFolder, *, with_steps: bool = True) -> RunResult:
    """What a run's records say, and what the executor says of it where they lack something."""
    from hpcdl.analysis.job import analyse_run

    return analyse_run(folder, ask_executor(folder), with_steps=with_steps)


def ask_executor(folder: RunFolder) -> JobState:
    """What the executor says of a run; Slurm's account of its energy is kept."""
    from hpcdl import jobs

    standing = jobs.look_patiently(folder, jobs.Standing(over=False, word="unknown"))
    jobs.keep_energy(folder, standing)
    return standing.job_state


def open_stores(named: list[str] | None) -> Stores:
    """The stores that are named, as one; without any, the one that `open_store` opens."""
    from hpcdl.stores import Stores

    return Stores([open_store(name) for name in named] if named else [open_store(None)])


def find_folders(stores: Stores, texts: list[str] | None) -> list[RunFolder]:
    """The runs that these texts name, each once, in the order in which they are named; without any, the last one."""
    folders = [folder for text in texts or ["last"] for folder in stores.find_all(text)]
    return list({folder.path: folder for folder in folders}.values())


def choose_runs(
    stores: Stores, texts: list[str] | None, where: str | None = None, *, ask: Ask | None = None
) -> list[RunResult]:
    """The runs that are named, or that fit a query; `ask` is asked whether those to choose from go on."""
    from hpcdl.analysis.catalogue import select_runs
    from hpcdl.analysis.index import ask_nobody

    folders = (
        find_folders(stores, texts) if where is None else select_runs(stores, where, ask=ask or ask_nobody)
    )
    return [analyse(folder) for folder in folders]


class Executors:
    """Asks the executors of runs. Once Slurm has not answered it is not asked again, and that is told at the end."""

    def __init__(self) -> None:
        self._unanswered: list[RunFolder] = []

    def __call__(self, folders: list[RunFolder]) -> dict[str, JobState]:
        """What the executors say of runs, by run id; nothing where Slurm does not answer."""
        from hpcdl import jobs
        from hpcdl.errors import Failure

        if not self._unanswered:
            try:
                return {run_id: standing.job_state for run_id, standing in jobs.look(folders).items()}
            except Failure:
                pass
        self._unanswered += folders
        return {}

    def tell(self) -> None:
        """After the result: of how many runs that have not ended by their own records Slurm did not say more."""
        from hpcdl.cli import screen

        # What its records show as ended needs no executor to be believed.
        count = sum(_may_go_on(folder) for folder in self._unanswered)
        if count:
            runs = "a run that goes on" if count == 1 else f"{count:,} runs that go on"
            screen.talk.print(f"Slurm does not answer: {runs} by the records may have ended.", soft_wrap=True)


def _may_go_on(folder: RunFolder) -> bool:
    from hpcdl.analysis.index import ENDED
    from hpcdl.analysis.job import analyse_run
    from hpcdl.errors import Mistake

    try:
        result = analyse_run(folder, None, with_steps=False)
    except Mistake:
        return False
    return any(launch.ending.state not in ENDED for launch in result.launches)


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


def cancel(run: RunArgument = "last", *, store: StoreOption = None) -> None:
    """End a run. What it has measured is kept."""
    from hpcdl import jobs
    from hpcdl.cli import screen

    folder = open_store(store).find(run)
    screen.talk.print(f"asked {jobs.cancel(folder)}; see hpcdl status {folder.run_id}", soft_wrap=True)
