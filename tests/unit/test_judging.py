"""The verdict: the three outcomes by hand-computed cases; what is absent never passes."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from fleets import (
    absent,
    device,
    make_evidence,
    make_suite,
    name_nodes,
    node,
    outcomes,
    pair,
    reasons,
    said,
    seen,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcdl.acceptance.evidence import Unit
from hpcdl.acceptance.judging import find_open, judge
from hpcdl.acceptance.suite import Suite
from hpcdl.errors import HpcdlError
from hpcdl.frozen import parse

SPEED = "train.lenet.images_per_s"
OF_FLEET = {"metric": SPEED, "at_least": "80 %", "of": "fleet"}
FOUR = name_nodes(4)


def run(*speeds, block="job1/node", metric=SPEED, spread=0.01):
    """Three repeats each, 1 % apart."""
    return [
        seen(metric, device(name), speed, speed * (1 + spread), speed * (1 - spread), block=block)
        for name, speed in zip(name_nodes(len(speeds)), speeds, strict=True)
    ]


def require(suite, nodes, *parts, references=None, final=False):
    """The first requirement of the verdict, and the verdict."""
    verdict = judge(suite, make_evidence(nodes, *parts), references, final=final)
    return verdict.requirements[0], verdict


def test_a_bad_node_of_four_is_found_and_the_three_are_not():
    suite = make_suite(OF_FLEET)
    once, verdict = require(suite, FOUR, *run(100, 100, 60, 100))
    assert outcomes(once) == dict.fromkeys(FOUR, "pass") | {"node3": "insufficient"}
    assert "to be measured again" in reasons(once)["node3"]
    assert find_open(verdict, suite).nodes == ("node3",)
    assert find_open(verdict, suite).tests == ("node",)
    both = run(100, 100, 60, 100), run(90, 90, 54, 90, block="job2/node")
    twice, verdict = require(suite, FOUR, *both[0], *both[1])
    assert outcomes(twice) == dict.fromkeys(FOUR, "pass") | {"node3": "fail"}
    assert verdict.outcome == "fail"
    [bad] = [one for one in twice.decisions if one.outcome == "fail"]
    assert bad.value == pytest.approx(0.6, rel=0.01)
    assert bad.low < bad.value < bad.high < bad.threshold == 0.8
    assert find_open(verdict, suite).nodes == ()


def test_of_two_each_is_held_against_the_other():
    """Half-way between them, 70 of 100 would be 84 %."""
    two = [*run(100, 70), *run(100, 70, block="job2/node")]
    found, verdict = require(make_suite(OF_FLEET), FOUR[:2], *two)
    assert outcomes(found) == {"node1": "pass", "node2": "fail"}
    assert [one.value for one in found.decisions] == pytest.approx([100 / 70, 0.7])
    assert [one.unit for one in verdict.culprits] == ["node2"]
    suite = make_suite({"metric": "identity.memory_bytes", "at_least": "98 %", "of": "fleet"})
    memory = [
        seen("identity.memory_bytes", node(name), size) for name, size in (("node1", 100), ("node2", 97))
    ]
    found, _ = require(suite, FOUR[:2], *memory)
    assert outcomes(found) == {"node1": "pass", "node2": "fail"}


def test_the_line_within_the_interval_is_not_enough_evidence():
    suite = make_suite(OF_FLEET)
    found, verdict = require(suite, FOUR, *run(100, 100, 81, 100, spread=0.05))
    decision = found.decisions[2]
    assert (decision.outcome, decision.open) == ("insufficient", True)
    assert decision.low < 0.8 < decision.high
    assert "more repeats" in decision.reason
    assert verdict.outcome == "insufficient"


def test_slow_in_one_launch_only_does_not_fail():
    suite = make_suite(OF_FLEET)
    found, _ = require(suite, FOUR, *run(100, 100, 40, 100), *run(100, 100, 100, 100, block="job2/node"))
    assert found.decisions[2].outcome == "insufficient"


@pytest.mark.parametrize(
    ("policy", "final"), [({"reruns": 0}, False), ({"confirm": False}, False), ({}, True)]
)
def test_where_nothing_follows_one_launch_is_enough(policy, final):
    found, verdict = require(make_suite(OF_FLEET, **policy), FOUR, *run(100, 100, 60, 100), final=final)
    assert found.decisions[2].outcome == "fail"
    assert not any(decision.open for one in verdict.requirements for decision in one.decisions)


def test_nothing_is_open_at_the_end():
    suite = make_suite(OF_FLEET)
    parts = [*run(100, 100), absent(SPEED, device("node3"))]
    _, verdict = require(suite, FOUR, *parts, final=True)
    assert find_open(verdict, suite).tests == ()
    _, verdict = require(suite, FOUR, *parts)
    assert find_open(verdict, suite).nodes == ("node3", "node4")


def test_false_alarms_are_shared_over_criteria_units_and_looks():
    """Two criteria, four units, two looks that may fail: 0.05 / 16."""
    suite = make_suite(OF_FLEET, OF_FLEET | {"at_least": "50 %"}, OF_FLEET | {"severity": "advisory"})
    found, verdict = require(suite, FOUR, *run(100, 100, 100, 100))
    assert found.alpha == pytest.approx(0.05 / 16)
    assert verdict.comparisons == 8
    assert verdict.false_alarms == pytest.approx(0.05)


def test_an_absence_is_no_pass():
    suite = make_suite(OF_FLEET)
    found, verdict = require(suite, FOUR, *run(100, 100, 100), absent(SPEED, device("node4")))
    assert (outcomes(found)["node4"], reasons(found)["node4"]) == ("insufficient", "the tool is missing")
    assert verdict.outcome == "insufficient"
    lasting = absent(SPEED, device("node4"), lasting=True)
    assert find_open(require(suite, FOUR, *run(100, 100, 100), lasting)[1], suite).nodes == ()
    again = absent(SPEED, device("node4"), block="job2/node")
    parts = [*run(100, 100, 100), absent(SPEED, device("node4")), again]
    assert find_open(require(suite, FOUR, *parts)[1], suite).nodes == ()


def test_a_check_that_broke_off_does_not_pass_by_what_it_had_said_before():
    """The first repeat went well, and the second did not."""
    suite = make_suite(
        OF_FLEET, {"metric": "health.xid", "at_most": 0}, {"metric": "identity.cpu", "equals": "x"}
    )
    gpus = [device(name, "H100", "1") for name in FOUR]
    parts = [
        *(seen(SPEED, gpu, 100, 101, 99) for gpu in gpus[:3]),
        *(seen("health.xid", gpu, 0) for gpu in gpus),
        *(said("identity.cpu", node(name), "x") for name in FOUR),
        seen(SPEED, gpus[3], 100),
        *(absent(SPEED, gpus[3], "CUDA error"), absent("health.xid", gpus[3], "lost")),
        absent("identity.cpu", node("node4"), "no kernel"),
    ]
    _, verdict = require(suite, FOUR, *parts)
    for requirement, reason in zip(verdict.requirements, ("CUDA error", "lost", "no kernel"), strict=True):
        assert [one.outcome for one in requirement.decisions] == ["pass"] * 3 + ["insufficient"]
        assert requirement.decisions[3].reason == f"it broke off: {reason}"
        assert requirement.decisions[3].open
    # A launch that told all is evidence, whatever became of another.
    again = [seen(SPEED, gpu, 100, 101, 99, block="job2/node") for gpu in gpus]
    assert set(outcomes(require(suite, FOUR, *parts, *again)[0]).values()) == {"pass"}


def test_a_node_that_nobody_saw_is_there_all_the_same():
    found, _ = require(make_suite(OF_FLEET), name_nodes(5), *run(100, 100, 100, 100))
    assert (outcomes(found)["node5"], reasons(found)["node5"]) == ("insufficient", "nothing was recorded")
    found, _ = require(
        make_suite(OF_FLEET),
        name_nodes(5),
        *run(100, 100, 100, 100),
        absent(SPEED, node("node5"), "it is down"),
    )
    assert reasons(found)["node5"] == "it is down"


def test_a_device_that_others_have_is_missed():
    parts = [
        seen(SPEED, device(name, "H100", gpu), 100, 101, 99)
        for name in FOUR
        for gpu in (0, 1)
        if (name, gpu) != ("node2", 1)
    ]
    found, _ = require(make_suite(OF_FLEET), FOUR, *parts)
    assert "1 device of it, where most nodes have 2" in reasons(found)["node2"]
    # Known by another number, it owes this one.
    other = seen("matrix.flops_per_s", device("node2", "H100", 1), 1)
    found, _ = require(make_suite(OF_FLEET), FOUR, *parts, other)
    assert reasons(found)["node2/GPU-1"] == "nothing was recorded"


def test_like_is_compared_with_like():
    fast = [seen(SPEED, device(name, "H100", 0), 100, 101, 99) for name in FOUR]
    slow = [seen(SPEED, device(name, "T4", 0), 10, 10.1, 9.9) for name in ("node5", "node6", "node7")]
    odd = seen(SPEED, device("node8", "K80", 0), 1, 1.01, 0.99)
    found, _ = require(make_suite(OF_FLEET), name_nodes(8), *fast, *slow, odd)
    assert set(outcomes(found).values()) - {"pass"} == {"insufficient"}
    assert "the only one of its kind (K80)" in reasons(found)["node8/GPU-0"]
    only = make_suite({"metric": SPEED, "at_least": "50 images/s", "gpu": "h100"})
    found, _ = require(only, name_nodes(8), *fast, *slow, odd)
    assert outcomes(found) == {f"{name}/GPU-0": "pass" for name in FOUR}


def test_hardware_that_is_not_there():
    criterion = {"metric": SPEED, "at_least": "50 images/s", "gpu": "H200"}
    parts = [seen(SPEED, device(name, "H100", 0), 100, 101, 99) for name in FOUR]
    found, verdict = require(make_suite(criterion), FOUR, *parts)
    assert [one.reason for one in found.decisions] == ["no device is named 'H200'; the fleet has H100"]
    assert verdict.outcome == "insufficient"
    found, verdict = require(make_suite(criterion | {"where_present": True}, OF_FLEET), FOUR, *parts)
    assert (found.outcome, found.decisions) == ("not applicable", ())
    assert verdict.outcome == "pass"


def test_a_number_that_only_gpus_have():
    criterion = {"metric": "health.throttled_s", "at_most": "0.5 s", "where_present": True}
    on_cpu = run(100, 100, 100, 100)
    assert require(make_suite(criterion), FOUR, *on_cpu)[0].outcome == "not applicable"
    found, _ = require(make_suite(criterion | {"where_present": False}), FOUR, *on_cpu)
    assert [one.reason for one in found.decisions] == ["no node of the fleet has a GPU"]
    # Of whom nothing is known it cannot be said that it has none.
    assert require(make_suite(criterion), FOUR, *on_cpu[:3])[0].outcome == "insufficient"
    # A node that lost its GPUs among those that have them.
    parts = [seen("health.throttled_s", device(name, "H100", 0), 0) for name in FOUR[:3]]
    found, _ = require(make_suite(criterion), FOUR, *parts, seen("identity.gpus", node("node4"), 0))
    assert outcomes(found)["node4"] == "insufficient"


def test_a_fleet_of_one():
    absolute = {"metric": SPEED, "at_least": "50 images/s"}
    link = {"metric": "link.latency_s", "at_most": "1 ms"}
    kernel = {"metric": "identity.kernel", "equals": "fleet"}
    count = {"metric": "identity.memory_bytes", "at_least": "98 %", "of": "fleet"}
    parts = [*run(100), said("identity.kernel", node("node1"), "6.1")]
    parts.append(seen("identity.memory_bytes", node("node1"), 1e9))
    verdict = judge(make_suite(OF_FLEET, absolute, link, kernel, count), make_evidence(("node1",), *parts))
    assert [one.outcome for one in verdict.requirements] == ["insufficient", "pass", *["insufficient"] * 3]
    told = [one.decisions[0].reason for one in verdict.requirements]
    assert told[0] == told[4] == "a fleet of one has no median to be held against"
    assert told[2] == "a fleet of one has no links"
    assert "a fleet of one has no majority" in told[3]
    assert not any(decision.open for one in verdict.requirements for decision in one.decisions)


def test_no_node_at_all():
    found, verdict = require(make_suite(OF_FLEET), ())
    assert verdict.outcome == "insufficient"
    assert found.decisions[0].reason == "no node has joined"


def test_single_repeats_ask_for_more():
    parts = [seen(SPEED, device(name), 100 + place) for place, name in enumerate(FOUR)]
    found, _ = require(make_suite(OF_FLEET), FOUR, *parts)
    assert all("more repeats are needed" in reason for reason in reasons(found).values())
    assert all(decision.open for decision in found.decisions)


def test_what_is_no_speed_is_not_judged():
    found, _ = require(make_suite(OF_FLEET), FOUR, *run(100, 100, 100), seen(SPEED, device("node4"), 0, 100))
    assert "a sample is 0" in reasons(found)["node4"]


@dataclass(frozen=True)
class Book:
    """A baseline of one number by model."""

    known: dict[str, float]

    def find(self, metric, unit):
        assert metric == SPEED
        return self.known.get(unit.model)


def test_a_baseline():
    suite = make_suite({"metric": SPEED, "at_least": "90 %", "of": "reference"})
    parts = [
        seen(SPEED, device(name, model, 0), *samples)
        for name, model, *samples in [
            ("node1", "A", 95, 96, 97),
            ("node2", "B", 95, 96, 97),
            ("node3", "C", 1, 1, 1),
        ]
    ]
    found, _ = require(suite, name_nodes(3), *parts, references=Book({"A": 100.0, "B": 200.0}), final=True)
    assert list(outcomes(found).values()) == ["pass", "fail", "insufficient"]
    assert found.decisions[1].value == pytest.approx(0.48)
    found, _ = require(suite, name_nodes(3), *parts)
    assert set(reasons(found).values()) == {"no baseline was given (--baseline)"}


def test_a_models_expectation():
    suite = make_suite({"metric": "allreduce.expected_ratio", "at_least": "50 %", "of": "expectation"})
    everybody = Unit("system", "all", FOUR)
    found, _ = require(suite, FOUR, seen("allreduce.expected_ratio", everybody, 0.9, expected=1.0))
    assert found.decisions[0].outcome == "pass"
    found, _ = require(suite, FOUR, seen("allreduce.expected_ratio", everybody, 0.9))
    assert found.decisions[0].reason == "there is no model of what to expect of it"


@pytest.mark.parametrize(
    ("criterion", "samples", "outcome"),
    [
        ({"metric": "health.temperature_c", "at_most": "85 °C"}, [80, 85], "pass"),
        ({"metric": "health.temperature_c", "at_most": "85 °C"}, [80, 85.5], "fail"),
        ({"metric": "arithmetic.lenet.repeatable", "at_least": 1}, [1, 0], "fail"),
        ({"metric": "identity.cores_visible", "equals": 64}, [64], "pass"),
        ({"metric": "identity.cores_visible", "equals": 64}, [64, 63], "fail"),
        ({"metric": "identity.memory_bytes", "equals": "1 GiB"}, [2**30], "pass"),
    ],
)
def test_exact_numbers_are_compared_as_they_are(criterion, samples, outcome):
    suite = make_suite(criterion)
    unit = node("node1") if criterion["metric"].startswith("identity") else device("node1")
    found, _ = require(suite, ("node1",), seen(criterion["metric"], unit, *samples))
    assert [one.outcome for one in found.decisions] == [outcome]
    assert found.alpha is None


def test_exact_numbers_over_the_median():
    suite = make_suite({"metric": "identity.memory_bytes", "at_least": "98 %", "of": "fleet"})
    sizes = dict(zip(FOUR, [100, 100, 99, 90], strict=True))
    parts = [seen("identity.memory_bytes", node(name), size) for name, size in sizes.items()]
    found, verdict = require(suite, FOUR, *parts)
    assert list(outcomes(found).values()) == ["pass", "pass", "pass", "fail"]
    assert found.decisions[3].value == pytest.approx(90 / 99.5)
    assert (verdict.comparisons, verdict.false_alarms) == (0, 0)


def test_links_are_measured_again_before_they_fail():
    suite = make_suite({"metric": "link.bandwidth_bytes_per_s", "at_least": "50 %", "of": "fleet"})

    def links(block, slow):
        return [
            seen("link.bandwidth_bytes_per_s", pair(*ends), slow if "node3" in ends else 100, block=block)
            for ends in [("node1", "node2"), ("node1", "node3"), ("node1", "node4"), ("node2", "node4")]
        ]

    found, verdict = require(suite, FOUR, *links("a", 20))
    assert outcomes(found)["node1-node3"] == "insufficient"
    assert find_open(verdict, suite).tests == ("links",)
    assert find_open(verdict, suite).nodes == FOUR
    assert reasons(found)["node2-node3"] == "nothing was recorded"
    found, _ = require(suite, FOUR, *links("a", 20), *links("b", 20))
    assert outcomes(found)["node1-node3"] == "fail"
    found, _ = require(suite, FOUR, *links("a", 20), *links("b", 100))
    assert outcomes(found)["node1-node3"] == "pass"


def test_one_unsteady_launch_does_not_fail_a_node():
    """The deviation of five repeats is that of the node only within a third or so."""
    suite = make_suite({"metric": "train.lenet.spread", "at_most": "5 %"})

    def spread(block, value):
        return seen("train.lenet.spread", device("node1"), value, block=block)

    found, verdict = require(suite, FOUR[:1], spread("job1/node", 0.08))
    assert (found.outcome, find_open(verdict, suite).nodes) == ("insufficient", ("node1",))
    both = (spread("job1/node", 0.08), spread("job2/node", 0.01))
    assert require(suite, FOUR[:1], *both)[0].outcome == "pass"
    assert require(suite, FOUR[:1], both[0], spread("job2/node", 0.04))[0].outcome == "fail"


def test_pairs_that_failed_together_are_forgotten_once_they_are_seen():
    suite = make_suite({"metric": "link.latency_s", "at_most": "1 ms"})
    together = absent("link.latency_s", Unit("pair", "all", FOUR), "the probe left no record")
    found, verdict = require(suite, FOUR, together)
    assert reasons(found) == {"all": "the probe left no record"}
    assert find_open(verdict, suite).nodes == FOUR
    links = [
        seen("link.latency_s", pair(one, other), 1e-5, block="job2/links")
        for place, one in enumerate(FOUR)
        for other in FOUR[place + 1 :]
    ]
    assert require(suite, FOUR, together, *links)[0].outcome == "pass"
    # One of them is missing for itself.
    lost = absent("link.latency_s", pair("node1", "node2"), "timed out", block="job2/links")
    found, _ = require(suite, FOUR, together, *links[1:], lost)
    assert reasons(found)["node1-node2"] == "timed out"
    assert found.outcome == "insufficient"


def test_each_metric_tells_with_whom_its_units_are_compared():
    """By its processor the node is one of a kind, and its kernel is held against the whole fleet's all the same."""
    parts = [said("identity.kernel", node(name), "A") for name in FOUR[:3]]
    parts += [
        said("identity.kernel", node("node4"), "B"),
        seen("decode.images_per_s", node("node4", "odd"), 1),
    ]
    found, _ = require(make_suite({"metric": "identity.kernel", "equals": "fleet"}), FOUR, *parts)
    assert outcomes(found)["node4"] == "fail"


def words(metric, *said_words, make=node):
    nodes = name_nodes(len(said_words))
    return nodes, [said(metric, make(name), word) for name, word in zip(nodes, said_words, strict=True)]


@pytest.mark.parametrize(
    ("given_words", "expected"),
    [
        ("AAA", ["pass"] * 3),
        ("AAB", ["pass", "pass", "fail"]),
        ("AABB", ["insufficient"] * 4),
        ("AB", ["insufficient"] * 2),
        ("AA", ["pass"] * 2),
        ("A", ["insufficient"]),
        ("AABC", ["insufficient"] * 4),
    ],
)
def test_most_of_the_fleet(given_words, expected):
    nodes, parts = words("identity.kernel", *given_words)
    found, _ = require(make_suite({"metric": "identity.kernel", "equals": "fleet"}), nodes, *parts)
    assert list(outcomes(found).values()) == expected


def test_a_split_fleet_is_told_in_numbers():
    nodes, parts = words("identity.kernel", *"AABB")
    found, _ = require(make_suite({"metric": "identity.kernel", "equals": "fleet"}), nodes, *parts)
    assert reasons(found)["node1"] == "2 say A, 2 say B: there is no majority"


def test_what_differs_is_named():
    usual, odd = '{"torch": "2.10", "numpy": "2.0", "mpi": "5"}', '{"torch": "2.9", "numpy": "2.0"}'
    nodes, parts = words("identity.versions", usual, usual, odd)
    found, _ = require(make_suite({"metric": "identity.versions", "equals": "fleet"}), nodes, *parts)
    assert reasons(found)["node3"] == "no mpi, most have 5; torch 2.9, most have 2.10"


def test_a_wrong_gradient_is_found_among_like_libraries():
    digests, versions = "arithmetic.lenet.digest", "identity.versions"
    nodes = name_nodes(7)
    parts = [said(versions, node(name), "new" if name == "node7" else "old") for name in nodes]
    parts += [said(digests, device(name, "CPU"), "aa") for name in nodes[:5]]
    parts += [said(digests, device("node6", "CPU"), "bb"), said(digests, device("node7", "CPU"), "cc")]
    found, _ = require(make_suite({"metric": digests, "equals": "fleet"}), nodes, *parts)
    assert outcomes(found)["node6"] == "fail"
    assert reasons(found)["node6"] == "bb, most have aa"
    assert outcomes(found)["node7"] == "insufficient"
    assert "no other of its kind" in reasons(found)["node7"]


def test_a_word_that_changes_is_wrong_once():
    nodes, parts = words("identity.kernel", *"AAAA")
    found, _ = require(
        make_suite({"metric": "identity.kernel", "equals": "fleet"}),
        nodes,
        *parts,
        said("identity.kernel", node("node2"), "B", block="job2/node"),
    )
    assert outcomes(found)["node2"] == "fail"


def test_processors_are_compared_across_models():
    nodes = FOUR
    parts = [
        said("identity.cpu", node(name, model), model) for name, model in zip(nodes, "AAAB", strict=True)
    ]
    found, _ = require(make_suite({"metric": "identity.cpu", "equals": "fleet"}), nodes, *parts)
    assert list(outcomes(found).values()) == ["pass", "pass", "pass", "fail"]


def test_a_word_as_it_must_be():
    nodes, parts = words("identity.governor", "performance", "powersave")
    suite = make_suite({"metric": "identity.governor", "equals": "performance"})
    found, _ = require(suite, nodes, *parts)
    assert list(outcomes(found).values()) == ["pass", "fail"]
    assert reasons(found)["node2"] == "it is powersave"


def test_a_wrong_unit_of_what_must_be_equal_is_known_at_once():
    table = {
        "name": "made",
        "tests": {"node": {}},
        "criteria": [{"name": "a", "metric": "identity.memory_bytes", "equals": "64 GiBs"}],
    }
    with pytest.raises(HpcdlError, match="GiBs"):
        parse(Suite, table, where="suite.toml")


@pytest.mark.parametrize(
    ("criterion", "asked"),
    [
        (OF_FLEET, "at least 80 % of the fleet's median"),
        (OF_FLEET | {"at_least": 0.925}, "at least 92.5 % of the fleet's median"),
        ({"metric": "identity.cpu", "equals": "fleet"}, "the same as most of the fleet"),
        (
            {"metric": "health.temperature_c", "at_most": "85 °C", "gpu": "H100"},
            "at most 85 °C, on devices named H100",
        ),
        ({"metric": SPEED, "at_least": "90 %", "of": "reference"}, "at least 90 % of the baseline"),
    ],
)
def test_what_is_asked_in_words(criterion, asked):
    found, _ = require(make_suite(criterion), FOUR)
    assert found.asked == asked


def test_advice_is_shown_and_does_not_count():
    suite = make_suite(
        OF_FLEET, {"metric": "health.temperature_c", "at_most": "85 °C", "severity": "advisory"}
    )
    hot = [seen("health.temperature_c", device(name), 90) for name in FOUR]
    _, verdict = require(suite, FOUR, *run(100, 100, 100, 100), *hot)
    assert verdict.requirements[1].outcome == "fail"
    assert verdict.outcome == "pass"


MIXED = make_suite(
    OF_FLEET,
    {"metric": "identity.kernel", "equals": "fleet"},
    {"metric": "health.temperature_c", "at_most": "85 °C"},
    {"metric": "link.latency_s", "at_most": "1 ms"},
)
COUNTS = st.integers(3, 5)


@st.composite
def fleets_seen(draw):
    """A fleet of which each number was seen once, good or bad."""
    nodes = name_nodes(draw(COUNTS))
    parts = run(*(draw(st.sampled_from([100, 100, 100, 60])) for _ in nodes))
    parts += [said("identity.kernel", node(name), draw(st.sampled_from("AAAB"))) for name in nodes]
    parts += [seen("health.temperature_c", device(name), draw(st.sampled_from([50, 90]))) for name in nodes]
    parts += [
        seen("link.latency_s", pair(one, other), draw(st.sampled_from([1e-5, 1e-5, 1.0])))
        for place, one in enumerate(nodes)
        for other in nodes[place + 1 :]
    ]
    return nodes, parts


@settings(max_examples=60, deadline=None)
@given(fleets_seen(), st.data())
def test_dropping_what_was_seen_never_makes_a_pass(fleet, data):
    nodes, parts = fleet
    dropped = data.draw(st.integers(0, len(parts) - 1))
    left = [part for place, part in enumerate(parts) if place != dropped]
    verdict = judge(MIXED, make_evidence(nodes, *left))
    assert verdict.outcome != "pass"
    metric, unit = parts[dropped].metric, parts[dropped].unit
    [bereft] = [one for one in verdict.requirements if one.metric == metric]
    assert all(one.outcome != "pass" for one in bereft.decisions if one.unit == unit.name)
    assert bereft.outcome != "pass"


@settings(max_examples=30, deadline=None)
@given(fleets_seen(), st.randoms(use_true_random=False))
def test_the_order_of_evidence_does_not_matter(fleet, dice):
    nodes, parts = fleet
    parts = [
        *parts,
        *run(*[100] * (len(nodes) - 1), 70, block="job2/node"),
        *run(99, 98, 97, block="job0/node"),
    ]
    shuffled = list(parts)
    dice.shuffle(shuffled)
    assert judge(MIXED, make_evidence(nodes, *parts)) == judge(MIXED, make_evidence(nodes, *shuffled))


def test_a_verdict_can_be_kept_and_read():
    _, verdict = require(MIXED, FOUR, *run(100, 100, 60, 100))
    assert type(verdict).model_validate_json(verdict.model_dump_json()) == verdict
