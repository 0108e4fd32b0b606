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
from hpcdl.analysis.repeats import gather_repeats
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


# ---- Prediction ----


def sweep(store, rates, nodes, **recording):
    run = write_run(store, nodes=nodes)
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
    [forced] = compare_sizes([result], force=True).tables
    assert predict(forced, [4]).forecasts[-1].images_per_s == pytest.approx(law(4, 3 / 7), rel=0.01)


def test_a_sweep_without_its_base_predicts_nothing(tmp_path):
    run = write_run(tmp_path, nodes=(1, 2, 4))
    record(run, 2, Recording(images_per_s=1900.0))
    record(run, 3, Recording(images_per_s=3600.0))
    [table] = compare_sizes([analyse_run(run)]).tables
    with pytest.raises(Mistake, match="the base among them"):
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
