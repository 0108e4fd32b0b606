"""`hpcdl compare` and `hpcdl predict`: conclusions from runs that have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hpcdl.cli import completing
from hpcdl.cli.look import JsonOption, StoreOption, analyse, open_store

if TYPE_CHECKING:
    from hpcdl.analysis.comparison import Comparison, Difference

SLOWER = 1


def compare(
    first: Annotated[
        str, typer.Argument(help="The run to compare with.", metavar="A", autocompletion=completing.runs)
    ],
    second: Annotated[
        str, typer.Argument(help="The run that is judged.", metavar="B", autocompletion=completing.runs)
    ],
    *,
    fail_slower: Annotated[
        str | None,
        typer.Option(
            "--fail-slower", help="Exit with 1 if B is slower by more than this, or may be.", metavar="3%"
        ),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="terminal, markdown or json.")] = "terminal",
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Is B faster than A, slower, or is no difference seen? And what differs around them."""
    from hpcdl.analysis.comparison import compare as compare_runs
    from hpcdl.cli import screen
    from hpcdl.report.comparing import describe_comparison

    limit = None if fail_slower is None else _read_limit(fail_slower)
    place = open_store(store)
    comparison = compare_runs(analyse(place.find(first)), analyse(place.find(second)))
    screen.show(describe_comparison(comparison), form, as_json=as_json)
    if limit is not None:
        _apply(comparison, limit)


def _apply(comparison: Comparison, limit: float) -> None:
    """A difference that is seen, and larger than allowed, fails; so does one that cannot be told."""
    from hpcdl.errors import Failure
    from hpcdl.records import Missing
    from hpcdl.report.wording import name_size

    for one in comparison.differences:
        if isinstance(one.change, Missing):
            continue
        if one.verdict == "slower" and one.change.value < -limit:
            raise typer.Exit(SLOWER)
    for one in comparison.differences:
        _refuse_untold(one, limit)
    if comparison.only_first:
        gone = comparison.only_first[0]
        raise Failure(
            f"whether it is slower on {name_size(gone.nodes, gone.ranks)} cannot be told: it was not measured there."
        )


def _refuse_untold(one: Difference, limit: float) -> None:
    """That it is not slower by more is said only where the whole interval says so."""
    from hpcdl.errors import Failure
    from hpcdl.records import Missing
    from hpcdl.report.wording import name_size

    change = one.change
    if isinstance(change, Missing):
        raise Failure(f"whether it is slower cannot be told: {change.missing}.")
    if change.low < -limit:
        raise Failure(
            f"whether it is slower by more than {100 * limit:g} % cannot be told: on "
            f"{name_size(one.nodes, one.ranks)} the change is from {100 * change.low:+.1f} to "
            f"{100 * change.high:+.1f} %.",
            do="Repeat both runs more often: --repeat 5.",
        )


def _read_limit(text: str) -> float:
    from hpcdl.errors import Mistake
    from hpcdl.spec import read_fraction

    value = read_fraction(text)
    try:
        limit = float(value) if isinstance(value, str | float) else -1.0
    except ValueError:
        limit = -1.0
    if not 0 <= limit < 1:
        raise Mistake(f"--fail-slower {text}: a part of the whole is needed.", do="Write --fail-slower 3%.")
    return limit


def predict(
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="Runs of a sweep; without any, the last one.", autocompletion=completing.runs),
    ] = None,
    *,
    nodes: Annotated[str, typer.Option("--nodes", help="Sizes to look at.", metavar="N[,N…]")],
    force: Annotated[bool, typer.Option("--force", help="Show what is withheld, marked as such.")] = False,
    form: Annotated[str, typer.Option("--format", help="terminal, markdown or json.")] = "terminal",
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw the scaling curve on to other sizes, from what was measured."""
    from hpcdl.analysis.prediction import predict_tables
    from hpcdl.analysis.scaling import compare_sizes
    from hpcdl.cli import screen
    from hpcdl.cli.flags import read_counts
    from hpcdl.errors import Mistake
    from hpcdl.report.comparing import describe_predictions

    wanted = read_counts(nodes, "--nodes")
    place = open_store(store)
    study = compare_sizes([analyse(place.find(run)) for run in runs or ["last"]], force=force)
    if not study.tables:
        raise Mistake(
            "there is no sweep here to draw on: one question at two sizes at least.",
            do="Measure one: hpcdl submit scaling --nodes 1,2,4.",
        )
    predictions, refusals = predict_tables(study.tables, wanted)
    report = describe_predictions(predictions, force=force, refusals=refusals)
    screen.show(report, form, as_json=as_json)
