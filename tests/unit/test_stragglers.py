"""The slow rank: planted ones are named with what they cost, even ones are not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcdl.analysis.stragglers import explain, find_stragglers
from hpcdl.records import Host, Missing
from tests.unit.records_maker import make_conditions, make_step, tabulate


def make_steps(own_s):
    """Steps, (ranks, steps) seconds of own work, each as long as the slowest rank makes it."""
    longest_s = own_s.max(axis=0)
    begins_s = np.concatenate([[0.0], np.cumsum(longest_s)])
    steps = []
    for rank, row in enumerate(own_s):
        for step, work_s in enumerate(row):
            phases = {
                "input_s": 0.1 * work_s,
                "compute_s": 0.9 * work_s,
                "exchange_s": longest_s[step] - work_s,
            }
            made = make_step(rank, step, begin_s=float(begins_s[step]))
            steps.append(
                made.model_copy(update={**{k: float(v) for k, v in phases.items()}, "update_s": 0.0})
            )
    return tabulate(steps)


def make_hosts(ranks):
    facts = {
        "local_rank": 0,
        "boot_id": "b",
        "pid": 1,
        "cpu": "c",
        "cores_visible": 1,
        "affinity": (0,),
        "threads": 1,
    }
    return [Host(rank=rank, host=f"node{rank + 1}", **facts) for rank in range(ranks)]


def even(ranks=4, steps=60, seed=1, sigma=0.05):
    return 1 + sigma * np.random.default_rng(seed).standard_normal((ranks, steps))


def find(own_s, conditions=()):
    ranks = len(own_s)
    return find_stragglers(make_steps(own_s), ranks, make_hosts(ranks), conditions)


def test_a_steady_straggler_is_named_with_its_cost():
    own_s = even()
    own_s[2] *= 2
    [found] = find(own_s)
    assert (found.rank, found.host, found.habit) == (2, "node3", "steady")
    assert found.slowness == pytest.approx(2.0, rel=0.05)
    assert found.slowest_share == 1.0
    assert found.cost == pytest.approx(0.5, abs=0.03), "half of each step is waiting for it"


def test_one_that_stumbles_now_and_then_is_named_too():
    own_s = even(steps=100, sigma=0.01)
    own_s[1, ::10] += 5
    [found] = find(own_s)
    assert (found.rank, found.habit) == (1, "now and then")
    assert found.slowness == pytest.approx(1.0, abs=0.02)
    assert found.cost == pytest.approx(0.33, abs=0.03)


def test_the_slower_of_two_ranks_is_named():
    own_s = even(ranks=2)
    own_s[0] *= 1.5
    [found] = find(own_s)
    assert found.rank == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 16), st.integers(0, 2**32 - 1), st.sampled_from([0.02, 0.1, 0.3]))
def test_nobody_is_named_among_even_ranks(ranks, seed, sigma):
    assert find(np.abs(even(ranks=ranks, seed=seed, sigma=sigma)) + 0.1) == ()


def test_all_ranks_slow_at_once_is_nobodys_fault():
    own_s = even(sigma=0.01)
    own_s[:, ::7] *= 4
    assert find(own_s) == ()


@pytest.mark.parametrize(("slowness", "named"), [(1.3, False), (1.8, True)])
def test_a_few_stumbles_do_not_make_a_slow_rank_one_that_stumbles(slowness, named):
    """What it costs to be a third slower than the others is no cost of three long steps."""
    own_s = even(steps=200, sigma=0.01)
    own_s[1] *= slowness
    own_s[1, ::50] *= 2.5
    found = find_stragglers(make_steps(own_s), 4, make_hosts(4), (), rehearsal=True)
    assert (len(found) == 1) is named


@pytest.mark.parametrize(("slowness", "named"), [(1.3, False), (1.8, True)])
def test_ranks_that_share_cores_are_unlike_by_the_schedulers_choice(slowness, named):
    own_s = even()
    own_s[1] *= slowness
    assert len(find(own_s)) == 1
    found = find_stragglers(make_steps(own_s), 4, make_hosts(4), (), rehearsal=True)
    assert (len(found) == 1) is named


def test_a_rank_is_joined_with_what_surrounds_it():
    own_s = even()
    own_s[3] *= 3
    slow = {
        "cpu_limit_cores": 0.2,
        "cpu_throttled_s": 32.0,
        "matrix_flops_per_s": (2e11, 2.2e11),
        "clock_mhz": 800.0,
        "load": 200.0,
    }
    conditions = [make_conditions(rank, **(slow if rank == 3 else {})) for rank in range(4)]
    [found] = find(own_s, conditions)
    told = "; ".join(found.why)
    assert "a CPU quota of 0.2 cores held it back for 80 % of the time" in told
    assert "it may use 0.2 cores, and the others more" in told
    assert "the load of its host is 200.0, on 64 cores" in told
    assert "its own matrix product runs at 21 % of the others'" in told
    assert "its clock is 800 MHz, the others' 2600 MHz" in told


def test_what_others_run_on_its_host_is_told_of_any_of_its_ranks():
    """One rank of a host looks for all of them."""
    own_s = even()
    own_s[3] *= 3
    hosts = [host.model_copy(update={"host": "node1"}) for host in make_hosts(4)]
    foreign = {"foreign": ("stress (pid 42): 5.5 cores",), "foreign_cores": 5.5}
    conditions = [make_conditions(0, **foreign), make_conditions(3)]
    [found] = find_stragglers(make_steps(own_s), 4, hosts, conditions)
    assert "beside it ran stress (pid 42): 5.5 cores" in found.why


def test_what_is_as_everywhere_explains_nothing():
    everybody = [make_conditions(rank, temperature_c=Missing(missing="no sensor")) for rank in range(4)]
    assert list(explain(everybody[1], everybody)) == []


def test_too_few_ranks_or_steps_show_nothing():
    assert "nobody to wait" in find(even(ranks=1)).missing
    assert "fewer than 20 steps" in find(even(steps=19)).missing
    torn = make_steps(even()).where(slice(0, 239))
    assert isinstance(find_stragglers(torn, 4, make_hosts(4), ()), Missing)
