"""The report of a bundle, from the records in its folder alone: once when it is packed, once when it is verified."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hpcdl.analysis.ending import JobState
from hpcdl.analysis.job import analyse_run
from hpcdl.bundle.manifest import RECORDS, REPORTS
from hpcdl.report import formats
from hpcdl.report.building import build_report
from hpcdl.store import RunFolder

if TYPE_CHECKING:
    from pathlib import Path

    from hpcdl.analysis.job import RunResult
    from hpcdl.bundle.manifest import BundledRun, Manifest
    from hpcdl.report.content import Report


def make_report(folder: Path, manifest: Manifest) -> Report:
    """The report as it was asked for; paths in it are those within the bundle.

    Raises:
        Mistake: A job cannot be read.
    """
    return build_report([_analyse(folder, run) for run in manifest.runs], force=manifest.force, pictured=True)


def _analyse(folder: Path, run: BundledRun) -> RunResult:
    place = f"{RECORDS}/{run.run}"
    result = analyse_run(RunFolder(folder / place), JobState(over=run.over, words=run.words))
    # Neither where the runs were nor where they are unpacked: the same records give the same report.
    return replace(result, path=place)


def render(report: Report) -> dict[str, str]:
    """File name -> text, in the formats that a bundle holds; HTML where there is what draws its pictures."""
    drawn = formats.can_draw()
    return {
        name: formats.render_text(report, form) for form, name in REPORTS.items() if drawn or form != "html"
    }
