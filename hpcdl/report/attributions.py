"""The sections on where the time goes: shares of the step, and the ranks that hold up the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.analysis.attribution import TITLES
from hpcdl.records import Missing
from hpcdl.report.content import Column, Fact, Quantity, Shares, Table
from hpcdl.report.wording import name_engine, name_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.attribution import Attribution
    from hpcdl.analysis.stragglers import Straggler
    from hpcdl.estimates.intervals import Interval
    from hpcdl.report.content import Unit

# The shades of the step's phases: what waits is light, what computes is dark.
PHASES = {"compute": "compute", "exchange": "exchange", "input": "input", "other": "update"}


def make_attribution_table(attribution: Attribution) -> Table:
    """One row for each part of the mean step, in seconds and as a share, each with its interval."""
    columns = (
        Column("part", "part of the step", left=True),
        Column("key", "key", left=True, hidden=True),
        Column("time_s", "time"),
        Column("time_interval_s", "±", rank=1),
        Column("share", "share"),
        Column("share_interval", "interval", left=True, rank=2),
    )
    rows = tuple(
        (
            TITLES[share.key],
            share.key,
            _bound(share.time_s, "s"),
            _half(share.time_s),
            _bound(share.fraction, "fraction"),
            _name_ends(share.fraction),
        )
        for share in attribution.shares
    )
    engine = name_engine(attribution.engine, attribution.transport)
    title = f"Where the time goes: {name_size(attribution.nodes, attribution.ranks)}, {engine}"
    facts = (
        Fact("nodes", "nodes", attribution.nodes),
        Fact("ranks", "ranks", attribution.ranks),
        Fact("engine", "engine", attribution.engine),
        Fact("step_s", "mean step", _bound(attribution.step_s, "s")),
        Fact("overlap", "overlap", _bound(attribution.overlap, "fraction")),
        Fact("verdict", "verdict", attribution.verdict),
        Fact("shares", "shares", _draw(attribution)),
    )
    captions = (f"{attribution.verdict}", _tell_overlap(attribution.overlap), _EXPLAINED)
    return Table("attribution", title, columns, rows, facts, tuple(filter(None, captions)), many=True)


_EXPLAINED = (
    "differences between launches that leave one thing out: no exchange, resident data, synthetic and no exchange; "
    "other is what these leave over, above zero where input and exchange pass at the same time, "
    "below zero where they hinder each other"
)


def _bound(interval: Interval | Missing, unit: Unit) -> Quantity:
    if isinstance(interval, Missing):
        return Quantity(interval, unit)
    return Quantity(interval.value, unit, low=interval.low, high=interval.high)


def _half(interval: Interval | Missing) -> Quantity | None:
    if isinstance(interval, Missing) or interval.low == interval.high:
        return None
    return Quantity(max(interval.high - interval.value, interval.value - interval.low), "s")


def _name_ends(fraction: Interval | Missing) -> str | None:
    if isinstance(fraction, Missing) or fraction.low == fraction.high:
        return None
    return f"{100 * fraction.low:.1f} to {100 * fraction.high:.1f} %"


def _draw(attribution: Attribution) -> Shares:
    """As a bar: what is below zero has no length."""
    parts = []
    for share in attribution.shares:
        fraction = share.fraction
        value = fraction if isinstance(fraction, Missing) else max(0.0, fraction.value)
        parts.append((PHASES[share.key], TITLES[share.key], Quantity(value, "fraction")))
    return Shares(tuple(parts))


def _tell_overlap(overlap: Interval | Missing) -> str:
    if isinstance(overlap, Missing):
        return f"overlap of computing and exchange: not published: {overlap.missing}"
    if overlap.high <= 0:
        return (
            "computing hides none of the exchange: beside computing it takes "
            f"{1 - overlap.value:.1f} times what it takes alone"
        )
    if overlap.low <= 0:
        return f"how much of the exchange computing hides cannot be told: none or up to {100 * overlap.high:.0f} %"
    ends = f"{100 * overlap.low:.0f} to {100 * overlap.high:.0f} %"
    return f"computing hides {100 * overlap.value:.0f} % of the exchange ({ends})"


def make_straggler_table(found: Sequence[tuple[int, Straggler]]) -> Table:
    """The ranks that hold up the others, with the launch in which they did."""
    columns = (
        Column("launch", "launch"),
        Column("rank", "rank"),
        Column("host", "host", left=True),
        Column("gpu_uuid", "GPU", left=True, hidden=all(one.gpu_uuid is None for _, one in found)),
        Column("slowness", "own work"),
        Column("slowest_share", "slowest in"),
        Column("cost", "costs all"),
        Column("habit", "habit", left=True),
        Column("why", "what its surroundings show", left=True),
    )
    rows = tuple(
        (
            launch,
            one.rank,
            one.host,
            one.gpu_uuid,
            Quantity(one.slowness, "times"),
            Quantity(one.slowest_share, "fraction"),
            Quantity(one.cost, "fraction"),
            one.habit,
            "; ".join(one.why) or "nothing",
        )
        for launch, one in found
    )
    caption = (
        "own work: input and computing before it waits, over the middle rank's; "
        "slowest in so many of the steps; costs: of the time of all steps"
    )
    return Table("stragglers", "Ranks that hold up the others", columns, rows, captions=(caption,))


def describe_straggler(launch: int, one: Straggler) -> str:
    """One sentence for the notes."""
    why = f": {'; '.join(one.why)}" if one.why else ""
    return (
        f"launch {launch}: rank {one.rank} ({one.host}) holds up the others, {one.habit}: its own work takes "
        f"{one.slowness:.2f} times the middle rank's, and costs all {100 * one.cost:.0f} % of the time{why}"
    )
