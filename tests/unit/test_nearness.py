"""Which hardware threads a rank takes: disjoint, allowed, and near its GPU where that is possible."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.processors import fold_cpus, parse_cpus
from hpcdl.records import Missing
from hpcdl.worker.nearness import Ranks, approach, choose_cpus, leave_or_slice

# Two sockets of eight cores each, and of eight GPUs the first four on the second socket.
NUMA = {0: range(8), 1: range(8, 16)}
CROSSED = [NUMA[1]] * 4 + [NUMA[0]] * 4


def ranks_of(count, local_rank=0, each=2, *, by_slurm=True):
    return Ranks(count, local_rank, each, by_slurm=by_slurm)


# ---- The choice ----


def test_each_rank_has_its_share_of_what_is_near():
    assert choose_cpus(CROSSED, 2, range(16)) == (
        *((8, 9), (10, 11), (12, 13), (14, 15)),
        *((0, 1), (2, 3), (4, 5), (6, 7)),
    )


def test_what_is_lacking_comes_from_afar_and_is_nobody_elses():
    """Three GPUs of three CPUs each on a node of eight near ones: two each, two over, and one from afar."""
    chosen = choose_cpus([NUMA[0]] * 3, 3, range(16))
    assert chosen == ((0, 1, 6), (2, 3, 7), (4, 5, 8))


def test_cores_are_not_parted():
    """Threads 0 and 4 share a core, and so on: of four near threads and three ranks each core stays whole."""
    order = [0, 4, 1, 5, 2, 6, 3, 7]
    chosen = choose_cpus([(0, 4, 1, 5)] * 3, 2, order, threads_per_core=2)
    assert sorted(chosen) == [(0, 4), (1, 5), (2, 6)]


def test_more_ranks_than_cpus_choose_nothing():
    assert choose_cpus([(), (), ()], 1, [0, 1]) == ()


def test_ranks_of_which_nothing_is_known_take_slices_in_order():
    assert choose_cpus([(), ()], 2, [3, 5, 6, 9]) == ((3, 5), (6, 9))


@st.composite
def nodes(draw):
    """NUMA nodes, the CPUs that may be used, and ranks with a GPU on one of them or nobody knows where."""
    sizes = draw(st.lists(st.integers(1, 16), min_size=1, max_size=8))
    begins = [sum(sizes[:place]) for place in range(len(sizes))]
    numa = [range(begin, begin + size) for begin, size in zip(begins, sizes, strict=True)]
    allowed = draw(st.permutations(range(sum(sizes))))
    allowed = allowed[: draw(st.integers(1, len(allowed)))]
    near = draw(st.lists(st.sampled_from([*numa, ()]), min_size=1, max_size=12))
    return numa, near, draw(st.integers(1, 8)), allowed


@given(nodes())
def test_choices_are_disjoint_allowed_and_as_many_as_given(case):
    _, near, each, allowed = case
    chosen = choose_cpus(near, each, allowed)
    if each * len(near) > len(allowed):
        assert chosen == ()
        return
    assert [len(cpus) for cpus in chosen] == [each] * len(near)
    taken = [cpu for cpus in chosen for cpu in cpus]
    assert len(set(taken)) == len(taken)
    assert set(taken) <= set(allowed)


@given(nodes())
def test_choices_are_near_where_that_is_possible(case):
    """As many near ones as a node has are used, and where they suffice for all of its ranks, all have only them."""
    numa, near, each, allowed = case
    chosen = choose_cpus(near, each, allowed)
    for node in map(frozenset, numa):
        ranks = [place for place, wish in enumerate(near) if wish and node == frozenset(wish)]
        room = len(node & set(allowed))
        inside = [len(node & set(chosen[rank])) for rank in ranks] if chosen else []
        assert sum(inside) == (min(room, each * len(ranks)) if chosen else 0)
        # A fair share, whatever remains.
        assert all(count >= min(each, room // len(ranks)) for count in inside)


# ---- What is done about it ----


def test_a_rank_goes_near_its_gpu_where_all_may_choose():
    choice = approach(ranks_of(8, 1), range(16), CROSSED, numa=NUMA)
    assert choice.cpus == (10, 11)
    assert (choice.binding.action, choice.binding.near) == ("bound", "all")
    assert choice.binding.detail == "bound near GPU 1: CPUs 10-11 on NUMA 1"


def test_a_rank_that_was_bound_already_stays():
    near = approach(ranks_of(8, 1), [8, 9], CROSSED)
    assert (near.cpus, near.binding.near) == ((), "all")
    assert near.binding.detail == "left as Slurm bound: already near GPU 1"
    far = approach(ranks_of(8, 1), [0, 1], CROSSED)
    assert (far.cpus, far.binding.near) == ((), "none")
    assert far.binding.detail == "left as Slurm bound: none of its CPUs 0-1 is near GPU 1, whose are 8-15"


def test_without_numa_information_cores_are_taken_in_order():
    choice = approach(ranks_of(4, 1), range(16), Missing(missing="no NUMA information"))
    assert (choice.cpus, choice.binding.near) == ((2, 3), None)
    assert choice.binding.detail == "bound to CPUs 2-3 in order: no NUMA information"


def test_a_rank_that_has_the_node_for_itself_keeps_it():
    choice = approach(ranks_of(1, 0, 16), range(16), [NUMA[1]])
    assert (choice.cpus, choice.binding.near) == ((), "some")
    assert choice.binding.detail == "left as Slurm bound: 8 of its 16 CPUs are near GPU 0"


def test_too_few_near_cpus_are_told():
    choice = approach(ranks_of(3, 2, 3), range(16), [NUMA[0]] * 3)
    assert choice.binding.near == "some"
    assert "CPUs 4-5,8, 2 of them near GPU 2" in choice.binding.detail


def test_a_rank_on_a_processor_stays_under_slurm_and_takes_its_slice_without():
    there = leave_or_slice(ranks_of(2, 1), range(4))
    assert (there.cpus, there.binding.detail) == ((), "left as Slurm started it, on CPUs 0-3")
    here = leave_or_slice(ranks_of(2, 1, by_slurm=False), range(4))
    assert (here.cpus, here.binding.detail) == ((2, 3), "bound to CPUs 2-3, its slice")
    crowd = leave_or_slice(ranks_of(3, 1, by_slurm=False), range(4))
    assert (crowd.cpus, crowd.binding.action) == ((), "left")


# ---- Lists of CPUs ----


@given(st.sets(st.integers(0, 300)))
def test_lists_of_cpus_are_read_back(cpus):
    assert parse_cpus(fold_cpus(cpus)) == tuple(sorted(cpus))


@pytest.mark.parametrize("text", [None, "x", "1-", "-1", "1-2-3", "1;2", "0-99999999999"])
def test_what_is_no_list_of_cpus_is_none(text):
    assert parse_cpus(text) is None


@given(st.text(max_size=20))
def test_no_text_breaks_the_reader_of_cpus(text):
    found = parse_cpus(text)
    assert found is None or all(cpu >= 0 for cpu in found)
