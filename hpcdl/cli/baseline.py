"""`hpcdl baseline`: what accepted hardware did, kept for later fleets and later weeks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hpcdl.cli.look import JsonOption, StoreOption, open_store

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def baseline() -> None:
    """What accepted hardware did: made of acceptances that passed, and held against later ones."""


@app.command()
def make(
    acceptances: Annotated[
        list[str], typer.Argument(help="Acceptances that passed: ids, folders, or last.", metavar="ID…")
    ],
    *,
    out: Annotated[str, typer.Option("--out", "-o", help="The baseline's file.", metavar="FILE.toml")],
    outlier_mads: Annotated[
        float,
        typer.Option(
            "--outlier-mads",
            min=1,
            help="Leave out what is beyond so many scaled median absolute deviations.",
        ),
    ] = 5.0,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a baseline of acceptances that passed, for a person to review."""
    from datetime import UTC, datetime

    from hpcdl.acceptance.baseline_making import make_baseline
    from hpcdl.acceptance.baselines import write_baseline
    from hpcdl.acceptance.concluding import conclude
    from hpcdl.acceptance.finding import find_acceptance
    from hpcdl.cli import screen
    from hpcdl.durable import publish
    from hpcdl.errors import Failure, Mistake
    from hpcdl.report.references import describe_baseline

    path, root = Path(out).expanduser(), open_store(store).root
    if path.exists():
        raise Mistake(
            f"{out} is there already: a baseline that was reviewed is not written over.",
            do="Name a new file, and compare the two.",
        )
    found = [conclude(find_acceptance(text, root), final=True) for text in acceptances]
    made = make_baseline(found, threshold_mads=outlier_mads, now=datetime.now(UTC).replace(microsecond=0))
    try:
        publish(path, write_baseline(made))
    except Failure as problem:
        raise Mistake(problem.what, do="Name another place.") from None
    more = ("review it, then: hpcdl accept run SUITE --baseline " + out,)
    screen.show(describe_baseline(made, out, more), as_json=as_json)


@app.command()
def show(
    file: Annotated[str, typer.Argument(help="A baseline's file.", metavar="FILE.toml")],
    *,
    as_json: JsonOption = False,
) -> None:
    """What a baseline holds, what was left out of it, and what it is from."""
    from hpcdl.acceptance.baselines import read_baseline
    from hpcdl.cli import screen
    from hpcdl.report.references import describe_baseline

    screen.show(describe_baseline(read_baseline(Path(file).expanduser()), file), as_json=as_json)


@app.command()
def compare(
    file: Annotated[str, typer.Argument(help="A baseline's file.", metavar="FILE.toml")],
    acceptance: Annotated[
        str, typer.Argument(help="What is held against it: id, folder, or last.", metavar="[ID]")
    ] = "last",
    *,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """How far each node and GPU moved from what it did before, the farthest first."""
    from hpcdl.acceptance.baselines import read_baseline
    from hpcdl.acceptance.concluding import conclude
    from hpcdl.acceptance.drifts import find_drifts
    from hpcdl.acceptance.finding import find_acceptance
    from hpcdl.cli import screen
    from hpcdl.report.references import describe_drifts

    known = read_baseline(Path(file).expanduser())
    found = conclude(find_acceptance(acceptance, open_store(store).root), final=True)
    rehearsal = found.evidence.rehearsal or known.rehearsal
    drifts = find_drifts(known, found.evidence)
    screen.show(describe_drifts(drifts, file, found.asked.accept_id, rehearsal), as_json=as_json)
