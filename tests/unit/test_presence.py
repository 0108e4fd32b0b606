"""What `hpcdl doctor` looks for: each found, absent, and out of order, told apart."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from hpcdl.power.presence import look_for_nvml, look_for_rapl
from hpcdl.records import Condition
from hpcdl.worker import inspection


class NvmlError(Exception):
    pass


class NoLibraryError(NvmlError):
    pass


def make_pynvml(*, init=None, count=2, lost=None, names=("GPU A", b"GPU B")):
    """A stand-in for the driver's library; `init` and `lost` are errors to raise."""

    def start():
        if init:
            raise init

    def name_of(index):
        if lost:
            raise lost
        return names[index]

    closed = []
    return SimpleNamespace(
        NVMLError=NvmlError,
        NVMLError_LibraryNotFound=NoLibraryError,
        nvmlInit=start,
        nvmlDeviceGetCount=lambda: count,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=name_of,
        nvmlSystemGetDriverVersion=lambda: b"580.1",
        nvmlShutdown=lambda: closed.append(True),
        closed=closed,
    )


def look_at(monkeypatch, library):
    monkeypatch.setitem(sys.modules, "pynvml", library)
    return look_for_nvml()


def test_nvml_that_is_not_installed(monkeypatch):
    found = look_at(monkeypatch, None)
    assert (found.ok, found.value) == (False, "nvidia-ml-py is not installed")


def test_nvml_without_a_driver(monkeypatch):
    found = look_at(monkeypatch, make_pynvml(init=NoLibraryError()))
    assert (found.ok, found.value) == (False, "no driver")


def test_nvml_that_may_not_be_asked_says_why(monkeypatch):
    found = look_at(monkeypatch, make_pynvml(init=NvmlError("Insufficient Permissions")))
    assert (found.ok, found.value) == (False, "Insufficient Permissions")


def test_nvml_with_gpus(monkeypatch):
    library = make_pynvml()
    found = look_at(monkeypatch, library)
    assert (found.ok, found.value) == (True, "driver 580.1, 2 GPUs: GPU A, GPU B")
    assert library.closed == [True]


def test_nvml_that_lost_a_gpu(monkeypatch):
    library = make_pynvml(lost=NvmlError("GPU is lost"))
    found = look_at(monkeypatch, library)
    assert (found.ok, found.value) == (False, "does not answer: GPU is lost")
    assert library.closed == [True]


def test_nvml_with_a_driver_and_no_gpu(monkeypatch):
    found = look_at(monkeypatch, make_pynvml(count=0))
    assert not found.ok
    assert "no GPU" in found.value


def add_counter(root, name, label):
    folder = root / name
    folder.mkdir()
    (folder / "name").write_text(f"{label}\n")
    (folder / "energy_uj").write_text("1\n")
    return folder


def test_rapl_counts_packages_and_not_their_parts(tmp_path):
    add_counter(tmp_path, "intel-rapl:0", "package-0")
    add_counter(tmp_path, "intel-rapl:0:0", "dram")
    add_counter(tmp_path, "intel-rapl:1", "package-1")
    found = look_for_rapl(tmp_path)
    assert (found.ok, found.value) == (True, "powercap, 2 packages")


def test_rapl_leaves_the_whole_platform_out(tmp_path):
    add_counter(tmp_path, "intel-rapl:0", "package-0")
    add_counter(tmp_path, "intel-rapl:1", "psys")
    assert look_for_rapl(tmp_path).value == "powercap, 1 packages"


def test_rapl_that_is_absent(tmp_path):
    assert look_for_rapl(tmp_path).value == "no powercap counters"
    assert look_for_rapl(tmp_path / "absent").ok is False


def test_rapl_that_may_not_be_read(tmp_path):
    add_counter(tmp_path, "intel-rapl:0", "package-0")
    (tmp_path / "intel-rapl:0" / "energy_uj").unlink()  # root may read everything else
    found = look_for_rapl(tmp_path)
    assert (found.ok, found.value) == (False, "powercap counters present, not readable")
    assert "administrator" in found.do


# ---- Libraries, found by loading them in a process of its own ----


@pytest.fixture
def inspect(tmp_path):
    """The conditions by name, with stand-ins for modules on PYTHONPATH."""

    def run(look, **modules):
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text)
        code = f"from hpcdl.worker import inspection as i; print(i.{look}().model_dump_json())"
        path = ":".join([str(tmp_path), *(entry for entry in sys.path if entry)])
        argv = [sys.executable, "-c", code]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env={"PYTHONPATH": path})
        assert done.returncode == 0, done.stderr
        return Condition.model_validate_json(done.stdout.splitlines()[-1])

    return run


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (
            "raise ImportError('libtorch.so: undefined symbol')",
            "does not load: libtorch.so: undefined symbol",
        ),
        ("raise OSError('libgomp.so.1: cannot open')", "does not load: libgomp.so.1: cannot open"),
        ("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')", "not installed"),
        ("raise ModuleNotFoundError(\"No module named 'sympy'\", name='sympy')", "does not load: No module"),
    ],
)
def test_torch_that_does_not_load_says_so(inspect, text, value):
    found = inspect("look_for_torch", torch=text)
    assert not found.ok
    assert found.value.startswith(value)
    assert found.do


def test_horovod_without_torch_says_what_is_missing(inspect):
    found = inspect("look_for_horovod", torch="raise ImportError('no libc10')")
    assert not found.ok
    assert found.value


@pytest.mark.parametrize(
    "text", ["raise OSError('libmpi.so.40: cannot open shared object file')", "import os; os._exit(9)"]
)
def test_mpi_that_does_not_start_is_a_condition(inspect, text):
    found = inspect("look_for_mpi", mpi4py=text)
    assert (found.ok, found.name) == (False, "MPI")
    assert "libmpi" in found.value or "does not start" in found.value


def test_one_look_that_breaks_does_not_keep_the_others_away(monkeypatch, capsys):
    def look_and_break():
        raise RuntimeError("a driver of another century")

    whole = Condition(name="whole", value="x", ok=True)
    monkeypatch.setattr(inspection, "LOOKS", {"torn": look_and_break, "whole": lambda: whole})
    inspection.main()
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (first["name"], first["ok"]) == ("torn", False)
    assert "a driver of another century" in first["value"]
    assert second["name"] == "whole"
