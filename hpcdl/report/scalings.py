"""The scaling table: sizes of one question, with what was to be expected of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.records import Missing
from hpcdl.report.content import Cell, Column, Fact, Quantity, Span, Table
from hpcdl.report.laws import caption_knee, caption_law, tell_law
from hpcdl.report.sections import make_half_width, make_rate
from hpcdl.report.wording import caption_scaling, name_question, name_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hpcdl.analysis.expectation import Outlook
    from hpcdl.analysis.prediction import Prediction
    from hpcdl.analysis.scaling import Point, Scaling


def make_scaling_table(
    scaling: Scaling,
    outlooks: Mapping[tuple[int, int], Outlook],
    law: Prediction | None,
    *,
    titled: bool,
) -> Table:
    """One row for each size of one question; `outlooks` are what a probe lets expect, by (ranks, nodes)."""
    repeated = any(point.planned > 1 for point in scaling.points)
    mark = "rehearsal" if scaling.forced else ""
    bounded = any(not isinstance(point.karp_flatt, Missing) for point in scaling.points)
    columns = (
        Column("nodes", "nodes"),
        Column("ranks", "ranks"),
        Column("counted", "launches", rank=2, hidden=not repeated),
        Column("images_per_s", "images/s", listed="throughput"),
        Column("interval", "interval", listed="95 % interval"),
        Column("range", "range", rank=2, hidden=not repeated),
        Column("step_s", "mean step", rank=3),
        Column("speed_up", "speed-up"),
        Column("efficiency", "efficiency"),
        Column("efficiency_interval", "its interval", rank=1, hidden=not bounded),
        Column("expected_efficiency", "expected", hidden=not outlooks),
        Column("expected_step_s", "expected step", rank=3, hidden=not outlooks),
        Column("explanation", "explanation", left=True, hidden=True),
        Column("karp_flatt", "Karp-Flatt", rank=2, hidden=not bounded),
        Column("relative", "N", hidden=True),
        Column("completed", "completed", hidden=True),
        Column("planned", "planned", hidden=True),
    )
    question = scaling.question
    means = question.means
    title = f"Scaling: {name_question(question)}" if titled else f"Scaling: {question.batch.text}"
    facts = (
        Fact("model", "model", question.work.model),
        Fact("mode", "mode", question.batch.mode),
        Fact("held_batch", "held batch", question.batch.held),
        Fact("engine", "engine", means.engine if means else None),
        Fact("transport", "transport", means.transport if means else None),
        Fact("base_nodes", "base nodes", scaling.base.nodes),
        Fact("base_ranks", "base ranks", scaling.base.ranks),
        Fact("base_images_per_s", "base images/s", Quantity(scaling.base.images_per_s, "images/s")),
        Fact("base_bracketed", "base bracketed", scaling.bracketed),
        Fact("base_drift", "base drift", Quantity(scaling.drift, "fraction")),
        Fact("runs", "runs", scaling.runs),
        Fact("rehearsal", "rehearsal", scaling.rehearsal),
    )
    rows = tuple(
        _make_point_row(point, outlooks.get((point.ranks, point.nodes)), mark) for point in scaling.points
    )
    captions = (*caption_scaling(scaling), *_caption_outlooks(outlooks), *_caption_law(law))
    return Table("scaling", title, columns, rows, (*facts, *tell_law(law)), captions, many=True)


def _caption_law(law: Prediction | None) -> Iterator[str]:
    if law is not None and not law.withheld:
        yield caption_law(law)
        yield from caption_knee(law)


def _caption_outlooks(outlooks: Mapping[tuple[int, int], Outlook]) -> Iterator[str]:
    if outlooks:
        yield "expected: from one rank's step, the order in which gradients become ready, and the probe of this job"
    for outlook in outlooks.values():
        if outlook.explanation:
            yield f"{name_size(outlook.nodes, outlook.ranks)}: {outlook.explanation}"


def _make_point_row(point: Point, outlook: Outlook | None, mark: str) -> tuple[Cell, ...]:
    launches = str(point.count) if point.count == point.planned else f"{point.count} of {point.planned}"
    return (
        point.nodes,
        point.ranks,
        launches,
        make_rate(point.images_per_s, point.interval),
        make_half_width(point.interval),
        Span(Quantity(point.lowest, "images/s"), Quantity(point.highest, "images/s")),
        Quantity(point.step_s, "s"),
        Quantity(point.speed_up, "ratio", mark),
        _make_efficiency(point, mark),
        None
        if point.efficiency_interval is None
        else Quantity(point.efficiency_interval.half_width, "half-width"),
        None if outlook is None else Quantity(outlook.efficiency, "fraction", mark),
        None if outlook is None else Quantity(outlook.step_s, "s"),
        outlook.explanation if outlook else None,
        None if point.relative == 1 else Quantity(point.karp_flatt, "serial", mark),
        Quantity(point.relative, "ratio"),
        point.count,
        point.planned,
    )


def _make_efficiency(point: Point, mark: str) -> Quantity:
    bounds = point.efficiency_interval
    if bounds is None:
        return Quantity(point.efficiency, "fraction", mark)
    return Quantity(point.efficiency, "fraction", mark, low=bounds.low, high=bounds.high)
