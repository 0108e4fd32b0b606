"""Records of an acceptance -> evidence: repeats are samples, what is not there says why, and no node is forgotten."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcdl.acceptance.folder import NodeState
from hpcdl.acceptance.gathering import gather
from hpcdl.acceptance.judging import judge
from hpcdl.durable import publish_record
from hpcdl.metering import Source
from hpcdl.records import Environment, Missing, Stretch
from tests.unit.checks_maker import (
    CPU,
    GPU,
    check_launch,
    make_look,
    write_acceptance_run,
    write_exits,
    write_healthy,
    write_looks,
    write_probe,
)
from tests.unit.fleets import make_suite
from tests.unit.records_maker import (
    KILLED,
    Recording,
    cancel,
    make_conditions,
    make_environment,
    record,
    write_exit,
    write_trace,
)

NODES = ("node1", "node2", "node3", "node4")
DONE = {(node, 0): {} for node in NODES}
LOSSY = {"outcome": "killed", "signal": 9, "exit_code": 137}


@pytest.fixture
def run(tmp_path):
    return write_acceptance_run(tmp_path)


def observed(evidence, metric):
    """Unit -> samples."""
    return {one.unit.name: one.samples for one in evidence.observations if one.metric == metric}


def absent(evidence, metric):
    """Unit -> why."""
    return {one.unit.name: one.reason for one in evidence.absences if one.metric == metric}


def worded(evidence, metric):
    return {one.unit.name: one.word for one in evidence.traits if one.metric == metric}


def state(node, word, reason="", hour=9):
    seen = datetime(2026, 12, 1, hour, tzinfo=UTC)
    return {node: NodeState(node=node, state=word, reason=reason, seen_utc=seen)}


# ---- Looks ----


def test_the_repeats_of_a_launch_are_the_samples_of_one_observation(run):
    looks = [
        make_look("train", "node2", repeat=repeat, numbers={"images_per_s": rate})
        for repeat, rate in ((3, 90.0), (1, 100.0), (2, 110.0))
    ]
    write_looks(run, looks)
    write_exits(run, DONE)
    evidence = gather([run], NODES)
    (found,) = [one for one in evidence.observations if one.metric == "train.lenet.images_per_s"]
    assert found.samples == (100.0, 110.0, 90.0)
    assert found.block == f"{run.run_id}/001-node"
    assert (found.unit.scope, found.unit.name, found.unit.nodes, found.unit.model) == (
        "device",
        "node2",
        ("node2",),
        CPU,
    )
    # Sample deviation 10 over a mean of 100.
    assert observed(evidence, "train.lenet.spread") == {"node2": (pytest.approx(0.1),)}


def test_a_node_that_was_cut_short_tells_how_far_it_came(run):
    """A person has cancelled the job: that is nobody's fault, and what there is is no whole check."""
    write_healthy(run, NODES[:3])
    write_looks(run, [make_look("matrix", "node4"), make_look("matrix", "node4", repeat=2)])
    write_exits(run, {("node4", 0): {"outcome": "stopped", "signal": 15, "exit_code": 143}})
    evidence = gather([run], NODES)
    assert observed(evidence, "matrix.flops_per_s")["node4"] == (1e12, 1e12)
    assert set(absent(evidence, "matrix.flops_per_s")) == {"node4"}
    assert absent(evidence, "matrix.flops_per_s")["node4"].startswith("2 of 3 repeats: rank 0 ")
    suite = make_suite({"metric": "matrix.flops_per_s", "at_least": "1 GFLOP/s"})
    found = {one.unit: one.outcome for one in judge(suite, evidence).requirements[0].decisions}
    assert found == dict.fromkeys(NODES[:3], "pass") | {"node4": "insufficient"}


def test_two_repeats_have_no_spread(run):
    write_looks(run, [make_look("train", repeat=repeat) for repeat in (1, 2)])
    write_exits(run, DONE)
    evidence = gather([run], NODES)
    assert observed(evidence, "train.lenet.spread") == {}
    assert absent(evidence, "train.lenet.spread")["node1"] == "2 of 3 repeats that a spread needs"


def test_two_launches_are_two_observations(tmp_path):
    runs = [write_acceptance_run(tmp_path, run_id=f"20261201-08000{number}-acc{number}") for number in (1, 2)]
    for run in runs:
        write_healthy(run, NODES)
    found = [one for one in gather(runs, NODES).observations if one.metric == "matrix.flops_per_s"]
    assert len(found) == 8
    assert {one.block for one in found} == {f"{run.run_id}/001-node" for run in runs}
    assert len({one.unit for one in found}) == 4


def test_words_are_traits_and_the_identity_of_all_nodes_is_compared(run):
    write_healthy(
        run, NODES, {"node3": {"identity": {"words": {"cpu": "another", "version.torch": "2.9.0"}}}}
    )
    evidence = gather([run], NODES)
    assert worded(evidence, "identity.cpu") == {"node1": CPU, "node2": CPU, "node3": "another", "node4": CPU}
    assert worded(evidence, "identity.version.torch")["node3"] == "2.9.0"
    assert {one.unit.model for one in evidence.traits if one.metric == "identity.cpu"} == {""}


def test_a_number_that_could_not_be_read_is_an_absence(run):
    write_healthy(run, NODES)
    evidence = gather([run], NODES)
    assert observed(evidence, "identity.cpu_limit_cores") == {}
    assert absent(evidence, "identity.cpu_limit_cores")["node1"] == "no CPU quota is set"


def test_what_could_not_be_looked_at_is_an_absence_of_all_its_metrics(run):
    failed = {"outcome": "could not look", "reason": "torch cannot be loaded", "numbers": {}, "words": {}}
    write_looks(
        run,
        [make_look("arithmetic", "node1", **failed), make_look("matrix", "node1", **failed | {"device": ""})],
    )
    write_exits(run, DONE)
    evidence = gather([run], NODES)
    for metric in ("arithmetic.lenet.digest", "arithmetic.lenet.repeatable", "matrix.flops_per_s"):
        assert absent(evidence, metric)["node1"] == "torch cannot be loaded"
        assert absent(evidence, metric)["node2"] == "it was planned, and left no record"


def test_what_a_look_does_not_tell_is_told_apart_from_a_look_that_is_not_there(run):
    look = make_look("identity", "node1")
    words = {name: word for name, word in look.words.items() if name != "driver"}
    write_looks(run, [look.model_copy(update={"words": words})])
    write_exits(run, DONE)
    told = absent(gather([run], NODES), "identity.driver")
    assert told["node1"] == "it was looked for, and is not told there"
    assert told["node2"] == "it was planned, and left no record"


def test_a_failed_look_stays_beside_the_repeats_that_went_well(run):
    looks = [
        make_look("matrix", repeat=1),
        make_look("matrix", repeat=2, outcome="could not look", reason="lost", numbers={}),
    ]
    write_looks(run, looks)
    write_exits(run, DONE)
    evidence = gather([run], NODES)
    assert observed(evidence, "matrix.flops_per_s")["node1"] == (1e12,)
    assert absent(evidence, "matrix.flops_per_s")["node1"] == "lost"


def test_every_metric_of_every_planned_check_is_there_or_absent_for_every_node(run):
    write_looks(run, [make_look("identity", "node1")])
    evidence = gather([run], NODES)
    told = {
        (one.metric, one.unit.name) for one in (*evidence.observations, *evidence.traits, *evidence.absences)
    }
    for metric in (
        "node.finished",
        "identity.kernel",
        "arithmetic.lenet.digest",
        "matrix.flops_per_s",
        "train.lenet.images_per_s",
        "train.lenet.images_per_j",
        "train.lenet.power_w",
        "train.lenet.spread",
        "health.temperature_c",
        "health.cpu_throttled_s",
    ):
        assert {(metric, node) for node in NODES} <= told, metric
    # No node has a GPU, so far as anybody knows.
    assert not any(metric == "health.ecc_uncorrected" for metric, _ in told)
    assert not any(metric.startswith(("memory.", "storage.", "soak.")) for metric, _ in told)


def test_gpus_are_units_by_their_uuid(tmp_path):
    run = write_acceptance_run(tmp_path, nodes=1, tasks=2, gpus=2, checks=("train", "health"))
    uuids = ["8f1c2a3b-1111-2222-3333-444444444444", "GPU-9f1c2a3b-1111-2222-3333-444444444444"]
    looks = [
        make_look(check, "node1", rank, device=uuids[rank], model=GPU, numbers=numbers)
        for rank in (0, 1)
        for check, numbers in (
            ("train", {"images_per_s": 100.0 + rank}),
            (
                "health",
                {"temperature_c": 60.0, "throttled_s": 0.0, "xid": Missing(missing="NVML: Not Supported")},
            ),
        )
    ]
    write_looks(run, looks)
    write_exits(run, {("node1", 0): {}, ("node1", 1): {}})
    evidence = gather([run], ("node1",))
    names = ("node1/GPU-8f1c2a3b", "node1/GPU-9f1c2a3b")
    assert observed(evidence, "train.lenet.images_per_s") == {names[0]: (100.0,), names[1]: (101.0,)}
    assert observed(evidence, "health.throttled_s") == dict.fromkeys(names, (0.0,))
    assert absent(evidence, "health.xid") == dict.fromkeys(names, "NVML: Not Supported")
    # Not told at all, and yet a GPU has it.
    assert set(absent(evidence, "health.ecc_uncorrected")) == set(names)
    assert {one.unit.model for one in evidence.observations if one.unit.scope == "device"} == {GPU}


def test_the_health_of_gpus_that_no_rank_computes_on_is_of_these_gpus(tmp_path):
    run = write_acceptance_run(tmp_path, checks=("train", "health"))
    uuid = "GPU-aaaaaaaa-0000-4000-8000-000000000000"
    looks = [look for node in NODES for look in (make_look("train", node), make_look("health", node))]
    looks.append(make_look("health", "node1", device=uuid, model=GPU, numbers={"throttled_s": 3.1}))
    write_looks(run, looks)
    write_exits(run, DONE)
    evidence = gather([run], NODES)
    assert observed(evidence, "health.throttled_s") == {"node1/GPU-aaaaaaaa": (3.1,)}
    assert observed(evidence, "health.temperature_c") == dict.fromkeys(NODES, (60.0,))
    assert "node1/GPU-aaaaaaaa" in absent(evidence, "health.ecc_uncorrected")
    assert "node1" not in absent(evidence, "health.ecc_uncorrected")


def test_several_ranks_on_processors_are_told_apart_and_the_worst_counts_for_the_node(tmp_path):
    run = write_acceptance_run(tmp_path, nodes=1, tasks=2, checks=("train",))
    looks = [
        make_look(
            "train",
            "node1",
            rank,
            repeat=repeat,
            conditions=make_conditions(
                rank,
                cpu_throttled_s=held_s,
                foreign_cores=Missing(missing="the first rank of the host looks for all") if rank else 0.3,
            ),
        )
        for rank, repeat, held_s in ((0, 1, 0.0), (0, 2, 0.5), (1, 1, 2.0), (1, 2, 0.1))
    ]
    write_looks(run, looks)
    evidence = gather([run], ("node1",))
    assert set(observed(evidence, "train.lenet.images_per_s")) == {"node1/0", "node1/1"}
    assert observed(evidence, "health.cpu_throttled_s") == {"node1": (2.0, 0.5)}
    assert observed(evidence, "health.foreign_cores") == {"node1": (0.3, 0.3)}
    assert absent(evidence, "health.foreign_cores") == {}


def test_conditions_and_the_health_check_tell_of_one_device_and_the_worst_counts(tmp_path):
    run = write_acceptance_run(tmp_path, nodes=1, checks=("train", "health"))
    hot = make_conditions(temperature_c=85.0, clock_mhz=2900.0)
    write_looks(run, [make_look("health"), make_look("train", conditions=hot)])
    evidence = gather([run], ("node1",))
    assert observed(evidence, "health.temperature_c") == {"node1": (85.0,)}
    assert observed(evidence, "health.clock_mhz") == {"node1": (2600.0,)}


def test_hosts_outside_the_fleet_are_left_out_and_longer_names_are_known(run):
    write_looks(run, [make_look("matrix", "node1.cluster.example"), make_look("matrix", "login1")])
    assert observed(gather([run], NODES), "matrix.flops_per_s") == {"node1": (1e12,)}


def test_torn_lines_cost_themselves_only(run):
    folder = write_healthy(run, NODES)
    path = folder.checks_path("node2")
    before = gather([run], NODES)
    path.write_bytes(path.read_bytes() + b'{"schema_version":1,"check":"tra')
    assert gather([run], NODES) == before


def test_a_run_whose_job_cannot_be_read_is_left_out(run):
    write_healthy(run, NODES)
    run.job_path.write_text('{"schema_version": 1, "run')
    evidence = gather([run], NODES)
    assert evidence.nodes == NODES
    assert [*evidence.observations, *evidence.traits, *evidence.absences] == []


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.one_of(st.binary(max_size=60), st.sampled_from([b"{}", b"null", b'{"check":"train"}'])), max_size=6
    )
)
def test_whatever_stands_between_the_lines_changes_nothing(lines):
    with tempfile.TemporaryDirectory() as place:
        run = write_acceptance_run(Path(place), nodes=1)
        folder = write_healthy(run, ("node1",))
        before = gather([run], ("node1",))
        path = folder.checks_path("node1")
        path.write_bytes(b"\n".join([*lines, path.read_bytes()]))
        assert gather([run], ("node1",)) == before


# ---- Who came to the end ----


def finished(run, **states):
    evidence = gather([run], NODES, **states)
    return observed(evidence, "node.finished"), absent(evidence, "node.finished")


def test_nodes_that_said_so_have_finished(run):
    write_healthy(run, NODES)
    assert finished(run) == (dict.fromkeys(NODES, (1.0,)), {})


@pytest.mark.parametrize(
    "changes",
    [
        KILLED,
        {"outcome": "hung", "exit_code": 1},
        {"outcome": "failed", "exit_code": 1, "reason": "OSError: gone"},
    ],
)
def test_a_node_that_lost_a_rank_has_not(run, changes):
    write_looks(run, [make_look("identity", node) for node in NODES])
    write_exits(run, DONE | {("node3", 0): changes})
    observations, absences = finished(run)
    assert observations == {"node1": (1.0,), "node2": (1.0,), "node3": (0.0,), "node4": (1.0,)}
    assert absences == {}
    told = absent(gather([run], NODES), "matrix.flops_per_s")
    assert told["node3"].startswith(
        f"rank 2 {'killed by signal 9' if 'signal' in changes else changes['outcome']}"
    )


def test_a_node_that_fell_silent_was_lost(run):
    write_looks(run, [make_look("identity", node) for node in NODES])
    write_exits(run, {key: {} for key in DONE if key[0] != "node3"})
    observations, _ = finished(run)
    assert observations["node3"] == (0.0,)
    assert (
        absent(gather([run], NODES), "matrix.flops_per_s")["node3"]
        == "the rank was lost: it left no exit record"
    )


def test_while_the_job_runs_nobody_is_lost(run):
    write_looks(run, [make_look("identity", node) for node in NODES])
    write_exits(run, {("node1", 0): {}})
    observations, absences = finished(run, running={run.run_id})
    assert observations == {"node1": (1.0,)}
    assert absences["node3"] == "it has not been looked at yet"


def test_a_node_that_was_never_reached_is_absent(run):
    write_looks(run, [make_look("identity", "node1")])
    write_exits(run, {("node1", 0): {}})
    observations, absences = finished(run)
    assert observations == {"node1": (1.0,)}
    assert absences["node2"] == "the node was never reached"


def test_a_launch_that_never_started_says_nothing_of_any_node(run):
    observations, absences = finished(run)
    assert observations == {}
    assert absences == dict.fromkeys(NODES, "the launch never started")


def test_what_stops_all_nodes_is_no_nodes_fault(run):
    write_looks(run, [make_look("identity", node) for node in NODES])
    stopped = {"outcome": "stopped", "exit_code": 143, "reason": "ended by SIGTERM"}
    write_exits(run, DONE | {("node2", 0): stopped, ("node3", 0): stopped})
    observations, absences = finished(run)
    assert observations == {"node1": (1.0,), "node4": (1.0,)}
    assert set(absences) == {"node2", "node3"}
    assert "ended by SIGTERM" in absences["node2"]


def test_what_was_killed_because_a_person_cancelled_is_no_nodes_fault(run):
    write_looks(run, [make_look("identity", node) for node in NODES])
    write_exits(run, dict.fromkeys(DONE, LOSSY))
    assert set(finished(run)[0].values()) == {(0.0,)}
    cancel(run)
    assert finished(run)[0] == {}


def test_one_that_refused_to_be_measured_is_not_known(run):
    write_exits(run, DONE | {("node2", 0): {"outcome": "refused", "exit_code": 3, "reason": "no room"}})
    observations, absences = finished(run)
    assert "node2" not in observations
    assert absences["node2"] == "rank 1 refused to be measured: no room"


@pytest.mark.parametrize(
    ("word", "reason", "lost"),
    [
        ("DOWN", "Not responding", True),
        ("DOWN*", "", True),
        ("down*", "", True),
        ("IDLE+NOT_RESPONDING", "", True),
        ("IDLE+DRAIN", "Kill task failed", True),
        ("drained", "Low RealMemory (reported:1 < 100.00% of configured:2)", True),
        ("FAIL", "", True),
        ("IDLE+DRAIN", "new fan on Tuesday", False),
        ("IDLE+DRAIN", "", False),
        ("MIXED", "", False),
        ("ALLOCATED+PLANNED", "", False),
        ("idle~", "", False),
    ],
)
def test_slurms_word_tells_of_a_node_that_was_lost_meanwhile(run, word, reason, lost):
    write_healthy(run, NODES)
    found = [
        one.samples
        for one in gather([run], NODES, states=state("node3", word, reason)).observations
        if one.metric == "node.finished" and one.unit.name == "node3"
    ]
    assert found == [(1.0,), (0.0,)] if lost else [(1.0,)]


def test_what_slurm_said_before_a_node_worked_again_is_overtaken(run):
    write_healthy(run, NODES)
    evidence = gather([run], NODES, states=state("node3", "DOWN", "Not responding", hour=7))
    assert observed(evidence, "node.finished") == dict.fromkeys(NODES, (1.0,))


def test_a_node_that_was_down_before_it_was_ever_reached_is_absent_with_slurms_word(run):
    write_looks(run, [make_look("identity", node) for node in NODES[:3]])
    write_exits(run, {key: {} for key in DONE if key[0] != "node4"})
    evidence = gather([run], NODES, states=state("node4", "DOWN", "Not responding"))
    assert "node4" not in observed(evidence, "node.finished")
    for metric in ("node.finished", "matrix.flops_per_s"):
        assert absent(evidence, metric)["node4"] == "Slurm says that node4 is DOWN (Not responding)"


def test_nodes_that_no_job_has_taken_are_told_of(tmp_path):
    run = write_acceptance_run(tmp_path, nodes=1, nodelist="node2")
    evidence = gather([run], NODES)
    assert absent(evidence, "matrix.flops_per_s") == {
        "node1": "the node was never reached",
        "node2": "the launch never started",
        "node3": "the node was never reached",
        "node4": "the node was never reached",
    }


def test_what_slurm_began_anew_is_no_measurement(run):
    write_looks(run, [make_look("matrix", node) for node in NODES])
    write_exits(run, {key: {"restart": 1} for key in DONE})
    evidence = gather([run], NODES)
    assert observed(evidence, "matrix.flops_per_s") == {}
    assert "restarted" in absent(evidence, "matrix.flops_per_s")["node1"]
    assert observed(evidence, "node.finished") == {}


# ---- Power ----


def write_power(run, source, watts, *, looks=None, end_s=120.0, **conditions):
    """node1 trains from 100 to 110 s, and has a meter."""
    told = make_conditions(
        stretches=(Stretch(first_step=2, steps=20, begin_s=100.0, end_s=110.0),), **conditions
    )
    folder = write_looks(run, looks or [make_look("train", "node1", conditions=told)])
    write_exits(run, {("node1", rank): {} for rank in range(check_launch(run)[0].tasks_per_node)})
    write_trace(folder, "node1", {source: lambda at_s: {"power_w": watts}}, begin_s=90.0, end_s=end_s)
    return told


def node_meter(**changes):
    usual = {
        "name": "node",
        "sensor": "hwmon",
        "covers": "node",
        "power": "average",
        "update_s": 0.1,
        "averaging_s": 0.1,
    }
    return Source(**usual | changes)


@pytest.fixture
def powered(tmp_path):
    return write_acceptance_run(tmp_path, nodes=1, checks=("train",), power=True)


def test_images_per_joule_are_those_of_the_window_over_what_the_meters_say(powered):
    write_power(powered, node_meter(), 250.0)
    evidence = gather([powered], ("node1",))
    # 1,000 images/s at 250 W.
    assert observed(evidence, "train.lenet.images_per_j") == {"node1": (pytest.approx(4.0),)}
    assert observed(evidence, "train.lenet.power_w") == {"node1": (pytest.approx(250.0),)}
    (unit,) = {one.unit for one in evidence.observations if one.metric == "train.lenet.power_w"}
    assert (unit.scope, unit.model) == ("node", CPU)


def test_an_estimate_is_no_evidence(powered):
    write_power(powered, node_meter(sensor="estimate", basis="TDP of 400 W", covers="package"), 250.0)
    evidence = gather([powered], ("node1",))
    assert observed(evidence, "train.lenet.images_per_j") == {}
    assert "only estimated" in absent(evidence, "train.lenet.images_per_j")["node1"]


def test_a_window_that_is_too_short_for_the_meter_says_so(powered):
    told = make_conditions(stretches=(Stretch(first_step=2, steps=20, begin_s=100.0, end_s=101.0),))
    look = make_look("train", "node1", conditions=told, end_s=101.0)
    write_power(powered, node_meter(), 250.0, looks=[look])
    assert "too short for this meter" in absent(gather([powered], ("node1",)), "train.lenet.power_w")["node1"]


def test_without_readings_there_is_no_power(powered):
    write_looks(powered, [make_look("train", "node1")])
    write_exits(powered, {("node1", 0): {}})
    told = absent(gather([powered], ("node1",)), "train.lenet.power_w")
    assert told == {"node1": "no sampler has left readings of this node"}


def test_the_ranks_of_a_node_count_while_all_of_them_train(tmp_path):
    run = write_acceptance_run(tmp_path, nodes=1, tasks=2, checks=("train",), power=True)
    told = make_conditions(stretches=(Stretch(first_step=2, steps=20, begin_s=100.0, end_s=110.0),))
    looks = [
        make_look("train", "node1", 0, conditions=told),
        make_look("train", "node1", 1, conditions=make_conditions(1), begin_s=101.0, end_s=112.0),
    ]
    write_power(run, node_meter(), 500.0, looks=looks)
    assert observed(gather([run], ("node1",)), "train.lenet.images_per_j") == {"node1": (pytest.approx(4.0),)}


def test_ranks_that_trained_at_other_times_have_no_common_power(tmp_path):
    run = write_acceptance_run(tmp_path, nodes=1, tasks=2, checks=("train",), power=True)
    told = make_conditions(stretches=(Stretch(first_step=2, steps=20, begin_s=100.0, end_s=110.0),))
    looks = [
        make_look("train", "node1", 0, conditions=told),
        make_look("train", "node1", 1, begin_s=108.0, end_s=118.0),
    ]
    write_power(run, node_meter(), 500.0, looks=looks)
    reason = absent(gather([run], ("node1",)), "train.lenet.images_per_j")["node1"]
    assert reason == "its ranks trained together for 20 % of the time only"


def test_two_nodes_that_are_one_machine_share_its_meter(tmp_path):
    run = write_acceptance_run(tmp_path, nodes=2, checks=("train",), power=True)
    told = make_conditions(stretches=(Stretch(first_step=2, steps=20, begin_s=100.0, end_s=110.0),))
    folder = write_looks(run, [make_look("train", node, conditions=told) for node in NODES[:2]])
    for node in NODES[:2]:
        meter = {node_meter(): lambda at_s: {"power_w": 250.0}}
        write_trace(folder, node, meter, begin_s=90.0, end_s=120.0, boot_id="one")
    evidence = gather([run], NODES[:2])
    reason = absent(evidence, "train.lenet.power_w")["node1"]
    assert reason == "its meters are those of 2 nodes that are one machine"
    assert evidence.rehearsal == "2 hosts share one boot id"


# ---- Between nodes ----


def probe(run, test, bandwidths, *, how=None, **changes):
    launch = next(one for one in run.job().launches if one.test == test)
    how = how or Recording(outcome="completed")
    folder = write_probe(run, test, bandwidths=bandwidths, **changes)
    publish_record(folder.environment_path, make_environment(launch, how))
    for rank in range(launch.world_size):
        write_exit(folder, launch, rank, how)
    return folder


PAIRS = {(a, b): 1e10 for a in range(4) for b in range(a + 1, 4)}


@pytest.fixture
def linked(tmp_path):
    return write_acceptance_run(tmp_path, tests=("links", "links-half-1", "links-half-2"))


def test_links_are_units_of_two_nodes(linked):
    probe(linked, "links", PAIRS | {(0, 2): 3e9})
    evidence = gather([linked], NODES)
    found = observed(evidence, "link.bandwidth_bytes_per_s")
    assert set(found) == {f"node{a + 1}-node{b + 1}" for a, b in PAIRS}
    assert found["node1-node3"] == (3e9,)
    assert observed(evidence, "link.latency_s")["node2-node4"] == (2e-6,)


def test_a_pair_that_is_not_in_the_table_is_absent_and_no_number(linked):
    probe(linked, "links", {pair: rate for pair, rate in PAIRS.items() if pair != (1, 3)})
    evidence = gather([linked], NODES)
    for metric in ("link.bandwidth_bytes_per_s", "link.latency_s"):
        assert len(observed(evidence, metric)) == 5
        assert absent(evidence, metric) == {"node2-node4": "the probe has not measured this pair"}


def test_halves_do_not_stand_for_the_links_between_them(linked):
    """The probe over all nodes was lost, and those over its halves went well."""
    probe(linked, "links", {}, how=Recording(outcomes={2: KILLED}))
    for test, hosts in (("links-half-1", NODES[:2]), ("links-half-2", NODES[2:])):
        folder = probe(linked, test, {(0, 1): 1e10})
        known = Environment.model_validate_json(folder.environment_path.read_bytes())
        named = [
            host.model_copy(update={"host": name}) for host, name in zip(known.hosts, hosts, strict=True)
        ]
        folder.environment_path.unlink()
        publish_record(folder.environment_path, known.model_copy(update={"hosts": tuple(named)}))
    evidence = gather([linked], NODES)
    assert set(observed(evidence, "link.latency_s")) == {"node1-node2", "node3-node4"}
    assert "killed by signal 9" in absent(evidence, "link.latency_s")["all"]
    suite = make_suite({"metric": "link.latency_s", "at_most": "1 ms"})
    assert {one.unit: one.outcome for one in judge(suite, evidence).requirements[0].decisions} == {
        "node1-node2": "pass",
        "node3-node4": "pass",
        "all": "insufficient",
    }


def test_the_allreduce_is_held_against_the_usual_link(linked):
    probe(linked, "links", PAIRS | {(0, 2): 3e9}, seconds=0.02)
    evidence = gather([linked], NODES)
    bus = 2 * 3 / 4 * 2**26 / 0.02
    assert observed(evidence, "allreduce.bandwidth_bytes_per_s") == {"all": (pytest.approx(bus),)}
    assert observed(evidence, "allreduce.expected_ratio") == {"all": (pytest.approx(bus / 1e10),)}
    (one,) = [one for one in evidence.observations if one.metric == "allreduce.bandwidth_bytes_per_s"]
    assert (one.expected, one.unit.scope, one.unit.nodes) == (1e10, "system", NODES)


def test_a_part_of_the_nodes_is_named_by_them(linked):
    how = Recording(host={})
    probe(linked, "links-half-1", {(0, 1): 1e10}, how=how)
    evidence = gather([linked], NODES)
    assert set(observed(evidence, "allreduce.bandwidth_bytes_per_s")) == {"nodes node1,node2"}
    # The others never met.
    assert set(absent(evidence, "allreduce.bandwidth_bytes_per_s")) == {"all", "links-half-2"}


def test_a_probe_that_failed_tells_why_for_pairs_and_for_all(linked):
    probe(linked, "links", PAIRS, how=Recording(outcomes={2: KILLED}))
    evidence = gather([linked], NODES)
    for metric in ("link.bandwidth_bytes_per_s", "link.latency_s", "allreduce.expected_ratio"):
        assert "killed by signal 9" in absent(evidence, metric)["all"]
    assert observed(evidence, "link.latency_s") == {}


def test_a_probe_without_pairs_still_tells_of_the_allreduce(linked):
    probe(linked, "links", {})
    evidence = gather([linked], NODES)
    assert absent(evidence, "link.latency_s")["all"] == "all ranks are on one node"
    assert set(observed(evidence, "allreduce.bandwidth_bytes_per_s")) == {"all"}
    assert "all" in absent(evidence, "allreduce.expected_ratio")


# ---- All together ----


def test_scaling_efficiency_is_of_the_largest_size(tmp_path):
    run = write_acceptance_run(tmp_path, tests=("scaling",))
    assert [launch.nodes for launch in run.job().launches] == [1, 4]
    record(run, 1, Recording(images_per_s=100.0))
    record(run, 2, Recording(images_per_s=360.0))
    evidence = gather([run], NODES)
    assert observed(evidence, "scaling.efficiency") == {"all": (pytest.approx(0.9, rel=1e-2),)}
    assert evidence.rehearsal is None


def test_a_part_of_a_fleet_that_has_grown_does_not_stand_for_all_of_it(tmp_path):
    run = write_acceptance_run(tmp_path, tests=("links", "scaling"))
    probe(run, "links", PAIRS)
    record(run, 2, Recording(images_per_s=100.0))
    record(run, 3, Recording(images_per_s=360.0))
    evidence = gather([run], (*NODES, "node5"))
    for metric in ("allreduce.expected_ratio", "scaling.efficiency"):
        assert set(observed(evidence, metric)) == {"nodes node1,node2,node3,node4"}
        assert absent(evidence, metric) == {"all": "it was measured over 4 of the 5 nodes"}
    suite = make_suite({"metric": "scaling.efficiency", "at_least": "50 %"})
    assert judge(suite, evidence).requirements[0].outcome == "insufficient"


def test_on_a_rehearsal_the_efficiency_is_withheld(tmp_path):
    run = write_acceptance_run(tmp_path, tests=("scaling",))
    record(run, 1, Recording(images_per_s=100.0, one_machine=True))
    record(run, 2, Recording(images_per_s=360.0, one_machine=True))
    evidence = gather([run], NODES)
    assert observed(evidence, "scaling.efficiency") == {}
    assert absent(evidence, "scaling.efficiency") == {"all": "4 hosts share one boot id"}
    assert evidence.rehearsal == "4 hosts share one boot id"


def test_a_scaling_that_was_lost_says_so(tmp_path):
    run = write_acceptance_run(tmp_path, tests=("scaling",))
    record(run, 1, Recording(images_per_s=100.0))
    record(run, 2, Recording(outcomes={1: KILLED}, summarised=False))
    assert "killed by signal 9" in absent(gather([run], NODES), "scaling.efficiency")["all"]


def test_convergence_is_the_accuracy(tmp_path):
    run = write_acceptance_run(tmp_path, tests=("convergence",))
    record(run, 1, Recording(accuracy=0.97))
    assert observed(gather([run], NODES), "convergence.accuracy") == {"all": (0.97,)}
    # All of a fleet that has grown since have learnt nothing together yet.
    grown = gather([run], (*NODES, "node5"))
    assert observed(grown, "convergence.accuracy") == {}
    assert absent(grown, "convergence.accuracy") == {"all": "it was measured over 4 of the 5 nodes"}


def test_without_an_accuracy_there_is_a_reason(tmp_path):
    run = write_acceptance_run(tmp_path, tests=("convergence",))
    record(run, 1, Recording())
    assert "no held-out part" in absent(gather([run], NODES), "convergence.accuracy")["all"]


# ---- Rehearsals ----


def test_the_looks_themselves_tell_the_machines_apart(run):
    def boot(node, boot_id):
        return {node: {"identity": {"words": {"boot_id": boot_id}}}}

    write_healthy(
        run, NODES, boot("node1", "a") | boot("node2", "b") | boot("node3", "c") | boot("node4", "d")
    )
    evidence = gather([run], NODES)
    assert evidence.rehearsal is None
    # It is the name of a machine, and no two are to agree on it.
    assert worded(evidence, "identity.boot_id") == {}


def test_where_no_record_tells_nobody_knows_how_many_machines_there_are(run):
    write_healthy(run, NODES)
    assert "could not be read" in gather([run], NODES).rehearsal


def test_several_ranks_of_one_machine_are_a_rehearsal(tmp_path):
    run = write_acceptance_run(tmp_path, nodes=1, tasks=2, executor="local")
    write_healthy(run, ("node1",))
    assert gather([run], ("node1",)).rehearsal == "2 ranks share one machine"


def test_the_order_of_runs_does_not_change_what_was_seen(tmp_path):
    runs = [write_acceptance_run(tmp_path, run_id=f"20261201-08000{number}-acc{number}") for number in (1, 2)]
    for run in runs:
        write_healthy(run, NODES[:3])
    one, other = gather(runs, NODES), gather(runs[::-1], NODES)
    assert set(one.observations) == set(other.observations)
    assert set(one.traits) == set(other.traits)
    assert set(one.absences) == set(other.absences)
