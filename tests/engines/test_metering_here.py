"""Power beside real ranks of this machine, whose GPUs and their power are planted."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from hpcdl.analysis.energy import EnergyResult
from hpcdl.analysis.job import analyse_run
from hpcdl.records import Missing
from hpcdl.store import RunFolder
from tests.engines.launching import explain, make_job, run
from tests.metering import add_up
from tests.nvml.standin import Bursts, Gpu, Scenario, Sine, build, environment

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)

PROFILES = (Sine(280.0, 90.0, 2.3), Bursts(80.0, 410.0, 0.04, 0.09))
TRAINED = {"engine": "ddp", "transport": "gloo", "steps": 30, "batch": 8, "min_window_s": 6}


@pytest.fixture
def boards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two GPUs, seen by every process that is started from here."""
    gpus = tuple(Gpu(f"GPU-{place}", profile=profile) for place, profile in enumerate(PROFILES))
    scenario = Scenario(gpus).write(tmp_path / "scenario")
    for name, value in environment(build(tmp_path), scenario).items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("boards")
def test_four_ranks_beside_two_gpus_are_the_energy_of_two_gpus(tmp_path: Path) -> None:
    (folder,) = run(
        make_job(tmp_path / "store", ranks=(4,), power={"sample": True, "sensors": ("nvml",)}, **TRAINED)
    )
    [launch] = analyse_run(RunFolder(folder.path.parent)).launches
    assert launch.state == "completed", explain(folder)
    summary = folder.summary()
    assert summary is not None
    assert summary.window.elapsed_s >= 6
    seen, planted = add_up(launch, folder.traces(), {socket.gethostname(): PROFILES})
    assert seen == pytest.approx(planted, rel=0.01)
    if isinstance(launch.energy, EnergyResult):
        assert launch.energy.at("node").covers == "2 GPU boards"  # type: ignore[union-attr]
    else:
        # Four ranks beside each other are not always steady: then neither is published, for one and the same reason.
        assert isinstance(launch.images_per_s, Missing)
        assert launch.energy.missing == launch.images_per_s.missing


def test_where_nothing_measures_the_run_goes_on_and_the_energy_is_an_estimate(tmp_path: Path) -> None:
    (folder,) = run(make_job(tmp_path, ranks=(1,), power={"sample": True}, **TRAINED | {"engine": "single"}))
    [launch] = analyse_run(RunFolder(folder.path.parent)).launches
    assert launch.state == "completed", explain(folder)
    [trace] = folder.traces()
    assert trace.closing is not None
    if any(not one.source.estimated for one in trace.series):
        pytest.skip("this machine has meters of its own")
    assert trace.unavailable
    if isinstance(launch.energy, EnergyResult) and launch.energy.figures:
        figure = launch.energy.figures[0]
        assert (figure.measured, figure.sensors) == (0, ("ESTIMATED",))


def test_without_sampling_there_is_none(tmp_path: Path) -> None:
    (folder,) = run(make_job(tmp_path, engine="single", steps=30, batch=8))
    [launch] = analyse_run(RunFolder(folder.path.parent)).launches
    assert not folder.traces()
    assert isinstance(launch.energy, Missing)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["--power-period", "0"], "period_s"),
        (["--power-period", "soon"], "period_s"),
        (["--sensors", "nvlm"], "nvml"),
        (["--min-window", "-3s"], "min_window_s"),
        (["--min-window", "60s", "--epochs", "1", "--data", "digits"], "exclude each other"),
    ],
)
def test_what_cannot_be_sampled_is_said_before_anything_runs(
    tmp_path: Path, asked: list[str], words: str
) -> None:
    argv = [sys.executable, "-m", "hpcdl", "run", "--model", "lenet", *asked, "--store", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
