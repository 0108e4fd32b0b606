"""Energy over the steps of the throughput, from what samplers leave behind."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcdl.analysis.energy import Electricity, EnergyResult
from hpcdl.analysis.energy_scaling import compare_energy, find_front
from hpcdl.analysis.job import analyse_run
from hpcdl.analysis.launch import analyse_launch
from hpcdl.analysis.meters import read_meter
from hpcdl.analysis.readings import Withheld
from hpcdl.analysis.windows import find_windows
from hpcdl.durable import publish_record
from hpcdl.metering import SlurmEnergy, Source, StepEnergy, Unavailable
from hpcdl.records import Missing
from hpcdl.site import Power
from tests.nvml.standin import Bursts, Sine, Steps, planted_energy_j
from tests.unit.records_maker import Recording, record, write_run, write_trace

GPUS = {"node": {"gpus": 1, "cores": 8}}
TWO_GPUS = {"node": {"gpus": 2, "cores": 8}}


def gpu(number=1, **changes):
    fields = {
        "name": f"GPU-{number}",
        "sensor": "nvml",
        "covers": "gpu",
        "uuid": f"GPU-{number}",
        "counter": True,
        "power": "instant",
        "update_s": 0.1,
        "averaging_s": 0.1,
        "limit_w": 400.0,
    }
    return Source(**fields | changes)


def steady(watts, *, error=1.0):
    """A counter, and power readings that are `error` times the truth."""
    return lambda at_s: {"energy_j": watts * at_s, "power_w": watts * error}


def powered(at_s):
    return {"power_w": 300.0}


@pytest.fixture
def one(tmp_path):
    """One node of one GPU and four ranks: 40 steps of 1.024 s at 1,000 images/s."""
    return write_run(tmp_path, power=True, site=GPUS, tasks_per_node=4)


@pytest.fixture
def two(tmp_path):
    """The same with two GPUs."""
    return write_run(tmp_path, power=True, site=TWO_GPUS, tasks_per_node=4)


def meter(run, traces, *, clocks_s=None, known=None, **how):
    """The analysed launch; `traces` is host -> what is metered there, on that host's clock."""
    clocks_s = clocks_s or dict.fromkeys(traces, 0.0)
    folder = record(run, 1, Recording(clocks_s=clocks_s, **how))
    for host, sources in traces.items():
        ahead_s = clocks_s.get(host, 0.0)
        write_trace(folder, host, sources, begin_s=95.0 + ahead_s, end_s=160.0 + ahead_s)
    return analyse_launch(folder, plan=run.job().launches[0], known=known)


def test_four_ranks_on_two_gpus_draw_what_two_gpus_draw(two):
    launch = meter(two, {"node1": {gpu(1): steady(300), gpu(2): steady(200)}})
    figure = launch.energy.at("device")
    seconds, images = launch.energy.elapsed_s, launch.energy.images
    assert figure.covers == "2 GPU boards"
    assert figure.average_w == pytest.approx(500)
    assert figure.energy_j == pytest.approx(500 * seconds)
    # The very steps of the throughput: W over images/s is J/image.
    assert figure.j_per_image == pytest.approx(500 / launch.images_per_s)
    assert images == pytest.approx(launch.images_per_s * seconds)
    assert figure.interval.low < figure.j_per_image < figure.interval.high
    assert figure.images_per_j == pytest.approx(1 / figure.j_per_image)
    assert (figure.measured, figure.estimated, figure.coverage) == (2, 0, 1.0)
    assert launch.energy.findings == ()


def test_clocks_that_are_minutes_apart_change_nothing(tmp_path):
    found = []
    for number, ahead_s in enumerate((0.0, 300.0, -300.0)):
        run = write_run(tmp_path / str(number), power=True, site=GPUS, nodes=(2,))

        def rising(at_s, ahead_s=ahead_s):
            seconds = at_s - ahead_s
            return {"energy_j": seconds * seconds, "power_w": 2 * seconds}

        launch = meter(
            run,
            {"node1": {gpu(1): steady(300)}, "node2": {gpu(2, limit_w=Missing(missing="?")): rising}},
            clocks_s={"node1": 0.0, "node2": ahead_s},
        )
        found.append(launch.energy.at("device").energy_j)
    assert found[1] == pytest.approx(found[0], rel=1e-9)
    assert found[2] == pytest.approx(found[0], rel=1e-9)


def test_hosts_that_are_one_machine_count_its_packages_once(tmp_path):
    run = write_run(tmp_path, power=True, nodes=(2,))
    package = Source(name="package 0", sensor="rapl", covers="package", counter=True, update_s=0.01)
    folder = record(run, 1, Recording(clocks_s={"node1": 0.0, "node2": 0.0}, one_machine=True))
    for host in ("node1", "node2"):
        write_trace(folder, host, {package: steady(100)}, begin_s=95.0, end_s=160.0, boot_id="0f1e2d3c-0000")
    launch = analyse_launch(folder, plan=run.job().launches[0])
    figure = launch.energy.at("device")
    assert (figure.covers, figure.average_w) == ("1 CPU package", pytest.approx(100))


def test_a_window_too_short_for_the_meter_is_refused_with_the_length_it_needs(tmp_path):
    run = write_run(tmp_path, power=True, site=GPUS, batch=8)
    slow = gpu(1, update_s=0.5)
    launch = meter(run, {"node1": {slow: steady(300)}}, images_per_s=200.0)
    figure = launch.energy.at("device")
    assert "--min-window 10s" in figure.j_per_image.missing
    assert figure.interval is None
    assert not isinstance(launch.images_per_s, Missing), "the throughput stays"


def test_a_counter_and_its_power_are_held_against_each_other(one):
    told = meter(one, {"node1": {gpu(1, averaging_s=0.02): steady(300, error=1.08)}})
    [finding] = told.energy.findings
    assert "counter against power" in finding
    assert "+8.0 %" in finding
    assert told.energy.at("device").average_w == pytest.approx(300), "the counter is believed"


def test_what_cannot_be_reconciled_is_not_published(one):
    launch = meter(one, {"node1": {gpu(1): steady(300, error=0.57)}})
    figure = launch.energy.at("device")
    assert "cannot be reconciled" in figure.j_per_image.missing
    assert isinstance(figure.average_w, Missing)


def test_instants_that_see_a_quarter_of_the_time_say_so(one):
    """Bursts that no instant sees: the interval holds the planted energy all the same."""
    blind = gpu(1, counter=False, averaging_s=0.025)
    launch = meter(one, {"node1": {blind: lambda at_s: {"power_w": 100.0}}})
    [metered] = launch.energy.meters
    seconds = metered.elapsed_s
    planted = 0.75 * 350 * seconds + 0.25 * 100 * seconds
    assert metered.energy.low <= planted <= metered.energy.high
    assert metered.by == "power"
    figure = launch.energy.at("device")
    assert figure.interval.high > planted / launch.energy.images


def test_gaps_in_the_readings_withhold_what_has_no_counter(two):
    def patchy(at_s):
        return {"power_w": {"missing": "NVML: Timeout"}} if 110 < at_s < 120 else {"power_w": 300.0}

    launch = meter(two, {"node1": {gpu(1, counter=False): patchy, gpu(2): steady(200)}})
    figure = launch.energy.at("device")
    assert figure.j_per_image.missing == "GPU-1 on node1: NVML: Timeout"
    assert isinstance(figure.average_w, Missing), "half of the sum would be a wrong number"


def test_a_lost_gpu_is_missing_and_never_zero(one):
    def lost(at_s):
        gone = {"missing": "NVML: GPU is lost"}
        return (
            {"energy_j": gone, "power_w": gone} if at_s > 120 else {"energy_j": 300 * at_s, "power_w": 300.0}
        )

    launch = meter(one, {"node1": {gpu(1): lost}})
    assert "GPU is lost" in launch.energy.at("device").energy_j.missing
    assert not isinstance(launch.images_per_s, Missing)


def test_a_sampler_that_died_or_never_came_costs_the_energy_only(one, tmp_path):
    folder = record(one, 1, Recording(clocks_s={"node1": 0.0}))
    launch = analyse_launch(folder, plan=one.job().launches[0])
    assert launch.energy.missing.startswith("no sampler has left readings on node1")
    assert launch.images_per_s == pytest.approx(1000)
    write_trace(folder, "node1", {gpu(1): steady(300)}, begin_s=95, end_s=120, closed=False)
    launch = analyse_launch(folder, plan=one.job().launches[0])
    assert isinstance(launch.energy.at("device").j_per_image, Missing)
    assert "the sampler on node1 did not end as it should" in launch.energy.findings
    assert launch.images_per_s == pytest.approx(1000)


def test_a_torn_stream_is_told_and_the_rest_is_read(one):
    folder = record(one, 1, Recording(clocks_s={"node1": 0.0}))
    write_trace(folder, "node1", {gpu(1): steady(300)}, begin_s=95, end_s=160)
    path = folder.power_path("node1")
    data = path.read_bytes()
    middle = data.index(b"\n", len(data) // 2)
    path.write_bytes(data[: middle - 9] + data[middle:])
    launch = analyse_launch(folder, plan=one.job().launches[0])
    assert launch.energy.at("device").average_w == pytest.approx(300)
    assert [torn.path for torn in launch.torn] == [path]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400))
def test_no_stream_is_too_broken_to_be_read(tmp_path_factory, rubbish, cut):
    from hpcdl.trace import parse_trace

    run = write_run(tmp_path_factory.mktemp("torn"), power=True, site=GPUS)
    folder = record(run, 1, Recording(clocks_s={"node1": 0.0}))
    write_trace(folder, "node1", {gpu(1): steady(300)}, begin_s=95, end_s=96)
    data = folder.power_path("node1").read_bytes()
    told = []
    parse_trace(data[:cut] + rubbish + data[cut:], lambda line, why: told.append((line, why)))
    assert all(why for _, why in told)


def test_boundaries_name_what_they_cover_and_what_not(one):
    package = Source(name="package 0", sensor="rapl", covers="package", counter=True, update_s=0.01)
    launch = meter(
        one,
        {"node1": {gpu(1): steady(300), package: steady(150)}},
        known=Electricity(Power(pue=1.5, idle_w={"node1": {"GPU-1": 60, "package 0": 40}})),
    )
    device, node, facility = (launch.energy.at(name) for name in ("device", "node", "facility"))
    assert (device.covers, node.covers) == ("1 GPU board", "1 GPU board, 1 CPU package")
    assert node.uncovered == "DRAMs, fans, drives, network, power supplies"
    assert node.average_w == pytest.approx(450)
    assert facility.average_w == pytest.approx(675)
    assert facility.interval.low == pytest.approx(1.5 * node.interval.low)
    assert node.idle_w == 100
    assert node.net_j_per_image == pytest.approx(350 / 1000)


def test_a_meter_of_the_node_goes_before_its_parts_and_cannot_be_less_than_they(one):
    node = Source(name="node (DCMI)", sensor="ipmi", covers="node", power="average", update_s=1.0)
    launch = meter(one, {"node1": {gpu(1): steady(300), node: lambda at_s: {"power_w": 700.0}}})
    assert launch.energy.at("node").average_w == pytest.approx(700)
    assert launch.energy.at("node").uncovered == ""
    run = one.path.parent / "again"
    again = write_run(run, power=True, site=GPUS, tasks_per_node=4)
    less = meter(again, {"node1": {gpu(1): steady(300), node: lambda at_s: {"power_w": 200.0}}})
    assert "cannot be reconciled" in less.energy.at("node").j_per_image.missing
    assert less.energy.at("device").average_w == pytest.approx(300)


def test_estimates_are_labelled_and_never_mixed_in_silently(tmp_path):
    run = write_run(tmp_path, power=True)
    estimate = Source(
        name="package 0", sensor="estimate", covers="package", update_s=0.1, basis="TDP 350 W, idle 90 W"
    )
    launch = meter(
        run,
        {"node1": {estimate: lambda at_s: {"power_w": 200.0, "power_low_w": 150.0, "power_high_w": 260.0}}},
    )
    figure = launch.energy.at("device")
    assert (figure.measured, figure.estimated) == (0, 1)
    assert figure.sensors == ("ESTIMATED",)
    assert figure.interval.low <= 0.150
    assert figure.interval.high >= 0.260


def test_a_gpu_that_trained_nothing_is_counted_and_told(two):
    folder = record(two, 1, Recording(clocks_s={"node1": 0.0}))
    environment = folder.environment()
    hosts = tuple(host.model_copy(update={"gpu_uuid": "1"}) for host in environment.hosts)
    folder.environment_path.write_text(environment.model_copy(update={"hosts": hosts}).model_dump_json())
    write_trace(folder, "node1", {gpu(1): steady(300), gpu(2): steady(50)}, begin_s=95, end_s=160)
    launch = analyse_launch(folder, plan=two.job().launches[0])
    assert any("GPU-2 on node1 trained nothing" in finding for finding in launch.energy.findings)


def test_a_slice_has_no_energy_of_its_own(one):
    slice_ = gpu(1, shared="a MIG slice has no power of its own: this is its whole board's")
    figure = meter(one, {"node1": {slice_: steady(300)}}).energy.at("device")
    assert figure.average_w == pytest.approx(300)
    assert "MIG" in figure.j_per_image.missing


def test_what_the_gate_withholds_has_no_energy_per_image(one):
    folder = record(one, 1, Recording(clocks_s={"node1": 0.0}))
    summary = folder.summary()
    [seen] = summary.conditions
    busy = summary.model_copy(update={"conditions": (seen.model_copy(update={"foreign_cores": 20.0}),)})
    folder.summary_path.write_text(busy.model_dump_json())
    write_trace(folder, "node1", {gpu(1): steady(300)}, begin_s=95, end_s=160)
    launch = analyse_launch(folder, plan=one.job().launches[0])
    figure = launch.energy.at("device")
    assert isinstance(launch.images_per_s, Withheld)
    assert isinstance(figure.j_per_image, Withheld)
    assert figure.j_per_image.value == pytest.approx(0.3)
    assert "others kept 20 cores busy" in figure.average_w.missing
    assert figure.interval is None


def test_energy_over_sizes_and_repeats(tmp_path):
    run = write_run(tmp_path, power=True, site=GPUS, nodes=(1, 2), repeat=3)
    for index, launch in enumerate(run.job().launches, start=1):
        hosts = [f"node{number + 1}" for number in range(launch.nodes)]
        folder = record(
            run, index, Recording(images_per_s=1000.0 * launch.nodes, clocks_s=dict.fromkeys(hosts, 0.0))
        )
        # Twice the nodes at 10 % more power each: an image costs 1.1 times as much.
        watts = 300 * (1.1 if launch.nodes == 2 else 1.0) + index * 0.01
        for number, host in enumerate(hosts):
            write_trace(folder, host, {gpu(number): steady(watts)}, begin_s=95, end_s=170)
    [scaling] = compare_energy(analyse_run(run).trainings)
    first, second = scaling.points
    assert (first.count, second.count) == (3, 3)
    assert first.interval.low < 0.30003 < first.interval.high
    assert second.efficiency == pytest.approx(1 / 1.1, rel=1e-3)
    assert second.efficiency_interval.low < 1 / 1.1 < second.efficiency_interval.high


def test_power_limits_make_a_front(tmp_path):
    launches = []
    for number, (limit, rate, watts) in enumerate([(400, 1000, 390), (300, 950, 295), (250, 700, 249)]):
        run = write_run(tmp_path / str(number), power=True, site=GPUS)
        board = gpu(1, limit_w=float(limit))
        launches.append(meter(run, {"node1": {board: steady(watts)}}, images_per_s=float(rate)))
    [points] = find_front(launches).values()
    assert [(point.limit_w, point.on_front) for point in points] == [
        (250.0, False),
        (300.0, True),
        (400.0, True),
    ]


def test_limits_that_were_run_into_are_told(one):
    def capped(at_s):
        return {"energy_j": 300 * at_s, "power_w": 300.0, "reasons": ["power cap"]}

    launch = meter(one, {"node1": {gpu(1): capped}})
    assert launch.energy.findings == (
        "GPU-1 on node1 ran into its power limit of 400 W at 100 % of the looks",
    )


@pytest.mark.parametrize("period_s", [7.0, 0.55])
def test_profiles_within_what_the_counter_allows(one, period_s):
    """A square wave between 100 and 500 W, counted every 0.1 s: within 1 % of what was planted."""

    def energy(at_s):
        whole, rest = divmod(at_s, period_s)
        return whole * period_s * 300 + (
            500 * rest if rest < period_s / 2 else 250 * period_s + 100 * (rest - period_s / 2)
        )

    def wave(at_s):
        seen_s = math.floor(at_s / 0.1) * 0.1
        return {"energy_j": energy(seen_s), "power_w": (energy(seen_s) - energy(seen_s - 0.1)) / 0.1}

    launch = meter(one, {"node1": {gpu(1, limit_w=500.0): wave}})
    assert isinstance(launch.energy, EnergyResult)
    [metered] = launch.energy.meters
    planted = energy(100 + 42 * 1.024) - energy(100 + 2 * 1.024)
    assert metered.energy.value == pytest.approx(planted, rel=0.01)
    assert metered.energy.low <= planted <= metered.energy.high


def test_readings_that_come_at_their_own_pace_count_when_they_were_read(one):
    """A controller is asked once a second; a look in between repeats what it last said."""
    node = Source(name="node (DCMI)", sensor="ipmi", covers="node", power="average", averaging_s=1.0)

    def rising(at_s):
        read_s = math.floor(at_s)
        return {"power_w": 10.0 * (read_s - 90), "read_at_s": float(read_s)}

    run = write_run(one.path.parent / "long", power=True, steps=80, site=GPUS)
    folder = record(run, 1, Recording(clocks_s={"node1": 0.0}))
    write_trace(folder, "node1", {node: rising}, begin_s=95, end_s=170)
    launch = analyse_launch(folder, plan=run.job().launches[0])
    [metered] = launch.energy.meters
    begin_s, end_s = 100 + 2 * 0.256, 100 + 82 * 0.256
    middle = (begin_s + end_s) / 2
    assert metered.energy.value == pytest.approx(10 * (middle - 90) * (end_s - begin_s), rel=1e-3)


@pytest.mark.parametrize(("joules", "told"), [(63 * 300, False), (63 * 200, True), (63 * 500, False)])
def test_slurms_count_of_the_step_is_held_against_the_meters(tmp_path, joules, told):
    """Meters of parts see less than Slurm, which counts whole nodes; more they cannot see."""
    run = write_run(tmp_path, power=True, site=GPUS)
    publish_record(
        run.slurm_energy_path,
        SlurmEnergy(steps=(StepEnergy(step=1, energy_j=float(joules), elapsed_s=63.0),)),
    )
    folder = record(run, 1, Recording(clocks_s={"node1": 0.0}))
    environment = folder.environment().model_copy(update={"slurm": {"SLURM_STEP_ID": "1"}})
    folder.environment_path.write_text(environment.model_dump_json())
    write_trace(folder, "node1", {gpu(1): steady(300)}, begin_s=95, end_s=160)
    [launch] = analyse_run(run).trainings
    assert any("Slurm counted" in finding for finding in launch.energy.findings) is told


def test_a_module_and_the_gpu_in_it_are_two_sources_and_one_node(one):
    module = Source(
        name="module of GPU-1", sensor="nvml", covers="module", uuid="GPU-1", power="instant", update_s=0.1
    )
    launch = meter(one, {"node1": {gpu(1): steady(300), module: lambda at_s: {"power_w": 500.0}}})
    assert launch.energy.at("device").average_w == pytest.approx(300)
    node = launch.energy.at("node")
    assert (node.covers, node.average_w) == ("1 module of CPU and GPU", pytest.approx(500))


@pytest.mark.parametrize(
    "profile",
    [
        Steps(((0, 100.0), (3, 380.0)), repeat_s=5.0),
        Sine(250.0, 140.0, 2.7),
        Bursts(90.0, 390.0, 0.03, 0.1),
        Bursts(90.0, 390.0, 0.011, 0.037),
    ],
    ids=["steps", "sine", "bursts that instants always see or never", "bursts shorter than an update"],
)
@pytest.mark.parametrize("behind_s", [0.0, 0.04, 0.07])
def test_instants_of_a_quarter_hold_what_was_planted_in_their_bounds(one, profile, behind_s):
    """As on A100 and H100: every 100 ms a reading of the last 25 ms, wherever the bursts fall."""

    def instant(at_s):
        end_s = math.floor((at_s - behind_s) / 0.1) * 0.1 + behind_s
        return {"power_w": planted_energy_j(profile, end_s - 0.025, end_s) / 0.025}

    launch = meter(one, {"node1": {gpu(1, counter=False, averaging_s=0.025): instant}})
    [metered] = launch.energy.meters
    planted = planted_energy_j(profile, *find_span(launch))
    assert metered.energy.low <= planted <= metered.energy.high


def find_span(launch):
    [window] = find_windows(
        launch.environment,
        launch.conditions,
        launch.steps,
        first=launch.pace.first_steady,
        last=launch.pace.last,
    )
    [span] = window.spans()
    return span


# ---- Nothing may be left out of a sum whose images are all there ----

PACKAGE = Source(name="package 0", sensor="rapl", covers="package", counter=True, update_s=0.01)
NO_NVML = Unavailable(sensor="nvml", reason="NVML: Insufficient Permissions", do="ask")


def test_a_node_without_a_meter_is_not_left_out_of_the_sum(tmp_path):
    run = write_run(tmp_path, power=True, site=GPUS, nodes=(1, 2))
    for index, hosts in ((1, ["node1"]), (2, ["node1", "node2"])):
        folder = record(
            run, index, Recording(images_per_s=1000.0 * index, clocks_s=dict.fromkeys(hosts, 0.0))
        )
        write_trace(folder, "node1", {gpu(1): steady(300)}, begin_s=95, end_s=160)
        if index == 2:
            write_trace(folder, "node2", {PACKAGE: steady(90)}, begin_s=95, end_s=160, unavailable=[NO_NVML])
    launches = analyse_run(run).trainings
    figure = launches[1].energy.at("device")
    assert figure.j_per_image.missing == (
        "no GPU board is metered on node2 (nvml: NVML: Insufficient Permissions)"
    )
    assert isinstance(figure.average_w, Missing)
    assert isinstance(launches[1].energy.at("node").j_per_image, Missing)
    [scaling] = [one for one in compare_energy(launches) if one.boundary == "device"]
    assert isinstance(scaling.points[1].efficiency, Missing)


def test_kinds_that_only_some_nodes_have_make_no_node(tmp_path):
    run = write_run(tmp_path, power=True, nodes=(2,))
    dram = Source(name="dram 0", sensor="rapl", covers="dram", counter=True, update_s=0.01)
    launch = meter(run, {"node1": {PACKAGE: steady(90), dram: steady(9)}, "node2": {PACKAGE: steady(90)}})
    [figure] = launch.energy.figures
    assert figure.boundary == "device"
    assert figure.uncovered.startswith("DRAMs")
    assert figure.average_w == pytest.approx(189)


def test_gpus_that_nobody_metered_leave_no_figure_of_the_cpus_alone(one):
    folder = record(one, 1, Recording(clocks_s={"node1": 0.0}))
    write_trace(folder, "node1", {PACKAGE: steady(90)}, begin_s=95, end_s=160, unavailable=[NO_NVML])
    launch = analyse_launch(folder, plan=one.job().launches[0], known=Electricity(Power(pue=1.5)))
    assert launch.energy.at("device") is None
    assert isinstance(launch.energy.at("node").j_per_image, Missing)
    assert isinstance(launch.energy.at("facility").average_w, Missing)
    assert "no GPU board was metered (nvml: NVML: Insufficient Permissions)" in launch.energy.findings


def test_a_gpu_that_trained_and_was_not_metered_leaves_no_figure(one):
    folder = record(one, 1, Recording(clocks_s={"node1": 0.0}))
    environment = folder.environment()
    hosts = tuple(host.model_copy(update={"gpu_uuid": "1"}) for host in environment.hosts)
    folder.environment_path.write_text(environment.model_copy(update={"hosts": hosts}).model_dump_json())
    write_trace(folder, "node1", {gpu(2): steady(50)}, begin_s=95, end_s=160)
    launch = analyse_launch(folder, plan=one.job().launches[0])
    assert "GPU-1 on node1, which trained, is not metered" in launch.energy.at("device").j_per_image.missing


def test_a_package_that_may_not_be_read_leaves_no_figure_of_the_other(tmp_path):
    run = write_run(tmp_path, power=True)
    folder = record(run, 1, Recording(clocks_s={"node1": 0.0}))
    refused = Unavailable(sensor="rapl", reason="energy_uj of package 1 cannot be read", covers="package")
    write_trace(folder, "node1", {PACKAGE: steady(90)}, begin_s=95, end_s=160, unavailable=[refused])
    launch = analyse_launch(folder, plan=run.job().launches[0])
    assert "package 1 cannot be read" in launch.energy.at("device").j_per_image.missing


def test_here_a_board_that_did_not_train_is_not_counted(tmp_path):
    run = write_run(tmp_path, power=True, site=TWO_GPUS, launcher="direct")
    folder = record(run, 1, Recording(clocks_s={"node1": 0.0}))
    environment = folder.environment()
    hosts = tuple(host.model_copy(update={"gpu_uuid": "1"}) for host in environment.hosts)
    folder.environment_path.write_text(environment.model_copy(update={"hosts": hosts}).model_dump_json())
    write_trace(folder, "node1", {gpu(1): steady(300), gpu(2): steady(50)}, begin_s=95, end_s=160)
    launch = analyse_launch(folder, plan=run.job().launches[0])
    assert launch.energy.at("device").average_w == pytest.approx(300)
    assert any("is not counted" in finding for finding in launch.energy.findings)


def test_hosts_whose_boot_id_nobody_knows_are_not_one_machine(tmp_path):
    run = write_run(tmp_path, power=True, nodes=(2,))
    folder = record(run, 1, Recording(clocks_s={"node1": 0.0, "node2": 0.0}))
    for host in ("node1", "node2"):
        write_trace(folder, host, {PACKAGE: steady(200)}, begin_s=95, end_s=160, boot_id="unknown")
    launch = analyse_launch(folder, plan=run.job().launches[0])
    assert launch.energy.at("device").average_w == pytest.approx(400)


def test_two_hosts_in_disguise_have_one_meter_of_their_node(tmp_path):
    run = write_run(tmp_path, power=True, nodes=(2,))
    node = Source(name="node", sensor="cray", covers="node", counter=True, update_s=0.1)
    folder = record(run, 1, Recording(clocks_s={"node1": 0.0, "node2": 0.0}, one_machine=True))
    for host in ("node1", "node2"):
        sources = {PACKAGE: steady(200), node: steady(700)}
        write_trace(folder, host, sources, begin_s=95, end_s=160, boot_id="0f1e2d3c-0000")
    launch = analyse_launch(folder, plan=run.job().launches[0])
    assert launch.energy.at("node").average_w == pytest.approx(700)


def test_where_nothing_is_metered_the_reasons_are_told(one):
    folder = record(one, 1, Recording(clocks_s={"node1": 0.0}))
    write_trace(folder, "node1", {}, begin_s=95, end_s=160, unavailable=[NO_NVML])
    launch = analyse_launch(folder, plan=one.job().launches[0])
    assert launch.energy.missing == "nothing here can be metered: nvml: NVML: Insufficient Permissions (ask)"


# ---- What a meter leaves open ----


@pytest.mark.parametrize("value", [0.0, -5.0])
def test_a_meter_that_stands_still_is_missing_and_breaks_no_report(one, value):
    from hpcdl import report

    folder = record(one, 1, Recording(clocks_s={"node1": 0.0}))
    write_trace(
        folder, "node1", {gpu(1): lambda at_s: {"energy_j": 7.0, "power_w": value}}, begin_s=95, end_s=160
    )
    result = analyse_run(one)
    assert isinstance(result.trainings[0].energy.at("device").j_per_image, Missing)
    assert report.build([result], force=True).sections


@pytest.mark.parametrize("phase_s", [0.0, 0.13, 0.29, 0.41])
def test_a_slow_counter_holds_the_truth_in_its_bounds_wherever_its_updates_fall(one, phase_s):
    def look(at_s):
        counted_s = math.floor((at_s - phase_s) / 0.47) * 0.47 + phase_s
        return {"energy_j": 300 * counted_s, "power_w": 300.0}

    launch = meter(one, {"node1": {gpu(1, update_s=0.47, power_update_s=0.1): look}})
    [metered] = launch.energy.meters
    assert metered.energy.low <= 300 * metered.elapsed_s <= metered.energy.high
    assert metered.energy.high - metered.energy.low < 0.15 * metered.energy.value


@pytest.mark.parametrize("at_the_end", [False, True])
def test_a_hole_at_an_end_of_the_window_is_not_filled_with_a_line(one, at_the_end):
    hole = (140.0, 148.0) if at_the_end else (96.0, 105.0)

    def look(at_s):
        if hole[0] < at_s < hole[1]:
            return {"energy_j": {"missing": "NVML: Timeout"}}
        return {"energy_j": 300 * max(0.0, at_s - 102) + 50 * at_s}

    launch = meter(one, {"node1": {gpu(1, power=None): look}})
    assert "was not read: NVML: Timeout" in launch.energy.at("device").j_per_image.missing


def test_the_power_beside_a_counter_has_its_own_pace(one):
    """A counter of 20 ms does not make an instant of 25 ms see all of 100 ms."""
    blind = gpu(1, update_s=0.02, power_update_s=0.1, averaging_s=0.025)
    launch = meter(one, {"node1": {blind: steady(300, error=0.6)}})
    [metered] = launch.energy.meters
    assert metered.check.reconciled, "what the instants did not see may be the rest"
    assert launch.energy.at("device").average_w == pytest.approx(300)


def test_a_peak_is_of_the_window_and_of_all_meters_at_one_time(two):
    def early(at_s):
        return {"energy_j": 100 * at_s + (2700 if at_s > 97 else 900 * max(0.0, at_s - 94))}

    def late(at_s):
        return {"energy_j": 100 * at_s + 300 * max(0.0, min(at_s - 104, 5.0))}

    bare = {"power": None, "averaging_s": Missing(missing="?")}
    launch = meter(two, {"node1": {gpu(1, **bare): early, gpu(2, **bare): late}})
    assert launch.energy.at("device").peak_w == pytest.approx(500, rel=0.02)
    short = meter(
        write_run(two.path.parent / "short", power=True, site=TWO_GPUS, batch=8),
        {"node1": {gpu(1): steady(300), gpu(2): steady(300)}},
        images_per_s=200.0,
    )
    assert isinstance(short.energy.at("device").peak_w, Missing)


def test_repeating_an_estimate_makes_it_no_more_certain(tmp_path):
    run = write_run(tmp_path, power=True, repeat=3, nodes=(1,))
    estimate = Source(name="CPU", sensor="estimate", covers="package", update_s=0.1, basis="TDP 350 W")
    for index in (1, 2, 3):
        folder = record(run, index, Recording(clocks_s={"node1": 0.0}))
        read = {"power_w": 200.0 + index / 10, "power_low_w": 100.0, "power_high_w": 350.0}
        write_trace(folder, "node1", {estimate: lambda at_s, read=read: read}, begin_s=95, end_s=160)
    [scaling] = compare_energy(analyse_run(run).trainings)
    assert scaling.points[0].interval.low <= 0.1001
    assert scaling.points[0].interval.high >= 0.3499


@pytest.mark.parametrize(("stretch", "needed"), [(1.0, 5), (1.3, 7)])
def test_the_length_that_is_asked_for_is_enough(one, stretch, needed):
    """The steady part is shorter than the window, and the window is what can be lengthened."""
    folder = record(one, 1, Recording(clocks_s={"node1": 0.0}))
    write_trace(folder, "node1", {gpu(1): steady(300)}, begin_s=95, end_s=160)
    [trace] = folder.traces()
    metered = read_meter(trace.series[0], "node1", "?", ((100.0, 104.96),), 0.1, stretch=stretch)
    assert "a window of 4.9" in metered.energy.missing
    assert metered.energy.missing.endswith(f"5.0 s are needed): --min-window {needed}s")


def test_below_idle_there_is_no_net_energy(one):
    known = Electricity(Power(idle_w={"node1": {"GPU-1": 320}}))
    launch = meter(one, {"node1": {gpu(1): steady(300)}}, known=known)
    assert "no more than its idle power" in launch.energy.at("device").net_j_per_image.missing


def test_sensors_that_this_version_does_not_know_come_last(one):
    redfish = Source(name="node", sensor="redfish", covers="node", counter=True, update_s=0.0)
    ipmi = Source(name="node (DCMI)", sensor="ipmi", covers="node", power="average", update_s=0.1)
    launch = meter(
        one, {"node1": {gpu(1): steady(300), redfish: steady(800), ipmi: lambda at_s: {"power_w": 700.0}}}
    )
    assert launch.energy.at("node").average_w == pytest.approx(700)


def test_slurm_may_have_counted_the_gpus_alone(one):
    publish_record(
        one.slurm_energy_path,
        SlurmEnergy(steps=(StepEnergy(step=1, energy_j=63.0 * 300, elapsed_s=63.0),)),
    )
    folder = record(one, 1, Recording(clocks_s={"node1": 0.0}))
    environment = folder.environment().model_copy(update={"slurm": {"SLURM_STEP_ID": "1"}})
    folder.environment_path.write_text(environment.model_dump_json())
    write_trace(folder, "node1", {gpu(1): steady(300), PACKAGE: steady(200)}, begin_s=95, end_s=160)
    [launch] = analyse_run(one).trainings
    assert launch.energy.findings == ()


def test_a_course_is_by_what_was_read_throughout(one):
    """A counter that began anew, or stands still, draws no picture; nor do a slow one's steps."""

    def reset(at_s):
        counted = {"missing": "the energy counter was reset"} if at_s > 105 else 300 * at_s
        return {"energy_j": counted, "power_w": 400.0 if at_s > 105 else 300.0}

    figure = meter(one, {"node1": {gpu(1): reset}}).energy.at("device")
    assert 300 < figure.average_w < 400
    assert figure.peak_w == pytest.approx(400)

    def slow(at_s):
        return {"energy_j": 300 * 0.98 * math.floor(at_s / 0.98)}

    run = write_run(one.path.parent / "slow", power=True, site=GPUS, steps=160)
    folder = record(run, 1, Recording(clocks_s={"node1": 0.0}))
    write_trace(folder, "node1", {gpu(1, power=None, update_s=0.98): slow}, begin_s=95, end_s=160)
    launch = analyse_launch(folder, plan=run.job().launches[0])
    assert launch.energy.at("device").peak_w == pytest.approx(300, rel=0.06)


def test_looks_that_are_slower_than_the_meter_see_less(one):
    """25 ms of every second: what the board drew in the rest is open."""

    def unlucky(at_s):
        return {"power_w": 100.0}

    folder = record(one, 1, Recording(clocks_s={"node1": 0.0}))
    blind = gpu(1, counter=False, averaging_s=0.025)
    write_trace(folder, "node1", {blind: unlucky}, begin_s=95, end_s=160, period_s=0.5)
    launch = analyse_launch(folder, plan=one.job().launches[0])
    [metered] = launch.energy.meters
    assert metered.energy.high == pytest.approx((0.05 * 100 + 0.95 * 400) * metered.elapsed_s)


def test_a_module_holds_its_own_gpu_and_no_other(two):
    module = Source(
        name="module of GPU-1", sensor="nvml", covers="module", uuid="GPU-1", power="instant", update_s=0.1
    )
    launch = meter(
        two, {"node1": {gpu(1): steady(300), gpu(2): steady(300), module: lambda at_s: {"power_w": 500.0}}}
    )
    assert launch.energy.at("device").average_w == pytest.approx(600)
    assert launch.energy.at("node").average_w == pytest.approx(800)


def test_a_gpu_of_the_allocation_that_is_not_metered_is_not_left_out(two):
    folder = record(two, 1, Recording(clocks_s={"node1": 0.0}))
    environment = folder.environment()
    hosts = tuple(host.model_copy(update={"gpu_uuid": "1"}) for host in environment.hosts)
    folder.environment_path.write_text(environment.model_copy(update={"hosts": hosts}).model_dump_json())
    write_trace(folder, "node1", {gpu(1): steady(300)}, begin_s=95, end_s=160, unavailable=[NO_NVML])
    launch = analyse_launch(folder, plan=two.job().launches[0])
    figure = launch.energy.at("device")
    assert "1 of 2 GPU boards are metered on node1 (nvml: NVML: Insufficient" in figure.j_per_image.missing
    assert isinstance(figure.idle_w, Missing)


def test_memory_that_only_one_size_has_makes_no_saving(tmp_path):
    run = write_run(tmp_path, power=True, nodes=(1, 2))
    dram = Source(name="dram 0", sensor="rapl", covers="dram", counter=True, update_s=0.01)
    for index, hosts in ((1, ["node1"]), (2, ["node1", "node2"])):
        folder = record(
            run, index, Recording(images_per_s=1000.0 * index, clocks_s=dict.fromkeys(hosts, 0.0))
        )
        for host in hosts:
            sources = {PACKAGE: steady(200)} | ({dram: steady(50)} if index == 1 else {})
            write_trace(folder, host, sources, begin_s=95, end_s=160)
    assert compare_energy(analyse_run(run).trainings) == ()


def test_a_window_is_as_long_as_the_meter_needs_that_is_believed(tmp_path):
    """The counter is quick, and stands still: what counts is the power's own pace."""
    run = write_run(tmp_path, power=True, site=GPUS, batch=160)
    stuck = gpu(1, update_s=0.02, power_update_s=0.5)
    launch = meter(run, {"node1": {stuck: lambda at_s: {"energy_j": 7.0, "power_w": 300.0}}})
    assert "10.0 s are needed" in launch.energy.at("device").j_per_image.missing


def test_an_estimate_may_begin_at_nothing(tmp_path):
    run = write_run(tmp_path, power=True)
    estimate = Source(name="CPU", sensor="estimate", covers="package", update_s=0.1, basis="TDP 350 W")
    read = {"power_w": 200.0, "power_low_w": 0.0, "power_high_w": 350.0}
    [metered] = meter(run, {"node1": {estimate: lambda at_s: read}}).energy.meters
    assert metered.energy.low == 0


def test_slurm_may_have_counted_the_gpus_of_a_node_that_has_a_meter(one):
    publish_record(
        one.slurm_energy_path,
        SlurmEnergy(steps=(StepEnergy(step=1, energy_j=63.0 * 300, elapsed_s=63.0),)),
    )
    node = Source(name="node", sensor="cray", covers="node", counter=True, update_s=0.1)
    folder = record(one, 1, Recording(clocks_s={"node1": 0.0}))
    environment = folder.environment().model_copy(update={"slurm": {"SLURM_STEP_ID": "1"}})
    folder.environment_path.write_text(environment.model_dump_json())
    write_trace(folder, "node1", {gpu(1): steady(300), node: steady(700)}, begin_s=95, end_s=160)
    [launch] = analyse_run(one).trainings
    assert launch.energy.findings == ()


def test_an_estimate_needs_no_time_for_updates_that_it_does_not_have(one):
    """How busy a CPU was is asked once a second, of all the time since."""
    run = write_run(one.path.parent / "estimate", power=True)
    estimate = Source(name="CPU", sensor="estimate", covers="package", update_s=1.1, basis="TDP 350 W")
    read = {"power_w": 200.0, "power_low_w": 100.0, "power_high_w": 350.0}
    figure = meter(run, {"node1": {estimate: lambda at_s: read}}).energy.at("device")
    assert figure.average_w == pytest.approx(200)
    assert figure.interval.low < 0.101
