"""Who is at fault and why, in words; from evidence that is made up, or gathered from made-up records."""

from __future__ import annotations

import shlex
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.acceptance.culprits import LONGEST_REASON, drain_lines, name_culprits, tell_culprit
from hpcdl.acceptance.evidence import Absence, Evidence, Observation, Trait, Unit
from hpcdl.acceptance.gathering import gather
from hpcdl.acceptance.phrases import find_divergence, tell_number, tell_word
from hpcdl.acceptance.verdict import Culprit, Decision, Requirement
from tests.unit.checks_maker import (
    CPU,
    GPU,
    make_look,
    write_acceptance_run,
    write_exits,
    write_healthy,
    write_looks,
)
from tests.unit.records_maker import KILLED, make_conditions

NODES = ("node1", "node2", "node3", "node4")
SPEED = "train.lenet.images_per_s"


def node(name):
    return Unit("node", name, (name,))


def device(name, model=CPU):
    return Unit("device", name, (name.split("/")[0],), model)


def require(metric, failed, *, scope_nodes=None, relative=True, severity="required", asked="", threshold=0.8):
    """A requirement that these units fail: name -> value."""
    decisions = tuple(
        Decision(
            unit=name,
            nodes=(scope_nodes or {}).get(name, (name.split("/")[0],)),
            outcome="fail",
            value=value,
            threshold=threshold,
            relative=relative,
        )
        for name, value in failed.items()
    )
    passed = Decision(unit="node9", nodes=("node9",), outcome="pass", value=1.0)
    return Requirement(
        criterion=f"c-{metric}",
        metric=metric,
        severity=severity,
        asked=asked or "at least 80 % of the fleet's median",
        outcome="fail" if failed else "pass",
        decisions=(*decisions, passed),
    )


def made(observations=(), traits=(), absences=(), nodes=NODES):
    return Evidence(
        nodes=tuple(nodes),
        observations=[
            Observation(metric, unit, "b", tuple(samples)) for metric, unit, samples in observations
        ],
        traits=[Trait(metric, unit, "b", word) for metric, unit, word in traits],
        absences=[Absence(metric, unit, "b", reason) for metric, unit, reason in absences],
    )


def fleet_of(metric, values, unit=node):
    return [(metric, unit(name), (value,)) for name, value in values.items()]


def even(value, **others):
    return dict.fromkeys(NODES, value) | others


def slow_node3(observations=(), traits=(), absences=()):
    """node3 is 38 % slower; what is told of it."""
    speeds = fleet_of(SPEED, even(1000.0, node3=620.0), device)
    evidence = made([*speeds, *observations], traits, absences)
    return name_culprits(evidence, (require(SPEED, {"node3": 0.62}),))


# ---- Symptoms and clues ----


def test_a_slow_node_is_named_with_what_it_lacks():
    (found,) = slow_node3()
    assert found == Culprit(
        unit="node3", nodes=("node3",), criteria=(f"c-{SPEED}",), symptom="-38 % LeNet", clues=()
    )


def test_a_quota_that_only_it_has_explains():
    absences = [
        ("identity.cpu_limit_cores", node(name), "no CPU quota is set") for name in NODES if name != "node3"
    ]
    (found,) = slow_node3([("identity.cpu_limit_cores", node("node3"), (0.2,))], absences=absences)
    assert tell_culprit(found) == "node3: -38 % LeNet; CPU quota 0.2 of a core; the fleet has none"


@pytest.mark.parametrize(
    ("metric", "values", "clue"),
    [
        (
            "identity.cores_visible",
            even(64.0, node3=5.0),
            "5 visible hardware threads where the fleet has 64",
        ),
        ("identity.memory_bytes", even(512e9, node3=448e9), "memory of 448 GB where the fleet has 512 GB"),
        ("identity.gpus", even(8.0, node3=7.0), "7 GPUs where the fleet has 8"),
        ("health.cpu_throttled_s", even(0.0, node3=5.25), "held back by a CPU quota for 5.2 s"),
        ("health.foreign_cores", even(0.1, node3=1.2), "foreign load: 1.2 cores where the fleet has 0.1"),
        ("identity.cpu_limit_cores", even(8.0, node3=2.0), "CPU quota 2 cores; the fleet has 8"),
    ],
)
def test_a_number_of_the_node_that_sticks_out_is_told(metric, values, clue):
    (found,) = slow_node3(fleet_of(metric, values))
    assert found.clues == (clue,)


@pytest.mark.parametrize(
    ("metric", "values", "clue"),
    [
        ("health.throttled_s", even(0.0, node3=3.1), "throttled by heat for 3.1 s"),
        ("health.temperature_c", even(61.0, node3=86.0), "86 °C where the fleet has 61 °C"),
        ("health.clock_mhz", even(1980.0, node3=1200.0), "clock of 1,200 MHz where the fleet has 1,980 MHz"),
        ("health.pcie_width", even(16.0, node3=8.0), "PCIe link x8 where the fleet has x16"),
        ("health.pcie_generation", even(5.0, node3=3.0), "PCIe generation 3 where the fleet has 5"),
        ("health.ecc_uncorrected", even(0.0, node3=1.0), "1 uncorrected memory error"),
        ("health.xid", even(0.0, node3=2.0), "2 XID events"),
        ("health.remapped_rows", even(0.0, node3=4.0), "4 remapped rows"),
        ("matrix.flops_per_s", even(2e12, node3=1e12), "-50 % matrix product"),
        ("train.alexnet.images_per_s", even(100.0, node3=60.0), "-40 % AlexNet"),
    ],
)
def test_a_number_of_the_device_that_sticks_out_is_told(metric, values, clue):
    (found,) = slow_node3(fleet_of(metric, values, device))
    assert found.clues == (clue,)


@pytest.mark.parametrize(
    ("metric", "values"),
    [
        ("health.temperature_c", even(61.0, node3=64.0)),  # as near as rooms differ
        ("health.temperature_c", even(61.0, node3=40.0)),  # cooler than others explains no loss
        ("health.clock_mhz", even(1980.0, node3=2100.0)),
        ("matrix.flops_per_s", even(2e12, node3=1.95e12)),
        ("health.throttled_s", even(0.0, node3=0.1)),
        (
            "health.temperature_c",
            {"node1": 50.0, "node2": 60.0, "node3": 75.0, "node4": 70.0},
        ),  # all of them scatter
    ],
)
def test_what_does_not_stick_out_is_not_told(metric, values):
    assert slow_node3(fleet_of(metric, values, device))[0].clues == ()


@pytest.mark.parametrize(
    ("metric", "usual", "own", "clue"),
    [
        ("identity.version.torch", "2.10.0", "2.9.0", "torch 2.9.0 where the fleet has 2.10.0"),
        ("identity.kernel", "6.1.0", "5.10.0", "kernel 5.10.0 where the fleet has 6.1.0"),
        (
            "identity.governor",
            "performance",
            "powersave",
            "governor powersave where the fleet has performance",
        ),
        ("identity.versions", '{"a":"1","b":"2"}', '{"a":"1","b":"3"}', "b 3 where the fleet has 2"),
        ("identity.nic_name", "ib0", "eth0", "network interface eth0 where the fleet has ib0"),
    ],
)
def test_a_word_that_only_it_has_is_told(metric, usual, own, clue):
    traits = [(metric, node(name), own if name == "node3" else usual) for name in NODES]
    assert slow_node3(traits=traits)[0].clues == (clue,)


def test_versions_are_told_library_by_library_where_they_are_known_so():
    words = {
        "identity.versions": ('{"torch":"2.10"}', '{"torch":"2.9"}'),
        "identity.version.torch": ("2.10", "2.9"),
    }
    traits = [
        (m, node(name), own if name == "node3" else usual)
        for m, (usual, own) in words.items()
        for name in NODES
    ]
    assert slow_node3(traits=traits)[0].clues == ("torch 2.9 where the fleet has 2.10",)


def test_where_words_are_split_none_is_odd():
    traits = [("identity.kernel", node(name), word) for name, word in zip(NODES, "aabb", strict=True)]
    assert slow_node3(traits=traits)[0].clues == ()


def test_what_disturbs_is_named():
    words = [("health.foreign", node("node3"), "stress (pid 7): 1.2 cores")]
    (found,) = slow_node3(fleet_of("health.foreign_cores", even(0.0, node3=1.2)), traits=words)
    assert found.clues == ("foreign load: 1.2 cores (stress (pid 7): 1.2 cores)",)


def test_why_it_could_not_tell_what_others_did_is_a_clue_once():
    names = ("matrix.flops_per_s", "arithmetic.lenet.repeatable")
    numbers = [(name, device(one), (1.0,)) for name in names for one in NODES if one != "node3"]
    absences = [(name, device("node3"), "rank 2 killed by signal 9 (SIGKILL) at step 57") for name in names]
    (found,) = slow_node3(numbers, absences=absences)
    assert found.clues == ("no matrix, arithmetic: rank 2 killed by signal 9 (SIGKILL) at step 57",)


def test_only_like_is_compared_with_like():
    speeds = fleet_of(SPEED, even(1000.0, node3=620.0), device)
    hot = [
        ("health.temperature_c", device(name, GPU if name in {"node1", "node2"} else CPU), (value,))
        for name, value in {"node1": 60.0, "node2": 60.0, "node3": 90.0, "node4": 61.0}.items()
    ]
    (found,) = name_culprits(made([*speeds, *hot]), (require(SPEED, {"node3": 0.62}),))
    # Two alike are no fleet.
    assert found.clues == ()


def test_two_nodes_are_no_fleet_to_differ_from():
    speeds = fleet_of(SPEED, {"node1": 100.0, "node2": 60.0}, device)
    clue = fleet_of("health.temperature_c", {"node1": 60.0, "node2": 90.0}, device)
    (found,) = name_culprits(made([*speeds, *clue], nodes=NODES[:2]), (require(SPEED, {"node2": 0.75}),))
    assert (found.symptom, found.clues) == ("-25 % LeNet", ())


def test_a_node_that_was_lost_is_told_so():
    finished = fleet_of("node.finished", even(1.0, node3=0.0))
    (found,) = name_culprits(made(finished), (require("node.finished", {"node3": 0.0}, relative=False),))
    assert found.symptom == "did not come to the end of its checks"


def test_a_wrong_word_is_told_with_the_fleets():
    traits = [("identity.kernel", node(name), "5" if name == "node3" else "6") for name in NODES]
    failed = require("identity.kernel", {"node3": "5"}, relative=False, threshold="6")
    (found,) = name_culprits(made(traits=traits), (failed,))
    assert (found.symptom, found.clues) == ("kernel 5 where the fleet has 6", ())


def test_wrong_arithmetic_names_the_first_step_that_differs():
    own = {"digest": "bb", "losses": "0x1p+1 0x1p+2 0x1p+4"}
    usual = {"digest": "aa", "losses": "0x1p+1 0x1p+2 0x1p+3"}
    traits = [
        (f"arithmetic.lenet.{word}", device(name), (own if name == "node3" else usual)[word])
        for name in NODES
        for word in own
    ]
    failed = require("arithmetic.lenet.digest", {"node3": "bb"}, relative=False, threshold="aa")
    (found,) = name_culprits(made(traits=traits), (failed,))
    assert found.symptom == "computes other numbers than the fleet with LeNet from step 3 on"
    assert found.clues == ()


def test_an_absolute_line_is_told_with_the_fleets_number():
    hot = fleet_of("health.temperature_c", even(61.0, node3=86.0), device)
    failed = require("health.temperature_c", {"node3": 86.0}, relative=False, threshold=80.0)
    assert name_culprits(made(hot), (failed,))[0].symptom == "86 °C where the fleet has 61 °C"


def test_what_is_held_against_a_baseline_says_so():
    speeds = fleet_of(SPEED, even(1000.0), device)
    failed = require(SPEED, {"node3": 0.9}, asked="at least 95 % of the baseline")
    assert name_culprits(made(speeds), (failed,))[0].symptom == "-10 % LeNet against the baseline"


def test_several_failures_of_a_unit_are_one_culprit():
    speeds = fleet_of(SPEED, even(1000.0, node3=620.0), device) + fleet_of(
        "identity.cores_visible", even(64.0, node3=5.0)
    )
    requirements = (
        require(SPEED, {"node3": 0.62}),
        require("identity.cores_visible", {"node3": 5.0}, relative=False),
    )
    (found,) = name_culprits(made(speeds), requirements)
    assert found.symptom == "5 visible hardware threads where the fleet has 64, -38 % LeNet"
    assert found.criteria == (f"c-{SPEED}", "c-identity.cores_visible")
    assert found.clues == ()


def test_what_is_only_advised_names_nobody():
    speeds = fleet_of(SPEED, even(1000.0, node3=620.0), device)
    assert name_culprits(made(speeds), (require(SPEED, {"node3": 0.62}, severity="advisory"),)) == ()


def test_a_long_list_of_clues_is_cut():
    traits = [
        (f"identity.version.lib{number}", node(name), "1" if name == "node3" else "2")
        for number in range(20)
        for name in NODES
    ]
    (found,) = slow_node3(traits=traits)
    assert len(found.clues) == 9
    assert found.clues[-1] == "and 12 more"


# ---- Devices ----


def gpus(values):
    return [
        (SPEED, device(f"{name}/GPU-{number}", GPU), (value,)) for (name, number), value in values.items()
    ]


def test_one_bad_device_is_itself_the_culprit_with_what_its_node_tells():
    values = {(name, number): 100.0 for name in NODES for number in range(2)} | {("node3", 1): 70.0}
    quota = fleet_of("identity.cores_visible", even(64.0, node3=5.0))
    hot = [
        (
            "health.temperature_c",
            device(f"{name}/GPU-{number}", GPU),
            (90.0 if number == 0 and name == "node3" else 60.0,),
        )
        for name, number in values
    ]
    evidence = made([*gpus(values), *quota, *hot])
    (found,) = name_culprits(evidence, (require(SPEED, {"node3/GPU-1": 0.7}),))
    assert (found.unit, found.nodes, found.symptom) == ("node3/GPU-1", ("node3",), "-30 % LeNet")
    # Not the heat of the GPU beside it.
    assert found.clues == ("5 visible hardware threads where the fleet has 64",)


def test_a_node_all_of_whose_devices_are_bad_is_the_culprit():
    values = {(name, number): 100.0 for name in NODES for number in range(2)}
    values |= {("node3", 0): 70.0, ("node3", 1): 60.0}
    (found,) = name_culprits(made(gpus(values)), (require(SPEED, {"node3/GPU-0": 0.7, "node3/GPU-1": 0.6}),))
    assert (found.unit, found.symptom) == ("node3", "-40 % LeNet")


# ---- Links ----

BANDWIDTH = "link.bandwidth_bytes_per_s"


def links(bad, nodes=NODES):
    """All pairs, and a requirement that some of them fail."""
    names = {frozenset(pair): "-".join(pair) for pair in combinations(nodes, 2)}
    broken = {frozenset(pair) for pair in bad}
    observations = [
        (BANDWIDTH, Unit("pair", name, tuple(name.split("-"))), (2e9 if pair in broken else 1e10,))
        for pair, name in names.items()
    ]
    failed = {names[pair]: 0.2 for pair in broken}
    members = {name: tuple(name.split("-")) for name in failed}
    return made(observations, nodes=nodes), (require(BANDWIDTH, failed, scope_nodes=members),)


def blamed(evidence, requirements, **options):
    return [found.unit for found in name_culprits(evidence, requirements, **options)]


def test_a_node_all_of_whose_links_are_slow_stands_for_them():
    evidence, requirements = links([("node3", other) for other in NODES if other != "node3"])
    (found,) = name_culprits(evidence, requirements)
    assert (found.unit, found.nodes, found.symptom) == ("node3", ("node3",), "-80 % link bandwidth")


def test_one_slow_link_is_the_pair():
    assert blamed(*links([("node1", "node3")])) == ["node1-node3"]


def test_where_all_are_slow_to_all_it_is_nobody_alone():
    assert blamed(*links(list(combinations(NODES, 2)))) == ["all links"]


def test_the_only_link_of_two_nodes_is_the_pair():
    assert blamed(*links([NODES[:2]], nodes=NODES[:2])) == ["node1-node2"]


def test_links_that_cross_a_switch_are_the_switch():
    crossing = [(one, other) for one in NODES[:2] for other in NODES[2:]]
    switches = {"leaf1": NODES[:2]}
    assert blamed(*links(crossing), switches=switches) == ["leaf1"]
    # Without knowing of it, each link stands for itself.
    assert len(blamed(*links(crossing))) == 4
    # One good link through it, and it is not the switch.
    assert len(blamed(*links(crossing[1:]), switches=switches)) == 3


def test_a_slow_node_and_another_slow_link_are_both_named():
    nodes = (*NODES, "node5", "node6")
    bad = [("node3", other) for other in nodes if other != "node3"] + [("node5", "node6")]
    assert blamed(*links(bad, nodes)) == ["node3", "node5-node6"]


def test_a_pair_is_told_with_what_is_odd_about_either_node():
    evidence, requirements = links([("node1", "node3")])
    nic = [
        Trait("identity.nic", node(name), "b", "eth, 10 Mbit/s" if name == "node3" else "ib, 400")
        for name in NODES
    ]
    more = Evidence(evidence.nodes, evidence.observations, nic, [])
    (found,) = name_culprits(more, requirements)
    assert found.clues == ("node3: network interface eth, 10 Mbit/s where the fleet has ib, 400",)


# ---- The whole ----


def test_what_is_slow_as_a_whole_names_nobody_but_its_smallest_part():
    metric = "allreduce.bandwidth_bytes_per_s"
    groups = {"all": NODES, "nodes node3,node4": ("node3", "node4"), "nodes node2,node3,node4": NODES[1:]}
    observations = [(metric, Unit("system", name, members), (1e9,)) for name, members in groups.items()]
    failed = require(metric, dict.fromkeys(groups, 0.3), scope_nodes=groups)
    assert blamed(made(observations), (failed,)) == ["nodes node3,node4"]
    whole = require(metric, {"all": 0.3}, scope_nodes={"all": NODES})
    assert blamed(made(observations), (whole,)) == []


def test_culprits_stand_in_the_order_of_the_fleet():
    speeds = fleet_of(SPEED, dict.fromkeys(NODES, 100.0), device)
    assert blamed(made(speeds), (require(SPEED, {"node4": 0.5, "node2": 0.5, "node3": 0.5}),)) == [
        "node2",
        "node3",
        "node4",
    ]


# ---- From records ----


def test_from_records_a_node_is_named_with_its_quota_and_its_library(tmp_path):
    run = write_acceptance_run(tmp_path)
    held = make_conditions(cpu_throttled_s=30.0)
    slow = {
        "identity": {
            "numbers": {"cpu_limit_cores": 0.2},
            "words": {"version.torch": "2.9.0", "boot_id": "c"},
        },
        "train": {"numbers": {"images_per_s": 620.0}, "conditions": held},
    }
    fine = {"train": {"conditions": make_conditions()}}
    write_healthy(run, NODES, dict.fromkeys(NODES, fine) | {"node3": slow})
    (found,) = name_culprits(gather([run], NODES), (require(SPEED, {"node3": 0.62}),))
    assert tell_culprit(found) == (
        "node3: -38 % LeNet; CPU quota 0.2 of a core; the fleet has none; "
        "torch 2.9.0 where the fleet has 2.10.0; held back by a CPU quota for 30.0 s"
    )


def test_from_records_a_node_that_was_lost_says_how(tmp_path):
    run = write_acceptance_run(tmp_path)
    write_looks(
        run, [make_look(check, name) for name in NODES for check in ("identity", "matrix") if name != "node3"]
    )
    write_exits(run, {(name, 0): KILLED if name == "node3" else {} for name in NODES})
    failed = require("node.finished", {"node3": 0.0}, relative=False)
    (found,) = name_culprits(gather([run], NODES), (failed,))
    assert found.symptom.startswith("did not come to the end of its checks: rank 2 killed by signal 9")
    assert found.clues == ("no identity, matrix: rank 2 killed by signal 9 (SIGKILL) at step 9",)


# ---- For Slurm ----


def culprit(unit="node3", symptom="-38 % LeNet", clues=(), nodes=("node3",)):
    return Culprit(unit=unit, nodes=nodes, criteria=("speed",), symptom=symptom, clues=tuple(clues))


def test_the_line_for_slurm_is_quoted():
    found = drain_lines([culprit(clues=["CPU quota 0.2 of a core"])])
    assert found == [
        "scontrol update NodeName=node3 State=DRAIN Reason='hpcdl: -38 % LeNet; CPU quota 0.2 of a core'"
    ]


def test_pairs_and_switches_have_no_line_and_devices_have_their_nodes():
    pair = culprit("node1-node2", nodes=("node1", "node2"))
    gpu = culprit("node3/GPU-8f1c2a3b", "-20 % LeNet")
    assert drain_lines([pair, gpu]) == [
        "scontrol update NodeName=node3 State=DRAIN Reason='hpcdl: GPU-8f1c2a3b: -20 % LeNet'"
    ]


def test_one_node_has_one_line():
    assert len(drain_lines([culprit(), culprit("node3/GPU-1", "86 °C")])) == 1


@given(st.text(max_size=400), st.lists(st.text(max_size=80), max_size=5))
def test_whatever_a_reason_holds_the_line_is_one_command(symptom, clues):
    (line,) = drain_lines([culprit(symptom=symptom, clues=clues)])
    words = shlex.split(line)
    assert words[:4] == ["scontrol", "update", "NodeName=node3", "State=DRAIN"]
    assert len(words) == 5
    assert words[4].startswith("Reason=hpcdl:")
    assert len(words[4]) <= len("Reason=") + LONGEST_REASON
    assert "\n" not in line
    assert "\r" not in line


# ---- Phrases ----


@given(
    st.sampled_from(["identity.kernel", "identity.versions", "arithmetic.lenet.digest", "x"]),
    st.text(),
    st.text(),
)
def test_any_words_can_be_told(metric, word, usual):
    assert "\n" not in tell_word(metric, word, usual)


def test_a_number_of_no_metric_is_told_by_its_name():
    assert (
        tell_number("train.lenet.spread", 0.509, 0.088) == "scatter of LeNet 50.9 % where the fleet has 8.8 %"
    )
    assert tell_number("check.thing", 3.0, 4.0) == "check.thing 3 where the fleet has 4"


@pytest.mark.parametrize(
    ("own", "usual", "step"), [("a b c", "a b c", None), ("a x c", "a b c", 2), ("", "a", None)]
)
def test_the_first_loss_that_differs(own, usual, step):
    assert find_divergence(own, usual) == step
