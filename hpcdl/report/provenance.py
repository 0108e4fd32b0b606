"""The texts behind a report on runs: what was asked, the script that did it, and where it ran."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from hpcdl.report.content import Source
from hpcdl.store import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.launch import LaunchResult

# Beyond, a reader looks into the records: the file would become large for what nobody reads.
MOST_HOSTS = 32


def gather_sources(results: Sequence[RunResult]) -> Iterator[Source]:
    """Of each run: benchmark and site as planned, the batch script where there is one, the environment as recorded."""
    for result in results:
        run = f" of {result.run_id}" if len(results) > 1 else ""
        key = f"-{result.run_id}" if len(results) > 1 else ""
        plan = result.job.model_dump(mode="json", exclude={"launches"}, exclude_none=True)
        yield Source(f"plan{key}", f"Plan{run}: what was asked, and of which site", _write(plan))
        script = _read(RunFolder(Path(result.path)).script_path)
        if script:
            yield Source(f"script{key}", f"Batch script{run}", script)
        seen = [launch for launch in result.launches if launch.environment is not None]
        if seen:
            largest = max(seen, key=lambda launch: launch.world_size)
            title = f"Environment{run}, as launch {largest.plan.index} recorded it"
            yield Source(f"environment{key}", title, _write(_describe(largest)))


def _describe(launch: LaunchResult) -> object:
    assert launch.environment is not None  # noqa: S101 (chosen by gather_sources)
    recorded = launch.environment.model_dump(mode="json")
    left_out = len(recorded["hosts"]) - MOST_HOSTS
    if left_out > 0:
        recorded["hosts"] = [*recorded["hosts"][:MOST_HOSTS], f"… and {left_out:,} more ranks in the records"]
    return recorded


def _write(data: object) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
