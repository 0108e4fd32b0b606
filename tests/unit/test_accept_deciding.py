"""What follows from what was seen: reruns with controls, halves of a slow fleet, switches, latecomers, the end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.acceptance.evidence import Evidence, Observation, Unit
from hpcdl.acceptance.rounds import Round
from hpcdl.acceptance.verdict import Decision, Requirement, Verdict
from hpcdl.campaign.bisecting import count_steps, find_group, find_slow_group, split
from hpcdl.campaign.deciding import Doubt, Fleet, choose_controls, choose_late, decide, list_single
from tests.unit.test_accept_planning import make_suite

FOUR = ("n1", "n2", "n3", "n4")
MANY = tuple(f"n{number:03d}" for number in range(100))


def all_of(nodes: tuple[str, ...], *lost: str) -> Fleet:
    return Fleet(nodes, frozenset(nodes) - set(lost))


def test_what_is_decided_is_the_end():
    assert decide(make_suite(), all_of(FOUR), ["first"], Doubt(), {}) is None


def test_a_small_fleet_is_measured_again_as_a_whole():
    doubt = Doubt(("node",), ("n2",))
    assert decide(make_suite(), all_of(FOUR), ["first"], doubt, {}) == Round("rerun", ("node",), 4, FOUR)


def test_reruns_end_with_the_policy():
    doubt = Doubt(("node",), ("n2",))
    assert decide(make_suite(), all_of(FOUR), ["first", "rerun"], doubt, {}) is not None
    assert decide(make_suite(), all_of(FOUR), ["first", "rerun", "rerun"], doubt, {}) is None
    # Those who join later have their own.
    assert decide(make_suite(), all_of(FOUR), ["first", "rerun", "rerun", "added"], doubt, {}) is not None


def test_a_node_that_is_down_is_not_asked_for():
    fleet = all_of(FOUR, "n2")
    assert decide(make_suite(), fleet, ["first"], Doubt(("node",), ("n2",)), {}) is None
    wanted = decide(make_suite(), fleet, ["first"], Doubt(("node",), ("n2", "n3")), {})
    assert wanted is not None
    assert wanted.nodes == ("n1", "n3", "n4")


def test_what_is_between_nodes_needs_two():
    fleet = Fleet(FOUR, frozenset({"n2"}))
    wanted = decide(make_suite(), fleet, ["first"], Doubt(("node", "links"), ("n2",)), {})
    assert wanted == Round("rerun", ("node",), 1, ("n2",))


def test_scaling_is_measured_again_on_all():
    wanted = decide(make_suite(), all_of(MANY), ["first"], Doubt(("node", "scaling"), (MANY[3],)), {})
    assert wanted is not None
    assert wanted.nodes == MANY


@given(st.sets(st.sampled_from(MANY), min_size=1, max_size=60), st.integers(0, 5))
def test_controls_are_three_at_least_and_as_many_as_the_doubtful_at_most(doubtful, seed):
    fleet = all_of(MANY, MANY[-1])
    controls = choose_controls(fleet, doubtful, seed=seed)
    assert not controls & (doubtful | {MANY[-1]})
    others = len(set(fleet.usable) - doubtful)
    assert len(controls) == min(others, max(3, len(doubtful)))
    assert controls == choose_controls(fleet, doubtful, seed=seed)


def test_switches_come_first_and_only_where_two_of_the_fleet_hang():
    switches = {"leaf1": ("n1", "x9"), "leaf2": ("n3", "n4", "x8")}
    wanted = decide(make_suite(), all_of(FOUR), ["first"], Doubt(("node",), ("n1",)), switches)
    assert wanted == Round("switch", ("links",), 2, ("n3", "n4"), switch="leaf2")


def test_latecomers_have_their_part_with_others_beside_them():
    suite = make_suite()
    assert choose_late(suite, all_of(FOUR), frozenset(FOUR), alone=True) is None
    assert choose_late(suite, all_of(FOUR, "n4"), frozenset(FOUR[:3]), alone=True) is None
    wanted = choose_late(suite, all_of(FOUR), frozenset(FOUR[:3]), alone=False)
    assert wanted == Round("added", ("links", "scaling", "convergence"), 4, FOUR)


def test_jobs_of_one_node_go_to_who_is_idle_as_far_as_there_is_room():
    rounds = list(list_single(FOUR, {"n1", "n3", "n4"}, places=2))
    assert [one.nodes for one in rounds] == [("n1",), ("n3",)]
    assert list(list_single(FOUR, set(FOUR), places=0)) == []
    assert list(list_single(FOUR, set(FOUR), places=-1)) == []


# ---- Halves ----

EIGHT = tuple(f"n{number}" for number in range(8))


def answer(slow: set[str], group: tuple[str, ...]) -> float:
    """A group that holds all of the slow ones is slow."""
    return 1.0 if slow <= set(group) else 10.0


@given(st.integers(2, 40), st.data())
def test_a_slow_pair_that_no_halving_parts_is_found_in_log_n_jobs(count, data):
    nodes = tuple(f"n{number:02d}" for number in range(count))
    place = data.draw(st.integers(0, count - 1))
    slow = {nodes[place]}
    answers, jobs = {}, 0
    while True:
        group, go_on = find_group(nodes, answers, 5.0)
        if not go_on:
            break
        jobs += 1
        answers |= {frozenset(half): answer(slow, half) for half in split(group) if len(half) > 1}
    assert jobs <= count_steps(count)
    # Down to two; or three, where the slow one was left over alone.
    assert slow <= set(group)
    assert len(group) <= 3


def test_where_both_halves_are_fine_it_is_what_joins_them():
    answers = {frozenset(EIGHT[:4]): 9.0, frozenset(EIGHT[4:]): 9.0}
    assert find_group(EIGHT, answers, 5.0) == (EIGHT, False)


def test_of_two_slow_halves_the_slower_one_is_followed():
    answers = {frozenset(EIGHT[:4]): 4.0, frozenset(EIGHT[4:]): 2.0}
    assert find_group(EIGHT, answers, 5.0) == (EIGHT[4:], True)


def test_the_number_of_halvings():
    assert [count_steps(count) for count in (1, 2, 3, 4, 5, 8, 9, 1000)] == [0, 0, 1, 1, 2, 2, 3, 9]


def decided(
    metric: str, unit: str, nodes: tuple[str, ...], outcome: str, value: float, **more: object
) -> Requirement:
    decision = Decision(unit=unit, nodes=nodes, outcome=outcome, value=value, threshold=8.0, **more)
    return Requirement(
        criterion=metric, metric=metric, severity="required", asked="", outcome=outcome, decisions=(decision,)
    )


def verdict_of(*requirements: Requirement) -> Verdict:
    return Verdict(outcome="fail", requirements=requirements, comparisons=0, false_alarms=0, nodes=FOUR)


def seen_of(metric: str, *groups: tuple[tuple[str, ...], float]) -> Evidence:
    seen = [Observation(metric, Unit("system", "x", nodes), "job", (value,)) for nodes, value in groups]
    return Evidence(FOUR, seen, [], [])


BUS = "allreduce.bandwidth_bytes_per_s"


def test_a_fleet_that_is_slow_together_is_halved():
    verdict = verdict_of(decided(BUS, "all", FOUR, "fail", 3.0))
    assert find_slow_group(FOUR, verdict, seen_of(BUS, (FOUR, 3.0))) == (FOUR, True)
    measured = seen_of(BUS, (FOUR, 3.0), (FOUR[:2], 9.0), (FOUR[2:], 3.0))
    assert find_slow_group(FOUR, verdict, measured) == (FOUR[2:], False)


def test_a_line_that_is_a_part_is_brought_to_the_unit_of_the_halves():
    decision = Decision(
        unit="all", nodes=FOUR, outcome="fail", value=0.6, threshold=0.8, relative=True
    )  # of a reference of 5
    requirement = decided(BUS, "all", FOUR, "fail", 3.0).model_copy(update={"decisions": (decision,)})
    halves = ((FOUR[:2], 4.5), (FOUR[2:], 3.9))
    assert find_slow_group(FOUR, verdict_of(requirement), seen_of(BUS, (FOUR, 3.0), *halves)) == (
        FOUR[2:],
        False,
    )


@pytest.mark.parametrize(
    "verdict",
    [
        verdict_of(decided(BUS, "all", FOUR, "pass", 9.0)),
        verdict_of(
            decided(BUS, "all", FOUR, "fail", 3.0), decided("node.finished", "n1", ("n1",), "fail", 0.0)
        ),
        verdict_of(decided("scaling.efficiency", "all", FOUR, "fail", 3.0)),
    ],
    ids=["it is fast", "a node explains it", "it is not the links"],
)
def test_nothing_is_halved_where_there_is_nothing_to_explain(verdict):
    assert find_slow_group(FOUR, verdict, seen_of(BUS, (FOUR, 3.0))) is None


def test_a_bisection_is_a_job_of_the_slow_group():
    suite, doubt = make_suite(), Doubt(slow_group=FOUR)
    assert decide(suite, all_of(FOUR), ["first"], doubt, {}) == Round("bisection", ("links",), 4, FOUR)
    assert decide(suite, all_of(FOUR), ["first", "bisection"], doubt, {}) is None
    assert decide(suite, all_of(FOUR, "n1"), ["first"], doubt, {}) is None
