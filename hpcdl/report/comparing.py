"""What `hpcdl compare` and `hpcdl predict` show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.analysis.readings import withhold
from hpcdl.records import Missing
from hpcdl.report.content import Column, Fact, Note, Quantity, Report, Table
from hpcdl.report.force import reveal
from hpcdl.report.laws import caption_law
from hpcdl.report.sections import make_half_width, make_rate
from hpcdl.report.wording import join, name_engine, name_question, name_runs, name_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.comparison import Comparison, Difference, Subject
    from hpcdl.analysis.prediction import Forecast, Prediction, Refusal
    from hpcdl.estimates.intervals import Interval
    from hpcdl.report.content import Cell


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
        Column(
            "engine", "engine", left=True, hidden=all(one.engine is None for one in comparison.differences)
        ),
        Column("first", first.short_id),
        Column("first_interval", "interval"),
        Column("second", second.short_id),
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
        one.engine,
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
    sides = ((comparison.first, comparison.only_first), (comparison.second, comparison.only_second))
    for run, alone in sides:
        if alone:
            named = join(_name_subject(one) for one in alone)
            notes.append(Note("info", f"only {run.run_id} has {named}: not compared"))
    return notes


def _name_subject(one: Subject) -> str:
    """'2 ranks on 2 nodes', '2 ranks on 2 nodes (resident, DDP)'."""
    size = name_size(one.nodes, one.ranks)
    variant = "" if one.variant == "full" else one.variant
    details = [part for part in (variant, name_engine(one.engine or "", "")) if part]
    return f"{size} ({', '.join(details)})" if details else size


def describe_predictions(
    predictions: Sequence[Prediction], *, force: bool, refusals: Sequence[Refusal] = ()
) -> Report:
    """The curves drawn on, one table for each scaling table, and why others are not."""
    report = Report(
        kind="prediction",
        title="Throughput at other sizes, from what was measured",
        badges=("REHEARSAL",) if any(one.scaling.rehearsal for one in predictions) else (),
        sections=tuple(_make_prediction_table(one) for one in predictions),
        notes=(
            Note("info", "a prediction is no measurement: it knows nothing of what a larger machine adds"),
            *(Note("warning", f"{name_question(one.scaling.question)}: {one.reason}") for one in refusals),
        ),
    )
    return reveal(report) if force else report


def _make_prediction_table(prediction: Prediction) -> Table:
    fit, withheld = prediction.fit, prediction.withheld
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
        Fact("rate", "X(1)", Quantity(withhold(fit.rate, withheld), "images/s")),
        Fact("serial", "s", Quantity(withhold(fit.serial, withheld), "number")),
        Fact("crosstalk", "k", Quantity(withhold(fit.crosstalk, withheld), "number")),
        Fact("misfit", "largest error of the fit", Quantity(withhold(fit.misfit, withheld), "fraction")),
        Fact("sizes", "sizes fitted", prediction.sizes),
    )
    title = name_question(prediction.scaling.question)
    return Table("predictions", title, columns, rows, facts, (caption_law(prediction),), many=True)


def _make_forecast_row(one: Forecast) -> tuple[Cell, ...]:
    return (
        one.nodes,
        one.ranks,
        make_rate(one.images_per_s, one.interval),
        make_half_width(one.interval),
        Quantity(one.efficiency, "fraction"),
        None if isinstance(one.measured, Missing) else Quantity(one.measured, "images/s"),
    )
