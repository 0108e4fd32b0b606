"""What `hpcdl estimate train` shows: time, energy and money of a training at each size, and where measurement ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.analysis.amounts import Amount, multiply
from hpcdl.analysis.readings import is_absent
from hpcdl.marks import REHEARSAL, join_marks
from hpcdl.records import Missing
from hpcdl.report.amounts import show_amount
from hpcdl.report.assumptions import make_assumption_table, note_assumptions
from hpcdl.report.content import Column, Fact, Note, Quantity, Report, Table
from hpcdl.report.force import reveal
from hpcdl.report.numbers import format_value
from hpcdl.report.sections import make_half_width
from hpcdl.report.training_pictures import SECONDS_PER_HOUR, draw_training
from hpcdl.report.wording import count, join, name_question

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.analysis.tariffs import Name
    from hpcdl.analysis.training_time import TrainingEstimate, TrainingTime
    from hpcdl.report.assumptions import Labelled
    from hpcdl.report.content import Cell

PRICED: tuple[Name, ...] = ("electricity_per_kwh", "node_price", "lifetime_years", "utilisation")
LAWS = {"amdahl": "Amdahl", "usl": "USL"}


def describe_trainings(estimates: Sequence[TrainingEstimate], *, force: bool = False) -> Report:
    """Each question's sizes, and the smallest that is done by the deadline, if there is one."""
    goals = dict.fromkeys(one.goal.how for one in estimates)
    tariffs, names = _list_tariffs(estimates)
    answered = [one for one in estimates if one.smallest is not None]
    report = Report(
        kind="training",
        title=f"Time to train: {join(goals)}",
        badges=("REHEARSAL",) if any(one.sweep.scaling.rehearsal for one in estimates) else (),
        sections=(
            *((_make_answer_table(answered),) if answered else ()),
            *map(_make_table, estimates),
            *(
                (make_assumption_table(tariffs, names),)
                if any(one.known(names) for _, one in tariffs)
                else ()
            ),
        ),
        notes=(*_note(estimates), *note_assumptions(tariffs, names)),
        more=tuple(_point_further(estimates)),
        pictures=tuple(picture for one in estimates for picture in draw_training(one)),
    )
    return reveal(report) if force else report


def _list_tariffs(estimates: Sequence[TrainingEstimate]) -> tuple[list[Labelled], tuple[Name, ...]]:
    """The prices of each question, and which of them its money rests on."""
    labelled = [(name_question(one.sweep.scaling.question), one.tariff) for one in estimates]
    return labelled, (*PRICED, "pue") if any(one.boundary == "facility" for one in estimates) else PRICED


def _make_answer_table(estimates: Sequence[TrainingEstimate]) -> Table:
    columns = (
        Column("question", "question", left=True),
        Column("deadline_h", "deadline"),
        Column("smallest_nodes", "fewest nodes"),
        Column("surely_nodes", "surely on"),
        Column("basis", "by", left=True),
    )
    return Table("answers", "By the deadline", columns, tuple(_make_answer(one) for one in estimates))


def _make_answer(estimate: TrainingEstimate) -> tuple[Cell, ...]:
    smallest, deadline_s = estimate.smallest, estimate.goal.deadline_s or 0.0
    # Of several divisions of as many nodes, the one that was looked for: as the largest size is.
    found = (
        None if smallest is None or isinstance(smallest, Missing) else _find_time(estimate, round(smallest))
    )
    basis = None if found is None else _name_basis(estimate, found)
    mark = "" if found is None else _mark_time(estimate, found)
    return (
        name_question(estimate.sweep.scaling.question),
        Quantity(deadline_s / SECONDS_PER_HOUR, "h"),
        Quantity(Missing(missing="no deadline") if smallest is None else smallest, "nodes", mark),
        _show_surely(estimate),
        basis,
    )


def _find_time(estimate: TrainingEstimate, nodes: int) -> TrainingTime | None:
    same = [one for one in estimate.times if one.spot.nodes == nodes]
    return max(same, key=lambda one: (one.meets != "no", one.spot.ranks), default=None)


def _show_surely(estimate: TrainingEstimate) -> Quantity | None:
    found = next((one for one in estimate.times if one.meets == "yes"), None)
    if found is None or estimate.surely is None:
        return None
    return Quantity(estimate.surely, "nodes", _mark_time(estimate, found))


def _mark_time(estimate: TrainingEstimate, time: TrainingTime) -> str:
    """What qualifies all that follows from its rate."""
    return join_marks(
        REHEARSAL if estimate.sweep.scaling.forced else "",
        "" if time.spot.basis == "measured" else "predicted",
    )


def _name_basis(estimate: TrainingEstimate, time: TrainingTime) -> str:
    """'measured rate', or the law that stands for it; how far that goes stands below the table."""
    fit = estimate.sweep.fit
    if time.spot.basis == "measured":
        return "measured rate"
    if isinstance(fit, Missing):
        return "nothing: one size was measured"
    return f"model ({LAWS[fit.law]} fit)"


def _make_table(estimate: TrainingEstimate) -> Table:
    times = estimate.times

    unpriced = all(is_absent(one.value) for time in times for one in (time.electricity, time.capital))
    gpus = estimate.devices == "GPU"
    columns = (
        Column("nodes", "nodes"),
        Column("ranks", "ranks", rank=4),
        Column("basis", "by", left=True),
        Column("images_per_s", "images/s", rank=2),
        Column("time_h", "time"),
        Column("interval", "interval", rank=1),
        Column("meets", "in time", left=True, hidden=estimate.goal.deadline_s is None),
        Column("gpu_days", "GPU-days", hidden=not gpus),
        Column("node_days", "node-days", rank=3 if gpus else 2),
        Column("core_days", "core-days", rank=3, hidden=gpus),
        Column("energy_kwh", "energy"),
        Column(
            "energy_interval",
            "its interval",
            rank=3,
            hidden=all(one.energy.joules.interval is None for one in times),
        ),
        Column("electricity", "electricity", rank=1, hidden=unpriced),
        Column("capital", "depreciation", rank=1, hidden=unpriced),
        Column("cost", "together", hidden=unpriced),
    )
    facts = (
        Fact("model", "network", estimate.sweep.model),
        Fact("images", "images", Quantity(estimate.goal.images, "number")),
        Fact("boundary", "boundary", None if isinstance(estimate.boundary, Missing) else estimate.boundary),
        Fact("sizes_fitted", "sizes fitted", estimate.sweep.sizes),
        Fact("farthest_nodes", "the law goes to", estimate.sweep.farthest),
        Fact("runs", "runs", ", ".join(run.run_id for run in estimate.sweep.runs)),
        Fact("rehearsal", "rehearsal", estimate.sweep.scaling.rehearsal),
    )
    rows = tuple(_make_row(estimate, time) for time in times)
    title = name_question(estimate.sweep.scaling.question)
    return Table("training", title, columns, rows, facts, tuple(_caption(estimate)), many=True)


def _make_row(estimate: TrainingEstimate, time: TrainingTime) -> tuple[Cell, ...]:
    spot, energy = time.spot, time.energy
    mark = _mark_time(estimate, time)
    money = estimate.tariff.currency or ""
    gpus, hours = estimate.devices == "GPU", multiply(time.seconds, 1 / SECONDS_PER_HOUR)
    devices = show_amount(time.device_days, "days", mark)
    kwh = energy.kwh
    return (
        spot.nodes,
        spot.ranks,
        _name_basis(estimate, time),
        show_amount(Amount(spot.images_per_s, spot.interval), "images/s", mark),
        show_amount(hours, "h", mark),
        make_half_width(hours.interval),
        time.meets,
        devices if gpus else None,
        show_amount(time.node_days, "days", mark),
        None if gpus else devices,
        show_amount(kwh, "kWh", energy.mark),
        make_half_width(kwh.interval),
        show_amount(time.electricity, "money", energy.mark, money),
        show_amount(time.capital, "money", mark, money),
        show_amount(time.cost, "money", join_marks(energy.mark, mark), money),
    )


def _caption(estimate: TrainingEstimate) -> Iterator[str]:
    runs = ", ".join(f"run {run.run_id}" for run in estimate.sweep.runs)
    yield f"from {runs}; intervals are of 95 %, of rate and energy: prices are taken as given"
    if not isinstance(estimate.boundary, Missing):
        within = {
            "device": "the devices alone",
            "node": "what of the nodes is metered",
            "facility": "nodes x PUE",
        }
        without = f"; without {'; '.join(estimate.uncovered)}" if estimate.uncovered else ""
        yield (
            f"energy and electricity at the boundary {estimate.boundary}: {within[estimate.boundary]}, gross{without}"
        )
    fit = estimate.sweep.fit
    if not isinstance(fit, Missing):
        yield (
            f"measurement ends at {count(max(one.nodes for one in estimate.sweep.measured), 'node')}; beyond it "
            f"the {LAWS[fit.law]} fit over {estimate.sweep.sizes} sizes, no further than "
            f"{count(estimate.sweep.farthest, 'node')}"
        )


def _note(estimates: Sequence[TrainingEstimate]) -> Iterator[Note]:
    reasons = (one.sweep.scaling.rehearsal for one in estimates)
    for reason in dict.fromkeys(reason for reason in reasons if reason):
        yield Note("rehearsal", f"{reason}: what follows from it says nothing of several machines")
    for estimate in estimates:
        yield from _note_answer(estimate)
        if isinstance(estimate.sweep.fit, Missing):
            yield Note("info", f"only what was measured is shown: {estimate.sweep.fit.missing}")
    yield from (
        Note("info", f"taken for granted: {text}")
        for text in dict.fromkeys(text for one in estimates for text in one.assumptions)
    )


def _note_answer(estimate: TrainingEstimate) -> Iterator[Note]:
    smallest, deadline_s = estimate.smallest, estimate.goal.deadline_s
    if smallest is None or deadline_s is None or isinstance(smallest, Missing):
        return
    by = f"within {format_value(deadline_s / SECONDS_PER_HOUR, 'h')}"
    if estimate.surely is None:
        yield Note(
            "warning", f"{count(round(smallest), 'node')} may do it {by}; of no size shown is it sure (95 %)"
        )
    elif estimate.surely > smallest:
        yield Note(
            "info",
            f"{count(round(smallest), 'node')} may do it {by}, and {count(estimate.surely, 'node')} surely do (95 %)",
        )
    least = min((point.nodes for point in estimate.sweep.whole), default=1)
    if smallest == least > 1:
        yield Note("info", f"fewer than {least:,} nodes may do: that is the smallest size measured")


def _point_further(estimates: Sequence[TrainingEstimate]) -> Iterator[str]:
    runs = " ".join(dict.fromkeys(run.run_id for one in estimates for run in one.sweep.runs))
    yield f"what was measured: hpcdl report {runs}"
