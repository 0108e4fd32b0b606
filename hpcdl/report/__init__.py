"""Numbers -> what a person or a program reads: one content, and a renderer for each format.

Importing this package loads neither pydantic nor the analysis, so that `hpcdl models` is instant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.job import RunResult
    from hpcdl.prices import Pricing
    from hpcdl.report.asking import Asking
    from hpcdl.report.content import Report


def build(
    results: Sequence[RunResult],
    *,
    force: bool = False,
    pictured: bool = False,
    costs: bool = False,
    pricing: Pricing | None = None,
    boundary: str | None = None,
    accuracy: float | None = None,
    asking: Asking | None = None,
) -> Report:
    """The report of one run or of several: see `building.build_report`."""
    from hpcdl.report.building import build_report

    return build_report(
        results,
        force=force,
        pictured=pictured,
        costs=costs,
        pricing=pricing,
        boundary=boundary,
        accuracy=accuracy,
        asking=asking,
    )
