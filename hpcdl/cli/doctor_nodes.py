"""`hpcdl doctor --nodes` and `--run`: the nodes of a cluster, looked at by a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.cli import screen
from hpcdl.errors import Failure, Mistake

if TYPE_CHECKING:
    from hpcdl.acceptance.fleet import Fleet
    from hpcdl.cli.flags import Said
    from hpcdl.jobs import Standing
    from hpcdl.store import RunFolder


def examine(nodes: int, said: Said, store: str | None, site: str | None, *, as_json: bool) -> None:
    """Submit the job, wait for it, show what was found.

    Raises:
        Mistake: There is no Slurm here, or no such number of nodes.
        Failure: A node did not answer; what the others said is shown all the same.
    """
    from hpcdl import slurm
    from hpcdl.cli import follow, start
    from hpcdl.examination import prepare_examination

    if nodes < 1:
        raise Mistake(f"--nodes {nodes} is no number of nodes.", do="Ask for one or more.")
    if not slurm.is_here():
        raise Mistake(
            "there is no Slurm here to look at nodes with: sbatch is not on PATH.",
            do="Log in to the cluster, or leave --nodes out to look at this machine.",
        )
    asked, place = start.resolve(None, said | {"train.engine": (None, "")}, store, site, {})
    folder = start.hand_in(prepare_examination(asked, place, nodes))
    standing = follow.watch_slurm(folder)
    show(folder, standing, as_json=as_json)


def show_run(run: str, store: str | None, *, as_json: bool) -> None:
    """The nodes of a run that is there already, of whatever kind.

    Raises:
        Mistake: There is no such run, or it has recorded nothing of its nodes.
        Failure: A node did not answer.
    """
    from hpcdl import jobs
    from hpcdl.cli.look import open_store

    folder = open_store(store).find(run)
    if not any(launch.topologies() for launch in folder.launches()):
        raise Mistake(
            f"run {folder.run_id} has recorded nothing of how its nodes are wired.",
            do="It may be older than such records, or no node has begun; look with hpcdl status.",
        )
    unknown = jobs.Standing(over=False, word="not known")
    show(folder, jobs.look_patiently(folder, unknown), as_json=as_json)


def show(folder: RunFolder, standing: Standing, *, as_json: bool) -> None:
    """What the nodes of a run have said of themselves.

    Raises:
        Failure: One did not answer.
    """
    from hpcdl.analysis.wiring import read_words
    from hpcdl.report.wirings import describe_nodes

    launches = folder.launches()
    found = {node.host: node for launch in launches for node in launch.topologies()}
    words = read_words([look for launch in launches for look in launch.checks()])
    silent = find_silent(folder, standing, frozenset(found))
    screen.show(
        describe_nodes(tuple(found.values()), words, silent, run_id=folder.run_id),
        as_json=as_json,
    )
    if silent:
        raise Failure(
            f"{len(silent)} of {len(found) + len(silent)} nodes did not answer: {', '.join(silent)}.",
            do=f"See hpcdl logs {folder.run_id}.",
        )


def find_silent(folder: RunFolder, standing: Standing, answered: frozenset[str]) -> dict[str, str]:
    """Nodes of the job without a record of their wiring, and why; by number where nobody names them."""
    from hpcdl import slurm
    from hpcdl.acceptance.fleet import Fleet

    job, launches = folder.job(), folder.launches()
    heard = {record.host for launch in launches for record in launch.exits()} | answered
    named = slurm.expand_hosts(standing.nodes) if standing.nodes and slurm.is_here() else tuple(sorted(heard))
    fleet = Fleet(named, {})
    silent = [node for node in named if node not in fleet.find_all(answered)]
    why = standing.reason or standing.word
    return {
        **{node: _explain(folder, node, fleet, over=standing.over) for node in silent},
        **{
            f"node {number} of {job.nodes}": f"there is no word of it; the job is {why}"
            for number in range(len(named) + 1, job.nodes + 1)
        },
    }


def _explain(folder: RunFolder, node: str, fleet: Fleet, *, over: bool) -> str:
    from hpcdl.acceptance.node_launches import read_node_launch

    created_utc = folder.job().created_utc
    for launch in folder.launches():
        plan = launch.plan()
        if plan.check is not None:
            read = read_node_launch(launch, plan, launch.name, fleet, created_utc=created_utc, over=over)
            return read.explain(node, fleet)
    return "it left no record of how it is wired"
