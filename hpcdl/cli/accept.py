"""`hpcdl accept …`: test a cluster's nodes, name what is bad, and sign the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hpcdl.cli import accept_run, accept_simulate, certificate, completing
from hpcdl.cli.look import JsonOption, StoreOption  # noqa: TC001 (Typer reads the annotations)

if TYPE_CHECKING:
    from hpcdl.acceptance.suite import Suite

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(accept_run.run)
app.command("resume")(accept_run.resume)
app.command("report")(certificate.report)
app.command("verify")(certificate.verify)
app.command("simulate")(accept_simulate.simulate)

AcceptArgument = Annotated[
    str, typer.Argument(help="Its id, the end of that, or last.", metavar="ACCEPTANCE")
]
NODES_OF_EXAMPLE = 4


@app.command("list")
def list_all(*, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """The acceptances of the store, newest last."""
    from hpcdl.acceptance.folder import list_acceptances
    from hpcdl.cli import screen
    from hpcdl.cli.look import open_store
    from hpcdl.report import acceptance_lists

    screen.show(acceptance_lists.list_acceptances(list_acceptances(open_store(store).root)), as_json=as_json)


@app.command()
def suites(
    suite: Annotated[
        str | None,
        typer.Argument(
            help="Only this one, with all that it requires.",
            metavar="[SUITE]",
            autocompletion=completing.suites,
        ),
    ] = None,
    *,
    metrics: Annotated[bool, typer.Option("--metrics", help="What a suite of your own can require.")] = False,
    as_json: JsonOption = False,
) -> None:
    """The built-in suites: what they test, how long that takes, what they require."""
    from hpcdl.acceptance.suite import find_suite, load, shipped_suites
    from hpcdl.cli import screen
    from hpcdl.report import acceptance_lists

    if metrics:
        screen.show(acceptance_lists.list_metrics(), as_json=as_json)
        return
    if suite is not None:
        screen.show(acceptance_lists.describe_suite(load(find_suite(suite))), as_json=as_json)
        return
    shipped = {name: load(path) for name, path in shipped_suites().items()}
    minutes = {name: _estimate_minutes(one) for name, one in shipped.items()}
    screen.show(acceptance_lists.list_suites(shipped, minutes), as_json=as_json)


def _estimate_minutes(suite: Suite) -> int:
    """The walltime that it would ask for on four nodes like this machine."""
    import os

    from hpcdl.acceptance.planning import list_tests, plan_launches
    from hpcdl.acceptance.rounds import Ground, Round
    from hpcdl.site import Site
    from hpcdl.walltime import estimate_walltime_s

    ground = Ground(Site(), os.cpu_count() or 1, "srun")
    wanted = Round("first", list_tests(suite, NODES_OF_EXAMPLE), NODES_OF_EXAMPLE)
    return estimate_walltime_s(plan_launches(suite, wanted, ground), seen_step_s=None) // 60


@app.command()
def suspects(
    acceptance: AcceptArgument = "last",
    *,
    drain: Annotated[
        bool, typer.Option("--slurm", help="The lines that would take them out of service; nothing is run.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Who is at fault, and what is known of it."""
    from hpcdl.acceptance.culprits import drain_lines
    from hpcdl.acceptance.finding import find_acceptance
    from hpcdl.cli import screen
    from hpcdl.cli.look import open_store
    from hpcdl.report.acceptance_lists import list_suspects

    folder = find_acceptance(acceptance, open_store(store).root)
    verdict = accept_run.look_again(folder)
    if drain and not as_json:
        if not verdict.culprits:
            word = "" if verdict.outcome == "pass" else f", and {folder.accept_id} has not passed"
            screen.talk.print(f"nobody is named{word}: there is nobody to drain", soft_wrap=True)
        for line in drain_lines(verdict.culprits):
            print(line)
        return
    screen.show(list_suspects(verdict, folder.accept_id), as_json=as_json)
