"""`hpcdl accept run` and `resume`: an acceptance from its first job to its verdict."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from hpcdl.cli import completing
from hpcdl.cli.accept_size import print_job, show_size
from hpcdl.cli.flags import SLURM, Flag, Said, accept
from hpcdl.cli.start import JsonOption, SiteOption, StoreOption  # noqa: TC001 (Typer reads the annotations)

if TYPE_CHECKING:
    from typing import Literal

    from hpcdl.acceptance.folder import AcceptanceFolder
    from hpcdl.acceptance.rounds import Round
    from hpcdl.acceptance.verdict import Verdict
    from hpcdl.campaign.course import Manner
    from hpcdl.campaign.opening import Wish

TASKS = (Flag("--tasks-per-node", "node.tasks_per_node", "Ranks on each node.", int),)
AtOnceOption = Annotated[
    int, typer.Option("--at-once", min=1, help="Jobs of one node in the queue at a time.")
]
PatienceOption = Annotated[
    str, typer.Option("--patience", help="For how long a node that is down is waited for.", metavar="1h")
]
JunitOption = Annotated[str | None, typer.Option("--junit", help="The verdict for a CI too.", metavar="FILE")]
NoWaitOption = Annotated[bool, typer.Option("--no-wait", help="Submit, and leave; `resume` comes back.")]


@accept(TASKS, SLURM)
def run(
    suite: Annotated[
        str,
        typer.Argument(
            help="One of the built-in suites, or a TOML file.",
            metavar="SUITE",
            autocompletion=completing.suites,
        ),
    ],
    *,
    nodes: Annotated[int | None, typer.Option("--nodes", min=1, help="So many nodes.")] = None,
    local: Annotated[bool, typer.Option("--local", help="This machine alone, without Slurm.")] = False,
    per_node_jobs: Annotated[
        bool, typer.Option("--per-node-jobs", help="A job for each node, as nodes become idle.")
    ] = False,
    at_once: AtOnceOption = 16,
    patience: PatienceOption = "1h",
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", help="What `of = 'reference'` is held against.", metavar="FILE"),
    ] = None,
    junit: JunitOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print size and first script; touch nothing.")
    ] = False,
    no_wait: NoWaitOption = False,
    store: StoreOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
    said: Said,
) -> None:
    """Test nodes as a SUITE says, and judge them: exit code 0 pass, 1 fail, 3 not enough evidence."""
    from hpcdl.campaign import opening
    from hpcdl.durable import publish

    wish, root = _resolve(suite, said, store, site, local=local, nodes=nodes, per_node_jobs=per_node_jobs)
    manner = _read_manner(at_once, patience)
    asked, named, count = opening.make_acceptance(wish)
    _refuse_contradictions(local=local, nodes=nodes, per_node_jobs=per_node_jobs, no_wait=no_wait)
    baseline_text = _read_baseline(baseline)
    _require_place(junit)
    job = show_size(asked, root, count, baseline=baseline_text is not None)
    if dry_run:
        print_job(job)
        return
    folder = opening.begin(asked, named, root)
    if baseline_text is not None:
        publish(folder.references_path, baseline_text)
    _tell_id(folder)
    _go(folder, manner, no_wait=no_wait, junit=junit, as_json=as_json, fresh=True)


def resume(
    acceptance: Annotated[
        str, typer.Argument(help="Its id, the end of that, or last.", metavar="ACCEPTANCE")
    ] = "last",
    *,
    nodes: Annotated[int | None, typer.Option("--nodes", min=1, help="So many more nodes join.")] = None,
    nodelist: Annotated[str | None, typer.Option("--nodelist", help="These nodes join.")] = None,
    at_once: AtOnceOption = 16,
    patience: PatienceOption = "1h",
    junit: JunitOption = None,
    no_wait: NoWaitOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on with an acceptance: jobs under way are followed, none is submitted twice, and nodes may join."""
    from hpcdl.acceptance.finding import find_acceptance
    from hpcdl.campaign import opening
    from hpcdl.cli.look import open_store

    folder = find_acceptance(acceptance, open_store(store).root)
    _require_place(junit)
    opening.require_same_suite(folder.asked())
    added = opening.add_nodes(folder, nodes=nodes, nodelist=nodelist)
    _tell_id(folder)
    _go(folder, _read_manner(at_once, patience), added=added, no_wait=no_wait, junit=junit, as_json=as_json)


def look_again(folder: AcceptanceFolder) -> Verdict:
    """The verdict on what an acceptance has seen; nothing is submitted.

    Raises:
        Failure: No node has taken part.
    """
    from hpcdl.acceptance.concluding import conclude
    from hpcdl.cli.certificate import find_running
    from hpcdl.errors import Failure

    if not folder.fleet():
        raise Failure(f"no node has taken part in acceptance {folder.accept_id} yet.")
    running = find_running(folder)
    return conclude(folder, final=not running, running=running).verdict


def _resolve(
    suite: str,
    said: Said,
    store: str | None,
    site: str | None,
    *,
    local: bool,
    nodes: int | None,
    per_node_jobs: bool,
) -> tuple[Wish, Path]:
    from hpcdl import settings
    from hpcdl import site as sites
    from hpcdl.acceptance.suite import find_suite, load
    from hpcdl.campaign.opening import Wish
    from hpcdl.store import default_root

    path = find_suite(suite)
    loaded, loaded_from = sites.load(Path(site) if site else None)
    resolved, sources = settings.resolve_site(loaded, loaded_from, said)
    root = Path(store).expanduser().absolute() if store else default_root(resolved.store)
    executor: Literal["slurm", "local"] = "local" if local else "slurm"
    return Wish(path, load(path), resolved, sources, executor, per_node_jobs, nodes), root


def _refuse_contradictions(*, local: bool, nodes: int | None, per_node_jobs: bool, no_wait: bool) -> None:
    from hpcdl.errors import Mistake

    flags = {"--nodes": nodes is not None, "--per-node-jobs": per_node_jobs, "--no-wait": no_wait}
    wrong = [flag for flag, given in flags.items() if given]
    if local and wrong:
        raise Mistake(
            f"--local is this machine alone, and {wrong[0]} is of a cluster.", do="Leave one of them out."
        )
    if no_wait and per_node_jobs:
        raise Mistake(
            "--per-node-jobs comes back for nodes that are busy, and --no-wait leaves.",
            do="Leave one of them out.",
        )


def _read_manner(at_once: int, patience: str) -> Manner:
    from hpcdl.campaign.course import Manner
    from hpcdl.errors import Mistake
    from hpcdl.spec import read_seconds

    seconds = read_seconds(patience)
    if not isinstance(seconds, float):
        raise Mistake(f"--patience {patience}: a time is needed.", do="Write --patience 30m, or 2h.")
    return Manner(at_once=at_once, patience_s=seconds)


def _read_baseline(named: str | None) -> str | None:
    """The text of a baseline that can be read as one.

    Raises:
        Mistake: It cannot.
    """
    if named is None:
        return None
    from hpcdl.acceptance.baselines import read_references
    from hpcdl.errors import Mistake

    path = Path(named)
    if not path.is_file():
        raise Mistake(f"there is no baseline {path}.", do="Make one: hpcdl baseline make.")
    read_references(path)
    return path.read_text(encoding="utf-8")


def _require_place(junit: str | None) -> None:
    """Known before the hours that it takes, and not after them.

    Raises:
        Mistake: A file cannot be written there.
    """
    from hpcdl.errors import Mistake

    path = None if junit is None else Path(junit).expanduser()
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        wrong = f"{path} is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise Mistake(f"--junit {junit}: {wrong}.", do="Name a file in a folder that there is.")


def _tell_id(folder: AcceptanceFolder) -> None:
    from hpcdl.cli import screen

    screen.talk.print(f"acceptance {folder.accept_id} in {folder.path}", soft_wrap=True)


def _go(
    folder: AcceptanceFolder,
    manner: Manner,
    *,
    added: Round | None = None,
    no_wait: bool,
    junit: str | None,
    as_json: bool,
    fresh: bool = False,
) -> None:
    """The course, watched to its end; then the verdict."""
    from hpcdl.campaign.course import Course
    from hpcdl.campaign.executors import LocalExecutor, SlurmExecutor
    from hpcdl.cli import screen
    from hpcdl.cli.accept_board import watch
    from hpcdl.cli.follow import end_as_interrupted
    from hpcdl.errors import HpcdlError

    asked = folder.asked()
    executor = LocalExecutor() if asked.executor == "local" else SlurmExecutor(asked.site)
    if asked.executor == "local":
        end_as_interrupted()
    try:
        with watch() as watcher:
            course = Course(folder, executor, watcher, manner)
            if no_wait:
                course.start(added)
                _announce(folder, as_json=as_json)
                return
            verdict = course.go(added)
    except KeyboardInterrupt:
        words = "stopped" if asked.executor == "local" else "no longer watching; jobs go on"
        screen.talk.print(f"{words}. Go on: hpcdl accept resume {folder.accept_id}", soft_wrap=True)
        raise
    except HpcdlError:
        # Nothing was submitted: there is no acceptance.
        if fresh and not folder.runs.names():
            shutil.rmtree(folder.path)
        raise
    _finish(folder, verdict, junit=junit, as_json=as_json)


def _announce(folder: AcceptanceFolder, *, as_json: bool) -> None:
    import json

    facts = {"accept_id": folder.accept_id, "directory": str(folder.path), "runs": folder.runs.names()}
    print(
        json.dumps(facts) if as_json else f"submitted. Go on: hpcdl accept resume {folder.accept_id}",
        flush=True,
    )


def _finish(folder: AcceptanceFolder, verdict: Verdict, *, junit: str | None, as_json: bool) -> NoReturn:
    from hpcdl.acceptance.verdict import EXIT_CODES
    from hpcdl.certificate.junit import write_junit
    from hpcdl.cli import screen
    from hpcdl.report.short_verdicts import describe_verdict

    if junit is not None:
        write_junit(verdict, Path(junit).expanduser())
    if as_json:
        print(verdict.model_dump_json(indent=1), flush=True)
    else:
        name = f"{folder.asked().suite.name} {folder.accept_id}"
        where = (
            f"records: {folder.path}",
            f"certificate: hpcdl accept report {folder.accept_id} --out DIR",
            *(
                [f"whom to drain: hpcdl accept suspects {folder.accept_id} --slurm"]
                if verdict.culprits
                else []
            ),
        )
        screen.show(describe_verdict(verdict, name, where))
    raise typer.Exit(EXIT_CODES[verdict.outcome])
