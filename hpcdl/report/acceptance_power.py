"""What `hpcdl accept simulate` shows: how many bad nodes an acceptance finds, and how many good ones it accuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.acceptance.judging import find_alpha
from hpcdl.estimates.proportions import estimate_proportion
from hpcdl.report.content import Column, Fact, Note, Quantity, Report, Table
from hpcdl.report.pictures import Axis, Dot, Lines, Picture, Series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from hpcdl.acceptance.simulation import Asked, Study, Tally
    from hpcdl.acceptance.sweep import Point
    from hpcdl.report.content import Cell

CHANCE = 25


def describe_power(study: Study, tallies: Sequence[Tally], curves: Mapping[float, Sequence[Point]]) -> Report:
    """Rates with their intervals for each kind of fleet, and the curves of a moved line."""
    asked = study.asked
    return Report(
        kind="simulation",
        title=f"Acceptance of simulated fleets of {asked.nodes:,} nodes: "
        f"at least {_percent(asked.line)} of the fleet's median",
        sections=(_make_table(asked, tallies), _make_sweep(curves)),
        notes=(
            Note("info", "simulated: nothing of this was measured; real noise may be of another kind"),
            Note("info", tell_noise(asked)),
            Note("info", _tell_policy(asked)),
            Note("info", _tell_limit(asked)),
        ),
        pictures=tuple(_draw(study, curves)),
    )


def _percent(part: float) -> str:
    return f"{round(100 * part, 2):g} %"


def tell_noise(asked: Asked) -> str:
    """The noise model in one sentence."""
    scatter = asked.scatter
    return (
        f"noise model, standard deviations of a speed's logarithm: repeat to repeat {_percent(scatter.noise)} "
        f"(Student's t, {scatter.tails:g} degrees of freedom), a node in one job alone {_percent(scatter.between)}, "
        f"healthy node to node {_percent(scatter.spread)}, a job's weather for all {_percent(scatter.drift)}; "
        f"a bad node is a healthy one that has lost that part of its speed"
    )


def _tell_policy(asked: Asked) -> str:
    alpha = find_alpha(asked.policy, asked.confidence, asked.nodes)
    confirmed = "in two jobs at least" if asked.confirm else "in one job"
    return (
        f"{asked.repeats} repeats in a job, up to {asked.reruns} further jobs on what is undecided, beside as many "
        f"healthy nodes; a failure is seen {confirmed}, each with a chance of error of at most {alpha:.2g}: "
        f"{asked.false_alarms:g} false alarms per fleet on average at most; a pass with {_percent(asked.confidence)}"
    )


def _tell_limit(asked: Asked) -> str:
    loss = _percent(1 - asked.line)
    return (
        f"a node that has lost {loss} stands on the line itself: however often it is measured, it is failed or passed "
        f"by chance alone; to have lost less is allowed"
    )


def _make_table(asked: Asked, tallies: Sequence[Tally]) -> Table:
    columns = (
        Column("bad_nodes", "bad nodes"),
        Column("loss", "slower by"),
        Column("found", "found"),
        Column("found_interval", "its interval", rank=2),
        Column("undecided", "undecided", rank=3),
        Column("overlooked", "passed", rank=1),
        Column("accused", "healthy ones failed"),
        Column("accused_interval", "its interval", rank=2),
        Column("unsettled", "healthy ones undecided", rank=3),
        Column("false_fleets", "fleets with a false alarm", rank=1),
        Column("bad_count", "bad nodes in all", hidden=True),
        Column("found_count", "found in all", hidden=True),
        Column("healthy_count", "healthy nodes in all", hidden=True),
        Column("accused_count", "healthy ones failed in all", hidden=True),
        Column("fleets", "fleets", hidden=True),
    )
    scatter = asked.scatter
    facts = (
        Fact("nodes", "nodes", asked.nodes),
        Fact("line", "line", Quantity(asked.line, "fraction")),
        Fact("repeats", "repeats", asked.repeats),
        Fact("reruns", "further jobs", asked.reruns),
        Fact("confirm", "failures are confirmed", "yes" if asked.confirm else "no"),
        Fact("fleets_each", "fleets of each kind", asked.trials),
        Fact("seed", "seed", asked.seed),
        Fact("noise", "noise, repeat to repeat", Quantity(scatter.noise, "fraction")),
        Fact("between", "noise, a node in one job", Quantity(scatter.between, "fraction")),
        Fact("spread", "spread of healthy nodes", Quantity(scatter.spread, "fraction")),
        Fact("drift", "weather of a job", Quantity(scatter.drift, "fraction")),
        Fact("tails", "degrees of freedom of the noise", Quantity(scatter.tails, "number")),
    )
    captions = (
        "rates with the 95 % interval of Clopper and Pearson, which takes the nodes of a fleet for independent",
    )
    rows = tuple(_make_row(tally) for tally in tallies)
    return Table("power", "Found and falsely accused", columns, rows, facts, captions)


def _make_row(tally: Tally) -> tuple[Cell, ...]:
    bad, healthy = tally.bad_nodes, tally.healthy_nodes
    return (
        tally.planted.bad,
        Quantity(tally.planted.loss, "fraction") if bad else None,
        _rate(tally.found, bad),
        _bound(tally.found, bad),
        _rate(tally.undecided, bad),
        _rate(tally.overlooked, bad),
        _rate(tally.accused, healthy),
        _bound(tally.accused, healthy),
        _rate(tally.unsettled, healthy),
        _rate(tally.false_fleets, tally.fleets),
        bad,
        tally.found,
        healthy,
        tally.accused,
        tally.fleets,
    )


def _rate(hits: int, count: int) -> Cell:
    """None where there is nothing to be found."""
    if count == 0:
        return None
    seen = estimate_proportion(hits, count)
    return Quantity(seen.value, "fraction", low=seen.low, high=seen.high)


def _bound(hits: int, count: int) -> Cell:
    """The interval in words: what was never seen may still be."""
    if count == 0:
        return None
    seen = estimate_proportion(hits, count)
    return f"{100 * seen.low:.3g} to {100 * seen.high:.3g} %"


def _make_sweep(curves: Mapping[float, Sequence[Point]]) -> Table:
    """The points of the picture, for programs."""
    columns = (
        Column("loss", "slower by"),
        Column("line", "line"),
        Column("found", "found"),
        Column("accused", "healthy ones failed"),
    )
    rows = tuple(
        (
            Quantity(loss, "fraction"),
            Quantity(point.line, "fraction"),
            _rate(point.found, point.bad),
            _rate(point.accused, point.healthy),
        )
        for loss, points in curves.items()
        for point in points
    )
    return Table("roc", "The line moved", columns, rows, hidden=True)


def _draw(study: Study, curves: Mapping[float, Sequence[Point]]) -> Iterator[Picture]:
    if not curves:
        return
    asked = study.asked
    subtitle = (
        f"SIMULATED · {asked.nodes:,} nodes, {max(study.bad)} bad · two jobs of {asked.repeats} repeats"
    )
    told = "; ".join(_tell_curve(loss, points, asked.line) for loss, points in curves.items())
    least = 0.5 / min(points[0].healthy for points in curves.values())
    yield Picture(
        key="acceptance-roc",
        title="Bad nodes found over healthy ones failed, as the line moves",
        subtitle=subtitle,
        alt=f"Curves of what is found over what is falsely failed, one for each loss. {told}.",
        form=Lines(
            Axis("healthy nodes failed", "fraction", log=True, zero=False),
            Axis("bad nodes found", "fraction"),
            (*_trace(curves, lambda point: max(point.accused / point.healthy, least)), _draw_chance(least)),
        ),
        caption=f"at the left end no healthy node failed: drawn at half a node of all; {tell_noise(asked)}",
        beside="power",
    )
    yield Picture(
        key="acceptance-line",
        title="Nodes that fail over where the line is",
        subtitle=subtitle,
        alt=f"Curves of failing nodes over the line, one for each loss and one of the healthy. {told}.",
        form=Lines(
            Axis("line, of the fleet's median", "fraction", zero=False),
            Axis("nodes that fail", "fraction"),
            (*_trace(curves, lambda point: point.line), _draw_healthy(curves)),
        ),
        caption=tell_noise(asked),
        beside="power",
    )


def _trace(curves: Mapping[float, Sequence[Point]], place: Callable[[Point], float]) -> Iterator[Series]:
    for loss, points in curves.items():
        dots = tuple(Dot(place(point), point.found / point.bad) for point in points)
        yield Series(f"{_percent(loss)} slower", "predicted", dots)


def _draw_chance(least: float) -> Series:
    """Who fails nodes at random finds as large a part of the bad as of the healthy."""
    shares = [least ** (1 - step / CHANCE) for step in range(CHANCE + 1)]
    return Series("at random", "ideal", tuple(Dot(share, share) for share in shares))


def _draw_healthy(curves: Mapping[float, Sequence[Point]]) -> Series:
    """Those of all fleets together."""
    dots = tuple(
        Dot(at[0].line, sum(point.accused for point in at) / sum(point.healthy for point in at))
        for at in zip(*curves.values(), strict=True)
    )
    return Series("healthy", "predicted", dots)


def _tell_curve(loss: float, points: Sequence[Point], line: float) -> str:
    point = min(points, key=lambda one: abs(one.line - line))
    return (
        f"{_percent(loss)} slower: at a line of {_percent(point.line)} {point.found} of {point.bad} are found, "
        f"and {point.accused} of {point.healthy:,} healthy ones fail"
    )
