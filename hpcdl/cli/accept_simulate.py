"""`hpcdl accept simulate`: what an acceptance of a fleet would find, before anybody has one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hpcdl.cli.delivery import FormOption, OutOption, OutputOption, deliver, plan_delivery

if TYPE_CHECKING:
    from hpcdl.acceptance.simulation import Study, Tally

PARTS = "Standard deviation, as a part of the speed: "
# Option -> the field that it sets, by which a wrong one is named.
FLAGS = {
    "asked.nodes": "--nodes",
    "bad": "--bad",
    "losses": "--loss",
    "asked.line": "--at-least",
    "asked.repeats": "--repeats",
    "asked.reruns": "--reruns",
    "asked.false_alarms": "--false-alarms",
    "asked.scatter.noise": "--noise",
    "asked.scatter.between": "--between",
    "asked.scatter.spread": "--spread",
    "asked.scatter.drift": "--drift",
    "asked.scatter.tails": "--tails",
    "asked.trials": "--fleets",
    "asked.seed": "--seed",
}


def simulate(
    *,
    nodes: Annotated[int, typer.Option("--nodes", help="Of each fleet.")] = 1000,
    bad: Annotated[
        str, typer.Option("--bad", help="How many of them are slow; several with commas.", metavar="N,…")
    ] = "0,1,5,20",
    loss: Annotated[
        str, typer.Option("--loss", help="By how much; several with commas.", metavar="PART,…")
    ] = "5%,10%,20%",
    at_least: Annotated[
        str, typer.Option("--at-least", help="The line, of the fleet's median.", metavar="PART")
    ] = "95%",
    repeats: Annotated[int, typer.Option("--repeats", help="Of a measurement in one job.")] = 3,
    reruns: Annotated[int, typer.Option("--reruns", help="Further jobs at most.")] = 2,
    confirm: Annotated[
        bool, typer.Option("--confirm/--no-confirm", help="Whether a failure takes two jobs.")
    ] = True,
    false_alarms: Annotated[
        float, typer.Option("--false-alarms", help="On average in a healthy fleet, at most.")
    ] = 0.05,
    noise: Annotated[str, typer.Option("--noise", help=f"{PARTS}repeats.", metavar="PART")] = "1.5%",
    between: Annotated[
        str, typer.Option("--between", help=f"{PARTS}a node from job to job.", metavar="PART")
    ] = "0.5%",
    spread: Annotated[str, typer.Option("--spread", help=f"{PARTS}healthy nodes.", metavar="PART")] = "1%",
    drift: Annotated[
        str, typer.Option("--drift", help=f"{PARTS}all nodes from job to job.", metavar="PART")
    ] = "2%",
    tails: Annotated[
        float, typer.Option("--tails", help="Degrees of freedom of the repeats' Student's t; 1000: normal.")
    ] = 4.0,
    fleets: Annotated[int, typer.Option("--fleets", help="Of each kind.")] = 200,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same numbers.")] = 20261122,
    form: FormOption = None,
    out: OutOption = None,
    output: OutputOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
) -> None:
    """Simulated fleets: how many bad nodes an acceptance finds, and how many good ones it accuses."""
    from hpcdl.acceptance.sweep import sweep_line
    from hpcdl.report.acceptance_power import describe_power

    delivery = plan_delivery(form, out, output, as_json=as_json)
    scatter = {"noise": noise, "between": between, "spread": spread, "drift": drift, "tails": tails}
    asked = {
        "nodes": nodes,
        "repeats": repeats,
        "line": at_least,
        "reruns": reruns,
        "confirm": confirm,
        "false_alarms": false_alarms,
        "scatter": scatter,
        "trials": fleets,
        "seed": seed,
    }
    study = _read_study({"asked": asked, "bad": _split(bad), "losses": _split(loss)})
    tallies = _count(study)
    deliver(describe_power(study, tallies, dict(sweep_line(study))), delivery)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _read_study(table: object) -> Study:
    from hpcdl.acceptance.simulation import Study
    from hpcdl.frozen import parse

    return parse(Study, table, where="accept simulate", flags=FLAGS)


def _count(study: Study) -> list[Tally]:
    """One kind of fleet after the other, told on stderr: it takes a while."""
    from hpcdl.acceptance.simulation import simulate_all
    from hpcdl.cli import screen

    tallies = []
    for tally in simulate_all(study):
        tallies.append(tally)
        told = f"{tally.planted.bad} bad, {100 * tally.planted.loss:g} % slower"
        screen.talk.print(f"simulated {tally.fleets} fleets: {told}")
    return tallies
