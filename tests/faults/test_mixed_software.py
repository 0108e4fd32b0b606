"""Two ranks that run two checkouts, as where a node's cache is stale: the launch refuses itself, and names the rank."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import hpcdl
from tests.faults.theatre import ROOT, Person

OTHER_WAY = """
import os, sys
if os.environ.get("HPCDL_RANK") == "1":
    sys.path.insert(0, {other!r})
"""
RUN = ("run", "smoke", "--ranks", "2", "--engine", "ddp", "--batch", "4", "--steps", "2", "--warmup", "1")


def test_a_rank_with_another_checkout_is_named_before_anything_is_measured(tmp_path):
    other = tmp_path / "other"
    shutil.copytree(
        Path(hpcdl.__file__).parent, other / "hpcdl", ignore=shutil.ignore_patterns("__pycache__")
    )
    with (other / "hpcdl" / "worker" / "training.py").open("a") as file:
        file.write("# one line more\n")
    (tmp_path / "sitecustomize.py").write_text(OTHER_WAY.format(other=str(other)))
    person = Person(tmp_path / "home")
    environment = person.environment(None) | {"PYTHONPATH": f"{tmp_path}:{ROOT}", "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "hpcdl", *RUN],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    told = " ".join(done.stdout.split())
    assert "same software, plan and data: rank 1" in told
    assert "runs code" in told
    [launch] = person.run().launches()
    assert {record.outcome for record in launch.exits()} <= {"refused", "stopped"}
    assert len(launch.steps()) == 0
    assert launch.summary() is None
