"""Time, energy and money of a training over the nodes, as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.analysis.amounts import multiply
from hpcdl.marks import AND, REHEARSAL, join_marks
from hpcdl.records import Missing
from hpcdl.report.content import Quantity
from hpcdl.report.numbers import format_quantity
from hpcdl.report.pictures import Axis, Dot, Lines, Picture, Series
from hpcdl.report.wording import count, name_model, name_question

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hpcdl.analysis.amounts import Amount
    from hpcdl.analysis.training_time import TrainingEstimate, TrainingTime
    from hpcdl.report.pictures import Role

SECONDS_PER_HOUR = 3600.0


def draw_training(estimate: TrainingEstimate) -> Iterator[Picture]:
    """Time over nodes, and energy and money where they are known; nothing of what is withheld."""
    deadline_s = estimate.goal.deadline_s
    boundary = "" if isinstance(estimate.boundary, Missing) else f", {estimate.boundary}"
    hours = Axis("hours", "h", log=True, zero=False)
    drawn = (
        ("time", hours, _read(estimate, lambda one: multiply(one.seconds, 1 / SECONDS_PER_HOUR))),
        (
            "energy",
            Axis(f"energy{boundary}", "kWh"),
            _read(estimate, lambda one: one.energy.kwh, energetic=True),
        ),
        (
            "cost",
            Axis(f"cost in {estimate.tariff.currency}", "money"),
            _read(estimate, lambda one: one.cost, energetic=True),
        ),
    )
    for what, axis, series in drawn:
        if series:
            limit = deadline_s / SECONDS_PER_HOUR if deadline_s and what == "time" else None
            yield _draw(estimate, what, axis, [*series, *_draw_limit(series, limit)])


def _read(
    estimate: TrainingEstimate, read: Callable[[TrainingTime], Amount], *, energetic: bool = False
) -> list[Series]:
    """What was measured and what the model says, each by itself; empty where neither has a number."""
    found: dict[tuple[str, Role], list[Dot]] = {}
    for one in estimate.times:
        dot = _place(one, read(one))
        if dot is not None:
            found.setdefault(_name_series(estimate, one, energetic=energetic), []).append(dot)
    return [Series(name, role, tuple(dots)) for (name, role), dots in found.items()]


def _name_series(estimate: TrainingEstimate, one: TrainingTime, *, energetic: bool) -> tuple[str, Role]:
    """How a number came about: by the rate, and where energy is in it, by that as well."""
    name = "measured rate" if one.spot.basis == "measured" else "model"
    marks = one.energy.mark.split(AND) if energetic else []
    # That it is a rehearsal stands above the picture, of all that is in it.
    energy = join_marks(*(mark for mark in marks if mark != REHEARSAL))
    told = f", energy {energy}" if energy else ""
    if estimate.sweep.scaling.forced:
        return name + told, "withheld"
    if "estimated" in marks:
        return name + told, "estimated"
    return name + told, "predicted" if one.spot.basis == "model" or "predicted" in marks else "measured"


def _place(one: TrainingTime, amount: Amount) -> Dot | None:
    value, interval = amount.value, amount.interval
    if isinstance(value, Missing):
        return None
    if interval is None or not interval.bounded:
        return Dot(one.spot.nodes, value)
    return Dot(one.spot.nodes, value, interval.low, interval.high)


def _draw_limit(series: list[Series], limit: float | None) -> list[Series]:
    if limit is None:
        return []
    nodes = [dot.x for one in series for dot in one.dots]
    return [Series("deadline", "ideal", (Dot(min(nodes), limit), Dot(max(nodes), limit)))]


def _draw(estimate: TrainingEstimate, what: str, axis: Axis, series: list[Series]) -> Picture:
    told = "; ".join(
        f"{one.name}: {format_quantity(Quantity(dot.y, axis.unit, currency=_name_currency(estimate, axis)))} "
        f"on {count(round(dot.x), 'node')}"
        for one in series
        if one.role != "ideal"
        for dot in one.dots
    )
    marks = ["REHEARSAL"] if estimate.sweep.scaling.rehearsal else []
    if any("estimated" in one.name for one in series):
        marks.append("energy ESTIMATED")
    return Picture(
        key=f"training-{what}",
        title=f"{what.capitalize()} to train {name_model(estimate.sweep.model)}",
        subtitle=" · ".join([*marks, estimate.goal.how, name_question(estimate.sweep.scaling.question)]),
        alt=f"{what.capitalize()} over nodes. {told}.",
        form=Lines(Axis("nodes", "nodes", whole=True, log=True, zero=False), axis, tuple(series)),
        caption="; ".join(estimate.assumptions),
    )


def _name_currency(estimate: TrainingEstimate, axis: Axis) -> str:
    return (estimate.tariff.currency or "") if axis.unit == "money" else ""
