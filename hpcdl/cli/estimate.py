"""`hpcdl estimate equivalent` and `train`: what follows from measurements, and where they end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hpcdl.cli.look import JsonOption, StoreOption, analyse, open_store

if TYPE_CHECKING:
    from hpcdl.analysis.boundaries import Boundary
    from hpcdl.analysis.equivalence import Equivalence
    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.matching import Asked
    from hpcdl.analysis.tariff import Tariff

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
SystemHelp = "A run, or a published system: published:NAME; `hpcdl published` lists them."
FormOption = Annotated[str, typer.Option("--format", help="terminal, markdown or json.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Show what is withheld, marked as such.")]
BoundaryOption = Annotated[
    str | None,
    typer.Option("--boundary", help="Of power: device, node or facility; else the widest that is there."),
]


@app.callback()
def estimate() -> None:
    """What follows from measurements: equivalent systems, time to train."""


@app.command()
def equivalent(
    first: Annotated[str, typer.Argument(help=SystemHelp, metavar="A")],
    second: Annotated[str, typer.Argument(help="The one whose throughput A is to give.", metavar="B")],
    *,
    nodes: Annotated[
        int | None, typer.Option("--nodes", min=1, help="B on so many nodes; else its largest size.")
    ] = None,
    replicas: Annotated[
        bool, typer.Option("--replicas", help="Independent copies of A do it: their throughput adds up.")
    ] = False,
    boundary: BoundaryOption = None,
    force: ForceOption = False,
    form: FormOption = "terminal",
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """How many nodes, racks, kW and how much money of A give the throughput of B."""
    from hpcdl.analysis.matching import Asked
    from hpcdl.cli import screen
    from hpcdl.report.equivalences import describe_equivalence

    asked = Asked(nodes=nodes, boundary=_read_boundary(boundary), replicas=replicas, force=force)
    found = _compare(first, second, asked, store)
    screen.show(describe_equivalence(found, force=force), form, as_json=as_json)


def _compare(first: str, second: str, asked: Asked, store: str | None) -> Equivalence:
    from hpcdl.analysis.equivalence import compare_systems
    from hpcdl.analysis.matching import match_runs
    from hpcdl.errors import Mistake
    from hpcdl.records import Missing
    from hpcdl.references import PREFIX, find_system

    published = [name for name in (first, second) if name.startswith(PREFIX)]
    systems = [find_system(name) for name in published]
    if len(systems) == 1:
        raise Mistake(
            f"{published[0]}: no throughput of it is published, so nothing measured can be set against it.",
            do="Compare two runs, or the two systems of one document.",
        )
    if not systems:
        place = open_store(store)
        one, other = (analyse(place.find(name)) for name in (first, second))
        return match_runs(one, other, (_choose_tariff(one), _choose_tariff(other)), asked)
    found = compare_systems(*systems)
    if isinstance(found, Missing):
        raise Mistake(f"{found.missing}.", do="`hpcdl published` shows which systems stand in one document.")
    return found


def _choose_tariff(run: RunResult) -> Tariff:
    from hpcdl import site
    from hpcdl.analysis.tariff import choose_tariff

    return choose_tariff(run, site.load()[0])


def _read_boundary(text: str | None) -> Boundary | None:
    from hpcdl.analysis.draws import BOUNDARIES
    from hpcdl.errors import UnknownName

    for boundary in BOUNDARIES:
        if text == boundary:
            return boundary
    if text is not None:
        raise UnknownName("boundary", text, BOUNDARIES)
    return None
