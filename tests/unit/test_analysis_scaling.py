"""Scaling: which launches are compared, with which base, and what is withheld."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcdl import report
from hpcdl.analysis.communication import analyse_probe
from hpcdl.analysis.expectation import expect_sizes
from hpcdl.analysis.job import analyse_run
from hpcdl.analysis.scaling import compare_sizes
from hpcdl.analysis.sides import compare_engines
from hpcdl.durable import publish_record
from hpcdl.probes import Collective, Probe
from hpcdl.records import Missing
from hpcdl.report import as_json
from tests.unit.records_maker import KILLED, STOPPED, Recording, record, write_run

FAILED = Recording(steps=7, outcome="stopped", outcomes={0: KILLED, 1: STOPPED}, summarised=False)


def measure(store, rates, *, nodes, force=False, one_machine=False, recording=None, **run):
    """The one scaling table of a run with these rates."""
    folder = write_run(store, nodes=nodes, **run)
    for index, rate in enumerate(rates, start=1):
        how = {"images_per_s": rate, "one_machine": one_machine} | (recording or {})
        record(folder, index, Recording(**how) if rate else FAILED)
    [table] = compare_sizes([analyse_run(folder)], force=force).tables
    return table


def test_a_size_whose_repeats_scatter_without_bound_has_no_number(tmp_path):
    table = measure(tmp_path, [1000.0, 1900.0, 1000.0, 1900.0, 1000.0, 190.0], nodes=(1, 2), repeat=3)
    assert table.base.images_per_s == pytest.approx(1000.0)
    assert "scatter so widely" in table.points[1].images_per_s.missing
    assert "scatter so widely" in table.points[1].efficiency.missing


def test_weak_scaling(tmp_path):
    table = measure(tmp_path, [1000.0, 1900.0, 3600.0], nodes=(1, 2, 4))
    assert table.question.batch.text == "weak scaling, 256 images per rank"
    assert [(point.nodes, point.ranks, point.relative) for point in table.points] == [
        (1, 1, 1),
        (2, 2, 2),
        (4, 4, 4),
    ]
    assert [point.speed_up for point in table.points] == pytest.approx([1.0, 1.9, 3.6])
    assert [point.efficiency for point in table.points] == pytest.approx([1.0, 0.95, 0.9])
    assert table.base.ranks == 1
    assert table.warnings == ()
    assert isinstance(table.drift, Missing)


def test_strong_scaling_is_the_ratio_of_step_times(tmp_path):
    table = measure(tmp_path, [1000.0, 1600.0], nodes=(1, 2), batch=None, global_batch=512)
    base, two = table.points
    assert table.question.batch.text == "strong scaling, global batch 512"
    assert (base.step_s, two.step_s) == (pytest.approx(0.512), pytest.approx(0.32))
    assert two.efficiency == pytest.approx(base.step_s / (2 * two.step_s))


def test_the_base_is_the_smallest_size_and_need_not_be_one_rank(tmp_path):
    table = measure(tmp_path, [3600.0, 2000.0], nodes=(4, 2))
    assert table.base.ranks == 2
    assert table.points[1].relative == 2
    assert table.points[1].efficiency == pytest.approx(0.9)


def test_repeats_are_combined_by_the_harmonic_mean(tmp_path):
    table = measure(tmp_path, [1000.0, 1500.0, 1000.0, 3000.0], nodes=(1, 2), repeat=2)
    two = table.points[1]
    assert two.images_per_s == pytest.approx(2000.0)
    assert (two.lowest, two.highest, two.count) == (pytest.approx(1500.0), pytest.approx(3000.0), 2)


def test_the_published_dgx_1_row(tmp_path):
    """TensorFlow's benchmarks page: AlexNet on 1, 2, 4 and 8 P100, synthetic data, 512 images per GPU."""
    table = measure(tmp_path, [2987.0, 5658.0, 10509.0, 17822.0], nodes=(1, 2, 4, 8), batch=512)
    points = table.points[1:]
    assert [round(100 * point.efficiency) for point in points] == [95, 88, 75]
    assert [round(point.karp_flatt, 3) for point in points] == [0.056, 0.046, 0.049]
    assert isinstance(table.base.karp_flatt, Missing)


def test_efficiency_has_the_uncertainty_of_both_ends(tmp_path):
    table = measure(tmp_path, [1000.0, 1900.0], nodes=(1, 2))
    base, two = table.points
    bounds = two.efficiency_interval
    assert bounds.low < 0.95 < bounds.high
    assert bounds.half_width > max(base.interval.half_width, two.interval.half_width)
    assert base.efficiency_interval is None


def test_three_repeats_are_samples_by_themselves(tmp_path):
    rates = [1000.0, 1010.0, 990.0]
    table = measure(tmp_path, [rate for one in rates for rate in (one, 1900.0)], nodes=(1, 2), repeat=3)
    base = table.base
    # Student's t over three step times with 2 degrees of freedom: 4.303 * 0.01 / sqrt(3).
    assert base.interval.count == 3
    assert base.interval.half_width == pytest.approx(0.0248, abs=0.001)


def test_two_repeats_span_from_end_to_end(tmp_path):
    table = measure(tmp_path, [1000.0, 1900.0, 1050.0], nodes=(1, 2, 1))
    assert table.base.interval.low < 1000.0
    assert table.base.interval.high > 1050.0


def test_only_full_launches_share_a_scaling_table(tmp_path):
    run = write_run(tmp_path, nodes=(1, 2), launches={"attribution": True})
    for launch in run.job().launches:
        record(run, launch.index)
    [table] = compare_sizes([analyse_run(run)]).tables
    assert [point.planned for point in table.points] == [1, 1]


def test_a_bracketed_base_counts_all_its_launches_and_names_its_drift(tmp_path):
    table = measure(tmp_path, [1000.0, 1900.0, 1050.0], nodes=(1, 2, 1))
    assert table.bracketed
    assert table.base.count == 2
    assert table.drift == pytest.approx(0.05)
    assert any("drifted by +5.0 %" in warning for warning in table.warnings)


def test_a_base_in_front_is_not_bracketed(tmp_path):
    assert not measure(tmp_path, [1000.0, 1000.0, 1900.0], nodes=(1, 1, 2)).bracketed


def test_efficiency_of_rehearsals_is_withheld_unless_asked_for(tmp_path):
    table = measure(tmp_path, [1000.0, 1200.0], nodes=(1, 2), one_machine=True)
    withheld = Missing(missing="2 hosts share one boot id (--force shows it)")
    assert [point.efficiency for point in table.points] == [withheld, withheld]
    assert [point.speed_up for point in table.points] == [withheld, withheld]
    assert [point.images_per_s for point in table.points] == pytest.approx([1000.0, 1200.0])
    assert not table.forced


def test_efficiency_of_rehearsals_that_was_asked_for_is_marked(tmp_path):
    table = measure(tmp_path, [1000.0, 1200.0], nodes=(1, 2), one_machine=True, force=True)
    assert table.points[1].efficiency == pytest.approx(0.6)
    assert table.forced


def test_more_than_a_hundred_percent_carries_a_warning(tmp_path):
    table = measure(tmp_path, [1000.0, 2100.0], nodes=(1, 2))
    assert table.points[1].efficiency == pytest.approx(1.05)
    assert any("more than 100 %" in warning for warning in table.warnings)


def test_a_size_without_throughput_stays_in_the_table_as_missing(tmp_path):
    table = measure(tmp_path, [1000.0, None], nodes=(1, 2))
    reason = Missing(missing="the launch stopped after 7 of 40 steps")
    two = table.points[1]
    assert two.images_per_s == two.speed_up == two.efficiency == two.step_s == reason
    assert (two.count, two.planned) == (0, 1)


def test_without_a_base_nothing_is_compared(tmp_path):
    table = measure(tmp_path, [None, 1900.0], nodes=(1, 2))
    two = table.points[1]
    assert two.images_per_s == pytest.approx(1900.0)
    assert two.efficiency.missing.startswith("there is no base to compare with: ")


def test_a_repeat_that_failed_is_told(tmp_path):
    table = measure(tmp_path, [1000.0, 1900.0, 1000.0, None], nodes=(1, 2), repeat=2)
    assert table.points[1].images_per_s == pytest.approx(1900.0)
    assert table.warnings == ("2 ranks: 1 of 2 launches have no throughput",)


def test_one_size_gives_no_table(tmp_path):
    run = write_run(tmp_path, nodes=(2,), repeat=2)
    record(run, 1)
    record(run, 2)
    study = compare_sizes([analyse_run(run)])
    assert (study.tables, study.refusals) == ((), ())


def make_runs(store, *runs):
    """Runs of one launch each, from pairs of (arguments of the run, how it was recorded)."""
    results = []
    for number, (arguments, how) in enumerate(runs):
        run = write_run(store, run_id=f"20261122-14120{number}-abcd", **arguments)
        record(run, 1, how)
        results.append(analyse_run(run))
    return results


def test_launches_of_several_runs_share_a_table(tmp_path):
    runs = [({"nodes": (count,)}, Recording(images_per_s=900.0 * count + 100)) for count in (1, 2, 4)]
    [table] = compare_sizes(make_runs(tmp_path, *runs)).tables
    assert [point.ranks for point in table.points] == [1, 2, 4]


@pytest.mark.parametrize(
    ("changes", "how"),
    [
        ({"model": "overfeat"}, Recording()),
        ({"dtype": "bf16"}, Recording()),
        ({"augment": False}, Recording()),
        ({"data": "digits"}, Recording()),
        ({}, Recording(engine="ddp", transport="gloo")),
        ({}, Recording(transport="gloo")),
        ({}, Recording(cpu="another CPU")),
    ],
)
def test_different_questions_share_no_table(tmp_path, changes, how):
    results = make_runs(tmp_path, ({"nodes": (1,)}, Recording()), ({"nodes": (2,)} | changes, how))
    assert compare_sizes(results).tables == ()


def test_different_questions_have_tables_of_their_own(tmp_path):
    runs = [
        ({"nodes": (count,), "model": model}, Recording())
        for model in ("alexnet", "overfeat")
        for count in (1, 2)
    ]
    tables = compare_sizes(make_runs(tmp_path, *runs)).tables
    assert [table.question.work.model for table in tables] == ["alexnet", "overfeat"]


@pytest.mark.parametrize("other", [{"batch": None, "global_batch": 512}, {"batch": 128}])
def test_mixed_batches_are_refused_with_the_reason(tmp_path, other):
    results = make_runs(tmp_path, ({"nodes": (1,)}, Recording()), ({"nodes": (2,)} | other, Recording()))
    study = compare_sizes(results)
    assert study.tables == ()
    [refusal] = study.refusals
    assert "weak scaling, 256 images per rank (1 rank)" in refusal
    assert "different questions" in refusal


def test_one_rank_alone_is_a_base_for_any_engine(tmp_path):
    alone = Recording(engine="single", transport="none", images_per_s=1000.0)
    results = make_runs(tmp_path, ({"nodes": (1,)}, alone), ({"nodes": (2,)}, Recording(images_per_s=1800.0)))
    [table] = compare_sizes(results).tables
    assert table.points[1].efficiency == pytest.approx(0.9)
    assert table.question.means.engine == "horovod"


def test_a_launch_that_never_started_belongs_to_its_question(tmp_path):
    run = write_run(tmp_path, nodes=(1, 2, 4))
    record(run, 1, Recording())
    record(run, 2, Recording())
    [table] = compare_sizes([analyse_run(run)]).tables
    assert table.points[2].images_per_s == Missing(missing="the launch has not started")


@settings(deadline=None, max_examples=15)
@given(
    rate=st.floats(0.1, 1e6),
    sizes=st.lists(st.integers(1, 8), min_size=2, max_size=4, unique=True),
    strong=st.booleans(),
)
def test_ideal_launches_have_an_efficiency_of_one(rate, sizes, strong):
    batch = {"batch": None, "global_batch": 840} if strong else {}
    with tempfile.TemporaryDirectory() as store:
        table = measure(Path(store), [rate * size for size in sizes], nodes=tuple(sizes), **batch)
    assert [point.ranks for point in table.points] == sorted(sizes)
    assert [point.efficiency for point in table.points] == pytest.approx([1.0] * len(sizes))
    assert [point.speed_up for point in table.points] == pytest.approx(
        [point.relative for point in table.points]
    )


# ---- What was to be expected ----

HOROVOD, DDP = {"engine": "horovod", "transport": "mpi"}, {"engine": "ddp", "transport": "gloo"}


def record_probe(run, index, *, seconds_per_byte=1e-9, **way):
    launch = run.job().launches[index - 1]
    exchanges = [
        Collective(size_bytes=size, seconds=(1e-4 + seconds_per_byte * size,) * 9) for size in (4, 1 << 28)
    ]
    probe = Probe(
        world_size=launch.world_size,
        allreduce=tuple(exchanges),
        mpi=Missing(missing="srun starts no MPI here"),
        gradients=exchanges[-1],
        links=Missing(missing="all ranks are on one node"),
    )
    publish_record(record(run, index, Recording(summarised=False, steps=0, **way)).probe_path, probe)


def expect_all(*runs):
    """The outlooks of each table over these runs."""
    results = [analyse_run(run) for run in runs]
    found = []
    for result in results:
        probed = [analyse_probe(launch) for launch in result.launches if launch.plan.kind == "probe"]
        found.append((result.trainings, [probe for probe in probed if not isinstance(probe, Missing)]))
    return [expect_sizes(table, found) for table in compare_sizes(results).tables]


def test_each_engine_is_expected_to_be_what_its_own_launches_let_expect(tmp_path):
    run = write_run(tmp_path, nodes=(1, 4), launches={"engines": ("horovod", "ddp"), "probe": "also"})
    record_probe(run, 1, **HOROVOD)
    record_probe(run, 2, **DDP, seconds_per_byte=8e-9)
    for index, (way, rate) in enumerate([(HOROVOD, 256), (DDP, 128), (HOROVOD, 1000), (DDP, 500)], start=3):
        record(run, index, Recording(images_per_s=rate, **way))
    horovod, ddp = expect_all(run)
    assert list(horovod) == list(ddp) == [(4, 4)]
    # One rank's step takes 1 s and 2 s; what has changed beside that is what its own probe lets stand out.
    assert 0.85 < horovod[4, 4].step_s < 1.1
    assert ddp[4, 4].step_s > 1.7


def test_an_engine_without_a_probe_is_not_measured_by_the_other_ones(tmp_path):
    run = write_run(tmp_path, nodes=(1, 4), launches={"engines": ("horovod", "ddp"), "probe": "also"})
    record_probe(run, 1, **HOROVOD)
    for index, way in enumerate([HOROVOD, DDP, HOROVOD, DDP], start=3):
        record(run, index, Recording(**way))
    horovod, ddp = expect_all(run)
    assert list(horovod) == [(4, 4)]
    assert ddp == {}


@pytest.mark.parametrize(("fusion_mb", "count"), [(64, 1), (1, 0)])
def test_a_probe_of_other_buckets_lets_nothing_be_expected(tmp_path, fusion_mb, count):
    train = write_run(tmp_path, nodes=(1, 4), launches={"probe": "also"})
    record_probe(train, 1)
    record(train, 2, Recording(engine="single", transport="none"))
    record(train, 3)
    result = analyse_run(train)
    [table] = compare_sizes([result]).tables
    probe = analyse_probe(result.launches[0])
    changed = probe.launch.plan.train.model_copy(update={"fusion_mb": fusion_mb})
    plan = probe.launch.plan.model_copy(update={"train": changed})
    other = replace(probe, launch=replace(probe.launch, plan=plan))
    assert len(expect_sizes(table, [(result.trainings, [other])])) == count


def test_as_many_ranks_in_other_places_are_another_size(tmp_path):
    """Two ranks on one node and on two: each is expected by the probe of its own job."""
    apart = write_run(tmp_path, nodes=(1, 2), launches={"probe": "also"}, threads=4)
    record_probe(apart, 1, seconds_per_byte=8e-9)
    record(apart, 2, Recording(engine="single", transport="none", images_per_s=256))
    record(apart, 3)
    together = write_run(
        tmp_path, run_id="20261122-151200-k3f9", tasks_per_node=2, launches={"probe": "also"}, threads=4
    )
    record_probe(together, 1)
    record(together, 2)
    [outlooks] = expect_all(apart, together)
    assert set(outlooks) == {(2, 1), (2, 2)}
    assert outlooks[2, 1].step_s < outlooks[2, 2].step_s
    [table] = as_json.as_dict(report.build([analyse_run(apart), analyse_run(together)]))["scaling"]
    shown = [row["expected_step_s"]["value"] for row in table["rows"][1:]]
    assert shown == pytest.approx([outlooks[2, 1].step_s, outlooks[2, 2].step_s])


def test_a_size_that_never_started_has_its_outlook(tmp_path):
    run = write_run(tmp_path, nodes=(1, 2, 4), launches={"probe": "also"})
    record_probe(run, 1)
    record(run, 2, Recording(engine="single", transport="none", images_per_s=256))
    record(run, 3)
    [outlooks] = expect_all(run)
    assert set(outlooks) == {(2, 2), (4, 4)}
    assert outlooks[4, 4].step_s > 0
    assert outlooks[4, 4].explanation == "", "there is nothing yet to be explained"


# ---- Engines side by side ----


def test_a_launch_that_never_started_is_no_engine_of_its_own(tmp_path):
    run = write_run(tmp_path, nodes=(2,), repeat=2)
    record(run, 1)
    assert compare_engines(analyse_run(run).trainings) == ()
    named = write_run(tmp_path / "b", nodes=(2,), repeat=2, engine="horovod")
    record(named, 1)
    assert compare_engines(analyse_run(named).trainings) == (), "only its transport is not known"


def test_an_engine_that_was_asked_for_and_never_started_keeps_its_row(tmp_path):
    run = write_run(tmp_path, nodes=(2,), launches={"engines": ("horovod", "ddp")})
    record(run, 1)
    [sides] = compare_engines(analyse_run(run).trainings)
    assert [side.engine for side in sides.sides] == ["horovod", "ddp"]
    assert sides.sides[1].over_first == Missing(missing="the launch has not started")


def test_what_is_withheld_is_no_ratio_to_the_first(tmp_path):
    """With --force its images/s stand struck through, and not once more as so many times the first."""
    run = write_run(tmp_path, nodes=(2,), launches={"engines": ("horovod", "ddp")}, steps=20)
    record(run, 1, Recording(images_per_s=1000.0, **HOROVOD))
    record(run, 2, Recording(images_per_s=900.0, **DDP))
    result = analyse_run(run)
    [sides] = compare_engines(result.trainings)
    assert [type(side.over_first) for side in sides.sides] == [Missing, Missing]
    [engines] = [one for one in report.build([result], force=True).sections if one.key == "engines"]
    over = [column.key for column in engines.columns].index("over_first")
    assert not any(row[over].struck for row in engines.rows)
