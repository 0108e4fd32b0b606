"""Speed-up and efficiency over ranks, beside what would be ideal, what was expected, and what a law makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.records import Missing
from hpcdl.report.gallery.labels import mark, number
from hpcdl.report.pictures import Axis, Dot, Lines, Picture, Series
from hpcdl.report.wording import caption_scaling, join, name_question

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from hpcdl.analysis.expectation import Outlook
    from hpcdl.analysis.prediction import Prediction
    from hpcdl.analysis.scaling import Point, Scaling

# From here on ranks double rather than grow, and a straight axis would crowd the small sizes.
WIDE = 8


def draw_scaling(
    tables: Sequence[Scaling],
    outlooks: Sequence[Mapping[tuple[int, int], Outlook]],
    laws: Sequence[Prediction | None],
) -> Iterator[Picture]:
    """For each table speed-up and efficiency; only throughput, where a rehearsal withholds these."""
    for place, (scaling, expected, law) in enumerate(zip(tables, outlooks, laws, strict=True)):
        known = [point for point in scaling.points if not isinstance(point.speed_up, Missing)]
        name = {"place": place, "count": len(tables)}
        if len(known) > 1:
            yield _draw_speed_up(scaling, known, expected, law, key=number("speed-up", **name))
            yield _draw_efficiency(scaling, known, expected, number("efficiency", **name))
        elif sum(not isinstance(point.images_per_s, Missing) for point in scaling.points) > 1:
            yield _draw_throughput(scaling, number("throughput", **name))


def _span_ranks(points: Sequence[Point]) -> Axis:
    wide = points[-1].ranks >= WIDE * points[0].ranks
    return Axis("ranks", log=wide, zero=not wide, whole=True)


def _describe(scaling: Scaling) -> str:
    means = scaling.question.means
    hardware = join(means.hardware) if means else ""
    named = " · ".join(part for part in (name_question(scaling.question), hardware) if part)
    return mark(named, scaling.rehearsal)


def _measure(scaling: Scaling, dots: Iterable[Dot]) -> Series:
    name = "measured on one machine in disguise" if scaling.forced else "measured"
    return Series(name, "withheld" if scaling.forced else "measured", tuple(dots))


def _draw_speed_up(
    scaling: Scaling,
    points: Sequence[Point],
    expected: Mapping[tuple[int, int], Outlook],
    law: Prediction | None,
    *,
    key: str,
) -> Picture:
    series = [
        Series("ideal", "ideal", tuple(Dot(point.ranks, point.relative) for point in points)),
        _measure(scaling, map(_dot_of_speed_up, points)),
        *_draw_law(law, points),
        *_draw_expected(points, expected, times_n=True),
    ]
    last = points[-1]
    return Picture(
        key=key,
        title="Speed-up",
        subtitle=_describe(scaling),
        alt=f"Speed-up over ranks: {last.speed_up:.2f} at {last.ranks} ranks, where ideal is {last.relative:g}.",
        form=Lines(_span_ranks(points), Axis("speed-up", "ratio"), tuple(series)),
        caption=" · ".join(caption_scaling(scaling)),
    )


def _dot_of_speed_up(point: Point) -> Dot:
    bounds, value = point.efficiency_interval, point.speed_up
    assert not isinstance(value, Missing)  # noqa: S101 (chosen by draw_scaling)
    if bounds is None:
        return Dot(point.ranks, value)
    return Dot(point.ranks, value, bounds.low * point.relative, bounds.high * point.relative)


def _draw_efficiency(
    scaling: Scaling, points: Sequence[Point], expected: Mapping[tuple[int, int], Outlook], key: str
) -> Picture:
    series = [
        Series("ideal", "ideal", tuple(Dot(point.ranks, 1.0) for point in points)),
        _measure(scaling, map(_dot_of_efficiency, points)),
        *_draw_expected(points, expected, times_n=False),
    ]
    last = _dot_of_efficiency(points[-1])
    return Picture(
        key=key,
        title="Parallel efficiency",
        subtitle=_describe(scaling),
        alt=f"Efficiency over ranks: {100 * last.y:.0f} % at {last.x:g} ranks.",
        form=Lines(_span_ranks(points), Axis("efficiency", "fraction"), tuple(series)),
    )


def _dot_of_efficiency(point: Point) -> Dot:
    bounds, value = point.efficiency_interval, point.efficiency
    assert not isinstance(value, Missing)  # noqa: S101 (as speed-up is known)
    return Dot(point.ranks, value, *((bounds.low, bounds.high) if bounds else ()))


def _draw_law(prediction: Prediction | None, points: Sequence[Point]) -> Iterator[Series]:
    """The fitted law through the measured sizes; none where nothing fits."""
    if prediction is None:
        return
    base = prediction.fit.predict(1).value
    rates = [(one.ranks, prediction.fit.predict(one.relative)) for one in points]
    law = {"amdahl": "Amdahl's law", "usl": "scalability law"}[prediction.fit.law]
    dots = tuple(Dot(ranks, rate.value / base, rate.low / base, rate.high / base) for ranks, rate in rates)
    yield Series(f"fit, {law}", "predicted", dots)


def _draw_expected(
    points: Sequence[Point], expected: Mapping[tuple[int, int], Outlook], *, times_n: bool
) -> Iterator[Series]:
    dots = []
    for point in points:
        outlook = expected.get((point.ranks, point.nodes))
        if outlook is not None and not isinstance(outlook.efficiency, Missing):
            dots.append(Dot(point.ranks, outlook.efficiency * (point.relative if times_n else 1.0)))
    if dots:
        yield Series("expected from the probe", "predicted", tuple(dots))


def _draw_throughput(scaling: Scaling, key: str) -> Picture:
    dots = tuple(dot for point in scaling.points if (dot := _dot_of_rate(point)) is not None)
    first, last = dots[0], dots[-1]
    return Picture(
        key=key,
        title="Throughput",
        subtitle=_describe(scaling),
        alt=f"Images/s over ranks, from {first.y:,.0f} at {first.x:g} to {last.y:,.0f} at {last.x:g}.",
        form=Lines(
            _span_ranks(scaling.points),
            Axis("images/s", "images/s"),
            (Series("measured", "measured", dots),),
        ),
        caption="speed-up and efficiency are withheld: --force shows them"
        if scaling.rehearsal and not scaling.forced
        else "",
    )


def _dot_of_rate(point: Point) -> Dot | None:
    if isinstance(point.images_per_s, Missing):
        return None
    bounds = (point.interval.low, point.interval.high) if point.interval else (None, None)
    return Dot(point.ranks, point.images_per_s, *bounds)
