"""The estimate where nothing measures: which CPU or GPU it is, how busy it is, and what that is taken to draw."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.power import utilisation
from hpcdl.power.cpuinfo import parse_cpuinfo, read_cores
from hpcdl.power.estimate import open_estimate, specify_cpu, specify_gpu
from hpcdl.power.sensor import Opened
from hpcdl.power.specifications import read_specifications
from hpcdl.power.utilisation import parse_stat
from tests.unit.sensor_trees import ANONYMOUS, look_at, make_cpuinfo, make_pynvml, write, write_stat

# ---- The CPU and how busy it is ----


def test_a_cpu_is_described():
    cpu = parse_cpuinfo(make_cpuinfo("INTEL(R) XEON(R) PLATINUM 8592+", cpus=8, sockets=2, model=207))
    assert (cpu.name, cpu.family, cpu.model, cpu.stepping) == ("INTEL(R) XEON(R) PLATINUM 8592+", 6, 207, 8)
    assert (cpu.cpus, cpu.sockets, cpu.threads_per_core, cpu.cores, cpu.virtual) == (8, 2, 2, 4, False)
    assert parse_cpuinfo("nothing") is None


def test_an_arm_cpu_has_an_implementer_and_a_part():
    block = "processor\t: {}\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: 0xd4f\n"
    cpu = parse_cpuinfo(block.format(0) + "\n" + block.format(1))
    assert (cpu.vendor, cpu.family, cpu.model, cpu.cpus, cpu.threads_per_core) == ("0x41", 8, 0xD4F, 2, 1)


@given(st.text())
def test_no_text_breaks_cpuinfo_or_stat(text):
    parse_cpuinfo(f"processor : 0\n{text}")
    parse_stat(text)


def test_threads_of_a_core_stand_together(tmp_path):
    for cpu in range(4):
        siblings = f"{cpu % 2},{cpu % 2 + 2}"
        write(tmp_path, {f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list": siblings})
    assert read_cores(tmp_path, [0, 1, 2, 3, 4]) == [(0, 2), (1, 3), (4,)]


def test_a_core_is_as_busy_as_the_busiest_of_its_threads(tmp_path, monkeypatch):
    for cpu in range(4):
        siblings = f"{cpu % 2},{cpu % 2 + 2}"
        write(tmp_path, {f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list": siblings})
    write_stat(tmp_path, *[(0, 0)] * 4)
    monkeypatch.setattr(utilisation, "RENEW_S", 0.0)
    meter = utilisation.Utilisation(tmp_path)
    assert meter.ask() == utilisation.NOTHING_YET
    write_stat(tmp_path, (100, 0), (0, 100), (0, 100), (50, 50))
    assert meter.ask() == pytest.approx((1.0 + 0.5) / 2)
    # Too few ticks: what was seen last still holds.
    write_stat(tmp_path, (101, 0), (1, 100), (1, 100), (51, 50))
    assert meter.ask() == pytest.approx(0.75)
    write_stat(tmp_path, (100, 100), (0, 200), (0, 200), (50, 150))
    assert meter.ask() == 0
    monkeypatch.setattr(utilisation, "RENEW_S", 60.0)
    meter.ask()
    write_stat(tmp_path, (200, 100), (0, 300), (0, 300), (50, 250))
    assert meter.ask() == 0, "the file is long on a large node, and not read at each look"
    meter.close()


def test_waiting_and_stolen_time_are_idle():
    assert parse_stat("cpu0 1 2 4 8 16 32 64 128 256 512\n") == {0: (103, 255)}


# ---- The estimate ----


@pytest.fixture
def host(tmp_path):
    """A host whose CPU is shown by cpuinfo, and has been half busy since it was opened."""

    def make(cpuinfo, **asked):
        write(tmp_path, {"proc/cpuinfo": cpuinfo})
        write_stat(tmp_path, (0, 0), (0, 0))
        opened = open_estimate(tmp_path, covered=frozenset(), **asked)
        write_stat(tmp_path, (100, 0), (0, 100))
        return opened

    return make


def test_a_cpu_that_is_known(host):
    opened = host(make_cpuinfo("Intel(R) Xeon(R) Platinum 8480+", cpus=224, sockets=2))
    (source,) = opened.sensor.sources
    assert source.estimated
    assert source.covers == "package"
    assert source.basis.startswith("estimated from Intel Xeon Platinum 8480+ x 2 (Intel ARK")
    assert source.basis.endswith("TDP 700 W, idle 84 to 245 W, scaled by utilisation")
    look = look_at(opened.sensor)[source.name]
    idle_w = (84 + 245) / 2
    assert look["utilisation"] == 0.5
    assert look["power_w"] == pytest.approx(idle_w + 0.5 * (700 - idle_w))
    assert look["power_low_w"] == pytest.approx(84 + 0.5 * (0.6 * 700 - 84))
    assert look["power_high_w"] == pytest.approx(245 + 0.5 * (700 - 245))
    opened.sensor.close()


def test_before_any_time_has_passed_there_are_only_bounds(tmp_path):
    write(tmp_path, {"proc/cpuinfo": ANONYMOUS})
    write_stat(tmp_path, (5, 5), (5, 5))
    sensor = open_estimate(tmp_path, covered=frozenset({"gpu", "node"})).sensor
    look = look_at(sensor)["CPU (estimated)"]
    assert look["power_w"] == {"missing": utilisation.NOTHING_YET}
    assert 0 < look["power_low_w"] < look["power_high_w"]
    sensor.close()


def test_a_virtual_machine_whose_cpu_does_not_name_itself_has_bounds(host):
    opened = host(ANONYMOUS)
    (source,) = opened.sensor.sources
    assert source.product == "Emerald Rapids"
    assert "8592V with 330 W / 64 cores" in source.basis
    assert "8562Y+ with 300 W / 32 cores" in source.basis
    # Two CPUs: at least two threads of one core, at most two cores.
    assert "TDP 5.16 to 18.8 W" in source.basis
    look = look_at(opened.sensor)[source.name]
    assert 0 < look["power_low_w"] < look["power_w"] < look["power_high_w"] < 2 * 300 / 32
    opened.sensor.close()


def test_a_virtual_machine_has_a_share_of_a_part_that_is_known(host):
    opened = host(make_cpuinfo("AMD EPYC 7763 64-Core Processor", cpus=16, virtual=True))
    assert "8 cores: TDP 35 W" in opened.sensor.sources[0].basis
    opened.sensor.close()


@pytest.mark.parametrize(
    ("stepping", "kind"), [(4, "Skylake-SP"), (7, "Cascade Lake-SP")], ids=["Skylake", "Cascade Lake"]
)
def test_steppings_tell_microarchitectures_of_one_model_apart(stepping, kind):
    cpu = parse_cpuinfo(make_cpuinfo("Intel(R) Xeon(R) Gold 5555", model=85, stepping=stepping))
    assert read_specifications().find_microarchitecture(cpu).name == kind
    assert kind in specify_cpu(cpu, read_specifications()).words


UNKNOWN = make_cpuinfo("Some CPU", vendor="SomeVendor")


def test_a_cpu_that_nobody_knows(host):
    opened = host(UNKNOWN)
    assert opened.sensor is None
    (lack,) = opened.unavailable
    assert lack.reason == "this CPU's power is in no table"
    assert lack.do == "name its TDP: [power] cpu_tdp_w in the site file"


def test_a_tdp_that_is_told_is_of_one_package(host):
    opened = host(UNKNOWN.replace("physical id\t: 0", "physical id\t: 1", 1), cpu_tdp_w=200, cpu_idle_w=50)
    (source,) = opened.sensor.sources
    assert "TDP 400 W, idle 100 W" in source.basis
    assert look_at(opened.sensor)[source.name]["power_w"] == pytest.approx(250)
    opened.sensor.close()


def test_an_idle_power_above_the_tdp_is_refused(host):
    assert "more than the TDP" in host(UNKNOWN, cpu_tdp_w=100, cpu_idle_w=150).unavailable[0].reason


@pytest.mark.parametrize("covers", ["package", "module"])
def test_what_is_measured_is_not_estimated(tmp_path, covers):
    write(tmp_path, {"proc/cpuinfo": ANONYMOUS})
    assert open_estimate(tmp_path, covered=frozenset({covers})) == Opened(None)


def test_without_proc_there_is_no_estimate(tmp_path):
    assert "names no CPU" in open_estimate(tmp_path, covered=frozenset()).unavailable[0].reason
    write(tmp_path, {"proc/cpuinfo": ANONYMOUS})
    assert "proc/stat" in open_estimate(tmp_path, covered=frozenset()).unavailable[0].reason


@pytest.mark.parametrize(
    ("product", "tdp_w"),
    [
        ("NVIDIA H200", 700),
        ("NVIDIA H200 NVL", 600),
        ("NVIDIA H100 80GB HBM3", 700),
        ("NVIDIA H100 PCIe", 350),
        ("NVIDIA A100-SXM4-40GB", 400),
        ("NVIDIA A100-PCIE-40GB", 250),
        ("NVIDIA A100 80GB PCIe", 300),
        ("Tesla V100-SXM2-16GB", 300),
        ("Tesla P100-PCIE-16GB", 250),
        ("NVIDIA L40S", 350),
        ("NVIDIA L4", 72),
        ("Tesla T4", 70),
        ("Tesla K80", 150),
        ("Tesla M40 24GB", 250),
    ],
)
def test_gpus_by_the_names_that_nvml_gives(product, tdp_w):
    assert specify_gpu(product, read_specifications()).tdp_w == (tdp_w, tdp_w)


def test_gpus_that_are_in_no_table():
    for product in ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "NVIDIA GeForce GTX 1080", ""):
        assert specify_gpu(product, read_specifications()) is None


def estimate_gpu(monkeypatch, library, product="NVIDIA H200"):
    monkeypatch.setitem(sys.modules, "pynvml", library)
    return open_estimate(covered=frozenset({"package", "gpu"}), gpus=[("GPU-1", product)])


def test_a_gpu_without_a_power_reading_is_estimated_from_its_utilisation(monkeypatch):
    library = make_pynvml()
    opened = estimate_gpu(monkeypatch, library)
    (source,) = opened.sensor.sources
    assert (source.covers, source.uuid, source.estimated) == ("gpu", "GPU-1", True)
    look = look_at(opened.sensor)[source.name]
    idle_w = 700 * (0.07 + 0.20) / 2
    assert look["power_w"] == pytest.approx(idle_w + 0.3 * (700 - idle_w))
    opened.sensor.close()
    assert library.closed


@pytest.mark.parametrize("library", [make_pynvml(lost="GPU is lost"), None])
def test_a_gpu_without_utilisation_has_only_bounds(monkeypatch, library):
    opened = estimate_gpu(monkeypatch, library)
    look = look_at(opened.sensor)["GPU-1 (estimated)"]
    assert "missing" in look["power_w"]
    assert (look["power_low_w"], look["power_high_w"]) == (pytest.approx(49), pytest.approx(700))
    opened.sensor.close()


def test_a_gpu_in_no_table_is_told(monkeypatch):
    opened = estimate_gpu(monkeypatch, make_pynvml(), "NVIDIA Unheard Of")
    assert opened.sensor is None
    assert "in no table" in opened.unavailable[0].reason


@given(
    st.floats(0, 1),
    st.sampled_from(read_specifications().microarchitectures),
    st.booleans(),
    st.integers(1, 2),
)
def test_the_estimate_lies_within_its_bounds(share, kind, virtual, threads):
    cpuinfo = make_cpuinfo(
        "unnamed",
        family=kind.family,
        model=kind.model,
        stepping=kind.steppings[0],
        vendor=kind.vendor,
        virtual=virtual,
        threads_per_core=threads,
    )
    look = specify_cpu(parse_cpuinfo(cpuinfo), read_specifications()).look(share)
    assert 0 < look["power_low_w"] <= look["power_w"] <= look["power_high_w"]


def test_each_specification_says_where_it_is_from():
    tables = read_specifications()
    entries = (*tables.cpus, *tables.microarchitectures, *tables.gpus)
    assert all(entry.source for entry in entries)
    assert len({entry.name for entry in entries}) == len(entries)


def test_a_kernel_that_tells_nothing_of_its_cpus(tmp_path, monkeypatch):
    write(tmp_path, {"proc/stat": "cpu  1 2 3 4"})
    monkeypatch.setattr(utilisation, "RENEW_S", 0.0)
    meter = utilisation.Utilisation(tmp_path)
    assert "no CPU" in meter.ask()
    meter.close()
    assert "Bad file descriptor" in meter.ask()


def test_a_cpu_that_was_switched_off_is_idle():
    before = parse_stat("cpu0 0 0 0 0\ncpu1 0 0 0 0")
    assert utilisation.share_busy(before, parse_stat("cpu0 9 0 0 1"), [(0,), (1,)]) == pytest.approx(0.45)
