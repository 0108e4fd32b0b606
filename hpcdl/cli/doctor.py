"""`hpcdl doctor`: what works here, and what to do about the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hpcdl.cli.flags import SLURM, Said, accept
from hpcdl.cli.start import JsonOption, SiteOption, StoreOption  # noqa: TC001 (Typer reads the annotations)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.records import Condition
    from hpcdl.topology import NodeTopology

PATIENCE_S = 180
TOPOLOGY = "topology"


@accept(SLURM)
def doctor(
    *,
    nodes: Annotated[
        int | None, typer.Option("--nodes", help="Submit a job that looks at so many nodes of the cluster.")
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", help="The nodes of a run that is there.", metavar="RUN")
    ] = None,
    store: StoreOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
    said: Said,
) -> None:
    """What works here, how this machine is wired, and what to do about the rest; with --nodes, what the nodes are."""
    from hpcdl.cli import doctor_nodes
    from hpcdl.errors import Mistake

    if nodes is not None and run is not None:
        raise Mistake("--nodes asks for a new look, and --run for an old one.", do="Leave one of them out.")
    typed = [flag for value, flag in said.values() if value is not None]
    if nodes is None and typed:
        raise Mistake(f"{typed[0]} is about a job, and none was asked for.", do="Say --nodes N beside it.")
    if nodes is not None:
        doctor_nodes.examine(nodes, said, store, site, as_json=as_json)
    elif run is not None:
        doctor_nodes.show_run(run, store, as_json=as_json)
    else:
        _look_here(as_json=as_json)


def _look_here(*, as_json: bool) -> None:
    import json

    from hpcdl.cli import screen
    from hpcdl.report.wirings import describe_nodes

    with screen.talk.status("looking"):
        found = [*_inspect_worker(), *_inspect_slurm()]
        wiring = _inspect_wiring()
    if as_json:
        rows = [condition.model_dump() for condition in found]
        told = {"topology": wiring.model_dump(mode="json")} if not isinstance(wiring, str) else {}
        print(json.dumps([*rows, _sum_up(wiring).model_dump() | told], indent=1))
        return
    _print_conditions([*found, _sum_up(wiring)])
    if not isinstance(wiring, str):
        print()
        screen.show(describe_nodes((wiring,), {}))


def _print_conditions(found: Sequence[Condition]) -> None:
    from rich.table import Table
    from rich.text import Text

    from hpcdl.cli import screen

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    table.add_column()
    for condition in found:
        well = condition.ok and not condition.do
        verdict = Text("ok", style="green") if well else Text(condition.do)
        table.add_row(condition.name, condition.value, verdict)
    screen.results.print(table)


def _inspect_wiring() -> NodeTopology | str:
    """In a process of its own, as all that loads the GPUs' driver; or why nothing came of it."""
    import subprocess
    import sys

    from pydantic import ValidationError

    from hpcdl.topology import NodeTopology

    argv = [sys.executable, "-m", "hpcdl.worker.topology"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        return NodeTopology.model_validate_json(done.stdout)
    except subprocess.TimeoutExpired:
        return f"the look did not end within {PATIENCE_S} s"
    except ValidationError:
        return f"the look ended with {done.returncode} and no record"


def _sum_up(wiring: NodeTopology | str) -> Condition:
    from hpcdl.records import Condition
    from hpcdl.report.wirings import sum_up

    if isinstance(wiring, str):
        return Condition(
            name=TOPOLOGY, value=wiring, ok=False, do="run python -m hpcdl.worker.topology to see why"
        )
    return Condition(name=TOPOLOGY, value=sum_up(wiring), ok=True)


def _inspect_worker() -> list[Condition]:
    """In a process of its own: torch and its kin are never imported on this side, and may crash there."""
    import subprocess
    import sys

    from pydantic import ValidationError

    from hpcdl.records import Condition

    argv = [sys.executable, "-m", "hpcdl.worker.inspection"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        lines, code = done.stdout.splitlines(), done.returncode
    except subprocess.TimeoutExpired as late:
        lines, code = (late.stdout or b"").decode().splitlines(), 124
    found = []
    for line in lines:
        try:
            found.append(Condition.model_validate_json(line))
        except ValidationError:
            continue  # a library's own chatter
    if code:
        value = f"the inspection itself ended with {code} after {len(found)} looks"
        do = "run python -m hpcdl.worker.inspection to see why"
        found.append(Condition(name="could not look", value=value, ok=False, do=do))
    return found


def _inspect_slurm() -> Iterator[Condition]:
    from hpcdl import slurm
    from hpcdl.errors import HpcdlError
    from hpcdl.records import Condition

    if not slurm.is_here():
        yield Condition(
            name="Slurm", value="sbatch is not on PATH", ok=False, do="train here without it: hpcdl run smoke"
        )
        return
    try:
        types = slurm.pmi_types()
        pmix = any(kind.startswith("pmix") for kind in types)
        yield Condition(name="Slurm", value=slurm.version(), ok=True)
        yield Condition(
            name="PMI",
            value=", ".join(types) or "none",
            ok=pmix,
            do="" if pmix else "without PMIx: set [slurm] pmi in the site file, or use --engine ddp",
        )
        books = slurm.accounting_is_on()
        yield Condition(
            name="accounting",
            value="on" if books else "off",
            ok=True,
            do="" if books else "not needed: the run's own records are the truth",
        )
    except HpcdlError as problem:
        yield Condition(name="Slurm", value=problem.what, ok=False, do=problem.do)
