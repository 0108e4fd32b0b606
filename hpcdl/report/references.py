"""What `hpcdl baseline` shows: the references of a file, and how far units moved from what they did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.records import Missing
from hpcdl.report.content import Column, Fact, Note, Quantity, Report, Table
from hpcdl.report.requirements import choose_unit, shorten_word, write_amount
from hpcdl.report.wording import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.acceptance.baselines import Baseline
    from hpcdl.acceptance.drifts import Drifts
    from hpcdl.report.content import Badge, Cell

MOST_ROWS, MOST_NAMES = 40, 8
FROM_ZERO = Missing(missing="it was 0, of which nothing is a part")
REHEARSAL: tuple[Badge, ...] = ("REHEARSAL",)


def describe_baseline(baseline: Baseline, path: str, more: Sequence[str] = ()) -> Report:
    """A baseline's file: what it holds, what was left out of it, what it is from."""
    tables = (_make_reference_table(baseline), _make_removal_table(baseline), _make_source_table(baseline))
    return Report(
        kind="baseline",
        title=f"Baseline {path} · {count(len(baseline.sources), 'acceptance')}",
        badges=REHEARSAL if baseline.rehearsal else (),
        sections=tuple(table for table in tables if table.rows),
        notes=tuple(_note_rehearsal(baseline.rehearsal)),
        more=tuple(more),
    )


def _note_rehearsal(rehearsal: str | None) -> Iterator[Note]:
    if rehearsal:
        yield Note("rehearsal", f"hold no cluster against this: {rehearsal}")


def _make_reference_table(baseline: Baseline) -> Table:
    columns = (
        Column("metric", "metric", left=True),
        Column("model", "device", left=True),
        Column("reference", "reference"),
        Column("value", "value", hidden=True),
        Column("relative_spread", "spread"),
        Column("units", "units"),
        Column("removed", "left out"),
    )
    rows: list[tuple[Cell, ...]] = [
        (
            one.metric,
            one.model or "any",
            write_amount(one.metric, one.value),
            Quantity(one.value, choose_unit(one.metric)),
            Quantity(one.relative_spread, "fraction"),
            one.units,
            one.removed,
        )
        for one in baseline.references
    ]
    caption = "the median over units; the spread is the scaled median absolute deviation, over the median"
    return Table("references", "References", columns, tuple(rows), captions=(caption,))


def _make_removal_table(baseline: Baseline) -> Table:
    columns = (
        Column("metric", "metric", left=True),
        Column("unit", "unit", left=True),
        Column("shown", "value"),
        Column("value", "value", hidden=True),
        Column("mads", "deviations"),
        Column("reason", "why", left=True),
    )
    rows: list[tuple[Cell, ...]] = [
        (
            one.metric,
            one.name,
            write_amount(one.metric, one.value),
            Quantity(one.value, choose_unit(one.metric)),
            Quantity(round(one.mads, 1), "number"),
            one.reason,
        )
        for one in baseline.removed
    ]
    rule = baseline.outliers
    caption = (
        f"beyond {rule.threshold_mads:g} scaled median absolute deviations, again until there are none; of fewer than "
        f"{rule.least_values} units none is left out"
    )
    return Table("removed", "Left out", columns, tuple(rows), captions=(caption,), limit=MOST_ROWS)


def _make_source_table(baseline: Baseline) -> Table:
    columns = (
        Column("accept_id", "acceptance", left=True),
        Column("created_utc", "begun", left=True),
        Column("suite", "suite", left=True),
        Column("nodes", "nodes"),
        Column("hardware", "hardware", left=True),
        Column("versions", "versions", left=True, rank=2),
        Column("hpcdl", "hpcdl", left=True, rank=1),
    )
    rows: list[tuple[Cell, ...]] = [
        (
            one.accept_id,
            f"{one.created_utc:%Y-%m-%d}",
            one.suite,
            one.nodes,
            ", ".join(one.hardware),
            "; ".join(map(shorten_word, one.versions)),
            one.hpcdl,
        )
        for one in baseline.sources
    ]
    return Table("sources", "From", columns, tuple(rows))


def describe_drifts(found: Drifts, path: str, accept_id: str, rehearsal: str | None) -> Report:
    """How far each unit moved from what it did before, the farthest first."""
    return Report(
        kind="baseline",
        title=f"Drift of acceptance {accept_id} · against {path}",
        badges=REHEARSAL if rehearsal else (),
        sections=(_make_drift_table(found),),
        notes=(*_note_unknown(found), *_note_rehearsal(rehearsal)),
    )


def _make_drift_table(found: Drifts) -> Table:
    columns = (
        Column("unit", "unit", left=True),
        Column("metric", "metric", left=True),
        Column("change", "change"),
        Column("direction", "", left=True),
        Column("before_text", "before"),
        Column("now_text", "now"),
        Column("before", "before", hidden=True),
        Column("now", "now", hidden=True),
        Column("spreads", "of its kind's spread"),
        Column("moved_from", "moved from", left=True, hidden=not any(one.moved_from for one in found.moves)),
        Column("model", "device", left=True, rank=3),
    )
    rows: list[tuple[Cell, ...]] = [
        (
            one.unit,
            one.metric,
            Quantity(FROM_ZERO if one.change is None else one.change, "change"),
            "worse" if one.worse else "better" if one.now != one.before else "",
            write_amount(one.metric, one.before),
            write_amount(one.metric, one.now),
            Quantity(one.before, choose_unit(one.metric)),
            Quantity(one.now, choose_unit(one.metric)),
            None if one.spreads is None else Quantity(one.spreads, "times"),
            one.moved_from,
            one.model,
        )
        for one in found.moves
    ]
    facts = (
        Fact("compared", "compared", len(found.moves)),
        Fact("new", "not in the baseline", len(found.new)),
        Fact("gone", "only in the baseline", len(found.gone)),
    )
    caption = (
        "each against what itself did before, a GPU by its UUID wherever it is now; beside it how many times the "
        "spread that such units had among each other. A drift is no verdict"
    )
    return Table("drift", "Drift", columns, tuple(rows), facts, captions=(caption,), limit=MOST_ROWS)


def _note_unknown(found: Drifts) -> Iterator[Note]:
    for names, what in ((found.new, "not in the baseline"), (found.gone, "only in the baseline")):
        if names:
            more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
            yield Note("info", f"{what}: {', '.join(names[:MOST_NAMES])}{more}")
