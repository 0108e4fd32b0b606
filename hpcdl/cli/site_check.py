"""`hpcdl site check`: a job of a minute that proves each entry of the site file."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from hpcdl.cli.flags import SLURM, Flag, Said, accept
from hpcdl.cli.start import JsonOption, SiteOption, StoreOption  # noqa: TC001 (Typer reads the annotations)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcdl.plan import Job
    from hpcdl.sites.evidence import Evidence
    from hpcdl.sites.proving import Wish
    from hpcdl.store import RunFolder, Store

TASKS = (Flag("--tasks-per-node", "node.tasks_per_node", "Ranks on each node.", int),)


@accept(TASKS, SLURM)
def check(
    *,
    nodes: Annotated[
        int | None, typer.Option("--nodes", min=1, help="On so many; two, where there are two.")
    ] = None,
    engine: Annotated[
        str, typer.Option("--engine", help="By which the ranks meet: horovod, ddp.")
    ] = "horovod",
    resume: Annotated[
        str | None, typer.Option("--resume", help="Go on with a check that was left.", metavar="RUN")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the script; touch nothing.")] = False,
    store: StoreOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
    said: Said,
) -> None:
    """Prove the site file: each entry proven, refuted or not checked; exit code 1 where one is refuted."""
    from hpcdl import script

    if resume is not None:
        folder = _find(resume, store)
        with _told_how_to_come_back(folder.run_id, folder.path):
            evidence = _follow(folder)
        _conclude(evidence, as_json=as_json)
    wish, place = _resolve(said, store, site, nodes, engine)
    from hpcdl.sites.proving import plan_check

    job = plan_check(wish, place)
    if dry_run:
        print(script.render(job), end="")
        return
    with _told_how_to_come_back(job.run_id, Path(job.run_dir)):
        evidence = _run(job)
    _conclude(evidence, as_json=as_json)


def _find(text: str, store: str | None) -> RunFolder:
    from hpcdl.cli.look import open_store
    from hpcdl.sites.evidence import require_check

    folder = open_store(store).find(text)
    require_check(folder.job())
    return folder


def _resolve(
    said: Said, store: str | None, site: str | None, nodes: int | None, engine: str
) -> tuple[Wish, Store]:
    from hpcdl import settings
    from hpcdl import site as sites
    from hpcdl.errors import UnknownName
    from hpcdl.sites.proving import Wish
    from hpcdl.slurm.survey import require_programs
    from hpcdl.store import Store, default_root

    if engine not in {"horovod", "ddp"}:
        raise UnknownName("engine by which ranks meet", engine, ("horovod", "ddp"), where="--engine")
    loaded, file = sites.load(Path(site) if site else None)
    resolved, sources = settings.resolve_site(loaded, file, said)
    require_programs()
    root = Path(store).expanduser().absolute() if store else default_root(resolved.store)
    return Wish(resolved, dict(sources), nodes, "ddp" if engine == "ddp" else "horovod"), Store(root)


def _run(job: Job) -> Evidence:
    """Submit and follow; what Slurm refuses is evidence as well."""
    from hpcdl import jobs, script, slurm
    from hpcdl.cli import screen
    from hpcdl.errors import RefusedJob, UnknownName
    from hpcdl.sites.evidence import Evidence
    from hpcdl.sites.proving import plan_asked_walltime

    asked = plan_asked_walltime(job)
    try:
        if asked is not None:
            slurm.test(script.render(asked))
        folder = jobs.submit(job)
    except (RefusedJob, UnknownName) as refusal:
        facts = slurm.node_facts(job.site.slurm.partition)
        return Evidence(job=job, facts=facts, script=script.render(job), refusal=str(refusal))
    screen.talk.print(f"run {job.run_id} in {folder.path}", soft_wrap=True)
    return _follow(folder)


@contextmanager
def _told_how_to_come_back(run_id: str, place: Path) -> Iterator[None]:
    """Ctrl-C leaves a job alone that Slurm has."""
    from hpcdl.cli import screen
    from hpcdl.store import RunFolder

    try:
        yield
    except KeyboardInterrupt:
        if RunFolder(place).submission() is not None:
            screen.talk.print(
                f"no longer watching; the job goes on. Come back: hpcdl site check --resume {run_id}. "
                f"Stop it: hpcdl cancel {run_id}",
                soft_wrap=True,
            )
        raise


def _follow(folder: RunFolder) -> Evidence:
    """Until the job is over."""
    from hpcdl import slurm
    from hpcdl.cli.follow import Board, watch
    from hpcdl.sites.evidence import gather

    with Board() as board:
        standing = watch(folder, board)
    return gather(folder, standing, slurm.node_facts(folder.job().site.slurm.partition))


def _conclude(evidence: Evidence, *, as_json: bool) -> NoReturn:
    from hpcdl.cli import screen
    from hpcdl.report.sites import describe_proofs
    from hpcdl.sites.provers import prove

    proofs = prove(evidence)
    screen.show(describe_proofs(proofs, evidence), as_json=as_json)
    raise typer.Exit(1 if any(one.outcome == "refuted" for one in proofs) else 0)
