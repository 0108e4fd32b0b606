"""How ranks find each other: addresses that others can reach, and no falling back to localhost."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.errors import Refused
from hpcdl.store import LaunchFolder
from hpcdl.worker.engine import rendezvous, single
from hpcdl.worker.engine.horovod import contiguous_view
from hpcdl.worker.engine.rendezvous import Meeting
from hpcdl.worker.place import Place


def launch_on(nodes, network=None):
    return SimpleNamespace(nodes=nodes, network=network)


def place_of(rank, restart=0):
    return Place(rank=rank, world_size=2, local_rank=rank, node=0, host="here", restart=restart)


def resolve_to(monkeypatch, address):
    def answer(name):
        if address is None:
            raise socket.gaierror(-2, "Name or service not known")
        return address

    monkeypatch.setattr(socket, "gethostbyname", answer)


def test_alone_on_a_node_loopback_will_do():
    assert rendezvous.own_address(launch_on(1)) == "127.0.0.1"


def test_the_host_name_leads_to_the_address(monkeypatch):
    resolve_to(monkeypatch, "10.1.2.3")
    assert rendezvous.own_address(launch_on(2)) == "10.1.2.3"


@pytest.mark.parametrize(("address", "words"), [("127.0.1.1", "127.0.1.1"), (None, "leads to no address")])
def test_several_nodes_never_meet_at_localhost(monkeypatch, address, words):
    resolve_to(monkeypatch, address)
    with pytest.raises(Refused, match=rf"{words}.*\[node\] network"):
        rendezvous.own_address(launch_on(2))


def test_the_sites_network_is_taken():
    assert rendezvous.own_address(launch_on(2, network="lo")) == "127.0.0.1"


def test_a_network_that_is_not_there_lists_those_that_are():
    with pytest.raises(Refused, match=r"no network interface 'ib7' .*It has: .*lo"):
        rendezvous.own_address(launch_on(2, network="ib7"))


def test_the_interface_of_an_address(monkeypatch):
    entry = SimpleNamespace(address="10.0.0.1", family=socket.AF_INET)
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {"ib0": [entry]})
    assert rendezvous.interface_of("10.0.0.1") == "ib0"
    with pytest.raises(Refused, match=r"10\.0\.0\.2"):
        rendezvous.interface_of("10.0.0.2")


def test_what_rank_0_announces_the_others_find(tmp_path):
    folder, meeting = LaunchFolder(tmp_path), Meeting("10.0.0.1", 4711)
    rendezvous.announce(folder, place_of(0), meeting)
    assert rendezvous.await_meeting(folder, place_of(1)) == meeting


def test_an_earlier_start_of_the_job_is_not_met(tmp_path):
    folder = LaunchFolder(tmp_path)
    rendezvous.announce(folder, place_of(0, restart=0), Meeting("10.0.0.1", 4711))
    with pytest.raises(Refused, match=r"announced no rendezvous in .* all nodes share"):
        rendezvous.await_meeting(folder, place_of(1, restart=1), wait_s=0.1)


def test_the_single_engine_is_for_one_rank(tmp_path):
    folder, device = LaunchFolder(tmp_path), torch.device("cpu")
    alone = single.start(launch_on(1), Place(0, 1, 0, 0, "here"), folder, device)
    assert (alone.rank, alone.world_size) == (0, 1)
    assert alone.gather("x") == ["x"]
    assert alone.sum([1.5, 2.0]) == [1.5, 2.0]
    with pytest.raises(Refused, match="on 2 ranks"):
        single.start(launch_on(1), place_of(0), folder, device)


# ---- Views for Horovod, which takes contiguous tensors only ----

shapes = st.lists(st.integers(1, 4), max_size=5)


@given(shapes, st.randoms(use_true_random=False))
def test_any_order_of_dimensions_has_a_contiguous_view_of_the_same_memory(shape, random):
    order = random.sample(range(len(shape)), len(shape))
    tensor = torch.arange(float(torch.Size(shape).numel())).reshape(shape).permute(order)
    view = contiguous_view(tensor)
    assert view.is_contiguous()
    assert view.data_ptr() == tensor.data_ptr()
    assert sorted(view.shape) == sorted(tensor.shape)
    view.mul_(2)
    assert tensor.sum() == 2 * sum(range(tensor.numel()))


def test_channels_last_weights_lie_in_the_order_nhwc():
    weights = torch.randn(8, 3, 5, 5).to(memory_format=torch.channels_last)
    assert contiguous_view(weights).shape == (8, 5, 5, 3)


def test_a_one_by_one_kernel_in_channels_last():
    weights = torch.randn(8, 3, 1, 1).to(memory_format=torch.channels_last)
    view = contiguous_view(weights)
    assert view.is_contiguous()
    assert view.data_ptr() == weights.data_ptr()


@pytest.mark.parametrize("tensor", [torch.zeros(4, 4)[:, :2], torch.zeros(1, 3).expand(2, 3)])
def test_memory_with_gaps_or_overlaps_has_none(tensor):
    with pytest.raises(ValueError, match="leave gaps"):
        contiguous_view(tensor)
