"""Pictures of cost: what a million images are made up of, and which assumption moves their total how far."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.records import Missing
from hpcdl.report.assumptions import name_assumption, show_value
from hpcdl.report.energies import join_basis
from hpcdl.report.numbers import format_number, format_quantity
from hpcdl.report.pictures import Axis, Picture, Swing, Tornado, Waterfall
from hpcdl.report.verdicts import GUESSED, tell_unknown_idle

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hpcdl.analysis.cost import Costs, CostStudy
    from hpcdl.analysis.sensitivity import Move

# More would be leafed through and not read; the tables hold all.
PICTURED = 4


def draw_costs(
    study: CostStudy, names: Mapping[str, str], moves: Mapping[str, Sequence[Move]]
) -> tuple[Picture, ...]:
    """A waterfall and a tornado of each configuration that has a total, of a few of many."""
    chosen, caption = _choose(study.costs)
    alone = len(study.costs) == 1
    return tuple(
        picture
        for one in chosen
        for picture in _draw(one, study, names[one.configuration.letter], moves, caption, alone=alone)
    )


def _choose(costs: Sequence[Costs]) -> tuple[list[Costs], str]:
    """The cheapest few, in their order; where their totals are not to be compared, the first few. With what is said."""
    priced = [(total, one) for one in costs if not isinstance(total := one.parts.total.value, Missing)]
    if len(priced) <= PICTURED:
        return [one for _, one in priced], ""
    kinds = {(one.tariff.currency, one.configuration.subject) for _, one in priced}
    if len(kinds) > 1:
        why = "which are not of one currency, network and data"
        return (
            [one for _, one in priced[:PICTURED]],
            f"the first {PICTURED} of {len(priced)} configurations are drawn, {why}",
        )
    cheapest = [one for _, one in sorted(priced, key=lambda pair: pair[0])[:PICTURED]]
    told = f"the {PICTURED} cheapest of {len(priced)} configurations are drawn"
    return [one for one in costs if one in cheapest], told


def _draw(
    one: Costs, study: CostStudy, name: str, moves: Mapping[str, Sequence[Move]], caption: str, *, alone: bool
) -> Iterator[Picture]:
    letter = one.configuration.letter
    end = "" if alone else f"-{letter.lower()}"
    subtitle = f"{name} · {_mark(one, study)}"
    yield Picture(
        key=f"cost{end}",
        title="What a million images cost",
        subtitle=subtitle,
        alt=_describe_parts(one),
        form=Waterfall(_make_axis(one), tuple(_list_parts(one))),
        caption=_join_captions(one, caption),
    )
    if moves[letter]:
        yield Picture(
            key=f"cost-sensitivity{end}",
            title="What the assumptions move",
            subtitle=subtitle,
            alt=_describe_moves(one, moves[letter]),
            form=_make_tornado(one, moves[letter]),
            caption=_join_captions(one, *tell_unknown_idle(one, moves[letter]), caption),
        )


def _mark(one: Costs, study: CostStudy) -> str:
    """The boundary, how its energy is known, and whether it is a rehearsal."""
    launches = one.configuration.launches
    rehearsal = ["REHEARSAL"] if any(launch.rehearsal for launch in launches) else []
    boundary = "" if isinstance(study.boundary, Missing) else f"boundary {study.boundary}"
    return " · ".join(part for part in (boundary, f"energy {join_basis(one.figures)}", *rehearsal) if part)


def _join_captions(one: Costs, *captions: str) -> str:
    left_out = f"without {'; '.join(one.left_out)}" if one.left_out else ""
    return ". ".join(part for part in (left_out, *captions) if part)


def _make_axis(one: Costs) -> Axis:
    return Axis(f"{one.tariff.currency} per million images", "money", currency=one.tariff.currency or "")


def _list_parts(one: Costs) -> Iterator[tuple[str, float]]:
    """Those that are known, in the order in which they add up."""
    parts = one.parts
    named = (
        ("capital", parts.capital),
        ("electricity", parts.electricity),
        ("PUE overhead", parts.overhead),
        ("idle", parts.idle),
    )
    for name, amount in named:
        shown = name != "PUE overhead" or one.use.facility
        if shown and not isinstance(amount.value, Missing):
            yield name, amount.value


def _describe_parts(one: Costs) -> str:
    told = ", ".join(f"{name} {format_number(value)}" for name, value in _list_parts(one))
    return f"A waterfall of {one.tariff.currency} per million images: {told}; in total {_tell_total(one)}."


def _tell_total(one: Costs) -> str:
    total = one.parts.total.value
    return "not published" if isinstance(total, Missing) else format_number(total)


def _make_tornado(one: Costs, moves: Sequence[Move]) -> Tornado:
    total = one.parts.total.value
    return Tornado(
        _make_axis(one),
        0.0 if isinstance(total, Missing) else total,
        tuple(swing for move in moves for swing in _make_swings(one, move)),
    )


def _make_swings(one: Costs, move: Move) -> Iterator[Swing]:
    if isinstance(move.at_low, Missing) or isinstance(move.at_high, Missing):
        return
    bounds = move.range
    low, high = (
        format_quantity(show_value(bounds.name, end, one.tariff)) + (f" ({GUESSED})" if guessed else "")
        for end, guessed in ((bounds.low, bounds.low_guessed), (bounds.high, bounds.high_guessed))
    )
    yield Swing(name_assumption(bounds.name), move.at_low, move.at_high, low, high)


def _describe_moves(one: Costs, moves: Sequence[Move]) -> str:
    swings = [swing for move in moves for swing in _make_swings(one, move)]
    told = "; ".join(
        f"{swing.label} from {swing.low_text} to {swing.high_text}: {format_number(swing.at_low)} to "
        f"{format_number(swing.at_high)}"
        for swing in swings
    )
    return f"A tornado around {_tell_total(one)} {one.tariff.currency} per million images. {told}."
