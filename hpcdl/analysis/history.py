"""One benchmark over weeks: its runs in order of time, when they became others, and what else changed then."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from hpcdl.analysis.comparison import list_facts
from hpcdl.analysis.job import analyse_run
from hpcdl.analysis.points import Point, sum_up
from hpcdl.analysis.readings import known
from hpcdl.errors import Mistake
from hpcdl.estimates.changes import Change, find_changes
from hpcdl.records import Missing
from hpcdl.store import RunFolder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hpcdl.analysis.catalogue import Catalogue
    from hpcdl.analysis.points import Metric
    from hpcdl.analysis.rows import Row
    from hpcdl.stores import Stores

# Permutations of more take longer than anybody waits; the newest are the ones that matter.
MOST_RUNS = 1000
# Facts of the environment that the rows hold too, so that all runs of both levels can be asked.
FACT_COLUMNS = {
    "hpcdl": "hpcdl",
    "torch": "torch",
    "horovod": "horovod",
    "dali": "dali",
    "mpi": "mpi",
    "nccl": "nccl",
    "cuda": "cuda",
    "host": "hosts",
    "CPU": "cpu",
    "GPU": "gpu",
    "layout": "layout",
}


class Line(NamedTuple):
    """What may be drawn as one line: runs that differ in nothing but when they were.

    `boundary` and `basis` are those of the energy, and None where the metric is throughput.
    """

    site: str
    nodes: int
    ranks: int
    variant: str
    engine: str
    rehearsal: bool
    boundary: str | None
    basis: str | None


class Fact(NamedTuple):
    """Something that is not the same right before and right after a change.

    `parted`: no run of the level before shares it with one of the level after; None where only the two runs next to
    the change were asked.
    """

    name: str
    before: str
    after: str
    parted: bool | None


@dataclass(frozen=True)
class Turn:
    """A change on a line: between these two runs."""

    change: Change
    before: Point
    after: Point
    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class Course:
    """A line with its points and its turns. `searched` is how many values the turns were searched in."""

    line: Line
    points: tuple[Point, ...]
    turns: tuple[Turn, ...]
    searched: int


@dataclass(frozen=True)
class History:
    """All lines of one benchmark, those of most runs first."""

    benchmark_id: str
    names: tuple[str, ...]
    metric: Metric
    courses: tuple[Course, ...]


def choose_benchmark(catalogue: Catalogue, text: str, stores: Stores) -> str:
    """The benchmark_id that is meant: itself, a benchmark's name, or a run.

    Raises:
        Mistake: Nothing fits; or the name has asked different questions over time.
    """
    ids = catalogue.column("benchmark_id")
    if text in set(ids):
        return text
    asked: defaultdict[str, set[str]] = defaultdict(set)
    columns = zip(catalogue.column("name"), ids, catalogue.column("run_id"), strict=True)
    for name, benchmark_id, run_id in columns:
        if name == text:
            asked[benchmark_id].add(run_id)
    if len(asked) > 1:
        told = ", ".join(
            f"{benchmark_id} ({len(runs)} of them, the last {max(runs)})"
            for benchmark_id, runs in asked.items()
        )
        raise Mistake(
            f"runs named {text!r} have asked {len(asked)} different questions: {told}.",
            do="Name one of these ids, or a run.",
        )
    return next(iter(asked)) if asked else _ask_run(text, stores)


def _ask_run(text: str, stores: Stores) -> str:
    try:
        return stores.find(text).job().benchmark_id
    except Mistake as mistake:
        raise Mistake(
            f"{text!r} is no benchmark that was run, and no run: {mistake.what}",
            do="`hpcdl list` shows both; `hpcdl list --launches --json` has the benchmarks' ids.",
        ) from None


def trace_history(
    catalogue: Catalogue, benchmark_id: str, *, metric: Metric = "images/s", since: str = ""
) -> History:
    """The runs of a benchmark in order of time, and their changes.

    Args:
        catalogue: Where to look.
        benchmark_id: The question.
        metric: In what changes are searched.
        since: Only runs planned at or after this time, ISO 8601 in UTC.

    Raises:
        Mistake: There is no such run; says when there was one.
    """
    times = catalogue.column("time")
    ids, kinds = catalogue.column("benchmark_id"), catalogue.column("kind")
    asked = [
        place
        for place, (one, kind) in enumerate(zip(ids, kinds, strict=True))
        if one == benchmark_id and kind == "train"
    ]
    rows = catalogue.rows(place for place in asked if times[place] >= since)
    if not rows:
        last = max((times[place] for place in asked), default="")
        raise Mistake(
            f"no training of benchmark {benchmark_id} was planned since {since or 'ever'}."
            + (f" The last one was at {last}." if last else ""),
            do="Choose an earlier --since.",
        )
    paths = {name: root / name for root, name in catalogue.paths()}
    courses = [_follow(line, members, metric, paths) for line, members in _draw_lines(rows, metric).items()]
    courses.sort(key=lambda course: (-len(course.points), course.line.ranks))
    return History(
        benchmark_id, tuple(dict.fromkeys(str(row["name"]) for row in rows)), metric, tuple(courses)
    )


def _draw_lines(rows: Sequence[Row], metric: Metric) -> Mapping[Line, list[Row]]:
    """By size, variant, engine and site, and energy by what was metered; what has none joins the first such line."""
    several = len({row["planned_engine"] for row in rows}) > 1
    lines: defaultdict[Line, list[Row]] = defaultdict(list)
    for row in rows:
        lines[_name_line(row, metric, several=several)].append(row)
    for line in [one for one in lines if metric != "images/s" and one.boundary is None]:
        home = next((one for one in lines if one.boundary and one[:6] == line[:6]), line)
        if home is not line:
            lines[home].extend(lines.pop(line))
    return lines


def _name_line(row: Row, metric: Metric, *, several: bool) -> Line:
    energy = metric != "images/s"
    return Line(
        site=str(row["site"]),
        nodes=int(row["nodes"] or 0),
        ranks=int(row["ranks"] or 0),
        variant=str(row["variant"]),
        engine=str(row["planned_engine"]) if several else "",
        rehearsal=bool(row["rehearsal"]),
        boundary=str(row["boundary"]) if energy and row["boundary"] else None,
        basis=str(row["basis"]) if energy and row["basis"] else None,
    )


def _follow(line: Line, rows: Sequence[Row], metric: Metric, paths: Mapping[str, Path]) -> Course:
    runs: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        runs[str(row["run_id"])].append(row)
    points = sorted((sum_up(members, metric) for members in runs.values()), key=lambda p: (p.time, p.run_id))
    measured = [point for point in points if not isinstance(point.value, Missing)][-MOST_RUNS:]
    changes = find_changes(known([point.value for point in measured]))
    edges = [0, *(change.at for change in changes), len(measured)]
    turns = tuple(
        _explain(change, measured[edges[place] : change.at], measured[change.at : edges[place + 2]], paths)
        for place, change in enumerate(changes)
    )
    return Course(line, tuple(points), turns, len(measured))


def _explain(
    change: Change, before: Sequence[Point], after: Sequence[Point], paths: Mapping[str, Path]
) -> Turn:
    """What differs between the two runs next to the change, by their own records."""
    ours, theirs = (RunFolder(paths[point.run_id]) for point in (before[-1], after[0]))
    try:
        facts = list_facts(analyse_run(ours, with_steps=False), analyse_run(theirs, with_steps=False))
    except Mistake:  # gone since it was listed
        facts = []
    told = tuple(Fact(name, old, new, _is_parted(name, before, after)) for name, old, new in facts)
    return Turn(change, before[-1], after[0], told)


def _is_parted(name: str, before: Sequence[Point], after: Sequence[Point]) -> bool | None:
    column = FACT_COLUMNS.get(name)
    if column is None:
        return None
    ours, theirs = ({row[column] for point in side for row in point.rows} for side in (before, after))
    return not ours & theirs
