"""An acceptance begins, or goes on: what was asked is written down once, and must still be what it was."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import hpcdl
from hpcdl import slurm
from hpcdl.acceptance import suite as suites
from hpcdl.acceptance.folder import Acceptance, AcceptanceFolder, lay_out
from hpcdl.acceptance.planning import list_tests
from hpcdl.acceptance.rounds import Round
from hpcdl.campaign.fleet import join
from hpcdl.errors import Mistake
from hpcdl.store import new_run_id

if TYPE_CHECKING:
    from typing import Literal

    from hpcdl.acceptance.suite import Suite
    from hpcdl.site import Site


@dataclass(frozen=True)
class Wish:
    """What a person asks for on the command line."""

    suite_file: Path
    suite: Suite
    site: Site
    sources: dict[str, str]
    executor: Literal["slurm", "local"]
    per_node_jobs: bool = False
    nodes: int | None = None


def make_acceptance(wish: Wish) -> tuple[Acceptance, tuple[str, ...], int]:
    """What is asked, the nodes that are known by name already, and how many there will be. Writes nothing.

    Raises:
        Mistake: Nobody said how many nodes, or more than are named.
    """
    named = _name_nodes(wish)
    if wish.executor == "slurm" and not (wish.nodes or named):
        raise Mistake(
            "how many nodes are to be accepted?",
            do="Say --nodes N or --nodelist NODES, or --local for this machine.",
        )
    count = 1 if wish.executor == "local" else wish.nodes or len(named)
    if wish.per_node_jobs:
        named = _choose(named, count)
    asked = Acceptance(
        accept_id=new_run_id(),
        created_utc=datetime.now(UTC).replace(microsecond=0),
        suite=wish.suite,
        suite_file=str(wish.suite_file.absolute()),
        suite_digest=wish.suite.digest,
        executor=wish.executor,
        per_node_jobs=wish.per_node_jobs,
        nodes=count,
        site=wish.site,
        sources=wish.sources,
        hpcdl=hpcdl.__version__,
    )
    return asked, named if len(named) == count else (), count


def _name_nodes(wish: Wish) -> tuple[str, ...]:
    """Those that --nodelist names; with a job for each node, all of the partition where none is named."""
    if wish.executor == "local":
        return ()
    if wish.site.slurm.nodelist:
        if not slurm.is_here():
            return ()  # a dry run: --nodes says how many
        return slurm.expand_hosts(wish.site.slurm.nodelist)
    if not wish.per_node_jobs or not slurm.is_here():
        return ()
    excluded = slurm.expand_hosts(wish.site.slurm.exclude) if wish.site.slurm.exclude else ()
    return tuple(node for node in slurm.node_states(wish.site.slurm.partition) or {} if node not in excluded)


def _choose(named: tuple[str, ...], count: int) -> tuple[str, ...]:
    """So many of them: those that can be had before those that cannot, in their order."""
    words = slurm.node_states() or {} if slurm.is_here() else {}
    fit = [node for node in named if node not in words or words[node].is_fit]
    chosen = set([*fit, *(node for node in named if node not in fit)][:count])
    return tuple(node for node in named if node in chosen)


def begin(asked: Acceptance, named: tuple[str, ...], root: Path) -> AcceptanceFolder:
    """The folder of a new acceptance, with the nodes of which it is known that they will be in it."""
    folder = lay_out(asked, root)
    join(folder, named)
    return folder


def require_same_suite(asked: Acceptance) -> None:
    """What is required may not change while it is tested.

    Raises:
        Mistake: The suite's file is another one than at the start, or is gone.
    """
    path = Path(asked.suite_file)
    if not path.is_file():
        raise Mistake(
            f"the suite of acceptance {asked.accept_id} is no longer at {path}.",
            do="Put it back to go on, or start anew with another: hpcdl accept run.",
        )
    if suites.load(path).digest != asked.suite_digest:
        raise Mistake(
            f"the suite {path} was changed since acceptance {asked.accept_id} began: one verdict cannot follow "
            "from two suites.",
            do=f"Put it back as it was (acceptance.json keeps it) to go on, or start anew: hpcdl accept run {path}.",
        )


def add_nodes(folder: AcceptanceFolder, *, nodes: int | None, nodelist: str | None) -> Round | None:
    """The round of nodes that join now, by name or by number; None: nobody joins.

    Raises:
        Mistake: Those that are named have joined already, or it runs on this machine.
    """
    asked, fleet = folder.asked(), folder.fleet()
    if nodes is None and nodelist is None:
        return None
    if asked.executor == "local":
        raise Mistake(
            f"acceptance {asked.accept_id} is of this machine alone.", do="Leave --nodes and --nodelist out."
        )
    if nodelist is None:
        count = nodes or 1
        return Round("added", list_tests(asked.suite, count), count, without=fleet)
    new = tuple(node for node in slurm.expand_hosts(nodelist) if node not in fleet)
    if not new:
        raise Mistake(
            f"{nodelist} has joined acceptance {asked.accept_id} already.", do="Leave --nodelist out."
        )
    join(folder, new)
    return Round("added", list_tests(asked.suite, len(new)), len(new), new)
