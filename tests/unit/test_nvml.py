"""The NVML sensor: the real pynvml against a stand-in library whose GPUs draw a planted power."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import pytest

pytest.importorskip("pynvml")

import pynvml

from hpcdl.metering import Look
from hpcdl.power import clocks, nvml, presence
from hpcdl.power.allocation import CUDA_LIST, SLURM_LISTS
from hpcdl.records import Missing
from tests.nvml import standin
from tests.nvml.standin import Bursts, Constant, Error, Gpu, Scenario, Sine, Steps, lack, planted_energy_j

A, B, C = (f"GPU-{letter * 8}-0000-4000-8000-000000000000" for letter in "abc")
SLICES = tuple(f"MIG-{number}1111111-0000-4000-8000-000000000000" for number in (1, 2))
CODES = sorted(value for name, value in vars(pynvml).items() if name.startswith("NVML_ERROR_"))
STATE = {
    "utilisation",
    "memory_utilisation",
    "memory_used_bytes",
    "sm_clock_mhz",
    "memory_clock_mhz",
    "temperature_c",
    "reasons",
    "pcie_generation",
    "pcie_width",
    "ecc_errors",
    "processes",
}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    if not shutil.which("cc"):
        pytest.skip("no C compiler")
    return standin.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def node(library, monkeypatch, tmp_path):
    """Puts GPUs into this process; `skip` of it lets time pass."""

    class Node:
        def __init__(self):
            self.opened = []

        def open(self, *gpus, errors=(), epoch_s=None, environ=None):
            epoch = time.monotonic() if epoch_s is None else epoch_s
            scenario = Scenario(gpus, epoch_s=epoch, errors=errors).write(tmp_path / "scenario")
            self.skip = standin.put_in(monkeypatch, library, scenario).standin_skip
            opened = nvml.open_nvml(environ or {})
            self.opened.append(opened)
            return opened

    node = Node()
    yield node
    for opened in node.opened:
        if opened.sensor:
            opened.sensor.close()


def names(opened):
    return [source.name for source in opened.sensor.sources] if opened.sensor else []


def reasons(opened):
    return " | ".join(gap.reason for gap in opened.unavailable)


METERED = {"energy_j", "power_w", "power_average_w"}


def look(opened, *, closely=False):
    """One look, each of which a stream accepts."""
    found = opened.sensor.look(closely=closely)
    for value in found.values():
        Look.model_validate(value)
    return found


# ---- What there is ----


def test_a_gpu_is_described_as_it_is(node):
    opened = node.open(Gpu(A, limit_w=500))
    (source,) = opened.sensor.sources
    assert (source.name, source.uuid, source.covers, source.sensor) == (A, A, "gpu", "nvml")
    assert source.product == "NVIDIA H100 80GB HBM3"
    assert (source.counter, source.counter_step_j) == (True, 0.001)
    assert (source.power, source.averaging_s) == ("instant", 0.025)
    assert (source.limit_w, source.default_limit_w) == (500, 700)
    assert source.shared is None
    assert not source.estimated
    assert opened.unavailable == ()
    found = look(opened, closely=True)[A]
    assert found["power_w"] == found["power_average_w"] == pytest.approx(300, rel=1e-4)
    assert set(look(opened)[A]) == {"energy_j", "power_w"}


def test_a_close_look_tells_the_state_too(node):
    gpu = Gpu(A, reasons=0x1 | 0x4 | 0x40, ecc_errors=2, processes=3)
    found = look(node.open(gpu), closely=True)[A]
    assert set(found) - STATE == {"energy_j", "power_w", "power_average_w"}
    assert {key: found[key] for key in STATE} == {
        "utilisation": 0.97,
        "memory_utilisation": 0.41,
        "memory_used_bytes": 60 * 2**30,
        "sm_clock_mhz": 1980,
        "memory_clock_mhz": 2619,
        "temperature_c": 61,
        "reasons": ["power cap", "hardware thermal slowdown"],
        "pcie_generation": 5,
        "pcie_width": 16,
        "ecc_errors": 2,
        "processes": 3,
    }


def test_what_a_gpu_does_not_tell_is_missing_and_not_zero(node):
    functions = [
        "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetMemoryInfo",
        "nvmlDeviceGetClockInfo",
        "nvmlDeviceGetTemperature",
        "nvmlDeviceGetCurrentClocksThrottleReasons",
        "nvmlDeviceGetCurrPcieLinkGeneration",
        "nvmlDeviceGetCurrPcieLinkWidth",
        "nvmlDeviceGetTotalEccErrors",
        "nvmlDeviceGetComputeRunningProcesses",
        "nvmlDeviceGetEnforcedPowerLimit",
    ]
    opened = node.open(Gpu(A, errors=lack(*functions)), Gpu(B, errors=lack(*functions, code=13)))
    found = look(opened, closely=True)
    assert {key: found[A][key] for key in STATE} == {key: {"missing": "NVML: Not Supported"} for key in STATE}
    assert all("missing" in found[B][key] for key in STATE)
    assert found[A]["power_w"] == pytest.approx(300, rel=1e-4)
    assert opened.sensor.sources[0].limit_w == Missing(missing="NVML: Not Supported")


@pytest.mark.parametrize(
    ("gpu", "power", "averaging_s", "keys"),
    [
        (Gpu(A, errors=standin.NO_INSTANT), "average", 1.0, {"energy_j", "power_w"}),
        (Gpu(A, errors=lack("field:185")), "instant", 0.025, {"energy_j", "power_w"}),
        (Gpu(A, errors=standin.NO_POWER_FIELDS), "unspecified", None, {"energy_j", "power_w"}),
        (
            Gpu(A, errors=lack("nvmlDeviceGetFieldValues", code=13)),
            "unspecified",
            None,
            {"energy_j", "power_w"},
        ),
        (Gpu(A, errors=lack("field:83")), "instant", 0.025, {"energy_j", "power_w", "power_average_w"}),
        (Gpu(A, architecture=7), "instant", 0.025, {"energy_j", "power_w", "power_average_w"}),
        (Gpu(A, architecture=5), "instant", None, {"energy_j", "power_w", "power_average_w"}),
        (Gpu(A, architecture=2**32 - 1), "instant", None, {"energy_j", "power_w", "power_average_w"}),
    ],
)
def test_the_best_of_the_meters_is_taken(node, gpu, power, averaging_s, keys):
    gpu = replace(gpu, counter_start_j=1000.0)
    opened = node.open(gpu)
    (source,) = opened.sensor.sources
    assert (source.power, source.counter, opened.unavailable) == (power, True, ())
    assert source.averaging_s == averaging_s or (
        averaging_s is None and isinstance(source.averaging_s, Missing)
    )
    found = look(opened, closely=True)[A]
    assert set(found) & METERED == keys
    assert set(look(opened)[A]) == keys - {"power_average_w"}, "the average can wait"
    assert found["power_w"] == pytest.approx(300, rel=1e-4)
    assert found["energy_j"] > 999


def test_a_gpu_before_volta_has_power_and_no_counter(node):
    opened = node.open(Gpu(A, architecture=4, errors=standin.NO_COUNTER + standin.NO_POWER_FIELDS))
    (source,) = opened.sensor.sources
    assert (source.counter, source.counter_step_j, source.power) == (False, None, "unspecified")
    assert set(look(opened)[A]) == {"power_w"}
    assert reasons(opened) == f"{A}: energy_j is not told: NVML: Not Supported"


@pytest.mark.parametrize("kind", range(7))
def test_a_field_is_read_by_its_type(node, kind):
    watts = 40.0 if kind == 6 else 300.0  # an unsigned short ends at 65 535 mW
    gpu = Gpu(A, Constant(watts), counter_update_s=0, value_types=(0 if kind == 6 else kind, kind))
    opened = node.open(gpu)
    before = look(opened)[A]
    node.skip(10)
    after = look(opened)[A]
    assert after["power_w"] == pytest.approx(watts, rel=1e-4)
    assert after["energy_j"] - before["energy_j"] == pytest.approx(10 * watts, rel=0.01)


def test_a_field_of_an_unknown_type_is_not_guessed(node):
    opened = node.open(Gpu(A, value_types=(3, 77)))
    assert opened.sensor.sources[0].power == "unspecified"


def test_a_module_is_a_source_of_its_own_without_a_counter(node):
    opened = node.open(Gpu(A, module_w=150.0), Gpu(B))
    assert names(opened) == [A, f"module of {A}", B]
    module = opened.sensor.sources[1]
    assert (module.covers, module.counter, module.power, module.uuid) == ("module", False, "instant", A)
    assert look(opened)[f"module of {A}"] == {"power_w": pytest.approx(450, rel=1e-4)}


def test_a_driver_that_knows_no_scopes_has_no_module(node):
    assert names(node.open(Gpu(A, module_w=math.nan))) == [A]


# ---- Which GPUs are the job's ----


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, [A, B, C]),
        ({"CUDA_VISIBLE_DEVICES": "2,0"}, [C, A]),
        ({"CUDA_VISIBLE_DEVICES": f"{B}, GPU-CCCC"}, [B, C]),
        ({"CUDA_VISIBLE_DEVICES": "1,-1,0"}, [B]),
        ({"CUDA_VISIBLE_DEVICES": "1", "SLURM_JOB_GPUS": "0,2"}, [B]),
        ({"SLURM_STEP_GPUS": "1", "SLURM_JOB_GPUS": "1,2"}, [B]),
        ({"SLURM_JOB_GPUS": "1,2"}, [B, C]),
        ({"SLURM_JOB_GPUS": "5,6,7"}, [A, B, C]),  # cgroups have hidden the others: these are numbered anew
    ],
)
def test_the_gpus_of_the_job_are_measured_and_no_others(node, environ, expected):
    opened = node.open(Gpu(A), Gpu(B), Gpu(C), environ=environ)
    assert names(opened) == list(look(opened)) == expected
    assert opened.unavailable == ()


@pytest.mark.parametrize(
    ("listed", "expected", "words"),
    [
        ("0,7", [A], "index 7 is beyond the 3 GPUs"),
        ("0,GPU-dddd", [A], "NVML shows no GPU-dddd"),
        ("0,GPU-", [A], "GPU- may be any of 3 GPUs"),
        ("1,1,0", [B, A], f"names {B} twice"),
        (f"0,{A}", [A], f"names {A} twice"),
        ("0,first", [A], "'first' is neither an index nor a UUID"),
        ("0,MIG-dddd", [A], "MIG-dddd: NVML: Not Found"),
        (f"{SLICES[0]},{SLICES[0]}", [C], "twice; its GPU is measured once"),
        ("9", [], "index 9 is beyond"),
        ("", [], "gives this process no GPU"),
        ("-1", [], "gives this process no GPU"),
        ("NoDevFiles", [], "gives this process no GPU"),
    ],
)
def test_a_list_that_contradicts_itself_is_told_and_the_rest_measured(node, listed, expected, words):
    opened = node.open(Gpu(A), Gpu(B), Gpu(C, slices=SLICES), environ={"CUDA_VISIBLE_DEVICES": listed})
    assert names(opened) == expected
    (gap,) = opened.unavailable
    assert words in gap.reason
    assert f"CUDA_VISIBLE_DEVICES={listed!r}" in gap.reason
    assert gap.do


def test_fewer_gpus_than_slurm_gave_are_told(node):
    opened = node.open(Gpu(A), environ={"SLURM_JOB_GPUS": "0,1"})
    assert names(opened) == [A]
    assert reasons(opened) == "SLURM_JOB_GPUS=0,1 names 2 GPUs, but NVML shows 1"


@pytest.mark.parametrize("listed", [",".join(SLICES), SLICES[1], "0"])
def test_mig_slices_are_measured_once_as_their_gpu_and_marked_as_shared(node, listed):
    environ = {"CUDA_VISIBLE_DEVICES": listed}
    opened = node.open(Gpu(A, slices=SLICES), Gpu(B), environ=environ)
    assert names(opened) == [A]
    assert opened.sensor.sources[0].shared.startswith("a MIG slice has no power of its own: ")
    assert opened.unavailable == ()


def test_a_slice_is_marked_as_shared_even_where_its_gpu_does_not_tell_of_mig(node):
    gpu = Gpu(A, slices=SLICES, errors=lack("nvmlDeviceGetMigMode"))
    opened = node.open(gpu, environ={"CUDA_VISIBLE_DEVICES": SLICES[0]})
    assert opened.sensor.sources[0].shared == nvml.SLICED


# ---- Who may not ----


def test_a_gpu_that_nobody_may_open_is_told(node):
    denied = Gpu(B, errors=lack("nvmlDeviceGetHandleByIndex", code=standin.NO_PERMISSION))
    opened = node.open(Gpu(A), denied)
    assert names(opened) == [A]
    (gap,) = opened.unavailable
    assert gap.reason == "GPU 1: NVML: Insufficient Permissions"
    assert "the administrator has to" in gap.do


def test_gpus_of_others_that_may_not_be_opened_are_nothing_to_tell(node):
    denied = Gpu(A, errors=lack("nvmlDeviceGetHandleByIndex", code=standin.NO_PERMISSION))
    opened = node.open(denied, Gpu(B), environ={"CUDA_VISIBLE_DEVICES": "0"})
    assert names(opened) == [B]  # what CUDA may not open, it does not count
    assert opened.unavailable == ()


def test_meters_that_may_not_be_read_are_told(node):
    meters = ("nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetPowerUsage", "nvmlDeviceGetFieldValues")
    opened = node.open(Gpu(A, errors=lack(*meters, code=standin.NO_PERMISSION)))
    # Named all the same, so that an estimate can stand in.
    [source] = opened.sensor.sources
    assert (source.counter, source.power) == (False, None)
    assert look(opened)[A] == {}
    assert "energy_j is not told: NVML: Insufficient Permissions" in reasons(opened)
    assert all("the administrator has to" in gap.do for gap in opened.unavailable)


def test_a_node_without_gpus_says_so(node):
    opened = node.open()
    assert (opened.sensor, reasons(opened)) == (None, "NVML shows no GPU")


@pytest.mark.parametrize("code", CODES)
def test_nvml_that_does_not_start_says_why(node, code):
    opened = node.open(Gpu(A), errors=lack("nvmlInit", code=code))
    assert opened.sensor is None
    (gap,) = opened.unavailable
    assert gap.reason.startswith("NVML: ")
    assert gap.do == nvml.STARTING.get(code, nvml.SEE)


def test_nvml_that_does_not_count_says_why(node):
    opened = node.open(Gpu(A), errors=lack("nvmlDeviceGetCount", code=999))
    assert (opened.sensor, reasons(opened)) == (None, "NVML: Unknown Error")


def test_nvml_without_pynvml_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    opened = nvml.open_nvml({})
    assert (opened.sensor, reasons(opened)) == (None, "nvidia-ml-py is not installed")


# ---- Errors while it runs ----


def is_told(value):
    return isinstance(value, dict) and value["missing"].startswith("NVML: ")


@pytest.mark.parametrize("calls", [(), standin.NO_POWER_FIELDS + lack("field:83")], ids=["fields", "calls"])
def test_every_error_of_nvml_is_missing_never_zero_and_never_raised(node, calls):
    codes = [*CODES, 77]  # one that nobody knows
    whole = [Error("*", code, from_s=100) for code in codes]
    gpus = [Gpu(f"GPU-{error.code:08d}", errors=(*calls, error)) for error in whole]
    opened = node.open(*gpus, Gpu(A))
    assert all(found["power_w"] == pytest.approx(300, rel=1e-4) for found in look(opened).values())
    node.skip(100)
    for _ in range(2):
        found = look(opened, closely=True)
        assert found[A]["power_w"] == pytest.approx(300, rel=1e-4)
        told = [found[gpu.uuid] for gpu in gpus]
        assert all(is_told(value) for looked in told for value in looked.values())
        assert all({"energy_j", "power_w"} < set(looked) for looked in told)


def test_every_error_of_a_single_field_is_missing_and_the_others_stand(node):
    gpus = [Gpu(f"GPU-{code:08d}", errors=(Error("field:83", code, from_s=100),)) for code in CODES]
    opened = node.open(*gpus)
    node.skip(100)
    found = look(opened)
    assert all(is_told(found[gpu.uuid]["energy_j"]) for gpu in gpus)
    assert all(
        value["power_w"] == pytest.approx(300, rel=1e-4) or is_told(value["power_w"])
        for value in found.values()
    )


def test_errors_from_the_beginning_are_told_at_once(node):
    gpus = [Gpu(f"GPU-{code:08d}", errors=lack("*", code=code)) for code in CODES]
    opened = node.open(*gpus, Gpu(A))
    assert names(opened) == [A]
    assert len(opened.unavailable) >= len(CODES)


def test_a_lost_gpu_stays_lost_and_the_others_go_on(node):
    lost = Gpu(A, errors=(Error("nvmlDeviceGetFieldValues", standin.GPU_IS_LOST, from_s=100),))
    opened = node.open(lost, Gpu(B))
    node.skip(100)
    for _ in range(2):
        found = look(opened, closely=True)
        assert found[A]["energy_j"] == found[A]["temperature_c"] == {"missing": "NVML: GPU is lost"}
        assert found[B]["power_w"] == pytest.approx(300, rel=1e-4)


def test_a_counter_that_began_anew_says_nothing_any_more(node):
    opened = node.open(Gpu(A, counter_start_j=1e6, reset_s=50))
    assert look(opened)[A]["energy_j"] > 999_999
    node.skip(60)
    for _ in range(2):
        found = look(opened)[A]
        assert found["energy_j"] == {"missing": "the energy counter was reset"}
        assert found["power_w"] == pytest.approx(300, rel=1e-4)
        node.skip(10_000)  # by now it has counted more than before


def test_a_closed_sensor_does_not_raise(node):
    opened = node.open(Gpu(A))
    opened.sensor.close()
    assert look(opened)[A]["power_w"] == {"missing": "NVML: Uninitialized"}
    opened.sensor.close()


# ---- What it counts ----

PROFILES = {
    "constant": Constant(321.0),
    "steps": Steps(((0, 100.0), (0.4, 650.0), (20.0, 80.0))),
    "repeated steps": Steps(((0, 90.0), (0.3, 500.0), (0.5, 300.0)), repeat_s=0.7),
    "sine": Sine(mean=400.0, amplitude=250.0, period_s=3.1),
    "bursts": Bursts(low=90.0, high=690.0, on_s=0.03, period_s=0.11),
}


@pytest.mark.parametrize("epoch_s", [None, 0.0], ids=["since now", "absolute"])
@pytest.mark.parametrize("seconds", [0.71, 7.77, 60.0])
def test_the_counter_counts_the_planted_energy(node, epoch_s, seconds):
    gpus = [Gpu(f"GPU-{name}", profile, counter_update_s=0) for name, profile in PROFILES.items()]
    epoch = time.monotonic() if epoch_s is None else epoch_s
    opened = node.open(*gpus, epoch_s=epoch)
    begin, before = time.monotonic() - epoch, look(opened)
    node.skip(seconds)
    after, end = look(opened), time.monotonic() - epoch + seconds
    slack_j = 2 * 700 * (end - begin - seconds)  # what the looks themselves took
    for gpu in gpus:
        counted = after[gpu.uuid]["energy_j"] - before[gpu.uuid]["energy_j"]
        planted = planted_energy_j(gpu.profile, begin, end)
        assert counted == pytest.approx(planted, abs=0.001 * planted + slack_j), gpu.uuid


def test_readings_are_means_over_their_windows(node):
    profile = Steps(((0, 100.0), (10.0, 500.0)))
    opened = node.open(Gpu(A, profile, instant_update_s=0.001, average_update_s=0.001))
    node.skip(10.5)
    found = look(opened, closely=True)[A]
    assert found["power_w"] == 500
    assert found["power_average_w"] == pytest.approx(300, abs=50)  # half of its second is before the step


def test_planted_energy_by_hand():
    assert planted_energy_j(Constant(100), 3, 5) == 200
    assert planted_energy_j(Steps(((0, 10), (1, 20))), 0.5, 3) == 45
    assert planted_energy_j(Steps(((0, 10), (1, 20)), repeat_s=2), 1.5, 3.5) == 30
    assert planted_energy_j(Bursts(1, 11, 0.25, 1), 0, 10) == pytest.approx(35)
    assert planted_energy_j(Sine(100, 50, 2), 0, 1) == pytest.approx(100 + 100 / math.pi)
    assert planted_energy_j(Sine(100, 50, 2), 7, 9) == pytest.approx(200)


LISTS = (CUDA_LIST, *SLURM_LISTS)
MEASURE = """
import json, sys, time
from hpcdl.power import clocks, nvml, presence
opened = nvml.open_nvml()
times, looks = [], []
for pause in (0.7, 0):
    while True:
        begin, look, end = time.monotonic(), opened.sensor.look(closely=False), time.monotonic()
        if end - begin < 0.0005:
            break
    times.append((begin + end) / 2)
    looks.append({name: found["energy_j"] for name, found in look.items()})
    time.sleep(pause)
opened.sensor.close()
seen = clocks.read_clocks(sys.argv[1])
print(json.dumps({"times": times, "looks": looks, "presence": presence.look_for_nvml().value,
                  "clock": seen.sm_clock_mhz, "reasons": seen.throttle_reasons, "throttled_s": seen.throttled_s}))
"""


def test_processes_of_a_node_find_the_stand_in_and_count_the_planted_energy(library, tmp_path):
    """With nothing but an environment, in real time; what else asks NVML gets its answers too."""
    gpus = [Gpu(f"GPU-{name}", profile, counter_update_s=0.0005) for name, profile in PROFILES.items()]
    gpus.append(Gpu(A, counter_update_s=0.0005, reasons=0x4, throttled_ns=2_500_000_000))
    epoch = time.monotonic() - 20
    scenario = Scenario(tuple(gpus), epoch_s=epoch).write(tmp_path / "scenario")
    inherited = {name: value for name, value in os.environ.items() if name not in LISTS}
    environ = {**inherited, **standin.environment(library, scenario)}
    argv = [sys.executable, "-c", MEASURE, A]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    begin, end = (at - epoch for at in said["times"])
    before, after = said["looks"]
    for gpu in gpus:
        counted = after[gpu.uuid] - before[gpu.uuid]
        assert counted == pytest.approx(planted_energy_j(gpu.profile, begin, end), rel=0.01), gpu.uuid
    assert said["presence"] == "driver 580.95.05, 6 GPUs: NVIDIA H100 80GB HBM3"
    assert (said["clock"], said["reasons"], said["throttled_s"]) == (1980, ["power cap"], 2.5)


def test_presence_and_clocks_in_this_process_agree(node):
    node.open(Gpu(A, temperature_c=83))
    assert presence.look_for_nvml().ok
    assert clocks.read_clocks(A).temperature_c == 83
