"""The code under test: this checkout, whatever else is installed; and commands that run it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.cluster.commands import SITE, Person

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpcdl.store import RunFolder

ROOT = Path(__file__).resolve().parents[2]
LOCAL_SITE = 'name = "this-machine"\n'
NO_VARIABLES: dict[str, str] = {}


class Visitor(Person):
    """Somebody who runs the code of this checkout, with a site file and a store of their own."""

    @classmethod
    def visit(
        cls, home: Path, *, on_cluster: bool = False, said: Mapping[str, str] = NO_VARIABLES
    ) -> Visitor:
        """`said` is added to this process's environment: what the cluster's clients need."""
        os.environ.update(said)
        # Jobs start from a clean environment, so their site file has to name the checkout too.
        text = f'{SITE}PYTHONPATH = "{ROOT}"\n' if on_cluster else LOCAL_SITE
        (home / "site.toml").write_text(text, encoding="utf-8")
        return cls(home)

    def environment(self) -> dict[str, str]:
        return super().environment() | {"PYTHONPATH": str(ROOT)}


def read_code() -> str:
    """The commit of this checkout, with a mark where it has changes that are not committed."""
    commit = _git("rev-parse", "--short=12", "HEAD")
    changed = _git("status", "--porcelain", "--", "hpcdl", "jobscripts", "benchmarks")
    return f"{commit}, changed" if changed else commit


def _git(*argv: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *argv], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def check_failure_report(report: Mapping[str, Any], *, culprit: str) -> None:
    """One failed launch, its culprit named in the first words of a note, its steps kept and marked partial."""
    [launch] = report["launches"]
    assert launch["state"] == "failed", f"the report says {launch['state']!r}"
    told = [note["text"] for note in report["notes"] if note["kind"] == "failure"]
    assert any(f"{culprit}: killed by signal 9" in text for text in told), f"{culprit} is not named: {told}"
    assert any("marked partial" in text for text in told), f"no word of partial steps: {told}"
    assert launch["steps_done"] >= 1, "no step was kept"
    assert launch["step_median_s"].get("mark") == "partial", json.dumps(launch["step_median_s"])
    assert "missing" in launch["images_per_s"], "a throughput is published"


def check_records(run: RunFolder, ranks: int) -> None:
    """An exit record of each rank, and no word of success."""
    [launch] = run.launches()
    have = {record.rank for record in launch.exits()}
    assert have == set(range(ranks)), f"exit records only of {sorted(have)}"
    assert launch.summary() is None, "a summary calls the run completed"
