"""What a rank records of the CPU under it: sockets and cores, vector instructions, oneDNN and BLAS."""

from __future__ import annotations

import os

import pytest
import torch

from hpcdl.processors import Topology, list_online, read_topology
from hpcdl.worker import arithmetic
from hpcdl.worker.environment import read_host, read_versions
from hpcdl.worker.place import Place


@pytest.fixture
def sysfs(tmp_path):
    """Two sockets of two cores of two threads, numbered as Linux does: first threads first."""
    for cpu in range(8):
        topology = tmp_path / f"cpu{cpu}" / "topology"
        topology.mkdir(parents=True)
        (topology / "physical_package_id").write_text(f"{cpu % 4 // 2}\n")
        (topology / "thread_siblings_list").write_text(f"{cpu % 4},{cpu % 4 + 4}\n")
    (tmp_path / "online").write_text("0-7\n")
    return tmp_path


def test_sockets_and_cores_of_some_hardware_threads(sysfs):
    assert read_topology({0, 4, 1}, sysfs) == Topology(sockets=(0,), cores=(0, 1))
    assert read_topology(list_online(sysfs), sysfs) == Topology(sockets=(0, 1), cores=(0, 1, 2, 3))


def test_what_the_kernel_does_not_tell_is_not_recorded(sysfs):
    assert read_topology({0, 9}, sysfs) is None
    assert read_topology((), sysfs) is None
    (sysfs / "online").unlink()
    assert list_online(sysfs) == ()


@pytest.mark.parametrize(
    ("text", "cpus"), [("0", (0,)), ("0-2,5,7-8", (0, 1, 2, 5, 7, 8)), ("", ()), ("none", ())]
)
def test_ranges_of_hardware_threads(text, cpus, tmp_path):
    (tmp_path / "online").write_text(f"{text}\n")
    assert list_online(tmp_path) == cpus


@pytest.mark.parametrize(
    ("flags", "vector"),
    [
        ("fpu avx avx2 fma avx512f avx512dq avx512bw avx512vl", "AVX512"),
        # The first processors with AVX-512 (Knights Landing) lack what torch asks for.
        ("fpu avx avx2 fma avx512f avx512cd", "AVX2"),
        ("fpu avx avx2", None),
        ("fpu sse2", None),
    ],
)
def test_the_widest_vectors_of_a_processor(flags, vector, tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor : 0\nmodel name : x\nflags\t\t: {flags}\n")
    assert arithmetic.read_vector_of_cpu(path) == vector


def test_a_processor_that_tells_nothing(tmp_path):
    assert arithmetic.read_vector_of_cpu(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("configuration", "blas"),
    [
        (
            "  - Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 20240605\n  - BLAS_INFO=mkl, X=1",
            "MKL 2024.2",
        ),
        ("Build settings: BLAS_INFO=mkl, X=1", "MKL"),
        ("Build settings: BLAS_INFO=open, X=1", "OpenBLAS"),
        ("Build settings: BLAS_INFO=nvpl, X=1", "nvpl"),
        ("Build settings: X=1", "none"),
    ],
)
def test_blas_as_torch_tells_it(configuration, blas):
    assert arithmetic.read_blas(configuration) == blas


def test_onednn_that_is_switched_off_is_not_in_use(monkeypatch):
    assert arithmetic.read_onednn() != "none"
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    assert arithmetic.read_onednn() == "none"


def test_this_rank_records_what_it_computes_with():
    host = read_host(Place(0, 1, 0, 0, "here"), torch.device("cpu"))
    assert host.vector == torch.backends.cpu.get_cpu_capability()
    if host.cores is not None:
        assert set(host.cores) <= set(range(os.cpu_count() or 1))
        assert len(host.cores) <= host.cores_of_host
        assert len(host.sockets) <= host.sockets_of_host
    versions = read_versions()
    assert versions.blas
    assert versions.onednn
