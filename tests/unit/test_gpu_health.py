"""GPU health: the real pynvml against a stand-in library whose GPUs are hot, slow or broken as planted."""

from __future__ import annotations

import contextlib
import shutil
import time

import pytest

pytest.importorskip("pynvml")

import pynvml

from hpcdl.power import health, watch
from hpcdl.records import Missing
from tests.nvml import standin
from tests.nvml.standin import GPU_IS_LOST, Error, Gpu, Scenario, lack

A, B = (f"GPU-{letter * 8}-0000-4000-8000-000000000000" for letter in "ab")
CODES = sorted(value for name, value in vars(pynvml).items() if name.startswith("NVML_ERROR_"))
# Which function tells what.
TOLD_BY = {
    "temperature_c": "nvmlDeviceGetTemperature",
    "clock_mhz": "nvmlDeviceGetClockInfo",
    "ecc_uncorrected": "nvmlDeviceGetTotalEccErrors",
    "remapped_rows": "nvmlDeviceGetRemappedRows",
    "pcie_width": "nvmlDeviceGetCurrPcieLinkWidth",
    "pcie_generation": "nvmlDeviceGetCurrPcieLinkGeneration",
    "throttled_s": "nvmlDeviceGetViolationStatus",
}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    if not shutil.which("cc"):
        pytest.skip("no C compiler")
    return standin.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def node(library, monkeypatch, tmp_path):
    """Puts GPUs into this process; what is returned lets time pass."""
    monkeypatch.setattr(health, "_counted_s", {})

    def put_in(*gpus, errors=()):
        scenario = Scenario(gpus, epoch_s=time.monotonic(), errors=errors).write(tmp_path / "scenario")
        return standin.put_in(monkeypatch, library, scenario).standin_skip

    return put_in


@contextlib.contextmanager
def held_open():
    """The stand-in's time begins anew whenever NVML does."""
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def why(reading):
    assert isinstance(reading, Missing), reading
    return reading.missing


def wait_for_polls(watching, count=3):
    """Until the thread has looked so often again."""
    polled = []
    original = watching._poll

    def poll():
        original()
        polled.append(1)

    watching._poll = poll
    deadline = time.monotonic() + 20
    while len(polled) < count:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def watch_gpus(*uuids):
    return health.Watch(uuids, period_s=0.002)


# ---- What there is ----


def test_gpus_are_listed_with_name_and_vbios(node):
    node(Gpu(A, name="NVIDIA A100"), Gpu(B, vbios="92.00.45.00.03"))
    assert health.list_gpus() == (
        (A, "NVIDIA A100", "96.00.74.00.01"),
        (B, "NVIDIA H100 80GB HBM3", "92.00.45.00.03"),
    )


def test_what_a_gpu_does_not_tell_of_itself_is_empty_and_one_that_does_not_answer_is_left_out(node):
    node(
        Gpu(A, errors=lack("nvmlDeviceGetVbiosVersion")),
        Gpu(B, errors=lack("nvmlDeviceGetUUID", code=GPU_IS_LOST)),
    )
    assert health.list_gpus() == ((A, "NVIDIA H100 80GB HBM3", ""),)


@pytest.mark.parametrize("function", ["nvmlInit", "nvmlDeviceGetCount"])
def test_without_a_driver_no_gpu_is_listed(node, function):
    node(Gpu(A), errors=lack(function, code=9))
    assert health.list_gpus() == ()


# ---- One look ----


def test_one_look_tells_what_was_planted(node):
    node(
        Gpu(
            A,
            temperature_c=71,
            sm_clock_mhz=1410,
            ecc_errors=2,
            rows=(3, 1, 1, 0),
            pcie_width=8,
            pcie_generation=3,
        )
    )
    first = health.read(A)
    assert set(first) == set(health.KEYS)
    assert {key: first[key] for key in set(TOLD_BY) - {"throttled_s"}} == {
        "temperature_c": 71.0,
        "clock_mhz": 1410.0,
        "ecc_uncorrected": 2.0,
        "remapped_rows": 5.0,
        "pcie_width": 8.0,
        "pcie_generation": 3.0,
    }
    assert why(first["throttled_s"]) == health.ONCE
    assert why(first["xid"]) == health.UNWATCHED
    # Without its prefix, as torch has it.
    assert health.read(A.removeprefix("GPU-"))["remapped_rows"] == 5.0


def test_throttling_is_counted_from_look_to_look(node):
    skip = node(Gpu(A, throttled_share=0.5))
    with held_open():
        health.read(A)
        skip(40.0)
        # The stand-in's clock goes on while the test runs.
        assert health.read(A.removeprefix("GPU-"))["throttled_s"] == pytest.approx(20.0, abs=5)
        assert health.read(A)["throttled_s"] < 5


@pytest.mark.parametrize("key", TOLD_BY)
def test_each_error_of_nvml_is_a_missing_reading_in_its_words(node, key):
    for code in CODES:
        node(Gpu(A, errors=lack(TOLD_BY[key], code=code)))
        found = health.read(A)
        words = str(pynvml.NVMLError(code))
        assert why(found[key]) == f"NVML: {words}"
        others = {other: found[other] for other in TOLD_BY if other not in {key, "throttled_s"}}
        lost = code in {15, 16, 28}
        assert lost or not any(isinstance(reading, Missing) for reading in others.values()), code


def test_without_a_gpu_or_a_driver_all_is_missing(node):
    assert {why(reading) for reading in health.read(None).values()} == {"no GPU is used"}
    node(Gpu(A), errors=lack("nvmlInit", code=9))
    assert {why(reading) for reading in health.read(A).values()} == {"NVML: Driver Not Loaded"}
    node(Gpu(B))
    assert {why(reading) for reading in health.read(A).values()} == {"NVML: Not Found"}


# ---- Watching ----


def test_a_healthy_gpu_is_seen_to_be_so(node):
    node(Gpu(A))
    with watch_gpus(A) as watching:
        wait_for_polls(watching)
    assert watching.seen == {
        A: {
            "temperature_c": 61.0,
            "throttled_s": 0.0,
            "clock_mhz": 1980.0,
            "ecc_uncorrected": 0.0,
            "remapped_rows": 0.0,
            "pcie_width": 16.0,
            "pcie_generation": 5.0,
            "xid": 0.0,
        }
    }


def test_what_happens_meanwhile_is_seen(node):
    skip = node(
        Gpu(
            A,
            later_c=(100.0, 91),
            later_link=(100.0, 1, 4),
            throttled_share=0.25,
            xids=((100.0, 79), (101.0, 48)),
        ),
        Gpu(B),
    )
    with watch_gpus(A, B) as watching:
        wait_for_polls(watching)
        skip(200.0)
        wait_for_polls(watching)
    a, b = watching.seen[A], watching.seen[B]
    assert (a["temperature_c"], a["pcie_generation"], a["pcie_width"], a["xid"]) == (91.0, 1.0, 4.0, 2.0)
    assert a["throttled_s"] == pytest.approx(50.0, abs=5)
    assert (b["temperature_c"], b["pcie_width"], b["xid"], b["throttled_s"]) == (61.0, 16.0, 0.0, 0.0)


def test_an_xid_before_the_watch_is_not_of_it(node):
    skip = node(Gpu(A, xids=((10.0, 31),)))
    with held_open():
        skip(20.0)
        with watch_gpus(A) as watching:
            wait_for_polls(watching)
    assert watching.seen[A]["xid"] == 0.0


def test_the_seen_are_named_as_they_were_asked_for(node):
    node(Gpu(A))
    short = A.removeprefix("GPU-")
    with watch_gpus(short) as watching:
        wait_for_polls(watching)
    assert set(watching.seen) == {short}
    assert watching.seen[short]["temperature_c"] == 61.0


@pytest.mark.parametrize(
    ("reasons", "throttles"),
    [(0x8, True), (0x20, True), (0x40, True), (0x80, True), (0x88, True), (0x4, False)],
)
def test_without_a_counter_the_looks_tell_for_how_long(node, reasons, throttles):
    node(Gpu(A, reasons=reasons, errors=lack("nvmlDeviceGetViolationStatus")))
    begin_s = time.monotonic()
    with watch_gpus(A) as watching:
        wait_for_polls(watching)
    elapsed_s = time.monotonic() - begin_s
    throttled_s = watching.seen[A]["throttled_s"]
    assert (0 < throttled_s <= elapsed_s) if throttles else throttled_s == 0


def test_beside_a_counter_of_heat_only_the_brake_is_told_by_the_looks(node):
    for reasons, braked in ((0x40, False), (0x80, True)):
        node(Gpu(A, reasons=reasons))
        with watch_gpus(A) as watching:
            wait_for_polls(watching)
        assert (watching.seen[A]["throttled_s"] > 0) is braked


def test_where_neither_tells_throttling_is_missing(node):
    reasons = "nvmlDeviceGetCurrentClocksThrottleReasons"
    node(Gpu(A, errors=lack(reasons, "nvmlDeviceGetViolationStatus")))
    with watch_gpus(A) as watching:
        wait_for_polls(watching)
    assert why(watching.seen[A]["throttled_s"]) == "NVML: Not Supported"
    # Without the brake no throttling is not known to be none; what heat did is known.
    node(Gpu(A, errors=lack(reasons)))
    with watch_gpus(A) as watching:
        wait_for_polls(watching)
    assert why(watching.seen[A]["throttled_s"]) == "NVML: Not Supported"
    skip = node(Gpu(A, throttled_share=1.0, errors=lack(reasons)))
    with watch_gpus(A) as watching:
        skip(30.0)
    assert watching.seen[A]["throttled_s"] == pytest.approx(30.0, abs=5)


def test_a_counter_that_begins_anew_is_missing(node, monkeypatch):
    node(Gpu(A, throttled_ns=9_000_000_000))
    with watch_gpus(A) as watching:
        (watched,) = watching._watched.values()
        watched.counted_s = 20.0
    assert "began anew" in why(watching.seen[A]["throttled_s"])


def test_an_idle_gpu_tells_nothing_of_its_clock_and_link(node):
    node(Gpu(A, gpu_percent=0, pcie_generation=1))
    with watch_gpus(A) as watching:
        wait_for_polls(watching)
    for key in ("clock_mhz", "pcie_width", "pcie_generation"):
        assert why(watching.seen[A][key]) == watch.IDLE
    assert watching.seen[A]["temperature_c"] == 61.0


def test_where_nobody_tells_how_busy_it_is_all_looks_count(node):
    node(Gpu(A, errors=lack("nvmlDeviceGetUtilizationRates")))
    with watch_gpus(A) as watching:
        wait_for_polls(watching)
    assert watching.seen[A]["pcie_width"] == 16.0


@pytest.mark.parametrize("key", sorted(set(TOLD_BY) - {"throttled_s"}))
def test_what_a_gpu_does_not_tell_is_missing_and_the_rest_is_seen(node, key):
    node(Gpu(A, errors=lack(TOLD_BY[key])))
    with watch_gpus(A) as watching:
        wait_for_polls(watching)
    seen = dict(watching.seen[A])
    assert why(seen.pop(key)) == "NVML: Not Supported"
    assert not any(isinstance(reading, Missing) for reading in seen.values())


@pytest.mark.parametrize(
    ("gpu_errors", "host_errors"),
    [
        (lack("nvmlDeviceRegisterEvents"), ()),
        ((), lack("nvmlEventSetCreate")),
        ((), lack("nvmlEventSetWait")),
    ],
)
def test_without_events_xid_is_missing(node, gpu_errors, host_errors):
    node(Gpu(A, errors=gpu_errors), errors=host_errors)
    with watch_gpus(A) as watching:
        wait_for_polls(watching)
    assert why(watching.seen[A]["xid"]) == "NVML: Not Supported"
    assert watching.seen[A]["temperature_c"] == 61.0


def test_one_that_cannot_be_registered_leaves_the_others_watched(node):
    skip = node(Gpu(A, errors=lack("nvmlDeviceRegisterEvents")), Gpu(B, xids=((50.0, 94),)))
    with watch_gpus(A, B) as watching:
        skip(60.0)
        wait_for_polls(watching)
    assert why(watching.seen[A]["xid"]) == "NVML: Not Supported"
    assert watching.seen[B]["xid"] == 1.0


def test_a_gpu_that_is_lost_meanwhile_is_not_healthy(node):
    skip = node(Gpu(A, errors=(Error("*", GPU_IS_LOST, 50.0),)))
    with watch_gpus(A) as watching:
        wait_for_polls(watching)
        skip(60.0)
        wait_for_polls(watching)
    seen = watching.seen[A]
    assert seen["temperature_c"] == 61.0  # what had been seen
    for key in ("ecc_uncorrected", "remapped_rows", "throttled_s"):
        assert why(seen[key]) == "NVML: GPU is lost"


def test_an_unknown_gpu_and_no_driver_are_missing_throughout(node):
    node(Gpu(A))
    with watch_gpus(A, B) as watching:
        wait_for_polls(watching)
    assert {why(reading) for reading in watching.seen[B].values()} == {"NVML: Not Found"}
    assert watching.seen[A]["xid"] == 0.0
    node(Gpu(A), errors=lack("nvmlInit", code=12))
    with watch_gpus(A) as watching:
        pass
    assert {why(reading) for reading in watching.seen[A].values()} == {"NVML: NVML Shared Library Not Found"}
    assert set(watching.seen[A]) == set(health.KEYS)


def test_what_breaks_the_thread_is_told(node, monkeypatch):
    node(Gpu(A))

    def burst(board):
        raise ValueError("a driver's whim")

    monkeypatch.setattr(watch, "read_temperature", burst)
    with watch_gpus(A) as watching:
        watching._thread.join(20)
    assert {why(reading) for reading in watching.seen[A].values()} == {"ValueError: a driver's whim"}


def test_the_end_of_a_watch_leaves_nvml_as_it_was(node):
    node(Gpu(A))
    for _ in range(20):  # more often than the stand-in has sets of events
        with watch_gpus(A):
            pass
    with pytest.raises(pynvml.NVMLError_Uninitialized):
        pynvml.nvmlDeviceGetCount()


def test_a_watch_over_nothing_sees_nothing(node):
    node(Gpu(A))
    with watch_gpus() as watching:
        pass
    assert watching.seen == {}
