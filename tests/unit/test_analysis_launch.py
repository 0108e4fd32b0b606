"""The numbers of a launch, and those that it has not earned."""

from __future__ import annotations

import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcdl.analysis.ending import JobState
from hpcdl.analysis.job import analyse_run
from hpcdl.analysis.launch import analyse_launch
from hpcdl.analysis.machines import find_disguise, gather_machines
from hpcdl.analysis.readings import Withheld, combine_rates, derive
from hpcdl.analysis.steps import find_progress, measure_periods, measure_steps, trace_loss
from hpcdl.errors import Mistake
from hpcdl.records import Finding, Missing, Stretch
from hpcdl.store import LaunchFolder
from tests.unit.records_maker import (
    KILLED,
    STOPPED,
    Recording,
    cancel,
    make_conditions,
    make_step,
    record,
    tabulate,
    write_run,
)

FAILED = {"steps": 7, "outcomes": {0: STOPPED, 1: STOPPED, 2: KILLED, 3: STOPPED}, "summarised": False}


def test_a_completed_launch(tmp_path):
    run = write_run(tmp_path, nodes=(4,))
    launch = analyse_launch(record(run, 1, Recording(images_per_s=2000.0, accuracy=0.75)))
    assert launch.state == "completed"
    assert launch.images_per_s == pytest.approx(2000.0)
    assert launch.images_per_s_per_rank == pytest.approx(500.0)
    assert launch.accuracy == 0.75
    assert launch.statistics.median_s == pytest.approx(1024 / 2000)
    assert launch.statistics.p95_s == pytest.approx(1024 / 2000, rel=0.01)
    assert launch.statistics.median_s < launch.statistics.p95_s <= launch.statistics.p99_s
    assert 0 < launch.statistics.jitter < 0.01
    assert launch.interval.low < 2000.0 < launch.interval.high
    assert launch.interval.half_width < 0.005
    assert {check.outcome for check in launch.checks if check.needed} == {"held"}
    shares = launch.statistics
    assert (shares.input_share, shares.compute_share) == (pytest.approx(0.05), pytest.approx(0.70))
    assert (shares.exchange_share, shares.update_share) == (pytest.approx(0.15), pytest.approx(0.10))
    # Mean over the ranks 0 to 3, at the first step (of warm-up) and at the 42nd.
    assert launch.loss_first == pytest.approx(7.0 + 0.015)
    assert launch.loss_last == pytest.approx(7.0 / 42 + 0.015)
    assert launch.hosts == ("node1", "node2", "node3", "node4")
    assert len(launch.boot_ids) == 4
    assert launch.rehearsal is None
    assert not launch.partial
    assert (launch.story, launch.torn) == ("", ())
    assert [finding.partition(": ")[0] for finding in launch.findings] == ["could not look", "could not look"]
    assert (launch.engine, launch.transport, launch.device) == ("horovod", "mpi", "cpu")


def test_a_failed_launch_keeps_its_steps_and_publishes_no_throughput(tmp_path):
    launch = analyse_launch(record(write_run(tmp_path, nodes=(4,)), 1, Recording(**FAILED)))
    reason = Missing(missing="the launch stopped after 7 of 40 steps")
    assert launch.state == "failed"
    assert launch.images_per_s == launch.images_per_s_per_rank == launch.accuracy == reason
    assert launch.partial
    assert launch.statistics.median_s == pytest.approx(1.024, rel=0.01)
    assert launch.story.endswith("ranks 0, 1, 3 were ended after it. 7 steps are kept, marked partial.")


def test_a_summary_does_not_help_a_launch_whose_ranks_did_not_all_complete(tmp_path):
    how = Recording(**FAILED | {"summarised": True}, accuracy=0.9)
    launch = analyse_launch(record(write_run(tmp_path, nodes=(4,)), 1, how))
    assert isinstance(launch.images_per_s, Missing)
    assert isinstance(launch.accuracy, Missing)


def test_a_running_launch_has_progress_and_no_throughput(tmp_path):
    how = Recording(steps=7, outcome=None, summarised=False, images_per_s=2000.0)
    launch = analyse_launch(record(write_run(tmp_path, nodes=(4,)), 1, how))
    assert launch.state == "running"
    assert launch.images_per_s == Missing(missing="the launch is still running (7 of 40 steps)")
    assert launch.progress.text == "7 of 40 steps"
    assert launch.progress.warmup_done == 2
    assert launch.progress.images_per_s == pytest.approx(2000.0, rel=0.01)
    assert launch.progress.loss == pytest.approx(7.0 / 9 + 0.015)


def test_a_launch_that_has_not_started(tmp_path):
    launch = analyse_run(write_run(tmp_path)).launches[0]
    assert launch.state == "planned"
    reason = Missing(missing="the launch has not started")
    assert launch.images_per_s == launch.statistics.median_s == launch.loss_last == reason
    assert launch.torn == ()


def test_a_log_is_a_sign_of_life(tmp_path):
    run = write_run(tmp_path)
    folder = LaunchFolder(run.path / run.job().launches[0].name)
    folder.output_path.write_text("starting\n")
    assert analyse_launch(folder).state == "running"
    assert analyse_launch(folder, job=JobState(over=True, words="TIMEOUT")).state == "lost"


def test_a_lost_host_is_named_with_the_flag_that_leaves_it_out(tmp_path):
    run = write_run(tmp_path, nodes=[3], tasks_per_node=2)
    folder = record(
        run, 1, Recording(outcome="stopped", outcomes={2: None, 3: None, 4: None}, summarised=False)
    )
    launch = analyse_launch(folder, job=JobState(over=True, words="NODE_FAIL"))
    assert launch.state == "lost"
    # Of node3 a rank was heard.
    assert launch.story.endswith("To try again without: hpcdl submit … --exclude node2.")


@pytest.mark.parametrize(
    ("outcomes", "environment"), [(dict.fromkeys(range(2)), True), ({0: None}, False)], ids=["all", "unknown"]
)
def test_no_host_is_blamed_where_none_can_be_told_from_the_others(tmp_path, outcomes, environment):
    how = Recording(outcome="stopped", outcomes=outcomes, summarised=False, environment=environment)
    launch = analyse_launch(record(write_run(tmp_path, nodes=[2]), 1, how), job=JobState(over=True))
    assert launch.state == "lost"
    assert "--exclude" not in launch.story


def test_a_restarted_measurement_is_not_a_measurement(tmp_path):
    launch = analyse_launch(record(write_run(tmp_path), 1, Recording(restart=1)))
    assert launch.state == "completed"
    assert isinstance(launch.images_per_s, Missing)
    assert isinstance(launch.statistics.median_s, Missing)
    assert "restarted once" in launch.images_per_s.missing
    assert any("restarted" in finding for finding in launch.findings)


def test_what_the_preflight_could_not_look_at_is_told(tmp_path):
    findings = (Finding(check="cores", outcome="could not look", detail="no /proc here"),)
    launch = analyse_launch(record(write_run(tmp_path), 1, Recording(findings=findings)))
    assert "could not look: preflight: cores: no /proc here" in launch.findings
    assert not isinstance(launch.images_per_s, Missing)


def test_missing_step_records_are_told(tmp_path):
    launch = analyse_launch(record(write_run(tmp_path, nodes=(2,)), 1, Recording(steps=39)))
    reason = "78 of 80 step records of the measured window could be read"
    assert launch.state == "completed"
    assert reason in launch.findings
    assert launch.images_per_s.missing == reason


def test_a_torn_last_line_is_counted_and_left_out(tmp_path):
    folder = record(write_run(tmp_path), 1)
    path = folder.steps_path("node1")
    path.write_bytes(path.read_bytes()[:-20])
    launch = analyse_launch(folder)
    assert launch.progress.steps_done == 39
    assert len(launch.torn) == 1
    assert launch.torn[0].line == 42
    assert isinstance(launch.images_per_s, Missing)
    assert launch.state == "completed"


def test_a_torn_summary_is_no_summary(tmp_path):
    folder = record(write_run(tmp_path), 1)
    folder.summary_path.write_text(folder.summary_path.read_text()[:40])
    launch = analyse_launch(folder)
    assert launch.state == "failed"
    assert isinstance(launch.images_per_s, Missing)
    assert [torn.path for torn in launch.torn] == [folder.summary_path]


@pytest.fixture(scope="module")
def cut_launch(tmp_path_factory):
    """A launch with a steps file of a few lines, its bytes, and the steps in them."""
    run = write_run(tmp_path_factory.mktemp("cut"), nodes=(1,), steps=3, warmup=1)
    folder = record(run, 1)
    return folder, folder.steps_path("node1").read_bytes(), folder.steps()


def test_a_stream_cut_at_any_byte_never_raises_and_never_invents_a_step(cut_launch):
    folder, whole, steps = cut_launch
    for length in range(len(whole) + 1):
        folder.steps_path("node1").write_bytes(whole[:length])
        launch = analyse_launch(folder)
        read = folder.steps()
        whole_lines = whole[:length].count(b"\n")
        # The line is whole as soon as all but its newline is there.
        assert len(read) - whole_lines == (whole[length : length + 1] == b"\n")
        assert read.begin_s.tolist() == steps.begin_s[: len(read)].tolist()
        assert launch.progress.steps_done == len(read.measured)
        assert len(launch.torn) <= 1


@settings(deadline=None, max_examples=60)
@given(position=st.integers(0, 10_000), rubbish=st.binary(min_size=1, max_size=30))
def test_a_stream_overwritten_anywhere_never_raises(cut_launch, position, rubbish):
    folder, whole, _ = cut_launch
    at = position % len(whole)
    folder.steps_path("node1").write_bytes(whole[:at] + rubbish + whole[at + len(rubbish) :])
    launch = analyse_launch(folder)
    assert launch.state == "completed"
    assert len(folder.steps()) <= 4


def test_a_missing_plan_is_a_mistake_and_the_jobs_copy_does(tmp_path):
    run = write_run(tmp_path)
    folder = record(run, 1)
    folder.plan_path.unlink()
    with pytest.raises(Mistake, match=r"plan\.json"):
        analyse_launch(folder)
    assert analyse_run(run).launches[0].state == "completed"


def test_a_run_whose_launch_folder_was_purged(tmp_path):
    run = write_run(tmp_path, nodes=(1, 2))
    folder = record(run, 1)
    record(run, 2)
    shutil.rmtree(folder.path)
    result = analyse_run(run, JobState(over=True))
    assert [launch.state for launch in result.launches] == ["planned", "completed"]
    assert result.state == "lost"


def test_the_state_of_a_run(tmp_path):
    run = write_run(tmp_path, nodes=(1, 2))
    assert analyse_run(run).state == "planned"
    record(run, 1)
    assert analyse_run(run).state == "running"
    assert analyse_run(run, JobState(over=True)).state == "lost"
    record(run, 2)
    assert analyse_run(run).completed


def test_a_cancelled_run_was_stopped(tmp_path):
    run = write_run(tmp_path, nodes=(4,))
    record(run, 1, Recording(**FAILED))
    assert analyse_run(run).state == "failed"
    cancel(run)
    assert analyse_run(run).state == "stopped"
    assert analyse_run(run, JobState(over=False)).state == "running"


def test_without_its_steps_a_launch_has_no_throughput(tmp_path):
    """Nobody can tell whether it was steady: so the number is not published."""
    run = write_run(tmp_path)
    record(run, 1)
    launch = analyse_run(run, with_steps=False).launches[0]
    assert (
        launch.images_per_s == launch.statistics.median_s == Missing(missing="the step records were not read")
    )
    assert launch.loss_last == 0.5


def test_too_few_steps_are_withheld_with_what_they_would_have_been(tmp_path):
    launch = analyse_launch(record(write_run(tmp_path, steps=20), 1))
    assert isinstance(launch.images_per_s, Withheld)
    assert launch.images_per_s.missing == "20 steps are too few for an interval: 30 are needed"
    assert launch.images_per_s.value == pytest.approx(1000.0)
    assert launch.images_per_s_per_rank.value == pytest.approx(1000.0)
    assert launch.interval is None
    # The time of a step would give the throughput away.
    assert isinstance(launch.statistics.median_s, Withheld)
    assert launch.statistics.median_s.value == pytest.approx(0.256, rel=0.01)


GATE = {
    "a CPU quota": (
        {"cpu_limit_cores": 0.2, "cpu_throttled_s": 20.0},
        "rank 0 (node1) was throttled: a CPU quota of 0.2 cores held it back for 50 % of the time",
    ),
    "heat": (
        {"thermal_throttles": 3.0, "thermal_throttled_s": 4.0},
        "rank 0 (node1) was throttled: heat held its processor back for 10 % of the time",
    ),
    "heat on an old kernel": (
        {"thermal_throttles": 3.0, "thermal_throttled_s": Missing(missing="not told")},
        "rank 0 (node1) was throttled: the kernel counted 3 thermal events",
    ),
    "a GPU": (
        {"throttle_reasons": ("power brake",)},
        "rank 0 (node1) was throttled: its GPU says power brake",
    ),
    "a hot GPU": (
        {"gpu_throttled_s": 4.0},
        "rank 0 (node1) was throttled: heat held its GPU back for 10 % of the time",
    ),
    "a quota that held back all of its cores": (
        {"cpu_limit_cores": 0.2, "cpu_throttled_s": 200.0},
        "rank 0 (node1) was throttled: a CPU quota of 0.2 cores held it back for 100 % of the time",
    ),
    "others": (
        {"foreign_cores": 5.5, "foreign": ("stress (pid 42): 5.5 cores",)},
        "others kept 5.5 cores busy beside rank 0 (node1) (stress (pid 42): 5.5 cores)",
    ),
}


@pytest.mark.parametrize("name", GATE)
def test_the_gate_withholds_what_was_disturbed(tmp_path, name):
    changes, reason = GATE[name]
    how = Recording(conditions=(make_conditions(**changes),))
    launch = analyse_launch(record(write_run(tmp_path), 1, how))
    assert launch.images_per_s.missing == reason
    assert launch.images_per_s.value == pytest.approx(1000.0)
    assert {launch.statistics.p99_s.missing, launch.statistics.exchange_share.missing} == {reason}
    assert reason in launch.findings


def test_a_quiet_machine_holds_every_check(tmp_path):
    # A short thermal event in hundreds of steps slows nobody down.
    quiet = make_conditions(thermal_throttles=1.0, thermal_throttled_s=0.05)
    launch = analyse_launch(record(write_run(tmp_path), 1, Recording(conditions=(quiet,))))
    assert {check.outcome for check in launch.checks} == {"held"}
    assert launch.findings == ()
    assert launch.images_per_s == pytest.approx(1000.0)


def test_load_is_looked_for_on_every_host(tmp_path):
    blind = Missing(missing="/proc/stat cannot be read")
    conditions = tuple(make_conditions(rank, foreign_cores=blind if rank == 2 else 0.1) for rank in range(4))
    launch = analyse_launch(record(write_run(tmp_path, nodes=(4,)), 1, Recording(conditions=conditions)))
    [check] = [check for check in launch.checks if check.name == "no foreign load"]
    assert check.outcome == "could not look"
    assert check.detail.endswith("on node3")


def find_throttling(tmp_path, *, device, **changes):
    """The gate's check, of a launch that ran on this device."""
    folder = record(write_run(tmp_path), 1, Recording(conditions=(make_conditions(**changes),)))
    environment = folder.environment().model_copy(update={"device": device})
    folder.environment_path.write_text(environment.model_dump_json())
    [check] = [check for check in analyse_launch(folder).checks if check.name == "no throttling"]
    return check


def test_a_gpu_at_its_power_limit_is_told_and_published(tmp_path):
    check = find_throttling(tmp_path, device="cuda", throttle_reasons=("power cap",), gpu_throttled_s=0.0)
    assert (check.outcome, check.detail) == ("held", "1 at their power limit")


def test_a_gpu_that_does_not_tell_was_not_looked_at(tmp_path):
    silent = Missing(missing="NVML: Driver Not Loaded")
    asked = {"throttle_reasons": silent, "gpu_throttled_s": silent}
    check = find_throttling(tmp_path, device="cuda", **asked)
    assert (check.outcome, check.withholds) == ("could not look", False)


def test_unlike_machines_are_not_one_measurement(tmp_path):
    run = write_run(tmp_path, nodes=(2,))
    folder = record(run, 1)
    environment = folder.environment()
    one, other = environment.hosts
    hosts = (one, other.model_copy(update={"cpu": "an older one"}))
    folder.environment_path.write_text(environment.model_copy(update={"hosts": hosts}).model_dump_json())
    launch = analyse_launch(folder)
    assert "CPU: rank 1 (node2) has an older one, rank 0 (node1) has AMD" in launch.images_per_s.missing


@pytest.mark.parametrize(
    ("how", "changes", "reason"),
    [
        (Recording(one_machine=True), {"nodes": (4,)}, "4 hosts share one boot id"),
        (Recording(), {"nodes": (4,)}, None),
        (Recording(), {"nodes": (1,), "tasks_per_node": 4}, None),
        (
            Recording(),
            {"nodes": (1,), "tasks_per_node": 2, "launcher": "mpirun"},
            "2 ranks share one machine",
        ),
        (Recording(), {"nodes": (1,), "launcher": "direct"}, None),
    ],
)
def test_rehearsals(tmp_path, how, changes, reason):
    run = write_run(tmp_path, **changes)
    folder = record(run, 1, how)
    assert analyse_launch(folder).rehearsal == reason
    assert analyse_run(run).rehearsal == reason


def test_launches_of_one_host_each_may_still_be_one_machine(tmp_path):
    run = write_run(tmp_path, nodes=(1, 2))
    record(run, 1, Recording(one_machine=True))
    assert analyse_run(run).rehearsal is None
    record(run, 2, Recording(one_machine=True))
    assert analyse_run(run).launches[0].rehearsal is None
    assert analyse_run(run).rehearsal == "2 hosts share one boot id"


def test_each_rank_with_a_gpu_of_its_own_is_no_rehearsal(tmp_path):
    run = write_run(tmp_path, nodes=(1,), tasks_per_node=2, launcher="mpirun")
    environment = analyse_launch(record(run, 1)).environment
    own = [
        host.model_copy(update={"gpu_uuid": f"GPU-{host.rank}", "gpu": "H200"}) for host in environment.hosts
    ]
    machines = gather_machines(environment.model_copy(update={"hosts": tuple(own)}))
    assert find_disguise(machines, local=True) is None
    shared = [host.model_copy(update={"gpu_uuid": "GPU-0"}) for host in own]
    machines = gather_machines(environment.model_copy(update={"hosts": tuple(shared)}))
    assert find_disguise(machines, local=True) == "2 ranks share one machine"


def test_unknown_boot_ids_are_not_taken_for_distinct_ones(tmp_path):
    environment = analyse_launch(record(write_run(tmp_path, nodes=(2,)), 1)).environment
    unknown = tuple(host.model_copy(update={"boot_id": ""}) for host in environment.hosts)
    machines = gather_machines(environment.model_copy(update={"hosts": unknown}))
    assert "could not be read" in find_disguise(machines, local=False)


def test_step_statistics_are_over_all_ranks_and_leave_warm_up_to_the_caller():
    steps = [make_step(0, step, step_s=1.0 + step, begin_s=sum(range(1, step + 1))) for step in range(4)]
    statistics = measure_steps(tabulate(steps))
    assert statistics.median_s == pytest.approx(2.5)
    assert statistics.p95_s == pytest.approx(3.85)
    assert statistics.compute_share == pytest.approx(0.70)
    # Deviations from 2.5: 1.5, 0.5, 0.5, 1.5.
    assert statistics.jitter == pytest.approx(1.4826 * 1.0 / 2.5)


def test_a_period_lasts_until_the_next_step_and_not_across_a_pause():
    steps = [
        make_step(rank, step, step_s=1.0, begin_s=2.0 * step + rank) for rank in range(2) for step in range(4)
    ]
    table = tabulate(steps)
    assert measure_periods(table).tolist() == [2.0, 2.0, 2.0, 1.0] * 2
    pause = Stretch(first_step=0, steps=2, begin_s=0.0, end_s=4.0)
    assert measure_periods(table, [pause]).tolist() == pytest.approx([2.0, 1.0, 2.0, 1.0] * 2)


def test_loss_is_the_mean_over_ranks_in_the_order_of_steps():
    steps = [make_step(rank, step, warmup=step == 0) for rank in (1, 0) for step in (1, 0)]
    assert trace_loss(tabulate(steps)) == pytest.approx((7.0 + 0.005, 3.5 + 0.005))
    assert trace_loss(tabulate(step.model_copy(update={"loss": None}) for step in steps)) == ()


def test_progress_follows_the_rank_that_has_recorded_most():
    steps = tabulate([make_step(0, 0), make_step(1, 0), make_step(1, 1)])
    progress = find_progress(steps, planned=None, world_size=2, loss=())
    assert progress.text == "2 steps"
    assert progress.images_per_s == pytest.approx(2 * 512 / 2.0)
    assert isinstance(progress.loss, Missing)


def test_what_is_derived_from_missing_is_missing_with_the_reason():
    reason = Missing(missing="nobody looked")
    assert derive(lambda a, b: a / b, 6.0, 3.0) == 2.0
    assert derive(lambda a, b: a / b, 6.0, reason) is reason
    withheld = Withheld(missing="too few steps", value=3.0)
    assert derive(lambda a, b: a / b, 6.0, withheld) == Withheld(missing="too few steps", value=2.0)
    assert derive(lambda a, b: a / b, withheld, reason) is reason


RATES = st.lists(st.floats(1e-3, 1e9), min_size=1, max_size=20)


@given(RATES)
def test_combined_rates_lie_within_their_bounds(rates):
    combined = combine_rates(rates)
    assert min(rates) <= combined <= max(rates)
    assert combined <= sum(rates) / len(rates) * (1 + 1e-9)


def test_a_training_that_diverged_has_no_loss_to_show():
    """On one rank alone is enough; the last finite loss before it is not the result."""
    steps = [make_step(rank, step) for step in range(5) for rank in range(2)]
    diverged = [
        step.model_copy(update={"loss": None}) if (step.rank, step.step) == (1, 3) else step for step in steps
    ]
    table = tabulate(diverged)
    assert len(trace_loss(table)) == 3
    progress = find_progress(table, planned=5, world_size=2, loss=trace_loss(table))
    assert progress.loss.missing == "training diverged: the loss was not a number at step 3"
