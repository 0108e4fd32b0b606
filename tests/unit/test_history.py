"""One benchmark over weeks: its lines, its changes, what else changed, and what it looks like."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hpcdl.analysis.catalogue import read_stores
from hpcdl.analysis.history import choose_benchmark, trace_history
from hpcdl.durable import publish_record
from hpcdl.errors import Mistake
from hpcdl.metering import Source
from hpcdl.records import Missing
from hpcdl.report import as_json, as_terminal
from hpcdl.report.histories import describe_history
from hpcdl.report.pictures import Lines
from hpcdl.store import Store
from hpcdl.stores import Stores
from tests.unit.records_maker import KILLED, Recording, record, write_run, write_trace

OLD, NEW = "AMD EPYC 9534", "AMD EPYC 9555"
FAILED = {"outcomes": {0: KILLED}, "summarised": False}


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def make_day(root, day, rates, *, cpu=OLD, recording=None, **asked):
    """A run of one launch for each rate, planned on this day of November."""
    run = write_run(root, run_id=f"202611{day:02d}-120000-d{day:03d}", repeat=len(rates), **asked)
    created = run.job().created_utc.replace(day=day)
    publish_record(run.job_path, run.job().model_copy(update={"created_utc": created}))
    for index, rate in enumerate(rates, start=1):
        record(run, index, Recording(images_per_s=rate, cpu=cpu, **(recording or {})))
    return run


def make_weeks(root, *, change_at=9, days=18, after=0.95, **asked):
    generator = np.random.default_rng(3)
    for day in range(1, days + 1):
        level = 1000.0 if day < change_at else 1000.0 * after
        rate = level * (1 + 0.003 * generator.standard_normal())
        make_day(root, day, [rate], cpu=OLD if day < change_at else NEW, **asked)


def trace(root, text="scaling", **options):
    stores = Stores([Store(root)])
    catalogue = read_stores(stores)
    return trace_history(catalogue, choose_benchmark(catalogue, text, stores), **options)


def test_a_change_and_what_else_changed(tmp_path):
    make_weeks(tmp_path)
    [course] = trace(tmp_path).courses
    [turn] = course.turns
    assert (turn.before.time[:10], turn.after.time[:10]) == ("2026-11-08", "2026-11-09")
    assert turn.change.relative == pytest.approx(-0.05, abs=0.005)
    assert [tuple(fact) for fact in turn.facts] == [("CPU", OLD, NEW, True)]


def test_a_fact_that_changes_all_the_time_is_not_parted(tmp_path):
    for day in range(1, 13):
        make_day(
            tmp_path, day, [1000.0 + day % 3 if day < 7 else 900.0 + day % 3], cpu=OLD if day % 2 else NEW
        )
    [course] = trace(tmp_path).courses
    [turn] = course.turns
    assert [(fact.name, fact.parted) for fact in turn.facts] == [("CPU", False)]


def test_steady_weeks_have_no_change(tmp_path):
    make_weeks(tmp_path, after=1.0)
    [course] = trace(tmp_path).courses
    assert course.turns == ()
    text = as_terminal.write(describe_history(trace(tmp_path)))
    assert "Changes" not in text


def test_a_run_without_a_number_is_shown_and_not_searched(tmp_path):
    make_weeks(tmp_path)
    make_day(tmp_path, 20, [1.0], recording=FAILED)
    history = trace(tmp_path)
    [course] = history.courses
    assert (len(course.points), course.searched, len(course.turns)) == (19, 18, 1)
    assert isinstance(course.points[-1].value, Missing)
    data = json.loads(as_json.render(describe_history(history)))
    assert "missing" in data["runs"][-1]["images_per_s"]
    [note] = [note["text"] for note in data["notes"] if "without images/s" in note["text"]]
    assert note.startswith("1 rank: 1 run without images/s left out")


def test_sizes_variants_and_disguises_are_lines_of_their_own(tmp_path):
    for day in (1, 2):
        run = make_day(tmp_path, day, [1000.0], nodes=(1, 2))
        record(run, 2, Recording(images_per_s=1900.0))
    run = make_day(tmp_path, 3, [1000.0], nodes=(1, 2), recording={"one_machine": True})
    record(run, 2, Recording(images_per_s=1500.0, one_machine=True))
    history = trace(tmp_path)
    lines = {(one.line.nodes, one.line.rehearsal): len(one.points) for one in history.courses}
    assert lines == {(1, False): 2, (2, False): 2, (1, True): 1, (2, True): 1}
    report = describe_history(history)
    assert report.badges == ("REHEARSAL",)
    assert any(note.kind == "rehearsal" and "share one boot id" in note.text for note in report.notes)


def test_repeats_are_one_point(tmp_path):
    make_day(tmp_path, 1, [1000.0, 1010.0, 990.0])
    [course] = trace(tmp_path).courses
    [point] = course.points
    # The harmonic mean, and Student's t over three step times.
    assert point.value == pytest.approx(3 / (1 / 1000 + 1 / 1010 + 1 / 990), rel=1e-4)
    assert point.launches == 3
    assert 970 < point.interval.low < 980
    assert 1020 < point.interval.high < 1030


RAPL = Source(name="package-0", sensor="rapl", covers="package", counter=True, update_s=0.1)
ESTIMATE = Source(name="package-0", sensor="estimate", covers="package", basis="its TDP", update_s=0.1)


def make_metered_day(root, day, watts, source=RAPL):
    run = make_day(root, day, [1000.0], power=True, recording={"clocks_s": {"node1": 0.0}})
    look = (lambda at_s: {"energy_j": watts * at_s}) if source.counter else (lambda at_s: {"power_w": watts})
    write_trace(run.launches()[0], "node1", {source: look}, begin_s=95.0, end_s=160.0)


def test_power_over_time_never_joins_estimates_and_measurements(tmp_path):
    for day in range(1, 7):
        make_metered_day(tmp_path, day, 300.0 + day / 10)
    for day in range(7, 13):
        make_metered_day(tmp_path, day, 250.0 + day / 10)
    make_metered_day(tmp_path, 13, 400.0, ESTIMATE)
    make_day(tmp_path, 14, [1000.0])
    history = trace(tmp_path, metric="W")
    lines = {(one.line.boundary, one.line.basis): one for one in history.courses}
    assert set(lines) == {("device", "measured"), ("device", "estimated")}
    measured = lines["device", "measured"]
    # The run without energy is shown where most are, with the reason.
    assert (len(measured.points), measured.searched) == (13, 12)
    [turn] = measured.turns
    assert turn.change.relative == pytest.approx(251 / 300.35 - 1, abs=0.003)
    report = describe_history(history)
    assert [picture.form.series[0].role for picture in report.pictures] == ["measured"]
    data = json.loads(as_json.render(report))
    [estimated] = [row for row in data["runs"] if row["basis"] == "estimated"]
    assert estimated["average_w"]["mark"] == "estimated"
    assert "REHEARSAL" not in report.badges
    assert trace(tmp_path, metric="images/J").courses[0].turns[0].change.relative > 0.15


def test_a_change_of_estimates_is_an_estimate(tmp_path):
    for day in range(1, 13):
        make_metered_day(tmp_path, day, (300.0 if day < 7 else 250.0) + day / 10, ESTIMATE)
    data = json.loads(as_json.render(describe_history(trace(tmp_path, metric="W"))))
    [change] = data["changes"]
    assert [change[key]["mark"] for key in ("before", "after", "change")] == ["estimated"] * 3
    assert [row["change"]["mark"] for row in data["runs"] if row["change"]] == ["estimated"]
    # The throughput beside it was measured.
    assert "mark" not in data["runs"][0]["images_per_s"]


def test_launches_of_one_run_that_were_metered_differently_have_no_mean(tmp_path):
    """200 W by a counter and 400 W by a specification are not 300 W by anything."""
    run = make_day(tmp_path, 1, [1000.0] * 2, power=True, recording={"clocks_s": {"node1": 0.0}})
    meters = {RAPL: lambda at_s: {"energy_j": 200.0 * at_s}}, {ESTIMATE: lambda at_s: {"power_w": 400.0}}
    for folder, sources in zip(run.launches(), meters, strict=True):
        write_trace(folder, "node1", sources, begin_s=95.0, end_s=160.0)
    [row] = json.loads(as_json.render(describe_history(trace(tmp_path))))["runs"]
    reason = "its launches were metered differently: device, measured; device, estimated"
    for key in ("average_w", "j_per_image", "images_per_j"):
        assert row[key]["missing"] == reason
    assert (row["boundary"], row["basis"]) == (None, None)
    assert row["images_per_s"]["value"] == pytest.approx(1000.0)
    # Where energy is the metric, each is a point of its own line.
    lines = {one.line.basis: one.points[0].average_w for one in trace(tmp_path, metric="W").courses}
    assert lines == {"measured": pytest.approx(200.0), "estimated": pytest.approx(400.0)}


def test_a_launch_without_energy_takes_nothing_away_from_the_other(tmp_path):
    run = make_day(tmp_path, 1, [1000.0] * 2, power=True, recording={"clocks_s": {"node1": 0.0}})
    write_trace(
        run.launches()[0], "node1", {RAPL: lambda at_s: {"energy_j": 200.0 * at_s}}, begin_s=95.0, end_s=160.0
    )
    [course] = trace(tmp_path).courses
    assert course.points[0].average_w == pytest.approx(200.0)
    assert (course.points[0].boundary, course.points[0].basis) == ("device", "measured")


def test_a_name_that_asked_different_things_is_asked_about(tmp_path):
    make_day(tmp_path, 1, [1000.0])
    other = make_day(tmp_path, 2, [1000.0], batch=128)
    with pytest.raises(Mistake, match="have asked 2 different questions") as caught:
        trace(tmp_path)
    benchmark_id = other.job().benchmark_id
    assert f"{benchmark_id} (1 of them, the last {other.run_id})" in str(caught.value)
    assert trace(tmp_path, benchmark_id).benchmark_id == benchmark_id
    assert trace(tmp_path, other.run_id).benchmark_id == benchmark_id
    with pytest.raises(Mistake, match="'nothing' is no benchmark that was run, and no run"):
        trace(tmp_path, "nothing")


def test_since(tmp_path):
    make_weeks(tmp_path)
    [course] = trace(tmp_path, since="2026-11-16T00:00:00Z").courses
    assert len(course.points) == 3
    report = describe_history(trace(tmp_path, since="2026-11-16T00:00:00Z"))
    assert any("3 runs with images/s are too few" in note.text for note in report.notes)
    with pytest.raises(Mistake, match="The last one was at 2026-11-18T14:12:00Z"):
        trace(tmp_path, since="2027")


def test_without_energy_there_is_no_power_over_time(tmp_path):
    make_weeks(tmp_path, days=3)
    history = trace(tmp_path, metric="W")
    [course] = history.courses
    assert (course.searched, len(course.points)) == (0, 3)
    report = describe_history(history)
    assert report.pictures == ()
    assert any("without W left out" in note.text and "--no-power" in note.text for note in report.notes)


def test_the_picture_says_what_there_is_to_see(tmp_path):
    make_weeks(tmp_path)
    [picture] = describe_history(trace(tmp_path)).pictures
    assert isinstance(picture.form, Lines)
    [series] = picture.form.series
    assert [dot.x for dot in series.dots] == list(range(18))
    assert all(dot.low < dot.y < dot.high for dot in series.dots)
    [stretch] = picture.form.stretches
    assert (stretch.begin, stretch.end) == (7.0, 8.0)
    assert "1 change: -5" in picture.alt
    assert "2026-11-09" in stretch.name


def test_json_and_text_have_the_same_change(tmp_path):
    make_weeks(tmp_path)
    report = describe_history(trace(tmp_path))
    data = json.loads(as_json.render(report))
    [change] = data["changes"]
    shown = f"{100 * change['change']['value']:+.1f} %"
    assert data["kind"] == "history"
    assert data["runs"][8]["change"] == change["change"]
    assert sum(row["change"] is not None for row in data["runs"]) == 1
    assert as_terminal.write(report, width=120).count(shown) == 2
