"""`hpcdl estimate equivalent` and `train`: what follows from measurements, and where they end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hpcdl.cli.delivery import FormOption, OutOption, OutputOption, deliver, plan_delivery
from hpcdl.cli.look import JsonOption, SiteOption, StoresOption, choose_runs, open_stores

if TYPE_CHECKING:
    from hpcdl.analysis.equivalence import Equivalence
    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.matching import Asked
    from hpcdl.analysis.sweep import Sweep
    from hpcdl.analysis.training_time import Work

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
SystemHelp = "Runs by id, tag, benchmark or folder; or published:NAME, as `hpcdl published` lists them."
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
    site: SiteOption = None,
    boundary: BoundaryOption = None,
    force: ForceOption = False,
    form: FormOption = None,
    out: OutOption = None,
    output: OutputOption = None,
    store: StoresOption = None,
    as_json: JsonOption = False,
) -> None:
    """How many nodes, racks, kW and how much money of A give the throughput of B."""
    from hpcdl.analysis.matching import Asked
    from hpcdl.report.equivalences import describe_equivalence

    delivery = plan_delivery(form, out, output, as_json=as_json)
    asked = Asked(nodes=nodes, boundary=boundary, replicas=replicas, force=force)
    found = _compare(first, second, asked, store, site)
    deliver(describe_equivalence(found, force=force), delivery)


def _compare(first: str, second: str, asked: Asked, store: list[str] | None, site: str | None) -> Equivalence:
    from hpcdl.analysis.equivalence import compare_systems
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
        stores = open_stores(store)
        return _match(choose_runs(stores, [first]), choose_runs(stores, [second]), asked, site)
    found = compare_systems(*systems)
    if isinstance(found, Missing):
        raise Mistake(f"{found.missing}.", do="`hpcdl published` shows which systems stand in one document.")
    return found


def _match(first: list[RunResult], second: list[RunResult], asked: Asked, site: str | None) -> Equivalence:
    from hpcdl.analysis.matching import match_sweeps, pair_sweeps
    from hpcdl.analysis.tariffs import choose_newest_tariff
    from hpcdl.cli.pricing import read_pricing

    pricing = read_pricing(site)
    mine, theirs = pair_sweeps(first, second, force=asked.force)
    tariffs = (choose_newest_tariff(mine.runs, pricing), choose_newest_tariff(theirs.runs, pricing))
    return match_sweeps(mine, theirs, tariffs, asked)


@app.command()
def train(
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="Runs by id, tag, benchmark or folder; without any, the newest of the network."),
    ] = None,
    *,
    images: Annotated[
        str | None, typer.Option("--images", help="Images of one epoch.", metavar="100M")
    ] = None,
    epochs: Annotated[
        str | None, typer.Option("--epochs", help="How often each is seen; else once.", metavar="90")
    ] = None,
    exaflop: Annotated[
        str | None, typer.Option("--exaflop", help="All the arithmetic, in place of images.", metavar="30")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="The network; else that of the runs.")] = None,
    deadline: Annotated[
        str | None, typer.Option("--deadline", help="When it has to be done.", metavar="24h")
    ] = None,
    nodes: Annotated[
        str | None, typer.Option("--nodes", help="Sizes beside the measured ones.", metavar="N[,N…]")
    ] = None,
    site: SiteOption = None,
    boundary: BoundaryOption = None,
    force: ForceOption = False,
    form: FormOption = None,
    out: OutOption = None,
    output: OutputOption = None,
    store: StoresOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hours, device-days, energy and money of a training at each size; where measurement ends, a model takes over."""
    from hpcdl.analysis.sweep import gather_sweeps
    from hpcdl.analysis.tariffs import choose_newest_tariff
    from hpcdl.analysis.training_time import Goal, count_images, estimate_training
    from hpcdl.cli.amounts import read_deadline
    from hpcdl.cli.flags import read_counts
    from hpcdl.cli.pricing import read_pricing
    from hpcdl.report.trainings import describe_trainings

    delivery = plan_delivery(form, out, output, as_json=as_json)
    work = _read_work(images, epochs, exaflop)
    deadline_s = None if deadline is None else read_deadline(deadline, "--deadline")
    sizes = () if nodes is None else read_counts(nodes, "--nodes")
    pricing = read_pricing(site)
    results = _choose_runs(runs, model, store)
    estimates = []
    for sweep in _choose_sweeps(gather_sweeps(results, force=force), model, results):
        total, how = count_images(sweep.model, work)
        tariff = choose_newest_tariff(sweep.runs, pricing)
        goal = Goal(total, how, deadline_s)
        estimates.append(estimate_training(sweep, goal, tariff, nodes=sizes, boundary=boundary))
    deliver(describe_trainings(estimates, force=force), delivery)


def _read_work(images: str | None, epochs: str | None, exaflop: str | None) -> Work:
    from hpcdl.analysis.training_time import Work
    from hpcdl.cli.amounts import read_amount
    from hpcdl.errors import Mistake

    if exaflop is not None and (images is not None or epochs is not None):
        raise Mistake(
            "--exaflop is all the arithmetic of a training, and --images and --epochs say the same in another way.",
            do="Leave one of them out.",
        )
    if exaflop is None and images is None:
        raise Mistake(
            "what is to be trained is not said.", do="Say --images 100M --epochs 90, or --exaflop 30."
        )
    return Work(
        images=None if images is None else read_amount(images, "--images"),
        epochs=1.0 if epochs is None else read_amount(epochs, "--epochs"),
        flop=None if exaflop is None else 1e18 * read_amount(exaflop, "--exaflop"),
    )


def _choose_runs(runs: list[str] | None, model: str | None, store: list[str] | None) -> list[RunResult]:
    """Those that are named; else the newest of the network."""
    from hpcdl import networks
    from hpcdl.cli.newest import find_newest

    name = None if model is None else networks.find(model).name
    stores = open_stores(store)
    return choose_runs(stores, runs) if runs else find_newest(stores, name)


def _choose_sweeps(sweeps: tuple[Sweep, ...], model: str | None, results: list[RunResult]) -> list[Sweep]:
    """Those of the network that have measured anything, be it withheld."""
    from hpcdl.analysis.readings import Withheld
    from hpcdl.analysis.sweep import name_network, tell_runs
    from hpcdl.errors import Mistake
    from hpcdl.records import Missing

    named = tell_runs(results)
    fitting = [one for one in sweeps if model is None or one.model == name_network(model)]
    if not fitting:
        trained = ", ".join(sorted({sweep.model for sweep in sweeps})) or "nothing"
        raise Mistake(
            f"{named} trained {trained}, and not {model}.", do="Leave --model out, or name other runs."
        )
    readings = {id(sweep): [point.images_per_s for point in sweep.scaling.points] for sweep in fitting}
    told = [
        sweep
        for sweep in fitting
        if any(isinstance(one, Withheld) or not isinstance(one, Missing) for one in readings[id(sweep)])
    ]
    if told:
        return told
    reason = next(one.missing for one in readings[id(fitting[0])] if isinstance(one, Missing))
    raise Mistake(
        f"{named} has no throughput: {reason.rstrip('.')}.",
        do=f"Measure one: hpcdl submit scaling --model {fitting[0].model} --nodes 1,2,4.",
    )
