"""The communication probe on real parts: Horovod over MPI and Gloo, DDP; and beside a bare loop over mpi4py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpcdl.analysis.communication import analyse_probe
from hpcdl.analysis.job import analyse_run
from hpcdl.records import Missing
from hpcdl.store import RunFolder
from tests.engines.launching import EXCHANGES, explain, make_job, run

pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("engine", "transport"), EXCHANGES)
def test_a_probe_goes_through_the_engine_that_trains(tmp_path: Path, engine: str, transport: str) -> None:
    asked = {"engine": engine, "transport": transport}
    (folder,) = run(make_job(tmp_path, ranks=(2,), launches={"probe": "only"}, **asked))
    result = analyse_run(RunFolder(folder.path.parent))
    assert result.completed, explain(folder)
    found = analyse_probe(result.launches[0])
    assert not isinstance(found, Missing)
    assert (found.engine, found.transport, found.ranks) == (engine, transport, 2)
    sizes = [message.size_bytes for message in found.messages]
    assert sizes == [4 * 4**power for power in range(11)]
    assert sizes[-1] >= found.gradient_bytes == 431_080 * 4
    assert found.messages[-1].bus_bytes_per_s > 100 * found.messages[0].bus_bytes_per_s
    # MPI is there where mpirun started the ranks.
    assert isinstance(found.messages[0].mpi_s, Missing) == (transport != "mpi")


@pytest.mark.horovod
def test_the_probe_agrees_with_a_bare_loop_over_mpi4py() -> None:
    """Within 10 %, by turns in one run; on a machine with other work, in one of five runs."""
    root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    argv = ["mpirun", *root, "--oversubscribe", "--bind-to", "none", "--mca", "btl", "^tcp", "-np", "2"]
    ratios = []
    for _ in range(5):
        argv_of_run = [*argv, sys.executable, "-m", "tests.engines.mpi_program"]
        done = subprocess.run(argv_of_run, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
        medians = json.loads(done.stdout)
        ratios.append(medians["probed"] / medians["bare"])
        if abs(ratios[-1] - 1) <= 0.1:
            return
    pytest.fail(f"probe over bare loop: {ratios}")
