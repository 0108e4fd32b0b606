"""The table of repeats: what was launched several times over, and the interval that holds from start to start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.records import Missing
from hpcdl.report.content import Column, Quantity, Span, Table
from hpcdl.report.sections import make_half_width, make_rate
from hpcdl.report.wording import name_question, name_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.repeats import Repeated
    from hpcdl.report.content import Cell


def make_repeat_table(repeats: Sequence[Repeated]) -> Table:
    """One row for each thing that was measured more than once."""
    columns = (
        Column("what", "what", left=True),
        Column("variant", "variant", left=True, hidden=all(one.variant == "full" for one in repeats)),
        Column("size", "on", left=True),
        Column("counted", "launches"),
        Column("images_per_s", "images/s"),
        Column("interval", "interval"),
        Column("range", "range", rank=1),
        Column("completed", "completed", hidden=True),
        Column("planned", "planned", hidden=True),
    )
    caption = (
        "harmonic means; from three launches on, the interval is Student's t over their step times: it holds what "
        "differs from one start to the next"
    )
    return Table("repeats", "Repeats", columns, tuple(_make_row(one) for one in repeats), captions=(caption,))


def _make_row(one: Repeated) -> tuple[Cell, ...]:
    counted = str(one.count) if one.count == one.planned else f"{one.count} of {one.planned}"
    rate = one.rate
    return (
        name_question(one.question),
        one.variant,
        name_size(one.nodes, one.ranks),
        counted,
        Quantity(rate, "images/s") if isinstance(rate, Missing) else make_rate(rate.value, rate),
        None if isinstance(rate, Missing) else make_half_width(rate),
        Span(Quantity(one.lowest, "images/s"), Quantity(one.highest, "images/s")),
        one.count,
        one.planned,
    )
