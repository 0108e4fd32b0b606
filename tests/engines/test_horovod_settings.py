"""Horovod's settings: hpcdl's own where nobody set others."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from hpcdl import networks
from hpcdl.worker.engine import horovod
from tests.engines.launching import make_job

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Stands in for os.environ, so that no test sees what another one set."""
    copy: dict[str, str] = {}
    monkeypatch.setattr(os, "environ", copy)
    return copy


def set_for(store: Path, transport: str, controller: str) -> None:
    (launch,) = make_job(store, ranks=(2,), model="alexnet", fusion_mb=32).launches
    horovod._set_environment(launch, transport, controller)


def test_a_site_knows_better(tmp_path: Path, environment: dict[str, str]) -> None:
    environment["HOROVOD_CYCLE_TIME"] = "7"
    set_for(tmp_path, "gloo", "gloo")
    assert environment["HOROVOD_CYCLE_TIME"] == "7"
    assert environment["HOROVOD_FUSION_THRESHOLD"] == str(32 * 2**20)
    assert environment["HOROVOD_CONTROLLER"] == environment["HOROVOD_CPU_OPERATIONS"] == "gloo"


def test_gpus_keep_horovods_own_cycle(tmp_path: Path, environment: dict[str, str]) -> None:
    set_for(tmp_path, "nccl", "mpi")
    assert "HOROVOD_CYCLE_TIME" not in environment
    assert environment["HOROVOD_GPU_OPERATIONS"] == "NCCL"
    assert environment["HOROVOD_CONTROLLER"] == "mpi"


def test_horovod_gives_up_after_the_supervisor(tmp_path: Path, environment: dict[str, str]) -> None:
    """Else a rank that hangs would end as somebody else's broken connection."""
    set_for(tmp_path, "gloo", "gloo")
    deadline_s = 120
    assert int(environment["HOROVOD_GLOO_TIMEOUT_SECONDS"]) > deadline_s
    assert int(environment["HOROVOD_STALL_SHUTDOWN_TIME_SECONDS"]) > deadline_s


def test_the_cycle_follows_the_gradients() -> None:
    cycles = {name: horovod.cycle_time_ms(networks.find(name)) for name in ("lenet", "alexnet", "overfeat")}
    assert cycles["lenet"] == horovod.SHORTEST_CYCLE_MS
    assert cycles["alexnet"] == pytest.approx(61_000_000 * 4 / 50e6, rel=0.01)
    assert cycles["overfeat"] == horovod.LONGEST_CYCLE_MS
