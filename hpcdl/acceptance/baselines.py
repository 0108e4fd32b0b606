"""Baselines: what accepted hardware did, as a file that a person reviews, and later fleets are held against.

Only acceptances that passed become one. Per metric and device model it holds the median over units, outliers removed,
and what each unit did by itself, so that its drift can be told later.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from hpcdl.acceptance.outliers import LEAST_DEVIATION, LEAST_VALUES, THRESHOLD_MADS
from hpcdl.acceptance.references import References
from hpcdl.acceptance.toml_text import write_comment, write_key, write_table, write_value
from hpcdl.errors import Mistake
from hpcdl.frozen import Frozen, parse, read_toml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Rule(Frozen):
    """How outliers were removed: beyond so many scaled deviations of the median, again until there were none."""

    threshold_mads: Annotated[float, Field(gt=0)] = THRESHOLD_MADS
    least_values: int = LEAST_VALUES
    least_deviation: float = LEAST_DEVIATION


class Origin(Frozen):
    """An acceptance that a baseline is from."""

    accept_id: str
    created_utc: datetime
    suite: str
    suite_digest: str
    hpcdl: str
    nodes: int
    hardware: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()


class Reference(Frozen):
    """What units of one device model did, by one metric. `model` is empty for what has no device."""

    metric: str
    model: str = ""
    unit: str = ""
    value: float
    relative_spread: Annotated[float, Field(ge=0)] = 0.0
    units: Annotated[int, Field(ge=0)] = 0
    removed: Annotated[int, Field(ge=0)] = 0


class Removed(Frozen):
    """A unit that was left out of its model's reference, and why."""

    metric: str
    model: str = ""
    name: str
    value: float
    mads: float
    reason: str


class Baseline(Frozen):
    """The content of a baseline's file. `units`: metric -> device model -> unit's name -> value."""

    kind: Literal["hpcdl.baseline"]
    schema_version: Literal[1]
    made_utc: datetime
    hpcdl: str
    rehearsal: str = ""
    outliers: Rule = Rule()
    sources: tuple[Origin, ...] = ()
    references: tuple[Reference, ...] = ()
    removed: tuple[Removed, ...] = ()
    units: dict[str, dict[str, dict[str, float]]] = Field(default_factory=dict)


def read_baseline(path: Path) -> Baseline:
    """A baseline's file.

    Raises:
        Mistake: It cannot be read, or is none; names the key.
    """
    baseline = parse(Baseline, read_toml(path), where=str(path))
    keys = [(one.metric, one.model) for one in baseline.references]
    if double := next((key for key in keys if keys.count(key) > 1), None):
        raise Mistake(f"{path}: there are two references of {double[0]} for {double[1] or 'any model'}.")
    return baseline


def read_references(path: Path) -> References:
    """A baseline's file as a verdict asks for it.

    Raises:
        Mistake: It cannot be read, or is none.
    """
    baseline = read_baseline(path)
    return References(
        models={(one.metric, one.model): one.value for one in baseline.references},
        units={
            (metric, name): value
            for metric, models in baseline.units.items()
            for values in models.values()
            for name, value in values.items()
        },
        origin=str(path),
    )


def write_baseline(baseline: Baseline) -> str:
    """The text of a baseline's file."""
    return "\n".join(_write(baseline)) + "\n"


def _write(baseline: Baseline) -> Iterator[str]:
    rule = baseline.outliers
    yield from write_comment(_introduce(baseline))
    yield ""
    yield from write_table(
        "",
        {
            "kind": baseline.kind,
            "schema_version": baseline.schema_version,
            "made_utc": baseline.made_utc,
            "hpcdl": baseline.hpcdl,
            "rehearsal": baseline.rehearsal or None,
        },
    )
    yield from ("", "# Beyond so many scaled median absolute deviations; of fewer values none is removed.")
    yield from write_table("[outliers]", rule.model_dump())
    for source in baseline.sources:
        yield ""
        facts = source.model_dump() | {"hardware": list(source.hardware), "versions": list(source.versions)}
        yield from write_table("[[sources]]", facts)
    for reference in baseline.references:
        yield ""
        yield from write_table("[[references]]", reference.model_dump())
    if baseline.removed:
        yield from ("", "# Left out of the references above. Their own values stand below all the same.")
    for removed in baseline.removed:
        yield ""
        yield from write_table("[[removed]]", removed.model_dump())
    yield from ("", "# What each unit did by itself: for its drift.")
    for metric, models in baseline.units.items():
        for model, values in models.items():
            yield from ("", f"[{write_key('units', metric, model)}]")
            yield from (f"{write_key(name)} = {write_value(value)}" for name, value in values.items())


def _introduce(baseline: Baseline) -> list[str]:
    rehearsal = (
        ["", "REHEARSAL: several nodes were one machine. Hold no cluster against it."]
        if baseline.rehearsal
        else []
    )
    return [
        "A baseline of hpcdl: what accepted hardware did. Review it, keep it under version control, and use it:",
        '  hpcdl accept run SUITE --baseline THIS-FILE    with criteria that are of = "reference"',
        "  hpcdl baseline compare THIS-FILE ID            what each node and GPU did since",
        'A reference may be edited: its value is what later fleets are held against; model "" is any model.',
        *rehearsal,
    ]
