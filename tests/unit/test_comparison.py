"""Two runs against each other, and a curve drawn on: verdicts, refusals, and what they look like."""

from __future__ import annotations

import json
import statistics

import pytest

from hpcdl import report
from hpcdl.analysis.comparison import compare
from hpcdl.analysis.job import analyse_run
from hpcdl.analysis.prediction import predict
from hpcdl.analysis.readings import Withheld
from hpcdl.analysis.repeats import combine, gather_repeats
from hpcdl.analysis.scaling import compare_sizes
from hpcdl.analysis.sides import compare_engines
from hpcdl.errors import Mistake
from hpcdl.report import as_json, as_terminal
from hpcdl.report.comparing import describe_comparison, describe_predictions
from tests.unit.records_maker import Recording, record, write_run

FIRST, SECOND = "20261122-141200-aaaa", "20261122-151200-bbbb"


def measure(store, rates, *, run_id=FIRST, recording=None, **asked):
    """A run of as many repeats as there are rates."""
    run = write_run(store, run_id=run_id, repeat=len(rates), **asked)
    for index, rate in enumerate(rates, start=1):
        record(run, index, Recording(images_per_s=rate, **(recording or {})))
    return analyse_run(run)


def both(store, first, second, **recording):
    return compare(measure(store, first), measure(store, second, run_id=SECOND, recording=recording))


def test_a_faster_run_is_called_so(tmp_path):
    rates = [1000.0, 1004.0, 998.0, 1002.0, 996.0]
    [found] = both(tmp_path, rates, [1.1 * rate for rate in rates]).differences
    assert (found.verdict, found.basis) == ("faster", "launches")
    assert found.change.value == pytest.approx(0.1, abs=1e-3)
    assert found.change.low > 0.09
    # Five above five: 2 of 252 orders.
    assert found.p_value == pytest.approx(2 / 252)


def test_a_slower_one_too(tmp_path):
    rates = [1000.0, 1004.0, 998.0, 1002.0]
    [found] = both(tmp_path, rates, [0.9 * rate for rate in rates]).differences
    assert found.verdict == "slower"


def test_what_may_be_chance_is_no_difference(tmp_path):
    [found] = both(tmp_path, [1000.0, 1020.0, 980.0, 1010.0], [1005.0, 985.0, 1025.0, 990.0]).differences
    assert found.verdict == "no difference seen"
    assert found.change.low < 0 < found.change.high


def test_single_launches_are_compared_by_their_steps_and_that_is_told(tmp_path):
    comparison = both(tmp_path, [1000.0], [1100.0])
    [found] = comparison.differences
    assert (found.verdict, found.basis) == ("faster", "steps")
    assert "--repeat 5 on both sides" in as_terminal.write(describe_comparison(comparison))


def test_what_differs_around_them_is_listed(tmp_path):
    comparison = both(tmp_path, [1000.0], [1000.0], cpu="an older one", transport="gloo")
    assert ("CPU", "AMD EPYC 9534 64-Core Processor", "an older one") in comparison.facts
    assert ("engine", "horovod over mpi", "horovod over gloo") in comparison.facts
    text = as_terminal.write(describe_comparison(comparison), width=140)
    assert "an older one" in text
    assert "no difference seen" in text


DIFFERENT = {
    "model": ({"model": "overfeat"}, "model alexnet and overfeat"),
    "batch": ({"batch": 128}, "weak scaling, 256 images per rank and weak scaling, 128 images per rank"),
    "size": ({"nodes": (2,)}, "1 ranks on 1 nodes and 2 on 2"),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_different_benchmarks_are_not_compared(tmp_path, name):
    asked, words = DIFFERENT[name]
    with pytest.raises(Mistake, match=words):
        compare(measure(tmp_path, [1000.0]), measure(tmp_path, [1000.0], run_id=SECOND, **asked))


def test_a_run_is_not_compared_with_itself(tmp_path):
    result = measure(tmp_path, [1000.0])
    with pytest.raises(Mistake, match="with itself"):
        compare(result, result)


def test_what_is_withheld_is_not_compared(tmp_path):
    short = {"steps": 20}
    comparison = compare(
        measure(tmp_path, [1000.0], **short), measure(tmp_path, [1000.0], run_id=SECOND, **short)
    )
    [found] = comparison.differences
    assert found.verdict is None
    data = json.loads(as_json.render(describe_comparison(comparison)))
    assert "20 steps are too few" in data["differences"][0]["change"]["missing"]
    assert data["differences"][0]["verdict"] == "not compared"


ENGINES = {"engines": ("horovod", "ddp")}


def measure_engines(store, horovod, ddp, *, run_id, nodes=(4,)):
    """Both engines side by side, one launch each on each size."""
    run = write_run(store, run_id=run_id, nodes=nodes, launches=ENGINES)
    for index, launch in enumerate(run.job().launches, start=1):
        engine = launch.train.engine
        rate = launch.nodes * (horovod if engine == "horovod" else ddp)
        record(run, index, Recording(images_per_s=rate, engine=engine, transport="gloo"))
    return analyse_run(run)


def test_engines_are_compared_each_with_itself(tmp_path):
    first = measure_engines(tmp_path, 1000.0, 500.0, run_id=FIRST)
    second = measure_engines(tmp_path, 900.0, 600.0, run_id=SECOND)
    found = {one.engine: one for one in compare(first, second).differences}
    assert found["horovod"].change.value == pytest.approx(-0.1)
    assert found["ddp"].change.value == pytest.approx(0.2)
    text = as_terminal.write(describe_comparison(compare(first, second)), width=140)
    assert "horovod" in text
    assert "ddp" in text


def test_one_engine_is_compared_with_its_own_side_only(tmp_path):
    both_engines = measure_engines(tmp_path, 1000.0, 500.0, run_id=FIRST)
    alone = measure(tmp_path, [1000.0], run_id=SECOND, nodes=(4,), engine="ddp")
    comparison = compare(both_engines, alone)
    assert [one.engine for one in comparison.differences] == ["ddp"]
    [note] = [note.text for note in describe_comparison(comparison).notes if "not compared" in note.text]
    assert note == f"only {FIRST} has 4 ranks on 4 nodes (Horovod): not compared"
    unnamed = measure(tmp_path, [1000.0], run_id=SECOND[:-1] + "c", nodes=(4,))
    with pytest.raises(Mistake, match="engine horovod and auto"):
        compare(both_engines, unnamed)


def test_two_runs_of_one_engine_each_are_compared_across_it(tmp_path):
    first = measure(tmp_path, [1000.0], engine="horovod")
    second = measure(tmp_path, [1100.0], run_id=SECOND, engine="ddp")
    [found] = compare(first, second).differences
    assert (found.engine, found.verdict) == (None, "faster")


def test_sizes_of_one_run_alone_are_told(tmp_path):
    first = sweep(tmp_path, [1000.0, 1900.0], (1, 2))
    second = sweep(tmp_path, [1000.0, 3500.0], (1, 4), run_id=SECOND)
    comparison = compare(first, second)
    assert [one.ranks for one in comparison.differences] == [1]
    told = [note.text for note in describe_comparison(comparison).notes]
    assert f"only {first.run_id} has 2 ranks on 2 nodes: not compared" in told
    assert f"only {SECOND} has 4 ranks on 4 nodes: not compared" in told


# ---- Prediction ----


def sweep(store, rates, nodes, *, run_id=FIRST, asked=None, **recording):
    run = write_run(store, nodes=nodes, run_id=run_id, **(asked or {}))
    for index, rate in enumerate(rates, start=1):
        record(run, index, Recording(images_per_s=rate, **recording))
    return analyse_run(run)


def law(n, serial=0.05, crosstalk=0.0):
    return 1000.0 * n / (1 + serial * (n - 1) + crosstalk * n * (n - 1))


def test_the_curve_is_drawn_on(tmp_path):
    nodes = (1, 2, 4)
    [table] = compare_sizes([sweep(tmp_path, [law(n) for n in nodes], nodes)]).tables
    found = predict(table, [8, 16])
    assert [one.nodes for one in found.forecasts] == [1, 2, 4, 8, 16]
    assert (found.fit.law, found.sizes) == ("amdahl", 3)
    sixteen = found.forecasts[-1]
    assert sixteen.images_per_s == pytest.approx(law(16), rel=1e-3)
    assert sixteen.efficiency == pytest.approx(1 / 1.75, rel=1e-3)
    assert sixteen.interval.low < law(16) < sixteen.interval.high


def test_five_sizes_make_the_scalability_law(tmp_path):
    nodes = (1, 2, 4, 8, 16)
    rates = [law(n, 0.02, 0.001) for n in nodes]
    [table] = compare_sizes([sweep(tmp_path, rates, nodes)]).tables
    found = predict(table, [64])
    assert found.fit.law == "usl"
    assert found.forecasts[-1].images_per_s == pytest.approx(law(64, 0.02, 0.001), rel=1e-2)


def test_beyond_eight_times_the_largest_size_nothing_is_published(tmp_path):
    nodes = (1, 2, 4)
    [table] = compare_sizes([sweep(tmp_path, [law(n) for n in nodes], nodes)]).tables
    near, far = predict(table, [32, 33]).forecasts[-2:]
    assert near.images_per_s == pytest.approx(law(32), rel=1e-3)
    assert isinstance(far.images_per_s, Withheld)
    assert "more than 8 times the largest size" in far.images_per_s.missing
    text = as_terminal.write(describe_predictions([predict(table, [33])], force=True), width=120)
    assert "~~" in text
    assert "~~" not in as_terminal.write(describe_predictions([predict(table, [33])], force=False), width=120)


def test_a_rehearsal_predicts_nothing_unless_asked(tmp_path):
    result = sweep(tmp_path, [1000.0, 1400.0], (1, 2), one_machine=True)
    [table] = compare_sizes([result]).tables
    assert "share one boot id" in predict(table, [4]).forecasts[-1].images_per_s.missing
    [hidden] = json.loads(as_json.render(describe_predictions([predict(table, [4])], force=False)))[
        "predictions"
    ]
    for key in ("rate", "serial", "crosstalk", "misfit"):
        assert "share one boot id" in hidden[key]["missing"]
    text = as_terminal.write(describe_predictions([predict(table, [4])], force=False), width=120)
    assert "fitted to 2 sizes" in text
    assert "0.429" not in text
    [forced] = compare_sizes([result], force=True).tables
    assert "s = 0.429" in as_terminal.write(
        describe_predictions([predict(forced, [4])], force=True), width=200
    )
    assert predict(forced, [4]).forecasts[-1].images_per_s == pytest.approx(law(4, 3 / 7), rel=0.01)


def test_a_sweep_without_its_base_predicts_nothing(tmp_path):
    run = write_run(tmp_path, nodes=(1, 2, 4))
    record(run, 2, Recording(images_per_s=1900.0))
    record(run, 3, Recording(images_per_s=3600.0))
    [table] = compare_sizes([analyse_run(run)]).tables
    with pytest.raises(Mistake, match="the base among them"):
        predict(table, [8])


def test_a_base_of_one_gpu_does_not_make_every_node_one(tmp_path):
    asked = {"tasks_per_node": 4, "launches": {"per": "gpu"}}
    result = sweep(tmp_path, [law(1), law(4), law(8)], (1, 2), asked=asked)
    [table] = compare_sizes([result]).tables
    found = predict(table, [2, 8]).forecasts
    assert [(one.nodes, one.ranks) for one in found] == [(1, 1), (1, 4), (2, 8), (8, 32)]
    for one in found[:3]:
        assert one.measured == pytest.approx(law(one.ranks), rel=1e-3)
        assert one.images_per_s == pytest.approx(law(one.ranks), rel=1e-3)
    assert found[3].images_per_s == pytest.approx(law(32), rel=1e-3)


def test_every_size_of_a_local_sweep_has_its_row(tmp_path):
    result = sweep(tmp_path, [law(1), law(2), law(4)], (1, 2, 4), asked={"launcher": "mpirun"})
    [table] = compare_sizes([result]).tables
    found = predict(table, [1, 2]).forecasts
    assert [(one.nodes, one.ranks) for one in found] == [(1, 1), (1, 2), (1, 4), (2, 8)]
    assert [one.measured for one in found[:3]] == pytest.approx([law(1), law(2), law(4)], rel=1e-3)


def test_as_many_ranks_on_more_nodes_are_no_second_size(tmp_path):
    """Two of the three sizes are N = 1, and the third has no throughput: one is too few for a law."""
    together = sweep(tmp_path, [1000.0], (1,), asked={"tasks_per_node": 2, "threads": 4})
    apart = sweep(tmp_path, [1000.0], (2, 4), run_id=SECOND, asked={"threads": 4})
    [table] = compare_sizes([together, apart]).tables
    assert [(point.nodes, point.ranks) for point in table.points] == [(1, 2), (2, 2), (4, 4)]
    with pytest.raises(Mistake, match="1 of the sizes has a throughput"):
        predict(table, [8])


def test_a_throughput_that_falls_too_steeply_has_no_law(tmp_path):
    run = write_run(tmp_path, nodes=(1, 2, 4), repeat=3)
    for index, rate in enumerate((1000.0, 500.0, 50.0, 800.0, 500.0, 50.0, 1200.0, 500.0, 50.0), start=1):
        record(run, index, Recording(images_per_s=rate))
    [table] = compare_sizes([analyse_run(run)]).tables
    with pytest.raises(Mistake, match="no law of scaling fits"):
        predict(table, [8])


# ---- Engines side by side ----


def test_engines_stand_in_one_table(tmp_path):
    run = write_run(tmp_path, nodes=(4,), launches={"engines": ("horovod", "ddp")})
    record(run, 1, Recording(images_per_s=1000.0))
    record(run, 2, Recording(images_per_s=900.0, engine="ddp", transport="gloo"))
    result = analyse_run(run)
    [sides] = compare_engines(result.trainings)
    assert [(side.engine, side.transport) for side in sides.sides] == [("horovod", "mpi"), ("ddp", "gloo")]
    over = sides.sides[1].over_first
    assert over.value == pytest.approx(0.9)
    assert over.low < 0.9 < over.high
    content = report.build([result])
    text = as_terminal.write(content, width=120)
    assert "Engines side by side: AlexNet, weak scaling, 256 images per rank, 4 ranks on 4 nodes" in text
    assert "DDP/Gloo" in text
    data = json.loads(as_json.render(content))
    assert data["engines"][0]["rows"][1]["over_first"]["value"] == pytest.approx(0.9)
    # Another engine is another question: it is no size of a scaling table.
    assert data["scaling"] == []


def test_one_engine_makes_no_table(tmp_path):
    assert compare_engines(measure(tmp_path, [1000.0, 1001.0]).trainings) == ()


# ---- Repeats ----


def test_repeats_of_one_size_are_one_number(tmp_path):
    rates = [1000.0, 1010.0, 990.0, 1005.0, 995.0]
    result = measure(tmp_path, rates)
    [found] = gather_repeats(result.trainings)
    assert (found.count, found.planned) == (5, 5)
    assert found.rate.value == pytest.approx(statistics.harmonic_mean(rates))
    # Student's t with 4 degrees of freedom over five step times, 2.776 * 0.0079 / sqrt(5).
    assert found.rate.half_width == pytest.approx(0.0098, abs=5e-4)
    data = json.loads(as_json.render(report.build([result])))
    assert data["repeats"][0]["images_per_s"]["value"] == pytest.approx(found.rate.value)
    assert data["repeats"][0]["range"]["highest"]["value"] == pytest.approx(1010.0)


def test_sizes_of_a_sweep_are_no_repeats(tmp_path):
    assert gather_repeats(sweep(tmp_path, [1000.0, 1900.0, 1010.0], (1, 2, 1)).trainings) == ()


SCATTER = [1000.0, 1000.0, 100.0]


def test_repeats_that_scatter_without_bound_are_no_number(tmp_path):
    result = measure(tmp_path, SCATTER)
    assert combine([launch.interval for launch in result.trainings]) is None
    [found] = gather_repeats(result.trainings)
    assert "no upper bound" in found.rate.missing
    data = json.loads(as_json.render(report.build([result])))
    assert "no upper bound" in data["repeats"][0]["images_per_s"]["missing"]
    assert data["repeats"][0]["interval"] is None
    steady = measure(tmp_path, [1000.0] * 3, run_id=SECOND)
    [difference] = compare(steady, result).differences
    assert "no upper bound" in difference.change.missing


def test_a_size_that_scatters_without_bound_is_told_and_not_drawn_on(tmp_path):
    run = write_run(tmp_path, nodes=(1, 2), repeat=3)
    for index, rate in enumerate(rate for one in SCATTER for rate in (one, 1900.0)):
        record(run, index + 1, Recording(images_per_s=rate))
    result = analyse_run(run)
    content = report.build([result])
    assert "inf" not in as_terminal.write(content, width=120).replace("info", "")
    data = json.loads(as_json.render(content))
    assert data["scaling"][0]["rows"][0]["interval"] is None
    assert any(note["text"].startswith("launches 1, 3 and 5 scatter so widely") for note in data["notes"])
    [table] = compare_sizes([result]).tables
    with pytest.raises(Mistake, match="1 of the sizes has a throughput with an interval"):
        predict(table, [4])
