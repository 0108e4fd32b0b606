"""Which runs a report is of: id, date, benchmark, site, plan and tags, a line for each."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from hpcdl.report.wording import count
from hpcdl.site import UNNAMED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.analysis.job import RunResult

MOST = 3


def identify(results: Sequence[RunResult]) -> Iterator[str]:
    """'run ID · 27 Nov 2026 02:24 UTC · benchmark scaling · site juno · plan HASH'; of many runs the first few."""
    yield from map(_identify_one, results[:MOST])
    if len(results) > MOST:
        yield f"and {count(len(results) - MOST, 'run')} more"


def _identify_one(result: RunResult) -> str:
    job = result.job
    # No locale has a say in it.
    made = job.created_utc.astimezone(UTC)
    parts = [
        f"run {result.job.run_id}",
        f"{made.day} {_MONTHS[made.month - 1]} {made:%Y %H:%M} UTC",
        f"benchmark {job.name}",
        "" if job.site.name == UNNAMED else f"site {job.site.name}",
        f"plan {job.plan_hash}",
        f"tags {', '.join(job.tags)}" if job.tags else "",
    ]
    return " · ".join(part for part in parts if part)


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
