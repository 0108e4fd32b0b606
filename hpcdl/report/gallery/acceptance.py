"""A fleet against its lines: every node by every requirement, and the units of what is not passed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hpcdl.report.pictures import Axis, Dot, HeatMap, Picture, Scatter, Series
from hpcdl.report.requirements import WORDS, choose_unit, find_margin, sort_worst, write_amount
from hpcdl.report.wording import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hpcdl.acceptance.verdict import Decision, Requirement, Verdict
    from hpcdl.report.requirements import Floor

# Pictures of single requirements, and dots in each of them: the worst.
MOST_PICTURES, MOST_DOTS = 4, 100
TITLES = {"fail": "failed", "insufficient": "undecided", "pass": "passed"}


def draw_acceptance(verdict: Verdict, floors: Mapping[str, Floor]) -> Iterator[Picture]:
    """A map of nodes and requirements, and dots against the line for what was not passed."""
    numbered = [one for one in verdict.requirements if _is_numbered(one)]
    heat = _draw_map(verdict, numbered, floors)
    if heat is not None:
        yield heat
    troubled = [one for one in numbered if one.outcome in {"fail", "insufficient"}]
    for requirement in troubled[:MOST_PICTURES]:
        yield _draw_dots(verdict, requirement, floors.get(requirement.criterion, True))


def _is_numbered(requirement: Requirement) -> bool:
    """Whether there are numbers to draw against a line that is not nothing."""
    return any(_is_drawn(one) and one.threshold != 0 for one in requirement.decisions)


def _is_drawn(decision: Decision) -> bool:
    return isinstance(decision.value, float) and isinstance(decision.threshold, float)


def _mark(verdict: Verdict) -> str:
    parts = [f"{count(len(verdict.nodes), 'node')}", "REHEARSAL" if verdict.rehearsal else ""]
    return " · ".join(part for part in parts if part)


def _draw_map(
    verdict: Verdict, requirements: Sequence[Requirement], floors: Mapping[str, Floor]
) -> Picture | None:
    """The worst margin of each node by each requirement that has numbers; at 0 lies the line."""
    worst: dict[tuple[str, str], float] = {}
    for one in requirements:
        for decision in filter(_is_drawn, one.decisions):
            margin = find_margin(decision, floor=floors.get(one.criterion, True))
            # What is of many nodes together is nobody's own.
            for node in decision.nodes if len(decision.nodes) <= 2 else ():
                worst[node, one.criterion] = min(margin, worst.get((node, one.criterion), math.inf))
    columns = tuple(dict.fromkeys(name for _, name in worst))
    rows = tuple(node for node in verdict.nodes if any((node, name) in worst for name in columns))
    if not rows:
        return None
    (node, name), least = min(worst.items(), key=lambda item: (item[1], item[0]))
    return Picture(
        key="acceptance",
        title="How far on the right side of the line",
        subtitle=_mark(verdict),
        alt=f"{count(len(rows), 'node')} by {count(len(columns), 'requirement')}; the worst is {node} by {name}, "
        f"{100 * least:+.1f} % from its line.",
        caption="the worst unit of each node, as a part of the line; below 0 it is on the wrong side. Whether that is "
        "certain is for the intervals in the tables to say",
        beside="requirements",
        form=HeatMap(
            Axis("requirement"),
            Axis("node"),
            Axis("distance from the line", "change", zero=False),
            columns=columns,
            rows=rows,
            values=tuple(tuple(worst.get((row, column)) for column in columns) for row in rows),
            worst="lowest",
        ),
    )


def _draw_dots(verdict: Verdict, requirement: Requirement, floor: Floor) -> Picture:
    drawn = [one for one in sort_worst(requirement, floor=floor) if _is_drawn(one)]
    places = list(enumerate(drawn[:MOST_DOTS], start=1))
    series = [
        Series(
            title, "measured", tuple(_place(place, one) for place, one in places if one.outcome == outcome)
        )
        for outcome, title in TITLES.items()
        if any(one.outcome == outcome for _, one in places)
    ]
    line = Series("the line", "ideal", tuple(Dot(place, _number(one.threshold)) for place, one in places))
    first = drawn[0]
    value = write_amount(requirement.metric, first.value, relative=first.relative)
    cut = f"; the worst {MOST_DOTS} of {len(drawn):,}" if len(drawn) > MOST_DOTS else ""
    return Picture(
        key=f"units-{requirement.criterion}",
        title=f"{requirement.criterion}: {requirement.asked}",
        subtitle=f"{_mark(verdict)}{cut}",
        alt=f"{count(len(places), 'unit')}; the worst, {first.unit}, has {value}: {WORDS[first.outcome]}.",
        caption="one dot for each unit, the worst first; the table beside it has their intervals",
        beside="requirements",
        form=Scatter(
            Axis("unit, the worst first", whole=True),
            Axis(requirement.metric, choose_unit(requirement.metric, relative=first.relative)),
            (*series, line),
        ),
    )


def _place(place: int, decision: Decision) -> Dot:
    # Of thousands of units only the worst have room for their names.
    return Dot(
        place,
        _number(decision.value),
        label=decision.unit if place <= 3 and decision.outcome != "pass" else "",
    )


def _number(value: float | str | None) -> float:
    return value if isinstance(value, float) else math.nan
