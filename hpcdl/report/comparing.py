"""What `hpcdl compare` and `hpcdl predict` show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.records import Missing
from hpcdl.report.content import Column, Fact, Note, Quantity, Report, Table
from hpcdl.report.force import reveal
from hpcdl.report.sections import make_half_width, make_rate
from hpcdl.report.wording import name_question, name_runs, name_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.comparison import Comparison, Difference
    from hpcdl.analysis.prediction import Forecast, Prediction
    from hpcdl.estimates.intervals import Interval
    from hpcdl.report.content import Cell

LAWS = {
    "amdahl": "Amdahl's form, X(N) = X(1) N / (1 + s (N - 1))",
    "usl": "the Universal Scalability Law, X(N) = X(1) N / (1 + s (N - 1) + k N (N - 1))",
}


def describe_comparison(comparison: Comparison) -> Report:
    """The second run against the first, size by size, and what differs around them."""
    first, second = comparison.first, comparison.second
    columns = (
        Column("size", "on", left=True),
        Column(
            "variant",
            "variant",
            left=True,
            hidden=all(one.variant == "full" for one in comparison.differences),
        ),
        Column("first", first.run_id.rpartition("-")[2]),
        Column("first_interval", "interval"),
        Column("second", second.run_id.rpartition("-")[2]),
        Column("second_interval", "interval"),
        Column("change", "change"),
        Column("change_interval", "its interval", left=True),
        Column("p_value", "p", rank=1),
        Column("verdict", "the second is", left=True),
        Column("basis", "tested over", left=True, rank=2),
    )
    rows = tuple(_make_difference_row(one) for one in comparison.differences)
    caption = "images/s; p: Mann and Whitney's U test, two-sided; intervals are of 95 %"
    sections = [Table("differences", "Differences", columns, rows, captions=(caption,))]
    if comparison.facts:
        sections.append(
            Table(
                "facts",
                "What differs around them",
                (
                    Column("fact", "fact", left=True),
                    Column("first", "first", left=True),
                    Column("second", "second", left=True),
                ),
                comparison.facts,
            )
        )
    return Report(
        kind="comparison",
        title=f"{second.run_id} against {first.run_id} · {name_runs([first])}",
        badges=("REHEARSAL",) if first.rehearsal or second.rehearsal else (),
        sections=tuple(sections),
        notes=tuple(_note_comparison(comparison)),
        more=(f"each of them: hpcdl report {first.run_id} {second.run_id}",),
    )


def _make_difference_row(one: Difference) -> tuple[Cell, ...]:
    return (
        name_size(one.nodes, one.ranks),
        one.variant,
        *_show_rate(one.first),
        *_show_rate(one.second),
        _show_change(one.change),
        _name_ends(one.change),
        None if one.p_value is None else Quantity(one.p_value, "p"),
        one.verdict or "not compared",
        one.basis,
    )


def _show_rate(rate: Interval | Missing) -> tuple[Cell, Cell]:
    if isinstance(rate, Missing):
        return (Quantity(rate, "images/s"), None)
    return (make_rate(rate.value, rate), make_half_width(rate))


def _show_change(change: Interval | Missing) -> Quantity:
    if isinstance(change, Missing):
        return Quantity(change, "change")
    return Quantity(change.value, "change", low=change.low, high=change.high)


def _name_ends(change: Interval | Missing) -> str | None:
    return None if isinstance(change, Missing) else f"{100 * change.low:+.1f} to {100 * change.high:+.1f} %"


def _note_comparison(comparison: Comparison) -> Sequence[Note]:
    notes = []
    if any(one.basis == "steps" and one.verdict for one in comparison.differences):
        text = (
            "tested over the steps of single launches: what differs from one start to the next is not in it; "
            "--repeat 5 on both sides is the honest way"
        )
        notes.append(Note("warning", text))
    return notes


def describe_predictions(predictions: Sequence[Prediction], *, force: bool) -> Report:
    """The curves drawn on, one table for each scaling table."""
    report = Report(
        kind="prediction",
        title="Throughput at other sizes, from what was measured",
        badges=("REHEARSAL",) if any(one.scaling.rehearsal for one in predictions) else (),
        sections=tuple(_make_prediction_table(one) for one in predictions),
        notes=(
            Note("info", "a prediction is no measurement: it knows nothing of what a larger machine adds"),
        ),
    )
    return reveal(report) if force else report


def _make_prediction_table(prediction: Prediction) -> Table:
    fit = prediction.fit
    columns = (
        Column("nodes", "nodes"),
        Column("ranks", "ranks"),
        Column("images_per_s", "images/s"),
        Column("interval", "interval"),
        Column("efficiency", "efficiency"),
        Column("measured", "measured"),
    )
    rows = tuple(_make_forecast_row(one) for one in prediction.forecasts)
    facts = (
        Fact("law", "law", fit.law),
        Fact("rate", "X(1)", Quantity(fit.rate, "images/s")),
        Fact("serial", "s", Quantity(fit.serial, "number")),
        Fact("crosstalk", "k", Quantity(fit.crosstalk, "number")),
        Fact("misfit", "largest error of the fit", Quantity(fit.misfit, "fraction")),
        Fact("sizes", "sizes fitted", prediction.sizes),
    )
    k = f", k = {fit.crosstalk:.2g}" if fit.law == "usl" else ""
    caption = (
        f"{LAWS[fit.law]}, fitted to {prediction.sizes} sizes: s = {fit.serial:.3g}{k}; "
        f"wrong by at most {100 * fit.misfit:.1f} % where it was measured"
    )
    title = name_question(prediction.scaling.question)
    return Table("predictions", title, columns, rows, facts, (caption,), many=True)


def _make_forecast_row(one: Forecast) -> tuple[Cell, ...]:
    return (
        one.nodes,
        one.ranks,
        make_rate(one.images_per_s, one.interval),
        make_half_width(one.interval),
        Quantity(one.efficiency, "fraction"),
        None if isinstance(one.measured, Missing) else Quantity(one.measured, "images/s"),
    )
