"""The chapter on cost: a million images in each configuration, the assumptions, what they move, and break-even."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.analysis.break_even import compare_pairs
from hpcdl.analysis.cost import study_costs
from hpcdl.analysis.counted import count_hardware
from hpcdl.analysis.sensitivity import move_assumptions
from hpcdl.records import Missing
from hpcdl.report.amounts import show_amount
from hpcdl.report.assumptions import make_assumption_table
from hpcdl.report.chapter import Chapter
from hpcdl.report.content import Column, Fact, Quantity, Table
from hpcdl.report.cost_notes import label_tariffs, note_costs
from hpcdl.report.cost_pictures import draw_costs
from hpcdl.report.energies import join_basis
from hpcdl.report.sections import make_half_width
from hpcdl.report.verdicts import make_break_even_table, make_sensitivity_table
from hpcdl.report.wording import join, name_model, name_question

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hpcdl.analysis.cost import Costs, CostStudy
    from hpcdl.analysis.job import RunResult
    from hpcdl.prices import Pricing
    from hpcdl.report.content import Cell

EXPLAINED = (
    "capital: node price x nodes over lifetime and utilisation; electricity: at work; total, kWh and kg of CO2 "
    "equivalents: with idle time where its power is known; intervals are of 95 %"
)


def make_cost_chapter(
    results: Sequence[RunResult], pricing: Pricing | None = None, *, boundary: str | None = None
) -> Chapter:
    """Everything on cost; empty where nothing was to be trained.

    Args:
        results: The runs.
        pricing: Today's prices; without any, those that each run has recorded.
        boundary: Of the energy: device, node or facility; None: the widest that all configurations have alike.

    Raises:
        UnknownName: There is no such boundary.
        Mistake: Not all configurations have it; the message says who lacks what.
    """
    study = study_costs(results, pricing, boundary=boundary)
    if not study.costs:
        return Chapter()
    names = name_configurations(study.costs)
    moves = {one.configuration.letter: move_assumptions(one) for one in study.costs}
    pairs = compare_pairs(study.costs)
    tables = [_make_cost_table(study, names), make_assumption_table(label_tariffs(study.costs))]
    if any(moves.values()):
        tables.append(make_sensitivity_table(study.costs, moves))
    if pairs:
        tables.append(make_break_even_table(pairs))
    return Chapter(tuple(tables), draw_costs(study, names, moves), tuple(note_costs(study)))


def name_configurations(costs: Sequence[Costs]) -> Mapping[str, str]:
    """Letter -> 'AlexNet · 2 nodes, 8 GPUs'; with more where two would be called the same: at last their prices."""
    letters = [one.configuration.letter for one in costs]
    names = [_name_plainly(one) for one in costs]
    for name_more in (_name_fully, _name_with_prices):
        names = [
            name if names.count(name) == 1 else name_more(one) for one, name in zip(costs, names, strict=True)
        ]
    return dict(zip(letters, names, strict=True))


def _name_plainly(one: Costs) -> str:
    return f"{name_model(one.configuration.question.work.model)} · {_count(one)}"


def _name_fully(one: Costs) -> str:
    question = one.configuration.question
    return f"{name_question(question)} · {question.work.dtype} · {_count(one)}"


def _name_with_prices(one: Costs) -> str:
    """What else the same question at the same size differs in: whose prices these are, and on which CPUs it ran."""
    first = one.configuration.launches[0]
    return f"{_name_fully(one)} · {join(first.hosts)} · prices of {one.tariff.origin}"


def _count(one: Costs) -> str:
    return count_hardware(one.configuration.launches[0]).words


def _make_cost_table(study: CostStudy, names: Mapping[str, str]) -> Table:
    costs, boundary = study.costs, study.boundary
    alone = len(costs) == 1
    columns = (
        Column("configuration", "", left=True, hidden=alone),
        Column("what", "what", left=True, hidden=not alone),
        Column("images_per_s", "images/s", listed="throughput"),
        Column("interval", "interval", rank=6, listed="95 % interval"),
        Column("average_w", "average", rank=4, listed="average power"),
        Column("images_per_j", "images/J", rank=4),
        Column("j_per_image", "J/image", rank=3),
        Column("j_per_image_interval", "its interval", rank=6, listed="interval of J/image"),
        Column("basis", "basis", left=True, rank=2, listed="basis of the energy"),
        Column("sensors", "meter", left=True, rank=7),
        Column("capital_per_million", "capital", rank=1),
        Column("electricity_per_million", "electricity", rank=1),
        Column(
            "overhead_per_million",
            "PUE",
            rank=3,
            hidden=boundary != "facility",
            listed="PUE overhead",
        ),
        Column("idle_per_million", "idle", rank=3),
        Column("total_per_million", "total"),
        Column("total_interval", "its interval", rank=5, listed="interval of the total"),
        Column("energy_kwh_per_million", "energy", rank=2),
        Column("co2e_kg_per_million", "CO2e", rank=2),
        Column("left_out", "the total leaves out", left=True, hidden=not alone),
        Column("model", "model", left=True, hidden=True),
        Column("device", "device", left=True, hidden=True),
        Column("nodes", "nodes", hidden=True),
        Column("ranks", "ranks", hidden=True),
        Column("launches", "launches", hidden=True),
        Column("rehearsal", "rehearsal", left=True, hidden=True),
    )
    rows = tuple(_make_row(one, names[one.configuration.letter]) for one in costs)
    at = "" if isinstance(boundary, Missing) else f", energy at the boundary {boundary}"
    fact = Fact("boundary", "boundary", None if isinstance(boundary, Missing) else boundary)
    captions = (*_caption(costs, names), EXPLAINED)
    return Table("cost", f"Cost of a million images{at}", columns, rows, (fact,), captions, many=True)


def _make_row(one: Costs, name: str) -> tuple[Cell, ...]:
    configuration, parts = one.configuration, one.parts
    mark = "estimated" if one.estimated else ""
    currency = one.tariff.currency or ""
    first = configuration.launches[0]
    return (
        configuration.letter,
        name,
        show_amount(configuration.rate, "images/s"),
        make_half_width(configuration.rate.interval),
        Quantity(one.power_w, "W", mark),
        show_amount(one.images_per_j, "images/J", mark),
        show_amount(one.joules, "J/image", mark),
        make_half_width(one.joules.interval),
        join_basis(one.figures) if one.figures else None,
        join(sensor for figure in one.figures for sensor in figure.sensors) or None,
        show_amount(parts.capital, "money", currency=currency),
        show_amount(parts.electricity, "money", mark, currency),
        show_amount(parts.overhead, "money", mark, currency),
        show_amount(parts.idle, "money", mark, currency),
        show_amount(parts.total, "money", mark, currency),
        make_half_width(parts.total.interval),
        show_amount(parts.energy_kwh, "kWh", mark),
        show_amount(parts.carbon_kg, "kg", mark),
        "; ".join(one.left_out) or None,
        configuration.question.work.model,
        configuration.device,
        configuration.nodes,
        configuration.ranks,
        len(configuration.launches),
        first.rehearsal,
    )


def _caption(costs: Sequence[Costs], names: Mapping[str, str]) -> Iterator[str]:
    """What the letters stand for, and what their totals leave out, each once."""
    if len(costs) == 1:
        return
    yield " · ".join(f"{letter}: {name}" for letter, name in names.items())
    gaps: dict[tuple[str, ...], list[str]] = {}
    for one in costs:
        gaps.setdefault(one.left_out, []).append(one.configuration.letter)
    for left_out, letters in gaps.items():
        if left_out:
            yield f"{', '.join(letters)}: the total leaves out {'; '.join(left_out)}"
