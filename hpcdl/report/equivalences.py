"""What `hpcdl estimate equivalent` shows: two systems that do the same work, side by side, and their ratios."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.analysis.amounts import Amount
from hpcdl.marks import AND, REHEARSAL, join_marks
from hpcdl.records import Missing
from hpcdl.report.amounts import show_amount
from hpcdl.report.assumptions import make_assumption_table, note_assumptions
from hpcdl.report.content import Column, Fact, Note, Quantity, Report, Table
from hpcdl.report.force import reveal
from hpcdl.report.numbers import format_quantity
from hpcdl.report.pictures import Axis, Bars, Dot, Picture
from hpcdl.report.sections import make_half_width
from hpcdl.report.wording import count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcdl.analysis.equivalence import Equivalence, Side
    from hpcdl.analysis.tariffs import Name
    from hpcdl.estimates.intervals import Interval
    from hpcdl.records import Reading
    from hpcdl.report.content import Cell, Unit
    from hpcdl.report.pictures import Role

PRICED: tuple[Name, ...] = ("node_price", "nodes_per_rack")
ROLES: dict[str, Role] = {
    REHEARSAL: "withheld",
    "as published": "published",
    "estimated": "estimated",
    "predicted": "predicted",
    "copies": "predicted",
}


def describe_equivalence(equivalence: Equivalence, *, force: bool = False) -> Report:
    """Nodes, racks, power and money of both, and the first over the second."""
    first, second = equivalence.first, equivalence.second
    tariffs = [(side.title, side.tariff) for side in (first, second) if side.tariff is not None]
    given = any(tariff.known(PRICED) for _, tariff in tariffs)
    report = Report(
        kind="equivalence",
        title=f"{first.title} for the work of {second.title}",
        badges=("REHEARSAL",) if equivalence.rehearsal else (),
        sections=(_make_table(equivalence), *((make_assumption_table(tariffs, PRICED),) if given else ())),
        notes=(*_note(equivalence), *note_assumptions(tariffs, PRICED)),
        pictures=tuple(_draw(equivalence)),
    )
    return reveal(report) if force else report


def _make_table(equivalence: Equivalence) -> Table:
    sides = (equivalence.first, equivalence.second)
    measured = any(not _is_untold(side.images_per_s, side) for side in sides)
    columns = (
        Column("name", "name", left=True, hidden=True),
        Column("system", "system", left=True),
        Column("nodes", "nodes"),
        Column("racks", "racks", rank=2, hidden=not any(side.basis != "as published" for side in sides)),
        Column("processors", "processors", left=True, rank=1),
        Column("images_per_s", "images/s", hidden=not measured),
        Column("interval", "interval", hidden=not measured),
        Column("power_w", "power"),
        Column("boundary", "boundary", left=True, rank=3),
        Column("metered", "metered", left=True, hidden=True),
        Column("price", "price"),
        Column("basis", "nodes by", left=True, rank=2),
        Column("source", "source", left=True, hidden=True),
    )
    mark = join_marks(*(side.mark for side in sides))
    power_mark = join_marks(*(side.power_mark for side in sides))
    facts = (
        Fact(
            "nodes_ratio",
            "nodes, the first over the second",
            Quantity(equivalence.nodes_ratio, "times", mark),
        ),
        Fact("power_ratio", "power", Quantity(equivalence.power_ratio, "times", power_mark)),
        Fact("price_ratio", "price", Quantity(equivalence.price_ratio, "times", mark)),
        Fact("claim", "both do the same work", equivalence.claim),
    )
    rows = tuple(_make_row(side) for side in sides)
    sources = (f"{side.title}: {side.basis}, {side.source}" for side in sides)
    captions = ("power and price are of all nodes; nodes are whole ones", *sources)
    return Table("equivalence", "Equivalence", columns, rows, facts, captions)


def _is_untold(rate: Reading, side: Side) -> bool:
    return isinstance(rate, Missing) and side.basis == "as published"


def _make_row(side: Side) -> tuple[Cell, ...]:
    return (
        side.name,
        side.title,
        _show_nodes(side),
        Quantity(side.racks, "number", side.mark),
        side.processors or None,
        show_amount(Amount(side.images_per_s, side.interval), "images/s", side.mark),
        make_half_width(side.interval),
        _spread(side, side.power_w, "W", side.power_mark, bounds=side.power_interval),
        side.boundary or None,
        side.metered or None,
        _spread(side, side.price, "money", side.mark, currency=side.currency),
        side.basis,
        side.source,
    )


def _show_nodes(side: Side) -> Quantity:
    amount = side.amount
    return Quantity(amount.nodes, "nodes", side.mark, low=amount.low, high=amount.high)


def _spread(
    side: Side,
    value: Reading,
    unit: Unit,
    mark: str,
    *,
    currency: str = "",
    bounds: Interval | None = None,
) -> Quantity:
    """What goes with the nodes has their uncertainty, and that of its own meters; what has neither is exact."""
    nodes = side.amount.nodes
    if isinstance(value, Missing) or isinstance(nodes, Missing):
        return Quantity(value, unit, mark, currency=currency)
    fewest, most = (nodes if end is None else end for end in (side.amount.low, side.amount.high))
    # Where nobody can say how many nodes surely do, neither can how much they draw.
    open_ended = side.amount.open_ended
    if fewest == most == nodes and bounds is None and not open_ended:
        return Quantity(value, unit, mark, currency=currency)
    low, high = (value, value) if bounds is None else (bounds.low, bounds.high)
    return Quantity(
        value,
        unit,
        mark,
        low=low * fewest / nodes,
        high=None if open_ended else high * most / nodes,
        currency=currency,
    )


def _note(equivalence: Equivalence) -> Iterator[Note]:
    if equivalence.rehearsal:
        yield Note(
            "rehearsal", f"{equivalence.rehearsal}: what follows from it says nothing of several machines"
        )
    for side in (equivalence.first, equivalence.second):
        amount = side.amount
        if amount.open_ended or {amount.low, amount.high} - {None, amount.nodes}:
            may = "fewer nodes than were looked at" if amount.low is None else count(amount.low, "node")
            surely = "more than can be said" if amount.high is None else f"{amount.high:,}"
            yield Note(
                "info", f"{side.title}: from {may} on it may do, from {surely} on it surely does (95 %)"
            )
    yield from (
        Note("warning", f"the work is not quite the same: {text}") for text in equivalence.differences
    )
    yield from (Note("info", f"taken for granted: {text}") for text in equivalence.assumptions)


def _draw(equivalence: Equivalence) -> Iterator[Picture]:
    sides = (equivalence.first, equivalence.second)
    power = [(side, side.power_w, side.power_mark) for side in sides]
    price = [(side, side.price, side.mark) for side in sides]
    # Of different boundaries or currencies there is no picture: nobody could tell the bars apart.
    if not isinstance(equivalence.power_ratio, Missing):
        axis = Axis(f"power, {sides[0].boundary}", "W")
        yield _draw_bars("equivalence-power", "Power", _qualify(equivalence, power), axis, power)
    if not isinstance(equivalence.price_ratio, Missing):
        axis = Axis(f"price in {sides[0].currency}", "money")
        yield _draw_bars("equivalence-price", "Price", _qualify(equivalence, price), axis, price)


def _qualify(equivalence: Equivalence, values: list[tuple[Side, Reading, str]]) -> str:
    """All that qualifies the bars, and why they stand beside each other."""
    marks = join_marks(*(mark for _, _, mark in values))
    told = join_marks(*(mark for mark in marks.split(AND) if mark != REHEARSAL))
    qualified = ["REHEARSAL"] if equivalence.rehearsal else [] if told else ["measured"]
    return " · ".join([*qualified, *([told] if told else []), equivalence.claim])


def _find_role(mark: str) -> Role:
    """By the mark that weighs most, in the order of ROLES; without any it was measured."""
    return next((role for name, role in ROLES.items() if name in mark.split(AND)), "measured")


def _draw_bars(
    key: str, what: str, subtitle: str, axis: Axis, values: list[tuple[Side, Reading, str]]
) -> Picture:
    bars: list[tuple[str, Role, Dot]] = []
    for side, value, mark in values:
        if not isinstance(value, Missing):
            bars.append((side.title, _find_role(mark), Dot(0, value)))
    told = "; ".join(
        f"{side.title}: {format_quantity(Quantity(value, axis.unit, currency=side.currency * (axis.unit == 'money')))}"
        for side, value, _ in values
    )
    return Picture(
        key=key,
        title=f"{what} for the same work",
        subtitle=subtitle,
        alt=f"Bars of {what.lower()}. {told}.",
        form=Bars(axis, tuple(bars)),
    )
