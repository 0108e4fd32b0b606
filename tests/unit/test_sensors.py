"""The sensors, each over a tree like the kernel's or a stand-in for its tool."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpcdl.errors import UnknownName
from hpcdl.metering import Source
from hpcdl.power import ipmi, rapl, registry
from hpcdl.power.cray import Counted, open_cray, parse_counter
from hpcdl.power.hwmon import open_hwmon
from hpcdl.power.ipmi import open_ipmi, parse_answer
from hpcdl.power.rapl import Zone, open_rapl
from hpcdl.power.sensor import ROOT_VARIABLE, Opened
from hpcdl.power.sysfs import Attribute, read_number
from hpcdl.records import Missing
from tests.unit.sensor_trees import ANONYMOUS, look_at, make_pynvml, sources_of, write, write_stat

RANGE_UJ = 262143328850


# ---- The kernel's files ----


def test_an_attribute_is_read_anew_each_time_and_closed_once(tmp_path):
    path = tmp_path / "value"
    path.write_text("1\n")
    attribute = Attribute(path)
    assert attribute.read() == "1\n"
    path.write_text("23\n")
    assert attribute.read() == "23\n"
    attribute.close()
    attribute.close()


def test_a_number_may_have_a_unit_behind_it(tmp_path):
    write(tmp_path, {"a": "300 W 17 us", "b": "none", "c": ""})
    assert [read_number(tmp_path / name) for name in "abcd"] == [300.0, None, None, None]


# ---- powercap ----


def make_zone(root, zone, name, energy_uj=1000, **more):
    folder = f"sys/class/powercap/{zone}"
    files = {"name": name, "energy_uj": energy_uj, "max_energy_range_uj": RANGE_UJ, **more}
    write(root, {f"{folder}/{file}": content for file, content in files.items()})
    return root / folder


@pytest.fixture
def powercap(tmp_path):
    """Two packages as a server has them, with all that must not be counted."""
    for package in (0, 1):
        make_zone(
            tmp_path,
            f"intel-rapl:{package}",
            f"package-{package}",
            constraint_0_name="long_term",
            constraint_0_power_limit_uw=350000000,
            constraint_1_name="short_term",
            constraint_1_power_limit_uw=420000000,
        )
        make_zone(tmp_path, f"intel-rapl:{package}:0", "core")
        make_zone(tmp_path, f"intel-rapl:{package}:1", "dram")
        make_zone(tmp_path, f"intel-rapl-mmio:{package}", f"package-{package}")
    make_zone(tmp_path, "intel-rapl:2", "psys")
    write(tmp_path, {"sys/class/powercap/intel-rapl/enabled": 1})
    return tmp_path


def test_packages_and_their_memory_count_once(powercap):
    opened = open_rapl(powercap)
    assert not opened.unavailable
    found = sources_of(opened)
    assert {name: source.covers for name, source in found.items()} == {
        "package 0": "package",
        "dram 0": "dram",
        "package 1": "package",
        "dram 1": "dram",
    }
    assert found["package 1"].limit_w == pytest.approx(350)
    assert isinstance(found["dram 1"].limit_w, Missing)
    assert found["package 0"].counter
    assert found["package 0"].counter_step_j == 1e-6
    opened.sensor.close()


def test_sub_zones_may_also_lie_inside_their_package(tmp_path):
    make_zone(tmp_path, "intel-rapl:0", "package-0")
    make_zone(tmp_path, "intel-rapl:0/intel-rapl:0:0", "dram")
    opened = open_rapl(tmp_path)
    assert set(sources_of(opened)) == {"package 0", "dram 0"}
    opened.sensor.close()


def test_a_part_of_several_dies_and_many_zones_keep_their_order(tmp_path):
    for die in (0, 1, 10):
        make_zone(tmp_path, f"intel-rapl:{die}", f"package-0-die-{die}")
    opened = open_rapl(tmp_path)
    assert list(sources_of(opened)) == ["package 0 die 0", "package 0 die 1", "package 0 die 10"]
    opened.sensor.close()


def test_a_counter_that_wraps_goes_on(powercap):
    energy = powercap / "sys/class/powercap/intel-rapl:0/energy_uj"
    energy.write_text(f"{RANGE_UJ - 3_000_000}\n")
    sensor = open_rapl(powercap).sensor
    before = look_at(sensor)["package 0"]["energy_j"]
    energy.write_text("2000000\n")
    assert look_at(sensor)["package 0"]["energy_j"] - before == pytest.approx(5.0)
    sensor.close()


@settings(max_examples=30, deadline=None)
@given(steps=st.lists(st.integers(0, 400), max_size=8), begin=st.integers(0, 999))
@example(steps=[400, 400], begin=900)
def test_any_steps_that_a_package_can_draw_add_up(steps, begin):
    joule = 10**6
    with tempfile.TemporaryDirectory() as folder:
        path = make_zone(
            Path(folder),
            "intel-rapl:0",
            "package-0",
            energy_uj=begin * joule,
            max_energy_range_uj=1000 * joule,
        )
        zone = Zone(Source(name="package 0", sensor="rapl", covers="package"), path)
        for step in steps:
            begin += step
            (path / "energy_uj").write_text(f"{begin % 1000 * joule}\n")
            assert "energy_j" in zone.look()
        assert zone.look()["energy_j"] == pytest.approx(sum(steps))
        zone.close()


def test_a_counter_that_began_anew_has_not_wrapped(powercap):
    energy = powercap / "sys/class/powercap/intel-rapl:0/energy_uj"
    energy.write_text("200000000\n")
    sensor = open_rapl(powercap).sensor
    energy.write_text("150000000\n")
    told = {"missing": "the counter began anew, and what it had counted is lost"}
    assert look_at(sensor)["package 0"]["energy_j"] == told
    energy.write_text("151000000\n")
    assert look_at(sensor)["package 0"]["energy_j"] == told, "and stays so"
    sensor.close()


def test_a_counter_that_nobody_read_for_long_may_have_wrapped_twice(powercap, monkeypatch):
    sensor = open_rapl(powercap).sensor
    now_s = time.monotonic()
    monkeypatch.setattr(rapl.time, "monotonic", lambda: now_s + 400)
    assert "wrapped more than once" in look_at(sensor)["package 0"]["energy_j"]["missing"]
    sensor.close()


def test_where_the_range_cannot_be_read_a_wrap_ends_the_count(powercap):
    folder = powercap / "sys/class/powercap/intel-rapl:0"
    (folder / "max_energy_range_uj").unlink()
    sensor = open_rapl(powercap).sensor
    (folder / "energy_uj").write_text("1500\n")
    assert look_at(sensor)["package 0"]["energy_j"] == pytest.approx(500e-6)
    (folder / "energy_uj").write_text("10\n")
    assert "went back" in look_at(sensor)["package 0"]["energy_j"]["missing"]
    (folder / "energy_uj").write_text("2000\n")
    assert "went back" in look_at(sensor)["package 0"]["energy_j"]["missing"]
    sensor.close()


def test_a_zone_that_vanishes_stays_missing_and_the_others_go_on(powercap, monkeypatch):
    sensor = open_rapl(powercap).sensor
    energy = powercap / "sys/class/powercap/intel-rapl:0/energy_uj"
    gone, read = energy.stat().st_ino, os.pread

    def pread(descriptor, size, offset):
        if os.fstat(descriptor).st_ino == gone:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        return read(descriptor, size, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", pread)
        looks = look_at(sensor)
    assert "No such device" in looks["package 0"]["energy_j"]["missing"]
    assert looks["package 1"]["energy_j"] == 0
    assert "No such device" in look_at(sensor)["package 0"]["energy_j"]["missing"]
    sensor.close()


def test_counters_for_root_only_say_who_opens_them(powercap, monkeypatch):
    opener = os.open

    def refuse(path, *arguments):
        if str(path).endswith("energy_uj"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return opener(path, *arguments)

    monkeypatch.setattr(os, "open", refuse)
    opened = open_rapl(powercap)
    assert opened.sensor is None
    (lack,) = opened.unavailable
    assert "package 0, dram 0, package 1, dram 1 cannot be read: Permission denied" in lack.reason
    assert "chmod a+r" in lack.do


def test_one_counter_that_cannot_be_read_leaves_the_others(powercap):
    energy = powercap / "sys/class/powercap/intel-rapl:1:1/energy_uj"
    energy.unlink()
    energy.mkdir()
    opened = open_rapl(powercap)
    assert set(sources_of(opened)) == {"package 0", "dram 0", "package 1"}
    assert "dram 1" in opened.unavailable[0].reason
    opened.sensor.close()


def test_no_powercap_and_powercap_that_a_container_hides(tmp_path):
    assert open_rapl(tmp_path).unavailable[0].reason == "no powercap counters"
    (tmp_path / "sys/class/powercap/intel-rapl:0").mkdir(parents=True)
    assert "container" in open_rapl(tmp_path).unavailable[0].do


# ---- hwmon ----


def make_meter(root, number, label="", *, chip="power_meter", device="device/", average=100_000_000, **more):
    """An ACPI meter as its driver of before Linux 6.x lays it out: all but the name in the device's folder."""
    folder = f"sys/class/hwmon/hwmon{number}"
    files = {"power1_average": average, "power1_average_interval": 50, **more}
    if label:
        files["power1_oem_info"] = label
    write(
        root,
        {f"{folder}/name": chip, **{f"{folder}/{device}{file}": value for file, value in files.items()}},
    )
    return root / folder / device


def test_grace_hopper_counts_neither_rails_nor_sockets_twice(tmp_path):
    labels = [
        f"{kind} Power Socket {socket}" for socket in (0, 1) for kind in ("CPU", "SysIO", "Grace", "Module")
    ]
    for number, label in enumerate(labels):
        make_meter(tmp_path, number, label, average=(number + 1) * 1_000_000, power1_cap=650_000_000)
    opened = open_hwmon(tmp_path)
    found = sources_of(opened)
    assert {name: source.covers for name, source in found.items()} == {
        "Module Power Socket 0": "module",
        "Module Power Socket 1": "module",
        "Grace Power Socket 0": "package",
        "Grace Power Socket 1": "package",
    }
    module = found["Module Power Socket 0"]
    assert (module.power, module.averaging_s, module.limit_w) == ("average", 0.05, pytest.approx(650))
    looks = look_at(opened.sensor)
    assert looks["Grace Power Socket 0"]["power_w"] == pytest.approx(3)
    assert looks["Module Power Socket 1"]["power_w"] == pytest.approx(8)
    opened.sensor.close()


def test_a_cpu_rail_alone_stands_for_its_package(tmp_path):
    make_meter(tmp_path, 0, "CPU Power Socket 0")
    make_meter(tmp_path, 1, "SysIO Power Socket 0")
    opened = open_hwmon(tmp_path)
    assert {name: source.covers for name, source in sources_of(opened).items()} == {
        "CPU Power Socket 0": "package"
    }
    opened.sensor.close()


def test_a_meter_without_a_label_is_the_node(tmp_path):
    folder = make_meter(tmp_path, 3, device="")
    (folder / "power1_average_interval").unlink()
    opened = open_hwmon(tmp_path)
    (source,) = opened.sensor.sources
    assert (source.name, source.covers, source.power) == ("node (ACPI)", "node", "average")
    assert isinstance(source.averaging_s, Missing)
    assert look_at(opened.sensor)["node (ACPI)"]["power_w"] == pytest.approx(100)
    (folder / "power1_average").write_text("")
    assert "missing" in look_at(opened.sensor)["node (ACPI)"]["power_w"]
    opened.sensor.close()


def test_two_meters_without_labels_are_not_guessed_at(tmp_path):
    make_meter(tmp_path, 0)
    make_meter(tmp_path, 1)
    opened = open_hwmon(tmp_path)
    assert opened.sensor is None
    assert "2 ACPI meters without a label" in opened.unavailable[0].reason


def test_gpus_disks_and_batteries_are_left_out(tmp_path):
    make_meter(tmp_path, 0, chip="amdgpu", device="")
    write(tmp_path, {"sys/class/hwmon/hwmon1/name": "i915", "sys/class/hwmon/hwmon1/energy1_input": 5})
    make_meter(tmp_path, 2, power1_is_battery=1)
    opened = open_hwmon(tmp_path)
    assert opened.sensor is None
    assert "no meter" in opened.unavailable[0].reason


def test_amds_energy_counts_its_sockets(tmp_path):
    folder = "sys/class/hwmon/hwmon0"
    write(tmp_path, {f"{folder}/name": "amd_energy", f"{folder}/energy1_input": 7_000_000})
    write(tmp_path, {f"{folder}/energy1_label": "Ecore000", f"{folder}/energy2_input": 9_000_000})
    write(tmp_path, {f"{folder}/energy2_label": "Esocket0"})
    opened = open_hwmon(tmp_path)
    assert look_at(opened.sensor) == {"package 0 (amd_energy)": {"energy_j": pytest.approx(9)}}
    assert opened.sensor.sources[0].counter
    opened.sensor.close()


def test_a_meter_that_may_not_be_read_is_told(tmp_path):
    folder = make_meter(tmp_path, 0)
    (folder / "power1_average").unlink()
    (folder / "power1_average").symlink_to(folder / "power1_average")
    opened = open_hwmon(tmp_path)
    assert opened.sensor is None
    assert "cannot be read" in opened.unavailable[0].reason


# ---- Cray ----


@pytest.fixture
def pm_counters(tmp_path):
    counters = {
        "energy": "12345 J 1700000000000000 us",
        "power": "300 W 1700000000000000 us",
        "power_cap": "0 W 1700000000000000 us",
        "cpu_energy": "2000 J 1700000000000000 us",
        "memory_energy": "100 J 1700000000000000 us",
        "accel_energy": "900 J 1700000000000000 us",
        "accel0_energy": "400 J 1700000000000000 us",
        "accel0_power_cap": "560 W",
        "accel1_energy": "500 J 1700000000000000 us",
        "version": 3,
        "generation": 15,
        "startup": 1700000000,
        "freshness": 99,
        "raw_scan_hz": 10,
    }
    write(tmp_path, {f"sys/cray/pm_counters/{name}": content for name, content in counters.items()})
    return tmp_path


def test_pm_counters_cover_the_node_and_its_parts(pm_counters):
    opened = open_cray(pm_counters)
    found = sources_of(opened)
    assert {name: source.covers for name, source in found.items()} == {
        "node": "node",
        "cpu": "package",
        "memory": "dram",
        "accel 0": "gpu",
        "accel 1": "gpu",
    }
    assert found["node"].update_s == pytest.approx(0.1)
    assert isinstance(found["node"].limit_w, Missing)
    assert found["accel 0"].limit_w == 560
    looks = look_at(opened.sensor)
    assert looks["node"] == {"energy_j": 12345, "power_w": 300}
    assert looks["accel 1"] == {"energy_j": 500}
    opened.sensor.close()


def test_a_cray_counter_that_goes_back_is_lost_and_one_that_breaks_is_missing(pm_counters):
    sensor = open_cray(pm_counters).sensor
    folder = pm_counters / "sys/cray/pm_counters"
    (folder / "energy").write_text("3 J 1700000001000000 us\n")
    (folder / "cpu_energy").write_text("broken\n")
    (folder / "power").write_text("")
    looks = look_at(sensor)
    assert "went back" in looks["node"]["energy_j"]["missing"]
    assert "missing" in looks["cpu"]["energy_j"]
    assert "missing" in looks["node"]["power_w"]
    (folder / "energy").write_text("20000 J 1700000002000000 us\n")
    assert "went back" in look_at(sensor)["node"]["energy_j"]["missing"]
    sensor.close()


def test_a_cray_counter_that_is_not_renewed_is_missing_until_it_is(pm_counters, monkeypatch):
    sensor = open_cray(pm_counters).sensor
    clock = time.monotonic() + 60
    monkeypatch.setattr("hpcdl.power.cray.time", SimpleNamespace(monotonic=lambda: clock))
    assert "renew" in look_at(sensor)["node"]["energy_j"]["missing"]
    (pm_counters / "sys/cray/pm_counters/energy").write_text("12346 J 1700000009000000 us\n")
    assert look_at(sensor)["node"]["energy_j"] == 12346
    sensor.close()


def test_no_cray_and_a_cray_without_energy(tmp_path, pm_counters):
    assert "not an HPE Cray" in open_cray(tmp_path / "elsewhere").unavailable[0].reason
    folder = pm_counters / "sys/cray/pm_counters"
    for path in folder.glob("*energy"):
        path.write_text("?\n")
    opened = open_cray(pm_counters)
    assert opened.sensor is None
    assert len(opened.unavailable) == 5
    for path in folder.glob("*energy"):
        path.unlink()
    assert "holds no energy" in open_cray(pm_counters).unavailable[0].reason


@given(st.integers(0, 10**12), st.integers(0, 2**53), st.sampled_from("JW"))
def test_a_cray_counter_is_read_with_and_without_its_time(value, stamp_us, unit):
    assert parse_counter(f"{value} {unit} {stamp_us} us\n") == Counted(value, stamp_us)
    assert parse_counter(f"{value} {unit}\n") == Counted(value, None)


@given(st.text(max_size=30))
def test_what_is_no_cray_counter_is_an_error(text):
    with pytest.raises(ValueError):
        parse_counter(f"{text} kJ")


# ---- IPMI ----

# As ipmitool 1.8.18 prints it.
ANSWER = """
    Instantaneous power reading:                   332 Watts
    Minimum during sampling period:                 68 Watts
    Maximum during sampling period:                504 Watts
    Average power reading over sample period:      348 Watts
    IPMI timestamp:                           Thu Feb 15 08:36:01 2024
    Sampling period:                          00000001 Seconds.
    Power reading state is:                   activated

"""


def test_an_answer_of_ipmitool():
    answer = parse_answer(ANSWER)
    assert (answer.power_w, answer.period_s) == (332, 1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("332 Watts", "0 Watts"), "0 W"),
        (("activated", "deactivated"), "deactivated"),
        (("332 Watts", "Not Available"), "no power"),
    ],
)
def test_an_answer_without_power_is_missing_and_not_zero(change, reason):
    assert reason in parse_answer(ANSWER.replace(*change)).power_w.missing


@pytest.mark.parametrize(
    ("printed", "period_s"),
    [("5 sec ", 5), ("15 min", 900), ("1 hour", 3600), ("1473439000 milliseconds", 1473439)],
)
def test_sampling_periods_of_all_versions(printed, period_s):
    assert parse_answer(ANSWER.replace("00000001 Seconds.", printed)).period_s == pytest.approx(period_s)


def test_a_sampling_period_of_nothing_is_missing():
    assert isinstance(parse_answer(ANSWER.replace("00000001", "00000000")).period_s, Missing)


@given(st.text() | st.integers(0, 10**6).map(lambda at: ANSWER[: at % len(ANSWER)]))
def test_no_text_breaks_the_parser_or_becomes_zero(text):
    answer = parse_answer(text)
    assert isinstance(answer.power_w, Missing) or answer.power_w > 0


@pytest.fixture
def bmc(tmp_path, monkeypatch):
    """A stand-in for ipmitool on PATH, and a controller's device; what it does is the text of a shell script."""
    write(tmp_path, {"dev/ipmi0": ""})
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(ipmi, "PERIOD_S", 0.01)

    def install(script):
        path = tmp_path / "bin/ipmitool"
        path.parent.mkdir(exist_ok=True)
        new = path.with_name("new")
        new.write_text(f"#!/bin/sh\n{script}\n")
        new.chmod(0o755)
        new.rename(path)

    return SimpleNamespace(root=tmp_path, install=install)


def answering(text):
    return f"""[ "$*" = "dcmi power reading" ] && cat <<'END'\n{text}\nEND"""


def wait_for(question):
    end_s = time.monotonic() + 5
    while not question():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def test_a_thread_keeps_asking_and_a_look_gives_the_latest_answer(bmc):
    bmc.install(answering(ANSWER))
    begin_s = time.monotonic()
    opened = open_ipmi(bmc.root)
    sensor, (source,) = opened.sensor, opened.sensor.sources
    assert (source.covers, source.power, source.averaging_s) == ("node", "average", 1)
    look = look_at(sensor)[source.name]
    assert look["power_w"] == 332
    assert begin_s <= look["read_at_s"] <= time.monotonic()
    bmc.install(answering(ANSWER.replace("332", "444")))
    wait_for(lambda: look_at(sensor)[source.name]["power_w"] == 444)
    assert look_at(sensor)[source.name]["read_at_s"] > look["read_at_s"]
    bmc.install(answering(ANSWER.replace("332 W", "0 W")))
    wait_for(lambda: "0 W" in str(look_at(sensor)[source.name]["power_w"]))
    bmc.install("echo 'Error: Unable to establish a session' >&2; exit 1")
    wait_for(lambda: "session" in str(look_at(sensor)[source.name]["power_w"]))
    sensor.close()


def test_statistics_since_long_ago_tell_no_averaging(bmc):
    bmc.install(answering(ANSWER.replace("00000001", "01473439")))
    sensor = open_ipmi(bmc.root).sensor
    assert sensor.sources[0].power == "unspecified"
    assert isinstance(sensor.sources[0].averaging_s, Missing)
    sensor.close()


def test_an_old_answer_is_missing(bmc, monkeypatch):
    bmc.install(answering(ANSWER))
    monkeypatch.setattr(ipmi, "PERIOD_S", 60)
    sensor = open_ipmi(bmc.root).sensor
    monkeypatch.setattr(ipmi, "STALE_S", 0.0)
    time.sleep(0.001)
    assert "no answer for" in look_at(sensor)["node (DCMI)"]["power_w"]["missing"]
    sensor.close()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'Could not open device at /dev/ipmi0: Permission denied' >&2; exit 1", "permission denied"),
        ("echo 'Could not open device at /dev/ipmi0: No such file' >&2; exit 1", "finds no controller"),
        ("echo 'DCMI request failed because: Invalid command (c1)' >&2; exit 1", "does not support DCMI"),
        ("exit 3", "it said nothing"),
        ("exec sleep 30", "no answer within 0.2 s"),
        (answering(ANSWER.replace("activated", "deactivated")), "deactivated"),
    ],
)
def test_why_ipmitool_gives_no_power(bmc, monkeypatch, script, reason):
    monkeypatch.setattr(ipmi, "TIMEOUT_S", 0.2 if "sleep" in script else 5)
    bmc.install(script)
    opened = open_ipmi(bmc.root)
    assert opened.sensor is None
    assert reason in opened.unavailable[0].reason


def test_a_program_that_cannot_be_run(bmc):
    bmc.install("")
    (bmc.root / "bin/ipmitool").write_text("#!/no/such/interpreter\n")
    assert "does not start" in open_ipmi(bmc.root).unavailable[0].reason


def test_no_ipmitool_no_device_and_a_device_for_others(bmc, monkeypatch):
    monkeypatch.setenv("PATH", str(bmc.root / "bin"))
    assert open_ipmi(bmc.root).unavailable[0].reason == "ipmitool is not installed"
    bmc.install(answering(ANSWER))
    assert open_ipmi(bmc.root / "elsewhere").unavailable[0].reason == "no /dev/ipmi0"
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode, **more: "ipmi0" not in str(path) and access(path, mode, **more)
    )
    opened = open_ipmi(bmc.root)
    assert "permission denied" in opened.unavailable[0].reason
    assert "udev" in opened.unavailable[0].do


# ---- All of them ----


class Fixed:
    """A sensor that has these sources and nothing to say."""

    def __init__(self, *sources):
        self.sources = sources

    def look(self, *, closely):
        return {}

    def close(self):
        pass


@pytest.fixture
def sensors(tmp_path, monkeypatch):
    """The registry over an empty machine with a CPU, and no NVML."""
    write(tmp_path, {"proc/cpuinfo": ANONYMOUS})
    write_stat(tmp_path, (0, 0), (0, 0))
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    monkeypatch.setenv("PATH", "")
    mine = dict(registry.SENSORS, nvml=lambda: Opened(None))
    monkeypatch.setattr(registry, "SENSORS", mine)
    return mine


def test_every_sensor_has_its_module():
    for name in registry.SENSORS:
        if name != "nvml":
            assert hasattr(__import__(f"hpcdl.power.{name}", fromlist=["_"]), f"open_{name}")


def test_what_nothing_measures_is_estimated(sensors):
    opened, unavailable = registry.open_sensors()
    assert [source.sensor for sensor in opened for source in sensor.sources] == ["estimate"]
    assert {lack.sensor for lack in unavailable} == {"rapl", "hwmon", "cray", "ipmi"}
    opened[0].close()


def test_only_those_that_are_named_are_opened(sensors):
    assert registry.open_sensors(["nvml"]) == ([], [])
    opened, unavailable = registry.open_sensors(["rapl", "estimate"], cpu_tdp_w=100)
    assert "cpu_tdp_w, 100 W" in opened[0].sources[0].basis
    assert [lack.sensor for lack in unavailable] == ["rapl"]
    opened[0].close()


def test_an_unknown_sensor_suggests_the_nearest(sensors):
    with pytest.raises(UnknownName, match=r"no sensor 'rapll'.*'rapl'.*estimate"):
        registry.open_sensors(["rapll"])


def test_a_sensor_that_breaks_does_not_cost_the_others(sensors):
    def break_down():
        raise RuntimeError("the driver is ill")

    sensors["hwmon"] = break_down
    opened, unavailable = registry.open_sensors()
    assert "RuntimeError: the driver is ill" in [lack.reason for lack in unavailable]
    assert len(opened) == 1
    opened[0].close()


def test_measured_packages_are_not_estimated_and_silent_gpus_are(sensors, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", make_pynvml())
    silent = Source(name="GPU-1", sensor="nvml", covers="gpu", uuid="GPU-1", product="NVIDIA H200")
    spoken = Source(
        name="GPU-2", sensor="nvml", covers="gpu", uuid="GPU-2", product="NVIDIA H200", counter=True
    )
    sensors["nvml"] = lambda: Opened(Fixed(silent, spoken))
    sensors["rapl"] = lambda: Opened(Fixed(Source(name="package 0", sensor="rapl", covers="package")))
    opened, _ = registry.open_sensors()
    assert [source.name for source in opened[-1].sources] == ["GPU-1 (estimated)"]
    opened[-1].close()
