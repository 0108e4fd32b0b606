"""Where a rank is: the launchers' variables, cores and devices, and the beacon."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from hpcdl.errors import Refused
from hpcdl.local import commands
from hpcdl.plan import local_sizes, make_launches
from hpcdl.records import Missing
from hpcdl.site import Site
from hpcdl.spec import Benchmark
from hpcdl.worker import binding
from hpcdl.worker.beacon import PHASES, Beacon
from hpcdl.worker.place import VARIABLES, Place, read_place
from tests.unit.sensor_trees import write


def make_launch(launcher="direct", ranks=2, cores=4, **train):
    benchmark = Benchmark.model_validate({"train": train, "launches": {"nodes": [ranks]}})
    site = Site.model_validate({"node": {"gpus": ranks if train.get("device") == "gpu" else 0}})
    sizes = local_sizes(benchmark, site, cores=cores)
    return make_launches(benchmark, site, sizes, launcher=launcher)[0]


def place_of(local_rank):
    return Place(rank=local_rank, world_size=2, local_rank=local_rank, node=0, host="here")


def assign(launcher, *values):
    return {name: str(value) for name, value in zip(VARIABLES[launcher], values, strict=True) if name}


@pytest.mark.parametrize(("launcher", "node"), [("srun", 1), ("mpirun", 0), ("direct", 0)])
def test_each_launcher_has_its_words(launcher, node):
    environ = assign(launcher, 5, 8, 1, 1) | {"SLURM_RESTART_COUNT": "2"}
    place = read_place(make_launch(launcher), environ)
    assert place == Place(5, 8, 1, node, socket.gethostname(), restart=2)


@pytest.mark.parametrize("launcher", VARIABLES)
def test_another_launchers_words_do_not_count(launcher):
    environ = {}
    for other in VARIABLES:
        if other != launcher:
            environ |= assign(other, 0, 1, 0, 0)
    with pytest.raises(Refused, match=f"not started by {launcher}"):
        read_place(make_launch(launcher), environ)


@pytest.mark.parametrize("launcher", VARIABLES)
@pytest.mark.parametrize("index", range(3))
def test_each_missing_variable_is_named(launcher, index):
    environ = assign(launcher, 0, 1, 0, 0)
    name = VARIABLES[launcher][index]
    del environ[name]
    with pytest.raises(Refused, match=f"{name} is not set"):
        read_place(make_launch(launcher), environ)


@pytest.mark.parametrize("value", ["", "x", "1.5"])
def test_a_variable_that_is_no_number_is_refused(value):
    environ = assign("srun", 0, 1, 0, 0) | {"SLURM_LOCALID": value}
    with pytest.raises(Refused, match="SLURM_LOCALID"):
        read_place(make_launch("srun"), environ)


# ---- Commands on this machine ----


def test_one_supervisor_for_each_rank(tmp_path):
    launch = make_launch("direct", ranks=3)
    started = commands(launch, "/py", tmp_path, {"PATH": "/bin", "SLURM_JOB_ID": "7", "HPCDL_RANK": "9"})
    assert [argv for argv, _ in started] == [["/py", "-m", "hpcdl.worker.supervisor", str(tmp_path)]] * 3
    places = [read_place(launch, environ) for _, environ in started]
    assert [(place.rank, place.local_rank, place.world_size) for place in places] == [
        (0, 0, 3),
        (1, 1, 3),
        (2, 2, 3),
    ]
    assert all("SLURM_JOB_ID" not in environ and environ["PATH"] == "/bin" for _, environ in started)


def test_mpirun_starts_all_supervisors(tmp_path):
    [(argv, environ)] = commands(make_launch("mpirun", ranks=3), "/py", tmp_path, {"SLURM_NTASKS": "1"})
    assert argv[0] == "mpirun"
    assert argv[argv.index("-np") + 1] == "3"
    assert argv[-4:] == ["/py", "-m", "hpcdl.worker.supervisor", str(tmp_path)]
    assert environ == {}


# ---- Cores and devices ----


def test_all_threads_of_the_process_move():
    """The driver has started some before the rank has chosen: they go along."""
    before, stay = os.sched_getaffinity(0), threading.Event()
    started = threading.Thread(target=stay.wait)
    started.start()
    try:
        binding._move((min(before),))
        threads = [int(path.name) for path in Path("/proc/self/task").iterdir()]
        assert len(threads) > 1
        assert {tuple(os.sched_getaffinity(thread)) for thread in threads} == {(min(before),)}
    finally:
        binding._move(tuple(before))
        stay.set()
        started.join()


def test_a_gpu_is_found_on_the_bus_by_torch_or_by_the_driver(monkeypatch):
    told = SimpleNamespace(pci_domain_id=0, pci_bus_id=0x3B, pci_device_id=0)
    assert binding.find_bus_id(told) == "0000:3b:00.0"
    monkeypatch.setattr(binding, "read_bus_id", lambda uuid: f"that of {uuid}")
    assert binding.find_bus_id(SimpleNamespace(uuid="8f1c")) == "that of 8f1c"


def test_a_rank_on_a_gpu_goes_near_it(monkeypatch, tmp_path):
    """Two GPUs, the first on the second socket, and CUDA's order is not that of the bus."""
    for bus, node, cpus in ((0x9B, 1, "8-15"), (0x1B, 0, "0-7")):
        home = tmp_path / "devices" / f"pci0000:{bus - 1:02x}" / f"0000:{bus:02x}:00.0"
        write(home, {"numa_node": node, "local_cpulist": cpus})
        (tmp_path / home.name).symlink_to(home)
    gpus = [SimpleNamespace(pci_domain_id=0, pci_bus_id=bus, pci_device_id=0) for bus in (0x9B, 0x1B)]
    seen = SimpleNamespace(device_count=lambda: 2, get_device_properties=gpus.__getitem__)
    monkeypatch.setattr(torch, "cuda", seen)
    assert binding.find_near(2, tmp_path) == [tuple(range(8, 16)), tuple(range(8))]
    unknown = binding.find_near(3, tmp_path)
    assert isinstance(unknown, Missing)
    write(tmp_path / "devices" / "pci0000:9a" / "0000:9b:00.0", {"numa_node": -1})
    nowhere = binding.find_near(2, tmp_path)
    assert isinstance(nowhere, Missing)
    assert nowhere.missing == "no NUMA information (the kernel does not tell the NUMA node)"


def gpu_launch(launcher="srun", bind_tasks=2):
    changes = {
        "gpus_per_node": bind_tasks,
        "tasks_per_node": bind_tasks,
        "cpus_per_task": 4,
        "launcher": launcher,
    }
    return make_launch(ranks=bind_tasks).model_copy(update=changes)


@pytest.mark.parametrize(
    ("visible", "cpus", "near"),
    [
        (range(16), (8, 9, 10, 11), "all"),  # srun bound nobody
        (range(4), (), "none"),  # it bound this one, and far away
        (range(8, 12), (), "all"),
    ],
)
def test_a_rank_chooses_where_slurm_has_not(monkeypatch, visible, cpus, near):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(visible))
    monkeypatch.setattr(binding, "arrange_by_core", sorted)
    monkeypatch.setattr(binding, "count_threads_per_core", lambda _: 1)
    monkeypatch.setattr(binding, "find_near", lambda ranks: [range(8, 16), range(8)][:ranks])
    choice = binding._choose(gpu_launch(), place_of(0))
    assert (choice.cpus, choice.binding.near) == (cpus, near)


def test_the_cpu_where_no_gpu_is_planned():
    assert binding.choose_device(make_launch(), place_of(0)) == torch.device("cpu")
    assert binding.choose_device(make_launch(device="cpu"), place_of(1)) == torch.device("cpu")


@pytest.mark.parametrize("count", [0, 1])
def test_a_gpu_that_was_planned_and_is_not_there_is_refused(monkeypatch, count):
    seen = SimpleNamespace(is_available=lambda: count > 0, device_count=lambda: count)
    monkeypatch.setattr(torch, "cuda", seen)
    with pytest.raises(Refused, match=f"local rank 1 was to have a GPU, .* sees {count} here"):
        binding.choose_device(make_launch(device="gpu"), place_of(1))


# ---- The beacon ----


def test_the_beacon_is_read_through_its_descriptor():
    beacon = Beacon.create()
    assert beacon.read() == (0, "start")
    other = Beacon(beacon.descriptor)
    for number, phase in enumerate(PHASES):
        other.show(number, phase)
        assert beacon.read()[1] == phase
    other.show(2**40, "compute")
    assert beacon.read()[0] == 2**40
