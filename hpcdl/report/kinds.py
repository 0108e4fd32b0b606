"""The parts that a report on runs can be had in: which tables and pictures each holds, and how to get what it lacks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpcdl.errors import Mistake, UnknownName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.report.content import Report

ALL = "all"


@dataclass(frozen=True)
class Kind:
    """Keys of tables, and subjects of pictures, with which their keys begin; their order is the report's own.

    `lacking` is what to do where there is none.
    """

    tables: frozenset[str]
    pictures: frozenset[str]
    lacking: str


KINDS: dict[str, Kind] = {
    "run": Kind(
        frozenset({"launches", "repeats", "stragglers", "published", "hosts", "checks"}),
        frozenset({"phases", "step-times", "ranks", "loss", "published"}),
        "Start one: hpcdl run smoke.",
    ),
    "scaling": Kind(
        frozenset({"scaling", "energy_scaling", "attribution", "engines"}),
        frozenset({"speed-up", "efficiency", "throughput", "attribution"}),
        "Measure several sizes in one job: hpcdl submit scaling --nodes 1,2,4.",
    ),
    "power": Kind(
        frozenset({"energy", "meters", "energy_scaling", "power_limits"}),
        frozenset({"power"}),
        "`hpcdl power sensors` says what can be metered here, and --min-window 60s measures long enough for it.",
    ),
    "cost": Kind(
        frozenset({"cost", "assumptions", "sensitivity", "break_even"}),
        frozenset({"cost"}),
        "Give prices in the table [cost] of the site file: docs/cost.md.",
    ),
    "cpu-gpu": Kind(
        frozenset({"cpu_gpu", "cpu_audit"}),
        frozenset({"cpu-gpu"}),
        "Name runs of one network on both: --device cpu, and --device gpu.",
    ),
    "comm": Kind(
        frozenset({"probes", "links"}),
        frozenset({"allreduce", "links"}),
        "Measure the network: hpcdl probe --nodes 4.",
    ),
}


def read_kinds(text: str) -> tuple[str, ...]:
    """'scaling,power' as kinds; 'all' is all of them.

    Raises:
        UnknownName: There is no such kind.
    """
    names = tuple(part.strip() for part in text.split(",") if part.strip()) or (ALL,)
    for name in names:
        if name != ALL and name not in KINDS:
            raise UnknownName("kind of report", name, [*KINDS, ALL])
    return () if ALL in names else names


def select(report: Report, names: Sequence[str]) -> Report:
    """The report with what belongs to these kinds alone; the whole of it, where none is named.

    Raises:
        Mistake: Its records hold nothing of the kind; says how to get it.
    """
    if not names:
        return report
    kinds = [KINDS[name] for name in names]
    sections = tuple(table for table in report.sections if any(table.key in kind.tables for kind in kinds))
    if not any(not table.hidden for table in sections):
        raise Mistake(f"there is nothing on {' and '.join(names)} in these runs.", do=kinds[0].lacking)
    pictures = tuple(
        picture for picture in report.pictures if any(_belongs(picture.key, kind) for kind in kinds)
    )
    return replace(report, sections=sections, pictures=pictures)


def _belongs(key: str, kind: Kind) -> bool:
    """What tells several pictures of one subject apart stands behind a dash."""
    return any(key == subject or key.startswith(f"{subject}-") for subject in kind.pictures)
