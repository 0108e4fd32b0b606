"""The sampler itself: what it opens, what may not end it, and what it is told by the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hpcdl.metering import Source
from hpcdl.power import registry, sampler
from hpcdl.store import LaunchFolder
from tests.nvml import standin
from tests.nvml.standin import Gpu, Scenario
from tests.unit.records_maker import write_run

if TYPE_CHECKING:
    from hpcdl.power.sensor import Opened


class Broken:
    sources = (Source(name="node", sensor="cray", covers="node", counter=True),)

    def look(self, *, closely):
        raise AttributeError("a driver of another version")


class Fine:
    sources = (Source(name="package 0", sensor="rapl", covers="package", counter=True),)

    def look(self, *, closely):
        return {"package 0": {"energy_j": 7.0}}


def test_a_sensor_that_breaks_is_missing_and_ends_nothing():
    looks = sampler.look_at([Broken(), Fine()], closely=True)
    assert looks["package 0"] == {"energy_j": 7.0}
    assert looks["node"]["energy_j"] == {"missing": "AttributeError: a driver of another version"}


def ask(tmp_path, sensors=(), **site):
    run = write_run(tmp_path, power=True, site={"slurm": site})
    folder = LaunchFolder(run.path / run.job().launches[0].name)
    launch = folder.plan()
    asked = launch.model_copy(update={"power": launch.power.model_copy(update={"sensors": sensors})})
    folder.plan_path.write_text(asked.model_dump_json())
    return sampler._ask_launch(folder)


def test_on_a_shared_node_gpus_that_were_not_asked_for_are_not_looked_at(tmp_path):
    assert "nvml" in ask(tmp_path / "whole").sensors
    assert "nvml" not in ask(tmp_path / "shared", exclusive=False).sensors
    nothing = ask(tmp_path / "nothing", sensors=("nvml",), exclusive=False)
    sensors, [lack] = sampler._open(nothing)
    assert sensors == []
    assert "somebody else's" in lack.reason


def test_a_gpu_without_meters_is_estimated_by_its_name(tmp_path, monkeypatch):
    """Through the registry: NVML names it, tells neither energy nor power, and says how busy it is."""
    meters = ("nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetPowerUsage", "nvmlDeviceGetFieldValues")
    gpu = Gpu("GPU-0", name="NVIDIA H100 80GB HBM3", errors=standin.lack(*meters))
    library = standin.build(tmp_path)
    standin.put_in(monkeypatch, library, Scenario((gpu,)).write(tmp_path / "scenario"))
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_STEP_GPUS", "SLURM_JOB_GPUS"):
        monkeypatch.delenv(name, raising=False)
    sensors, _ = registry.open_sensors(["nvml", "estimate"])
    estimates = [source for one in sensors for source in one.sources if source.estimated and source.uuid]
    assert [(source.uuid, source.covers) for source in estimates] == [("GPU-0", "gpu")]
    assert "TDP 700 W" in estimates[0].basis
    for one in sensors:
        one.close()


@pytest.mark.parametrize("names", [(), ("rapl",)])
def test_what_an_opener_breaks_on_is_told(monkeypatch, names):
    def broken() -> Opened:
        raise OSError("a bus is gone")

    monkeypatch.setitem(registry.SENSORS, "rapl", broken)
    _, unavailable = registry.open_sensors(names or ("rapl", "hwmon"))
    assert "OSError: a bus is gone" in {one.reason for one in unavailable if one.sensor == "rapl"}
