"""`hpcdl report`: of runs, in kinds and formats, onto the screen or into files; bundles of them, and their proof."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from hpcdl.cli import bundle, completing
from hpcdl.cli.delivery import FormOption, OutOption, OutputOption, deliver, plan_delivery
from hpcdl.cli.forms import note_asking
from hpcdl.cli.look import JsonOption, SiteOption, StoresOption  # noqa: TC001 (Typer reads the annotations)

SHOW = "show"


class Verbs(TyperGroup):
    """`hpcdl report` with runs, or with nothing, shows; what is a verb of its own is one."""

    # Any: newer versions of Typer carry a Click of their own, so that its Context has two homes.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put in the verb that nobody types."""
        said = args if args and args[0] in self.commands else [SHOW, *args]
        parsed: list[str] = super().parse_args(ctx, said)
        return parsed


class Unnamed(TyperCommand):
    """The verb that nobody types, and nobody need read."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """As if it were the group itself."""
        if parent is None:
            return super().make_context(info_name, args, parent=parent, **extra)
        return super().make_context(parent.info_name, args, parent=parent.parent, **extra)


app = typer.Typer(
    cls=Verbs,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def report() -> None:
    """The report of one run, or of several together."""


app.command("bundle")(bundle.bundle)
app.command("verify")(bundle.verify)


@app.command(SHOW, cls=Unnamed, epilog="Also: hpcdl report bundle RUNS, and hpcdl report verify BUNDLE.")
def show(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Runs by id, Slurm job id, tag, benchmark or folder; without any, the last one.",
            metavar="RUNS",
            autocompletion=completing.runs,
        ),
    ] = None,
    *,
    kind: Annotated[
        str,
        typer.Option("--kind", help="run, scaling, power, cost, cpu-gpu, comm or all; several with commas."),
    ] = "all",
    form: FormOption = None,
    out: OutOption = None,
    output: OutputOption = None,
    table: Annotated[
        str | None, typer.Option("--table", help="With csv: which table, by its key.", metavar="KEY")
    ] = None,
    where: Annotated[
        str | None, typer.Option("--where", help="Runs by a query: \"model='alexnet' and nodes>1\".")
    ] = None,
    site: SiteOption = None,
    boundary: Annotated[
        str | None, typer.Option("--boundary", help="With costs: device, node or facility.")
    ] = None,
    accuracy: Annotated[
        str | None, typer.Option("--accuracy", help="CPU against GPU: to this accuracy, such as 98%.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Show what is withheld, marked as such.")] = False,
    store: StoresOption = None,
    as_json: JsonOption = False,
) -> None:
    """The report of one run, or of several together: throughput, scaling, power, cost, and what is withheld and why."""
    from hpcdl import report as reports
    from hpcdl.cli.look import Executors, choose_runs, open_stores
    from hpcdl.cli.pricing import read_accuracy, read_pricing
    from hpcdl.report import kinds

    delivery = plan_delivery(form, out, output, as_json=as_json, table=table)
    wanted = kinds.read_kinds(kind)
    _refuse_two_choices(runs, where)
    executors = Executors()
    pricing, reached = read_pricing(site), read_accuracy(accuracy)
    content = reports.build(
        choose_runs(open_stores(store), runs, where, ask=executors),
        force=force,
        pictured=delivery.pictured,
        costs="cost" in wanted,
        pricing=pricing,
        boundary=boundary,
        accuracy=reached,
        asking=note_asking(
            runs,
            where,
            {
                "--kind": kind if wanted else None,
                "--site": site,
                "--boundary": boundary,
                "--accuracy": accuracy,
            },
            [*(word for name in store or () for word in ("--store", name)), *(["--force"] if force else [])],
        ),
    )
    deliver(kinds.select(content, wanted), delivery)
    executors.tell()


def _refuse_two_choices(runs: list[str] | None, where: str | None) -> None:
    from hpcdl.errors import Mistake

    if runs and where is not None:
        raise Mistake("runs are chosen by name or by --where, not by both.", do="Leave one of them out.")
