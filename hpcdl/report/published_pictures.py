"""Published figures as pictures: their own speed-up, and beside what was measured here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.analysis.published import published_rates, work_out
from hpcdl.analysis.scaling import tabulate_sizes
from hpcdl.errors import UnknownName
from hpcdl.records import Missing
from hpcdl.report.pictures import Axis, Bars, Dot, Lines, Picture, Series
from hpcdl.report.wording import join, name_model, name_runs, name_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.scaling import Point, Scaling
    from hpcdl.references import Reference
    from hpcdl.references import Series as PublishedSeries
    from hpcdl.report.pictures import Role


def make_speed_up_picture(reference: Reference, scaling: Sequence[PublishedSeries]) -> Picture | None:
    """Speed-up of published series over their devices, beside the ideal; None where no speed-up is known."""
    names = _shorten([series.label for series in scaling])
    placed = [(name, _place_gains(series)) for name, series in zip(names, scaling, strict=True)]
    drawn = [Series(label, "published", dots) for label, dots in placed if dots]
    if not drawn:
        return None
    furthest = max(dot.x for series in drawn for dot in series.dots)
    ideal = Series("ideal", "ideal", (Dot(1.0, 1.0), Dot(furthest, furthest)))
    last = [max(series.dots, key=lambda dot: dot.x) for series in drawn]
    told = "; ".join(
        f"{series.name}: {dot.y:.2f} at {dot.x:g} times the base"
        for series, dot in zip(drawn, last, strict=True)
    )
    return Picture(
        key=f"published-{reference.name}-speed-up",
        title=f"Speed-up: {reference.title}",
        subtitle=f"as published, not measured here: {reference.source.text}",
        alt=f"Lines of speed-up over devices, beside the ideal. {told}.",
        form=Lines(
            Axis("devices over those of the base", "ratio"), Axis("speed-up", "ratio"), (ideal, *drawn)
        ),
        caption=f"leaves out: {reference.conditions.leaves_out}",
    )


def _shorten(labels: Sequence[str]) -> list[str]:
    """What tells them apart: the title says what they have in common; of one alone, how its label begins."""
    parts = [label.split(", ") for label in labels]
    shared = (
        set(parts[0]).intersection(*parts[1:])
        if len(parts) > 1
        else {part for one in parts for part in one[1:]}
    )
    return [", ".join(part for part in one if part not in shared) or one[0] for one in parts]


def _place_gains(series: PublishedSeries) -> tuple[Dot, ...]:
    gains = [point.gain for point in work_out(series) if point.gain is not None]
    return tuple(
        Dot(gain.relative, gain.speed_up)
        for gain in gains
        if not isinstance(gain.speed_up, Missing) and not isinstance(gain.relative, Missing)
    )


def make_published_picture(results: Sequence[RunResult]) -> Picture | None:
    """What was measured beside what others have published of the very same network; None where nobody has.

    Args:
        results: Runs of one network; of several, those of the first that has published figures are drawn.
    """
    tables = tabulate_sizes(results)
    for model in dict.fromkeys(table.question.work.model for table in tables):
        try:
            rates = published_rates(model)
        except UnknownName:
            continue
        yours = [bar for table in tables if table.question.work.model == model for bar in _name_bars(table)]
        if rates and yours:
            theirs: list[tuple[str, Role, Dot]] = [
                (rate.label, "published", Dot(0, rate.images_per_s)) for rate in rates
            ]
            return _draw_bars(model, results, [*yours, *theirs], [rate.conditions for rate in rates])
    return None


def _name_bars(table: Scaling) -> list[tuple[str, Role, Dot]]:
    """'you: 4 ranks on 2 nodes', for each size that has a throughput."""
    train = table.question.work
    return [
        (
            f"you: {name_size(point.nodes, point.ranks)}, {train.dtype}, {table.question.batch.text}",
            "measured",
            Dot(0, point.images_per_s, *_find_ends(point)),
        )
        for point in table.points
        if not isinstance(point.images_per_s, Missing)
    ]


def _find_ends(point: Point) -> tuple[float | None, float | None]:
    return (None, None) if point.interval is None else (point.interval.low, point.interval.high)


def _draw_bars(
    model: str, results: Sequence[RunResult], bars: Sequence[tuple[str, Role, Dot]], told: Sequence[str]
) -> Picture:
    marks = ["REHEARSAL"] if any(result.rehearsal for result in results) else []
    heights = "; ".join(f"{label}: {dot.y:,.0f} images/s ({role})" for label, role, dot in bars)
    return Picture(
        key="published",
        beside="launches",
        title=f"{name_model(model)}: measured, and as others have published it",
        subtitle=" · ".join([*marks, name_runs(results), "published: other machines, other conditions"]),
        alt=f"Bars of images/s. {heights}.",
        form=Bars(Axis("images/s", "images/s"), tuple(bars)),
        caption="published: " + join(told),
    )
