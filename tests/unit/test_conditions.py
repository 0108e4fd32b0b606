"""What surrounds a rank: quotas of both kinds of cgroups, others' load, clocks, heat, and a GPU's own words."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from hpcdl.power.clocks import Clocks, read_clocks
from hpcdl.records import Missing
from hpcdl.worker import conditions, processor
from hpcdl.worker.cgroups import NO_LIMIT, read_memory_limit, read_quota
from hpcdl.worker.load import find_foreign, scan
from hpcdl.worker.matrix import CPU_SIDE, MatrixProbe
from hpcdl.worker.place import Place

BUSY = "import time\nend = time.monotonic() + 30\nwhile time.monotonic() < end: pass"


# ---- Quotas ----


def make_proc(root, cgroup, mounts):
    proc = root / "self"
    proc.mkdir(parents=True)
    (proc / "cgroup").write_text(cgroup)
    lines = [f"31 23 0:28 / {path} rw,relatime - {kind} {kind} {options}\n" for path, kind, options in mounts]
    (proc / "mountinfo").write_text("".join(lines))
    return proc


def make_v1(root, folders, *, path="/job"):
    """Cgroups of version 1; folders: path -> (quota, throttled ns)."""
    for folder, (quota, throttled) in folders.items():
        place = root / "cpu" / folder.lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
        (place / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        (place / "cpu.cfs_period_us").write_text("100000\n")
        (place / "cpu.stat").write_text(f"nr_periods 9\nnr_throttled 3\nthrottled_time {throttled}\n")
    mounts = [(root / "cpu", "cgroup", "rw,cpu,cpuacct"), (root / "memory", "cgroup", "rw,memory")]
    return make_proc(root, f"4:memory:/else\n3:cpuacct,cpu:{path}\n0::/\n", mounts)


def make_v2(root, folders, *, path="/job"):
    """Cgroups of version 2; folders: path -> (cpu.max, throttled us)."""
    for folder, (limit, throttled) in folders.items():
        place = root / "unified" / folder.lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
        (place / "cpu.max").write_text(f"{limit}\n")
        (place / "cpu.stat").write_text(f"usage_usec 9\nthrottled_usec {throttled}\n")
    return make_proc(root, f"0::{path}\n", [(root / "unified", "cgroup2", "rw")])


def test_a_quota_of_version_1(tmp_path):
    quota = read_quota(make_v1(tmp_path, {"/": (-1, 0), "/job": (20_000, 1_500_000_000)}))
    assert (quota.cores, quota.throttled_s) == (0.2, 1.5)


def test_a_quota_of_version_2(tmp_path):
    quota = read_quota(make_v2(tmp_path, {"/job": ("150000 100000", 2_500_000)}))
    assert (quota.cores, quota.throttled_s) == (1.5, 2.5)


@pytest.mark.parametrize("make", [make_v1, make_v2])
def test_the_tightest_quota_above_counts(tmp_path, make):
    limit = (lambda us: us) if make is make_v1 else (lambda us: f"{us} 100000")
    folders = {"/": (limit(800_000), 0), "/a": (limit(50_000), 7_000_000), "/a/b": (limit(200_000), 0)}
    assert read_quota(make(tmp_path, folders, path="/a/b")).cores == 0.5


def test_no_quota_is_none_and_throttling_is_still_counted(tmp_path):
    quota = read_quota(make_v2(tmp_path, {"/job": ("max 100000", 0)}))
    assert quota.cores == Missing(missing="no CPU quota is set")
    assert quota.throttled_s == 0.0


@pytest.mark.parametrize("path", ["/", "/..", "/../../somewhere", "/gone/meanwhile"])
def test_a_path_that_leads_outside_of_a_container(tmp_path, path):
    quota = read_quota(make_v2(tmp_path, {"/": ("30000 100000", 0)}, path=path))
    assert quota.cores == 0.3


def test_the_tightest_memory_limit_above_counts(tmp_path):
    proc = make_v2(
        tmp_path,
        {"/": ("max 100000", 0), "/job": ("max 100000", 0), "/job/step": ("max 100000", 0)},
        path="/job/step",
    )
    for folder, limit in (("job", "64000000000"), ("job/step", "max")):
        (tmp_path / "unified" / folder / "memory.max").write_text(f"{limit}\n")
    assert read_memory_limit(proc) == 64e9
    (tmp_path / "unified" / "job" / "memory.max").write_text("max\n")
    assert read_memory_limit(proc) == NO_LIMIT


def test_a_memory_limit_of_version_1_whose_none_is_a_number(tmp_path):
    proc = make_v1(tmp_path, {"/job": (-1, 0)})
    (tmp_path / "memory" / "else").mkdir(parents=True)
    for limit, read in (("9223372036854771712", NO_LIMIT), ("8589934592", 2.0**33)):
        (tmp_path / "memory" / "else" / "memory.limit_in_bytes").write_text(f"{limit}\n")
        assert read_memory_limit(proc) == read
    assert isinstance(read_memory_limit(tmp_path / "nowhere"), Missing)


def test_without_cgroups_nothing_is_known(tmp_path):
    assert isinstance(read_quota(tmp_path / "nowhere").cores, Missing)
    assert isinstance(read_quota(make_proc(tmp_path, "rubbish\n", [])).throttled_s, Missing)


# ---- Others' load ----


def measure_foreign(seconds=1.0):
    before, begin_s = scan(), time.monotonic()
    time.sleep(seconds)
    return find_foreign(before, scan(), time.monotonic() - begin_s)


def test_a_busy_stranger_is_found_by_name_and_a_child_of_ours_is_not(tmp_path):
    """Strangers have another parent: one that a shell has left behind belongs to nobody's run."""
    own = subprocess.Popen([sys.executable, "-c", BUSY])
    pid_file = tmp_path / "pid"
    busy = tmp_path / "stranger.py"
    busy.write_text(BUSY)
    detach = f'setsid "{sys.executable}" {busy} >/dev/null 2>&1 & echo $! > {pid_file}'
    subprocess.run(["sh", "-c", detach], check=True, env={"PATH": os.environ["PATH"]})
    pid = int(pid_file.read_text())
    try:
        found = measure_foreign()
    finally:
        own.kill()
        own.wait()
        os.kill(pid, 9)
    assert found.cores > 0.2
    assert any(f"(pid {pid})" in name for name in found.names)
    assert not any(f"(pid {own.pid})" in name for name in found.names)


def make_stat(proc, pid, name, parent, ticks, *, flags=0):
    (proc / str(pid)).mkdir(exist_ok=True)
    fields = ["S", parent, 0, 0, 0, 0, flags, 0, 0, 0, 0, ticks, 0, 0, 0, 0, 0, 0, 0, 77]
    (proc / str(pid) / "stat").write_text(f"{pid} ({name}) {' '.join(map(str, fields))}\n")


def make_busy(proc, ticks):
    """What all processes have used together; idle, and what interrupts took, do not count."""
    (proc / "stat").write_text(f"cpu  {ticks} 0 0 9999 99 9 9 0 0 0\ncpu0 1 1 1 1\n")


def test_whose_a_process_is(tmp_path):
    """Ours: the rank, all under the topmost hpcdl above it, and what carries the same job."""
    # A neighbour in the shell from which hpcdl was started is not ours.
    rows = {
        1: ("init", 0),
        10: ("bash", 1),
        11: ("make", 10),
        20: ("python3", 10),
        21: ("python3", 20),
        22: ("python3", 20),
    }
    others = {30: ("a) b", 1), 31: ("sampler", 1), 32: ("kworker", 2)}
    for pid, (name, parent) in (rows | others).items():
        make_stat(tmp_path, pid, name, parent, 0, flags=0x00200000 if pid == 32 else 0)
    (tmp_path / "20" / "cmdline").write_text("python3\0-m\0hpcdl\0run\0")
    (tmp_path / "10" / "cmdline").write_text("bash\0-c\0cd hpcdl; make demo\0")
    for pid, job in ((21, "7"), (31, "7"), (30, "8")):
        (tmp_path / str(pid) / "environ").write_text(f"A=b\0SLURM_JOB_ID={job}\0")
    (tmp_path / "99").mkdir()  # it has left meanwhile
    make_busy(tmp_path, 50)
    before = scan(tmp_path)
    assert 32 not in {process.pid for process in before.processes.values()}
    for pid in (10, 11, 20, 21, 22, 30, 31, 32):
        flags = 0x00200000 if pid == 32 else 0
        make_stat(tmp_path, pid, (rows | others)[pid][0], (rows | others)[pid][1], 100, flags=flags)
    make_busy(tmp_path, 50 + 8 * 100)
    found = find_foreign(before, scan(tmp_path), 2.0, proc=tmp_path, own_pid=21)
    tick = os.sysconf("SC_CLK_TCK")
    assert found.cores == pytest.approx(2 * 100 / tick / 2)
    assert found.names == tuple(
        f"{who}: {100 / tick / 2:.2g} cores" for who in ("make (pid 11)", "a) b (pid 30)")
    )


def test_what_has_ended_or_is_hidden_is_somebodys_all_the_same(tmp_path):
    """A compiler's thousand short processes, or another user's on a machine that hides them."""
    make_stat(tmp_path, 21, "python3", 1, 0)
    make_busy(tmp_path, 0)
    before = scan(tmp_path)
    make_stat(tmp_path, 21, "python3", 1, 100)
    make_busy(tmp_path, 500)
    found = find_foreign(before, scan(tmp_path), 2.0, proc=tmp_path, own_pid=21)
    cores = 400 / os.sysconf("SC_CLK_TCK") / 2
    assert found.cores == pytest.approx(cores)
    assert found.names == (f"processes that have ended or are hidden: {cores:.2g} cores",)


def test_without_the_kernels_count_nothing_is_known(tmp_path):
    make_stat(tmp_path, 21, "python3", 1, 5)
    alone = scan(tmp_path)
    assert isinstance(find_foreign(alone, alone, 1.0, proc=tmp_path, own_pid=21).cores, Missing)


# ---- Clocks, heat, arithmetic ----


def test_heat_is_that_of_the_worst_of_our_cores(tmp_path):
    assert isinstance(processor.read_heat({0}, tmp_path).events, Missing)
    for cpu, (count, time_ms) in enumerate([("3\n", "40\n"), ("5\n", "2500\n"), ("99\n", "99000\n")]):
        folder = tmp_path / f"devices/system/cpu/cpu{cpu}/thermal_throttle"
        folder.mkdir(parents=True)
        (folder / "core_throttle_count").write_text(count)
        (folder / "core_throttle_total_time_ms").write_text(time_ms)
    assert processor.read_heat({0, 1}, tmp_path) == processor.Heat(5, 2.5)
    (folder / "core_throttle_total_time_ms").unlink()
    old_kernel = processor.read_heat({2}, tmp_path)
    assert old_kernel.events == 99
    assert isinstance(old_kernel.throttled_s, Missing)


def test_the_clock_is_the_mean_over_our_cpus(tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("".join(f"processor\t: {cpu}\ncpu MHz\t\t: {1000 + cpu}.5\n\n" for cpu in range(4)))
    assert processor.read_clock({1, 3}, sysfs=tmp_path, cpuinfo=info) == 1002.5
    folder = tmp_path / "devices/system/cpu/cpu1/cpufreq"
    folder.mkdir(parents=True)
    (folder / "scaling_cur_freq").write_text("2600000\n")
    assert processor.read_clock({1}, sysfs=tmp_path, cpuinfo=info) == 2600
    assert isinstance(processor.read_clock({1}, sysfs=tmp_path / "no", cpuinfo=tmp_path / "no"), Missing)


def test_the_hottest_zone_of_a_processor_counts(tmp_path):
    for number, (kind, milli) in enumerate(
        [("x86_pkg_temp", "55000"), ("battery", "90000"), ("cpu0", "61000")]
    ):
        zone = tmp_path / f"class/thermal/thermal_zone{number}"
        zone.mkdir(parents=True)
        (zone / "type").write_text(kind)
        (zone / "temp").write_text(milli)
    assert processor.read_temperature(tmp_path) == 61.0
    assert isinstance(processor.read_temperature(tmp_path / "no"), Missing)


def test_a_matrix_product_counts_its_operations():
    """A clock that ticks a second each time it is read: one product takes one second."""
    ticks = iter(range(1000))
    probe = MatrixProbe(torch.device("cpu"), "fp32")
    assert probe.measure(seconds=0.0, clock=lambda: next(ticks)) == 2 * CPU_SIDE**3


def test_a_watch_sees_its_own_rank():
    watch = conditions.watch(Place(3, 4, 0, 0, "node1"), torch.device("cpu"), "fp32")
    with pytest.raises(RuntimeError, match="opened and closed"):
        watch.read(())
    watch.prepare()
    watch.begin()
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    watch.end()
    seen = watch.read(())
    assert seen.rank == 3
    assert 0.2 <= seen.process_cpu_s < seen.elapsed_s + 1
    assert len(seen.matrix_flops_per_s) == 2
    assert min(seen.matrix_flops_per_s) > 1e8
    assert seen.cores_of_host == os.cpu_count()
    assert seen.throttle_reasons == Missing(missing="no GPU is used")


def test_only_the_first_rank_of_a_host_looks_at_all_others():
    watch = conditions.watch(Place(1, 2, 1, 0, "node1"), torch.device("cpu"), "bf16")
    watch.begin()
    watch.end()
    assert watch.read(()).foreign_cores == Missing(missing="the first rank of the host looks for all")


def test_an_instrument_that_fails_costs_its_own_number_only(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("CUDA out of memory")

    watch = conditions.watch(Place(0, 1, 0, 0, "node1"), torch.device("cpu"), "fp32")
    watch.prepare()
    watch.begin()
    monkeypatch.setattr(MatrixProbe, "measure", fail)
    monkeypatch.setattr(os, "getloadavg", lambda: (_ for _ in ()).throw(OSError))
    watch.end()
    seen = watch.read(())
    assert seen.matrix_flops_per_s == ()
    assert isinstance(seen.load, Missing)


def test_throttling_is_that_of_one_thread():
    """The kernel adds up what each thread was held back."""
    assert conditions._share_among_threads(6.4, 16) == pytest.approx(0.4)
    absent = Missing(missing="no CPU quota is set")
    assert conditions._share_among_threads(absent, 16) == absent


def test_an_unknown_clock_is_missing(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\ncpu MHz\t\t: unknown\n")
    assert isinstance(processor.read_clock({0}, sysfs=tmp_path, cpuinfo=tmp_path / "cpuinfo"), Missing)


# ---- NVML ----


class NvmlError(Exception):
    pass


def make_pynvml(*, reasons=0, clock=1980, heat_ns=0, lost=None, start=None):
    """A stand-in for the driver's library; errors are raised where they are given."""

    def answer(value):
        if isinstance(value, Exception):
            raise value
        return value

    handles = {}

    def find(uuid):
        if lost:
            raise lost
        handles["uuid"] = uuid
        return uuid

    return SimpleNamespace(
        NVMLError=NvmlError,
        NVML_CLOCK_SM=1,
        NVML_TEMPERATURE_GPU=0,
        NVML_PERF_POLICY_THERMAL=1,
        nvmlInit=lambda: answer(start),
        nvmlShutdown=lambda: None,
        nvmlDeviceGetHandleByUUID=find,
        nvmlDeviceGetClockInfo=lambda handle, kind: answer(clock),
        nvmlDeviceGetTemperature=lambda handle, kind: 55,
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda handle: answer(reasons),
        nvmlDeviceGetViolationStatus=lambda handle, policy: SimpleNamespace(violationTime=answer(heat_ns)),
        handles=handles,
    )


def look_at(monkeypatch, library, uuid="8f1c"):
    monkeypatch.setitem(sys.modules, "pynvml", library)
    return read_clocks(uuid)


def test_a_gpu_at_ease_is_not_throttled(monkeypatch):
    library = make_pynvml(reasons=0x1 | 0x2)  # idle, and clocks that somebody set
    assert look_at(monkeypatch, library) == Clocks(1980.0, 55.0, (), 0.0)
    assert library.handles["uuid"] == "GPU-8f1c"


def test_reasons_that_slow_a_gpu_down_are_named(monkeypatch):
    found = look_at(monkeypatch, make_pynvml(reasons=0x40 | 0x80, heat_ns=2_500_000_000))
    assert found.throttle_reasons == ("hardware thermal slowdown", "power brake")
    assert found.throttled_s == 2.5


def test_an_nvml_error_is_a_missing_reading_in_its_words(monkeypatch):
    found = look_at(monkeypatch, make_pynvml(clock=NvmlError("Not Supported")))
    assert found.sm_clock_mhz == Missing(missing="NVML: Not Supported")
    assert found.temperature_c == 55.0
    lost = look_at(monkeypatch, make_pynvml(lost=NvmlError("GPU is lost")))
    assert lost == Missing(missing="NVML: GPU is lost")
    assert look_at(monkeypatch, make_pynvml(start=NvmlError("Driver Not Loaded"))).missing.endswith(
        "Not Loaded"
    )
    assert look_at(monkeypatch, None) == Missing(missing="nvidia-ml-py is not installed")
