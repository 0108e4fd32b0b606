"""`hpcdl power`: on a tree like the kernel's whose counter runs at a known power, and where there is nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from hpcdl import baseline, cli, command, idleness, sampling
from hpcdl import site as sites
from hpcdl.analysis import meters
from hpcdl.analysis.command import meter
from hpcdl.cli.asking import require_sources
from hpcdl.errors import Failure, Mistake
from hpcdl.idleness import Use
from hpcdl.metering import Closing, Look, Opening, Sample, Source, Unavailable
from hpcdl.records import Missing
from hpcdl.report import as_terminal
from hpcdl.report.sensors import describe_sensors
from hpcdl.report.watching import Watch
from hpcdl.trace import parse_trace

HOST = socket.gethostname()
WATTS = 50.0
ZONE = Path("sys/class/powercap/intel-rapl:0")


@pytest.fixture(autouse=True)
def _at_home(monkeypatch, tmp_path):
    """A person without Slurm and without a site file, on a machine whose / is a folder with nothing in it."""
    for name in list(os.environ):
        if name.startswith(("HPCDL_", "SLURM_", "CUDA_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("HPCDL_SENSOR_ROOT", str(tmp_path / "root"))
    (tmp_path / "root").mkdir()


@pytest.fixture
def hpcdl(monkeypatch, capfd):
    """Exit code, stdout, stderr of a command line, in this process; what it starts writes there too."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["hpcdl", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capfd.readouterr()
        return left.value.code, out, err

    return call


@pytest.fixture
def package(tmp_path):
    """A CPU package that draws 50 W, by a counter which a thread advances."""
    zone = tmp_path / "root" / ZONE
    zone.mkdir(parents=True)
    (zone / "name").write_text("package-0\n")
    (zone / "max_energy_range_uj").write_text("262143328850\n")
    file = zone / "energy_uj"
    file.write_text("1000\n")
    end = threading.Event()
    begin_s = time.monotonic()

    def count():
        # Always as many digits, so that no reader sees half a number.
        with file.open("r+") as counter:
            while not end.wait(0.002):
                counter.seek(0)
                counter.write(f"{1e10 + (time.monotonic() - begin_s) * WATTS * 1e6:.0f}\n")
                counter.flush()

    thread = threading.Thread(target=count, daemon=True)
    thread.start()
    time.sleep(0.01)
    yield file
    end.set()
    thread.join()


@pytest.fixture
def brief(monkeypatch):
    """Windows of one second are enough: this counter is renewed every few milliseconds."""
    monkeypatch.setattr(meters, "SHORTEST_S", 1.0)


@pytest.fixture
def quiet(monkeypatch):
    """A machine on which nobody works, whatever the one is that runs the tests."""
    nobody = Use(0.01, ())
    monkeypatch.setattr(idleness, "watch", lambda: nobody)
    monkeypatch.setattr(idleness, "compare", lambda before, after: nobody)


# ---- Sensors ----


def test_sensors_tell_what_there_is_and_what_would_open_the_rest(hpcdl, package):
    code, out, err = hpcdl("power", "sensors", "--json")
    data = json.loads(out)
    assert (code, err, data["kind"], data["host"]) == (0, "", "sensors", HOST)
    [source] = data["sources"]
    assert (source["name"], source["sensor"], source["covers"]) == ("package 0", "rapl", "package")
    assert (source["counter"], source["counter_step_j"]) == ("1 µJ", {"value": 1e-6, "unit": "J"})
    assert source["power"] is None
    assert 0.001 < source["update_s"]["value"] < 0.1
    lacking = {one["sensor"]: one for one in data["unavailable"]}
    assert {"nvml", "hwmon", "cray", "ipmi"} <= lacking.keys()
    assert "pm_counters" in lacking["cray"]["reason"]
    assert "modprobe acpi_power_meter" in lacking["hwmon"]["do"]


def test_where_nothing_can_be_metered_sensors_say_so_and_that_is_an_answer(hpcdl):
    code, out, _ = hpcdl("power", "sensors")
    assert code == 0
    assert f"{HOST}: nothing can be metered" in out
    assert "modprobe intel_rapl_common" in " ".join(out.split())


def test_what_a_power_reading_means_is_told():
    opening = Opening(
        host="node1",
        boot_id="b",
        at_s=0.0,
        period_s=0.1,
        sources=(
            Source(
                name="GPU-1",
                sensor="nvml",
                covers="gpu",
                product="A100",
                counter=True,
                counter_step_j=1e-3,
                power="instant",
                averaging_s=0.025,
                update_s=0.1,
                limit_w=400.0,
            ),
            Source(name="node (DCMI)", sensor="ipmi", covers="node", power="unspecified"),
        ),
        unavailable=(Unavailable(sensor="rapl", reason="root only", do="chmod"),),
    )
    looks = {"GPU-1": Look(power_w=312.0), "node (DCMI)": Look(power_w=Missing(missing="no answer"))}
    sample = Sample(at_s=1.0, took_s=0.0, looks=looks)
    text = as_terminal.write(describe_sensors(opening, sample), width=160)
    assert "node1: 2 sources of power or energy" in text
    for words in ("1 mJ", "instant", "25.0 ms", "400.0 W", "312.0 W", "unspecified", "no answer", "chmod"):
        assert words in text


# ---- Watch ----


def test_watch_prints_a_line_for_each_look_and_ends_by_itself(hpcdl, package):
    code, out, err = hpcdl("power", "watch", "--seconds", "600ms", "--period", "300ms", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert (code, err, len(lines)) == (0, "", 3)
    assert "second look" in lines[0]["sources"][0]["power_w"]["missing"]
    assert lines[2]["sources"][0]["power_w"]["value"] == pytest.approx(WATTS, rel=0.1)


def test_ctrl_c_ends_watch_without_an_error(package):
    argv = [sys.executable, "-m", "hpcdl", "power", "watch", "--period", "100ms"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        lines = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert "package 0" in lines[2]
    assert " W" in lines[2]


def test_watch_keeps_what_is_not_asked_for_at_every_look():
    source = Source(name="GPU-1", sensor="nvml", covers="gpu", counter=True, power="instant")
    watch = Watch(Opening(host="node1", boot_id="b", at_s=0.0, period_s=1.0, sources=(source,)))
    full = Look(
        energy_j=0.0,
        power_w=300.0,
        utilisation=0.97,
        sm_clock_mhz=1410.0,
        temperature_c=64.0,
        memory_used_bytes=38e9,
        reasons=("power cap",),
    )
    for at_s, look in enumerate((full, Look(energy_j=310.0, power_w=310.0))):
        watch.take(Sample(at_s=at_s, took_s=0.0, looks={"GPU-1": look}))
    line = watch.write_line()
    assert line.endswith("GPU-1 310.0 W 97.0 % 1,410 MHz 64 °C 38.00 GB power cap")
    [row] = json.loads(watch.write_json())["sources"]
    assert (row["reasons"], row["power_w"]["value"], row["memory_clock_mhz"]) == ("power cap", 310.0, None)
    assert "▁█" in as_terminal.write(watch.make_report(), width=160)


def test_where_there_is_nothing_to_watch_that_is_a_failure(hpcdl):
    code, out, err = hpcdl("power", "watch", "--seconds", "1")
    assert (code, out) == (1, "")
    assert "hpcdl power sensors" in err


# ---- Idle ----


def test_the_idle_power_is_kept_beside_the_site_file_and_read_with_it(hpcdl, package, quiet, brief, tmp_path):
    site = tmp_path / "juno.toml"
    site.write_text('name = "juno"\n[power]\npue = 1.2\n[power.idle_w.other]\n"package 0" = 33.0\n')
    kept = tmp_path / "juno.idle.json"
    entry = baseline.HostIdle(
        measured_utc=datetime.now(UTC), seconds=30, idle_w={"package 0": 1.0, "dram 0": 2.0}
    )
    baseline.keep(kept, "other", entry)
    code, out, err = hpcdl("power", "idle", "--seconds", "1500ms", "--site", site, "--json")
    assert code == 0, err
    data = json.loads(out)
    assert (data["kind"], data["file"], data["host"]) == ("idle", str(kept), HOST)
    [row] = data["idle"]
    assert (row["kept"], row["by"]) == ("yes", "rapl counter")
    assert row["idle_w"]["value"] == pytest.approx(WATTS, rel=0.05)
    loaded = sites.load(site)[0].power
    assert loaded.pue == 1.2
    assert loaded.idle_w[HOST]["package 0"] == pytest.approx(WATTS, rel=0.05)
    # The file's own word stands above what was measured.
    assert loaded.idle_w["other"] == {"package 0": 33.0, "dram 0": 2.0}


def test_without_a_site_file_the_baseline_stands_where_one_would(tmp_path):
    assert sites.load() == (sites.Site(), None)
    entry = baseline.HostIdle(measured_utc=datetime.now(UTC), seconds=30, idle_w={"package 0": 40.0})
    baseline.keep(baseline.path_beside(sites.default_path()), "node1", entry)
    site, file = sites.load()
    assert (site.power.idle_w, file) == ({"node1": {"package 0": 40.0}}, None)
    assert (tmp_path / "config" / "hpcdl" / "site.idle.json").is_file()


def test_hosts_that_end_together_do_not_undo_each_other(tmp_path):
    path = tmp_path / "site.idle.json"
    entry = baseline.HostIdle(measured_utc=datetime.now(UTC), seconds=30, idle_w={"package 0": 40.0})
    script = (
        "import sys; from pathlib import Path; from hpcdl import baseline;"
        "entry = baseline.HostIdle.model_validate_json(sys.argv[2]);"
        "[baseline.keep(Path(sys.argv[1]), f'{sys.argv[3]}{i}', entry) for i in range(20)]"
    )
    argv = [sys.executable, "-c", script, str(path), entry.model_dump_json()]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: subprocess.run([*argv, name], check=True), "ab"))
    assert len(baseline.read(path).hosts) == 40


def test_a_spoilt_baseline_is_named(tmp_path):
    path = tmp_path / "site.idle.json"
    path.write_text('{"hosts": {"node1": 3}}')
    with pytest.raises(Mistake, match=r"site\.idle\.json is not what `hpcdl power idle` writes.*Remove it"):
        baseline.read(path)


def test_a_busy_machine_is_refused_with_the_process_that_keeps_it_busy(hpcdl, package, monkeypatch):
    busy = Use(0.45, ("python3 (process 4711, 0.90 cores)",))
    monkeypatch.setattr(idleness, "watch", lambda: busy)
    code, out, err = hpcdl("power", "idle")
    assert (code, out) == (1, "")
    assert "not idle: 45 % of its CPUs are busy: python3 (process 4711, 0.90 cores)" in err
    assert "--force" in err


def test_a_process_that_computes_is_found(monkeypatch):
    monkeypatch.setattr(idleness, "NAMED", 1000)  # others may compute beside the tests
    before = idleness.look()
    argv = [sys.executable, "-c", "while True: pass"]
    with subprocess.Popen(argv) as process:
        time.sleep(0.5)
        use = idleness.compare(before, idleness.look())
        process.kill()
    assert f"process {process.pid}," in use.by
    assert use.share > 0.05


def test_a_busy_gpu_is_named(monkeypatch, tmp_path):
    smi = tmp_path / "bin" / "nvidia-smi"
    smi.parent.mkdir()
    smi.write_text("#!/bin/sh\necho 'GPU-1, 812, python3'\necho 'GPU-2, 813, idler'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{smi.parent}:{os.environ['PATH']}")
    gpus = tuple(Source(name=name, sensor="nvml", covers="gpu", uuid=name) for name in ("GPU-1", "GPU-2"))
    opening = Opening(host="node1", boot_id="b", at_s=0.0, period_s=0.1, sources=gpus)
    looks = {"GPU-1": Look(utilisation=0.9), "GPU-2": Look(utilisation=0.0)}
    busy = idleness.find_busy_gpus(opening, Sample(at_s=0.0, took_s=0.0, looks=looks))
    assert busy == "GPU-1 is 90 % busy: python3 (process 812)"
    assert idleness.describe_busy_gpus({"GPU-2": 0.05, "GPU-3": Missing(missing="MIG")}) is None


def test_an_estimate_is_no_baseline():
    source = Source(name="CPU (estimated)", sensor="estimate", covers="package", basis="TDP")
    opening = Opening(host="node1", boot_id="b", at_s=0.0, period_s=0.1, sources=(source,))
    require_sources(SimpleNamespace(opening=opening))
    with pytest.raises(Failure, match="only an estimate, which is no baseline"):
        require_sources(SimpleNamespace(opening=opening), measured=True)


# ---- Run ----


def test_a_command_is_metered_and_left_alone(hpcdl, package, brief, tmp_path):
    out_file = tmp_path / "energy.json"
    script = "echo its output; echo its complaint >&2; sleep 1.5; exit 3"
    code, out, err = hpcdl("power", "run", "--period", "50ms", "--out", out_file, "--", "sh", "-c", script)
    assert (code, out) == (3, "its output\n")
    assert err.startswith("its complaint\n")
    assert "leaves out: GPU boards, DRAMs" in " ".join(err.split())
    data = json.loads(out_file.read_text())
    assert (data["kind"], data["exit_code"], data["host"]) == ("metered", 3, HOST)
    [total] = data["energy"]
    assert (total["boundary"], total["basis"], total["sensors"]) == ("device", "measured", "rapl counter")
    elapsed_s = data["elapsed_s"]["value"]
    assert 1.5 < elapsed_s < 4
    assert total["energy_j"]["value"] == pytest.approx(WATTS * elapsed_s, rel=0.03)
    assert total["energy_wh"]["value"] == pytest.approx(total["energy_j"]["value"] / 3600)
    assert total["average_w"]["value"] == pytest.approx(WATTS, rel=0.03)
    assert total["coverage"]["value"] == 1


def test_where_nothing_can_be_metered_the_command_runs_all_the_same(hpcdl):
    code, out, err = hpcdl("power", "run", "--", "echo", "done")
    assert (code, out) == (0, "done\n")
    words = " ".join(err.split())
    assert "nothing here can be metered: no energy of this command is known" in words
    assert "rapl: no powercap counters; virtual machines have none" in words


def test_ctrl_c_is_for_the_command_and_its_energy_is_told(package):
    """Without a terminal in between hpcdl passes the signal on; too short a window is refused with its length."""
    script = "import signal, sys, time\nsignal.signal(signal.SIGINT, lambda *_: sys.exit(7))\n"
    script += "print('ready', flush=True)\ntime.sleep(60)"
    argv = [sys.executable, "-m", "hpcdl", "power", "run", "--json", "--", sys.executable, "-c", script]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    data = json.loads(err)
    assert (process.returncode, data["exit_code"]) == (7, 7)
    reason = data["energy"][0]["energy_j"]["missing"]
    assert "too short for this meter" in reason
    assert reason.endswith("let it run for at least 5s")


def test_a_command_that_a_signal_ended_leaves_as_in_a_shell():
    assert command.run(["sh", "-c", "kill -KILL $$"]).code == 128 + signal.SIGKILL


def test_a_sampler_that_dies_costs_the_energy_and_nothing_else(hpcdl, package, monkeypatch):
    class Dying(sampling.Sampling):
        def gather(self):
            first = super().gather()
            self._process.kill()
            return first

    monkeypatch.setattr(sampling, "Sampling", Dying)
    monkeypatch.setattr(meters, "SHORTEST_S", 0.2)
    code, out, err = hpcdl("power", "run", "--", "sh", "-c", "sleep 0.3; echo done")
    assert (code, out) == (0, "done\n")
    assert "the sampler of power ended with -9" in err
    assert "not published: its counter was not read at both ends of the window" in " ".join(err.split())


MISTAKES = {
    "no command": (["run"], "there is no command to meter"),
    "no command after dashes": (["run", "--"], "there is no command to meter"),
    "not found": (["run", "--", "nosuch-command"], "there is no command 'nosuch-command'"),
    "a folder": (["run", "--", "/"], "there is no command '/'"),
    "period of 0": (["run", "--period", "0", "--", "true"], "--period 0: a time between 10.0 ms and 10.0 s"),
    "negative": (["watch", "--period", "-1s"], "--period -1s: a time between"),
    "long": (["watch", "--period", "1m"], "--period 1m: a time between"),
    "no time": (["watch", "--seconds", "soon"], "--seconds soon: a time of at least"),
    "endless": (["watch", "--seconds", "inf"], "--seconds inf: a time of at least"),
    "no number": (["idle", "--seconds", "nan"], "--seconds nan: a time of at least 5.00 s"),
    "sensor": (["run", "--sensors", "rapl,nvlm", "--", "true"], "no sensor 'nvlm'. Did you mean 'nvml'?"),
    "no sensors": (["run", "--sensors", ",", "--", "true"], "--sensors names none"),
    "out": (["run", "--out", "/nonexistent/x.json", "--", "true"], "no file can be written there"),
    "site": (["idle", "--site", "/nonexistent.toml"], "there is no site file /nonexistent.toml"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_before_anything_is_started(hpcdl, name, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("something was started"))
    words, expected = MISTAKES[name]
    code, out, err = hpcdl("power", *words)
    assert (code, out) == (2, "")
    assert expected in " ".join(err.split())


# ---- What several meters say together ----


def write_trace(*sources, looks):
    """A trace of ten seconds, ten looks a second; `looks` gives each source's look at a time."""
    opening = Opening(host="node1", boot_id="b", at_s=0.0, period_s=0.1, sources=sources)
    samples = [
        Sample(at_s=place / 10, took_s=0.0, looks={name: look(place / 10) for name, look in looks.items()})
        for place in range(-5, 106)
    ]
    lines = [opening, *samples, Closing(at_s=11.0, reason="told")]
    trace = parse_trace("\n".join(line.model_dump_json() for line in lines).encode(), pytest.fail)
    assert trace is not None
    return trace


def test_totals_are_of_each_thing_once_and_estimates_are_named():
    trace = write_trace(
        Source(name="GPU-1", sensor="nvml", covers="gpu", counter=True, power="instant", update_s=0.1),
        Source(name="CPU (estimated)", sensor="estimate", covers="package", power="unspecified", basis="TDP"),
        looks={
            "GPU-1": lambda at_s: Look(energy_j=1000 + 300 * at_s, power_w=300.0, reasons=("power cap",)),
            "CPU (estimated)": lambda _: Look(power_w=100.0, power_low_w=50.0, power_high_w=200.0),
        },
    )
    metering = meter(trace, 0.0, 10.0, lengthen="longer")
    device, node = metering.totals
    assert (device.boundary, device.energy.value, device.estimated) == ("device", pytest.approx(3000), 0)
    assert (node.boundary, node.energy.value) == ("node", pytest.approx(4000))
    assert (node.measured, node.estimated) == (1, 1)
    assert (node.energy.low, node.energy.high) == (pytest.approx(3470), pytest.approx(5030))
    assert node.peak_w == pytest.approx(400)
    assert metering.findings == ("GPU-1 ran into its power limit at 100 % of the looks",)


def test_a_node_that_draws_less_than_its_parts_is_withheld():
    trace = write_trace(
        Source(name="GPU-1", sensor="nvml", covers="gpu", counter=True, update_s=0.1),
        Source(name="node", sensor="cray", covers="node", counter=True, update_s=0.1),
        looks={
            "GPU-1": lambda at_s: Look(energy_j=1000 + 300 * at_s),
            "node": lambda at_s: Look(energy_j=1000 + 200 * at_s),
        },
    )
    device, node = meter(trace, 0.0, 10.0, lengthen="longer").totals
    assert device.average_w == pytest.approx(300)
    assert "cannot be reconciled" in node.energy.missing


def test_a_total_lacks_what_one_of_its_meters_lacks():
    trace = write_trace(
        Source(name="package 0", sensor="rapl", covers="package", counter=True, update_s=0.1),
        Source(name="package 1", sensor="rapl", covers="package", counter=True, update_s=0.1),
        looks={
            "package 0": lambda at_s: Look(energy_j=1000 + 50 * at_s),
            "package 1": lambda at_s: Look(
                energy_j=1000 + 50 * at_s if at_s < 5 else Missing(missing="the counter is gone")
            ),
        },
    )
    [device] = meter(trace, 0.0, 10.0, lengthen="longer").totals
    assert device.energy == Missing(missing="package 1: the counter is gone")
    assert isinstance(device.average_w, Missing)
