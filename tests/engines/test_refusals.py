"""Launches that engines refuse, each with its reason."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import torch
from pydantic import ValidationError

from hpcdl.errors import Refused, UnknownName
from hpcdl.spec import Train
from hpcdl.store import LaunchFolder
from hpcdl.worker import engine
from hpcdl.worker.engine import ddp, rendezvous, single
from hpcdl.worker.place import Place
from tests.engines.launching import NEEDS_HOROVOD, NEEDS_MPIRUN, explain, make_job, run

if TYPE_CHECKING:
    from pathlib import Path

    from hpcdl.plan import Launch

CPU = torch.device("cpu")


def make_launch(store: Path, *, nodes: int = 1, network: str | None = None, **train: Any) -> Launch:
    (launch,) = make_job(store, ranks=(2,), network=network, **train).launches
    return launch.model_copy(update={"nodes": nodes, "tasks_per_node": 2 // nodes})


def make_place(rank: int = 0, world_size: int = 2) -> Place:
    return Place(rank=rank, world_size=world_size, local_rank=rank, node=0, host="here")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("asked", [pytest.param("mpi", marks=NEEDS_MPIRUN)])
def test_ranks_that_nothing_connects_are_worlds_of_one(tmp_path: Path, asked: str) -> None:
    """As under an srun that does not speak the PMI of the MPI: each rank would train alone and report N times."""
    job = make_job(tmp_path, ranks=(2,), engine="horovod", transport=asked)
    launches = tuple(launch.model_copy(update={"launcher": "direct"}) for launch in job.launches)
    (folder,) = run(job.model_copy(update={"launches": launches}))
    ends = folder.exits()
    assert "refused" in {end.outcome for end in ends}, explain(folder)
    assert {end.outcome for end in ends} <= {"refused", "stopped"}
    reason = next(end.reason for end in ends if end.outcome == "refused")
    assert "2 ranks were asked for" in reason
    assert "horovod over mpi sees a world of 1" in reason
    assert "srun --mpi=list" in reason
    assert len(folder.steps()) == 0
    assert folder.summary() is None


def test_ddp_has_no_mpi(tmp_path: Path) -> None:
    # By name it is refused when it is planned; here 'auto' has come down to DDP, where Horovod is missing.
    launch = make_launch(tmp_path, engine="auto", transport="mpi")
    with pytest.raises(Refused, match=r"no MPI transport.*--transport gloo"):
        ddp.start(launch, make_place(), LaunchFolder(tmp_path), CPU)


def test_ddp_has_no_nccl_without_gpus(tmp_path: Path) -> None:
    launch = make_launch(tmp_path, engine="ddp", transport="nccl")
    with pytest.raises(Refused, match=r"NCCL needs GPUs.*--transport gloo"):
        ddp.start(launch, make_place(), LaunchFolder(tmp_path), CPU)


@pytest.mark.parametrize("transport", [pytest.param("nccl", marks=NEEDS_HOROVOD)])
def test_horovod_names_what_it_was_built_with(tmp_path: Path, transport: str) -> None:
    launch = make_launch(tmp_path, engine="horovod", transport=transport)
    with pytest.raises(Refused, match=r"'nccl' here: it was built with .*gloo.*, on cpu"):
        engine.start(launch, make_place(), LaunchFolder(tmp_path), CPU)


def test_horovod_that_is_not_installed_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpcdl.worker.engine.horovod.is_installed", lambda: False)
    launch = make_launch(tmp_path, engine="horovod")
    with pytest.raises(Refused, match="make horovod"):
        engine.start(launch, make_place(), LaunchFolder(tmp_path), CPU)
    assert engine.choose(world_size=2) == "ddp"
    assert engine.choose(world_size=1) == "single"


def test_unknown_names_suggest_the_nearest(tmp_path: Path) -> None:
    launch = make_launch(tmp_path)
    train = launch.train.model_copy(update={"engine": "horovd"})
    with pytest.raises(UnknownName, match="Did you mean 'horovod'"):
        engine.start(launch.model_copy(update={"train": train}), make_place(), LaunchFolder(tmp_path), CPU)


def test_an_unknown_transport_does_not_become_a_plan() -> None:
    with pytest.raises(ValidationError, match="'auto', 'nccl', 'mpi' or 'gloo'"):
        Train(transport="rdma")  # type: ignore[arg-type]


def test_single_trains_on_one_rank(tmp_path: Path) -> None:
    launch = make_launch(tmp_path)
    with pytest.raises(Refused, match=r"'single' was started on 2 ranks"):
        single.start(launch, make_place(), LaunchFolder(tmp_path), CPU)


def test_an_interface_that_does_not_exist(tmp_path: Path) -> None:
    launch = make_launch(tmp_path, network="ib7")
    with pytest.raises(Refused, match=r"no network interface 'ib7'.*It has: .*lo"):
        rendezvous.own_address(launch)


def test_an_interface_by_name(tmp_path: Path) -> None:
    assert rendezvous.own_address(make_launch(tmp_path, network="lo")) == "127.0.0.1"
    assert rendezvous.interface_of("127.0.0.1") == "lo"


def test_one_node_meets_on_loopback(tmp_path: Path) -> None:
    assert rendezvous.own_address(make_launch(tmp_path)) == "127.0.0.1"


def test_several_nodes_never_meet_on_loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "node1")
    monkeypatch.setattr(socket, "gethostbyname", lambda _: "127.0.1.1")
    with pytest.raises(Refused, match=r"'node1' leads to 127\.0\.1\.1.*\[node\] network"):
        rendezvous.own_address(make_launch(tmp_path, nodes=2))


def test_a_host_name_that_leads_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> str:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "gethostbyname", fail)
    with pytest.raises(Refused, match=r"leads to no address.*\[node\] network"):
        rendezvous.own_address(make_launch(tmp_path, nodes=2))


def test_an_address_of_another_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "net_if_addrs", dict)
    with pytest.raises(Refused, match=r"carries the address 192\.0\.2\.1"):
        rendezvous.interface_of("192.0.2.1")


def test_a_rank_0_that_never_comes_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"rank 0 announced no rendezvous in 0 s \(rendezvous-0\.json\)"):
        rendezvous.await_meeting(LaunchFolder(tmp_path), make_place(rank=1), wait_s=0.2)


def test_the_meeting_of_an_earlier_start_is_not_used(tmp_path: Path) -> None:
    folder = LaunchFolder(tmp_path)
    first, again = make_place(), Place(0, 2, 0, 0, "here", restart=1)
    rendezvous.announce(folder, first, rendezvous.Meeting("192.0.2.1", 1))
    with pytest.raises(Refused):
        rendezvous.await_meeting(folder, again, wait_s=0.2)
    rendezvous.announce(folder, again, rendezvous.Meeting("192.0.2.2", 2))
    assert rendezvous.await_meeting(folder, again) == rendezvous.Meeting("192.0.2.2", 2)
