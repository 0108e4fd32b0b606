"""The command line: one module for each group of verbs."""

from __future__ import annotations

from typing import Annotated

import typer

from hpcdl.cli import (
    accept,
    baseline,
    completion,
    data,
    doctor,
    estimate,
    history,
    judge,
    listing,
    look,
    manual,
    models,
    power,
    probe,
    published,
    report,
    site,
    start,
    tune,
)
from hpcdl.cli.later import Later

app = typer.Typer(
    name="hpcdl",
    help="Deep-learning benchmarks for clusters: how fast does it train, how well does it scale.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 (Typer calls it so)
    if wanted:
        import hpcdl

        print(f"hpcdl {hpcdl.__version__}")
        raise typer.Exit


@app.callback()
def hpcdl(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Measure a cluster by training on it."""


app.command("submit", rich_help_panel="Measure")(start.submit)
app.command("run", rich_help_panel="Measure")(start.run)
app.command("tune", rich_help_panel="Measure")(tune.tune)
app.command("probe", rich_help_panel="Measure")(probe.probe)
app.add_typer(
    Later(accept.app),
    name="accept",
    rich_help_panel="Measure",
    help="Accept a cluster: test its nodes, name the bad ones, certify.",
)
app.add_typer(
    Later(baseline.app),
    name="baseline",
    rich_help_panel="Know",
    help="What accepted hardware did, for later fleets and weeks.",
)
app.command("list", rich_help_panel="Look")(listing.list_runs)
app.command("status", rich_help_panel="Look")(look.status)
app.command("logs", rich_help_panel="Look")(look.logs)
app.add_typer(
    report.app, name="report", rich_help_panel="Look", help="The report of runs; bundles of reports."
)
app.command("compare", rich_help_panel="Conclude")(judge.compare)
app.command("predict", rich_help_panel="Conclude")(judge.predict)
app.command("history", rich_help_panel="Conclude")(history.history)
app.add_typer(
    Later(estimate.app),
    name="estimate",
    rich_help_panel="Conclude",
    help="What follows from measurements: equivalent systems, time to train.",
)
app.command("cancel", rich_help_panel="Measure")(look.cancel)
app.command("models", rich_help_panel="Know")(models.models)
app.command("published", rich_help_panel="Know")(published.published)
app.command("doctor", rich_help_panel="Know")(doctor.doctor)
app.command("completion", rich_help_panel="Know")(completion.completion)
app.add_typer(
    Later(data.app),
    name="data",
    rich_help_panel="Know",
    help="Training data: made, verified, averaged, timed.",
)
app.add_typer(
    Later(site.app),
    name="site",
    rich_help_panel="Know",
    help="The site file: written from what Slurm tells, shown, proven.",
)
app.add_typer(
    Later(power.app),
    name="power",
    rich_help_panel="Know",
    help="Power: what can be metered, now and of any command.",
)

manual.attach(app)
