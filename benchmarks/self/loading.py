"""How fast images come: DALI against PIL in a torch DataLoader, by `hpcdl data bench` itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile

from startup import ROOT, Row

TARGET = 1.5
# Tiles of real photographs, as large as they come.
TREE = ["--classes", "4", "--per-class", "150", "--size", "420"]


def measure() -> list[Row]:
    """Images/s of DALI over the other's, with as many threads."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        tree = [sys.executable, str(ROOT / "tests" / "photographs.py"), folder, *TREE]
        subprocess.run(tree, check=True, env=environment, stdout=subprocess.DEVNULL)
        bench = [sys.executable, "-m", "hpcdl", "data", "bench", folder, "--pairs", "8", "--json"]
        done = subprocess.run(bench, check=True, env=environment, capture_output=True, text=True)
    ratio = json.loads(done.stdout)["ratio"]
    return [
        Row(
            name="loading: DALI over PIL with a torch DataLoader, images/s",
            ratio=ratio["value"],
            low=ratio["low"],
            high=ratio["high"],
            target=TARGET,
            met=ratio["value"] >= TARGET,
        )
    ]
