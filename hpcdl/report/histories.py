"""What `hpcdl history` shows: the runs of one benchmark over time, where they changed, and what else did."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal

from hpcdl.estimates.changes import FALSE_ALARMS, SHORTEST
from hpcdl.records import Missing
from hpcdl.report.content import Column, Note, Quantity, Report, Table
from hpcdl.report.newest import show_some
from hpcdl.report.numbers import find_missing, format_value
from hpcdl.report.pictures import Axis, Dot, Lines, Picture, Series, Stretch
from hpcdl.report.sections import make_half_width, make_rate
from hpcdl.report.wording import count, join, name_engine, name_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcdl.analysis.history import Course, History, Line, Turn
    from hpcdl.analysis.points import Metric, Point
    from hpcdl.report.content import Cell
    from hpcdl.report.pictures import Role

DAY_S = 86_400.0
POINTS_SHOWN = 100
TITLES: dict[Metric, str] = {"images/s": "throughput", "images/J": "images per joule", "W": "power"}
METHOD = (
    "changes: seeded binary segmentation over ranks, each by a permutation test with a fixed seed; at most "
    f"{100 * FALSE_ALARMS:g} % of courses that never changed are said to have, as long as runs of one level do not "
    f"follow each other closely; a level has {SHORTEST} runs at least"
)
PARTED = {True: "yes", False: "no", None: "not asked"}


def describe_history(history: History) -> Report:
    """Runs, changes, what differs around them, and a picture for each line."""
    courses = history.courses
    rehearsal = any(course.line.rehearsal for course in courses)
    return Report(
        kind="history",
        title=f"{join(history.names)} over time · {TITLES[history.metric]} · benchmark {history.benchmark_id}",
        badges=("REHEARSAL",) if rehearsal else (),
        sections=tuple(_lay_out(history)),
        notes=tuple(_note(history)),
        more=("two of its runs against each other: hpcdl compare A B",),
        pictures=tuple(
            _draw(course, history, number)
            for number, course in enumerate(courses, start=1)
            if course.searched > 1
        ),
    )


def _lay_out(history: History) -> Iterator[Table]:
    yield from show_some(_make_run_table(history), [*_choose_shown(history)])
    turns = [(course, turn) for course in history.courses for turn in course.turns]
    if turns:
        yield _make_change_table(history, turns)
        yield _make_fact_table(history, turns)


def _choose_shown(history: History) -> Iterator[bool]:
    """The newest of each line, and the two runs next to each change."""
    for course in history.courses:
        kept = {point.run_id for turn in course.turns for point in (turn.before, turn.after)}
        hidden = len(course.points) - POINTS_SHOWN
        yield from (place >= hidden or point.run_id in kept for place, point in enumerate(course.points))


def name_line(line: Line, history: History) -> str:
    """'4 ranks on 2 nodes, no exchange, Horovod, on juno': only what tells the lines of this history apart."""
    lines = [course.line for course in history.courses]
    parts = [name_size(line.nodes, line.ranks)]
    if line.variant != "full":
        parts.append(line.variant)
    if line.engine:
        parts.append(name_engine(line.engine, ""))
    if len({one.site for one in lines}) > 1:
        parts.append(f"on {line.site}")
    if line.boundary:
        parts.append(f"{line.boundary}, {line.basis}")
    return ", ".join(parts) + (" (REHEARSAL)" if line.rehearsal else "")


def _make_run_table(history: History) -> Table:
    points = [point for course in history.courses for point in course.points]
    metered = any(not isinstance(point.average_w, Missing) for point in points)
    columns = (
        Column("line", "measured", left=True, hidden=len(history.courses) == 1),
        Column("time", "planned (UTC)", left=True),
        Column("run", "run", left=True, rank=2),
        Column("launches", "launches", rank=5, hidden=all(point.launches == 1 for point in points)),
        Column("images_per_s", "images/s"),
        Column("interval", "interval", rank=1),
        Column("average_w", "W", rank=3, hidden=not metered),
        Column("j_per_image", "J/image", rank=3, hidden=not metered),
        Column("images_per_j", "images/J", rank=2, hidden=not metered),
        Column("boundary", "boundary", left=True, rank=4, hidden=not metered),
        Column("basis", "basis", left=True, rank=4, hidden=not metered),
        Column("change", "changed by"),
        Column("mark", "", left=True),
    )
    rows = tuple(
        _make_run_row(point, course, history) for course in history.courses for point in course.points
    )
    return Table("runs", "Runs", columns, rows)


def _make_run_row(point: Point, course: Course, history: History) -> tuple[Cell, ...]:
    mark = "estimated" if point.basis not in {None, "measured"} else ""
    turn = next((turn for turn in course.turns if turn.after.run_id == point.run_id), None)
    return (
        name_line(course.line, history),
        point.time.replace("T", " ").removesuffix(":00Z").removesuffix("Z"),
        point.run_id,
        point.launches,
        make_rate(point.images_per_s, point.rate_interval),
        make_half_width(point.rate_interval),
        Quantity(point.average_w, "W", mark),
        Quantity(point.j_per_image, "J/image", mark),
        Quantity(point.images_per_j, "images/J", mark),
        point.boundary,
        point.basis,
        None if turn is None else Quantity(turn.change.relative, "change", _mark(course)),
        "REHEARSAL" if course.line.rehearsal else "",
    )


def _make_change_table(history: History, turns: list[tuple[Course, Turn]]) -> Table:
    unit = history.metric
    columns = (
        Column("change_index", "#"),
        Column("line", "measured", left=True, hidden=len(history.courses) == 1),
        Column("before_run", "between", left=True),
        Column("after_run", "and", left=True),
        Column("before", f"{unit} before" if unit == "images/s" else "before"),
        Column("after", f"{unit} after" if unit == "images/s" else "after"),
        Column("change", "change"),
        Column("p_value", "p", rank=1),
    )
    rows = tuple(
        (
            number,
            name_line(course.line, history),
            turn.before.run_id,
            turn.after.run_id,
            Quantity(turn.change.before, unit, _mark(course)),
            Quantity(turn.change.after, unit, _mark(course)),
            Quantity(turn.change.relative, "change", _mark(course)),
            Quantity(turn.change.p_value, "p"),
        )
        for number, (course, turn) in enumerate(turns, start=1)
    )
    return Table("changes", "Changes", columns, rows, captions=("medians of the levels on either side",))


def _make_fact_table(history: History, turns: list[tuple[Course, Turn]]) -> Table:
    columns = (
        Column("change_index", "#"),
        Column("line", "measured", left=True, hidden=True),
        Column("fact", "fact", left=True),
        Column("before", "before", left=True),
        Column("after", "after", left=True),
        Column("parted", "in no run of the other side", left=True),
    )
    rows = tuple(
        (
            number,
            name_line(course.line, history),
            fact.name,
            fact.before,
            fact.after,
            PARTED[fact.parted],
        )
        for number, (course, turn) in enumerate(turns, start=1)
        for fact in turn.facts
    )
    caption = (
        "of the two runs next to the change; what also differs between runs of one level explains nothing"
    )
    return Table("facts", "What changed around them", columns, rows, captions=(caption,))


def _note(history: History) -> Iterator[Note]:
    for course in history.courses:
        named, points = name_line(course.line, history), course.points
        if course.line.rehearsal:
            yield Note("rehearsal", f"{named}: {points[-1].rows[0]['rehearsal_reason']}")
        absent = [point for point in points if isinstance(point.value, Missing)]
        if absent:
            yield Note(
                "warning",
                f"{named}: {count(len(absent), 'run')} without {history.metric} left out of the search for changes; "
                f"the newest: {find_missing(Quantity(absent[-1].value, history.metric))}",
            )
        if course.searched < 2 * SHORTEST:
            yield Note(
                "info",
                f"{named}: {count(course.searched, 'run')} with {history.metric} are too few to see a change: "
                f"{2 * SHORTEST} are needed",
            )
        elif course.searched + len(absent) < len(points):
            yield Note("info", f"{named}: changes were searched in the newest {course.searched:,} runs only")
    for course in history.courses:
        yield from (
            Note(
                "warning",
                f"{name_line(course.line, history)}: nothing recorded changed with {turn.after.run_id}",
            )
            for turn in course.turns
            if not turn.facts
        )
    yield Note("info", METHOD)


def _draw(course: Course, history: History, number: int) -> Picture:
    """The metric over days, each run with its interval; what lies between the two runs of a change is shaded."""
    measured = [point for point in course.points if not isinstance(point.value, Missing)]
    began = _read_time(measured[0])
    days = {point.run_id: (_read_time(point) - began).total_seconds() / DAY_S for point in measured}
    dots = tuple(
        Dot(
            days[point.run_id],
            float(point.value),
            low=point.interval.low if point.interval else None,
            high=point.interval.high if point.interval else None,
        )
        for point in measured
        if not isinstance(point.value, Missing)
    )
    stretches = tuple(
        Stretch(
            days[turn.before.run_id],
            days[turn.after.run_id],
            f"{format_value(turn.change.relative, 'change')}, {turn.after.time[:10]}",
        )
        for turn in course.turns
    )
    named, metric = name_line(course.line, history), history.metric
    return Picture(
        key=f"history-{number}",
        title=f"{join(history.names)}: {TITLES[metric]} over time",
        subtitle=f"{named} · {course.line.site}",
        alt=_tell(course, history, measured),
        form=Lines(
            Axis(f"days since {began:%Y-%m-%d %H:%M} UTC", zero=True),
            Axis(metric, unit=metric, zero=False),
            (Series(metric, _choose_role(course), dots),),
            stretches,
        ),
        caption=METHOD,
    )


def _mark(course: Course) -> Literal["", "estimated"]:
    """What qualifies the metric of a line; throughput is always measured."""
    return "" if course.line.basis in {None, "measured"} else "estimated"


def _choose_role(course: Course) -> Role:
    return _mark(course) or "measured"


def _tell(course: Course, history: History, measured: list[Point]) -> str:
    """What there is to see, in words."""
    told = [
        f"{format_value(turn.change.relative, 'change')} with run {turn.after.run_id} of {turn.after.time[:10]}"
        for turn in course.turns
    ]
    seen = f"{count(len(told), 'change')}: {'; '.join(told)}" if told else "no change is seen"
    return (
        f"{TITLES[history.metric].capitalize()} of {count(len(measured), 'run')} from {measured[0].time[:10]} to "
        f"{measured[-1].time[:10]}, {name_line(course.line, history)}; {seen}."
    )


def _read_time(point: Point) -> datetime:
    return datetime.fromisoformat(point.time)
