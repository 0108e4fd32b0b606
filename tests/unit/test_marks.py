"""What follows from copies, estimates, rehearsals and predictions says so: in numbers, in pictures, in every format."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.analysis.job import analyse_run
from hpcdl.analysis.matching import Asked, match_sweeps, pair_sweeps
from hpcdl.analysis.readings import Withheld
from hpcdl.analysis.sweep import gather_sweeps
from hpcdl.analysis.training_time import Goal, estimate_training
from hpcdl.marks import AND, join_marks
from hpcdl.report import as_json, as_markdown, as_terminal
from hpcdl.report.content import Quantity
from hpcdl.report.equivalences import describe_equivalence
from hpcdl.report.footnotes import Footnotes
from hpcdl.report.formats import lay_out, render
from hpcdl.report.trainings import describe_trainings
from tests.unit.cost_runs import boards, estimate_of, estimated, write, write_cpu, write_gpu
from tests.unit.estimate_runs import COST, measure, price

ONE_MACHINE = {"one_machine": True}
# By nothing but the processor's specification: 200 W, between 160 and 240.
GUESSED = {"node1": {estimate_of(): estimated(200.0)}}
BOARDS = {"node1": boards()}


def match(first, second, **asked):
    pair = pair_sweeps([first], [second], force=asked.get("force", False))
    return match_sweeps(*pair, (price(), price()), Asked(**asked))


def describe(first, second, **asked):
    return describe_equivalence(match(first, second, **asked), force=asked.get("force", False))


def read(content):
    return json.loads(as_json.render(content))


def read_sides(content):
    return read(content)["equivalence"]


def train(*runs, force=False):
    """A million images: the estimate as it is shown."""
    estimates = [
        estimate_training(sweep, Goal(1e6, "so many images"), price())
        for sweep in gather_sweeps(runs, force=force)
    ]
    return describe_trainings(estimates, force=force)


def find_picture(content, key):
    return next(picture for picture in content.pictures if picture.key == key)


def list_bars(content, key):
    return [role for _, role, _ in find_picture(content, key).form.bars]


def list_series(content, key):
    return [(series.name, series.role) for series in find_picture(content, key).form.series]


def write_all(content):
    """The report in every format that is text, each by its name."""
    one = {name: render(content, name) for name in ("terminal", "markdown", "json", "html")}
    return one | dict(lay_out(content, "csv"))


# ---- Marks themselves ----

marks = st.lists(st.sampled_from(["", "rehearsal", "estimated", "predicted", "copies", "as published"]))


@given(marks, marks)
def test_marks_are_joined_each_once_and_in_order(first, second):
    joined = join_marks(*first, *second)
    assert joined.split(AND) == list(dict.fromkeys(mark for mark in first + second if mark)) or joined == ""
    assert join_marks(join_marks(*first), join_marks(*second)) == joined == join_marks(joined, joined)


def test_each_of_several_marks_is_explained():
    notes = Footnotes()
    [cell] = notes.write_row([Quantity(5.0, "kWh", "estimated and predicted")])
    assert cell.endswith(" (a)")
    [line] = notes.lines
    assert line.startswith("(a) estimated and predicted: from a specification and how busy the device was; ")
    assert line.endswith("; what a model makes of what was measured")


# ---- Copies ----


def test_power_of_copies_is_that_of_copies(tmp_path):
    one = measure(tmp_path, "a", {1: 1000.0}, watts=300.0)
    content = describe(one, measure(tmp_path, "b", {1: 2500.0}, watts=300.0, steps=400), replicas=True)
    first, second = read_sides(content)
    assert first["power_w"]["value"] == pytest.approx(3 * 600.0, rel=1e-3)
    assert (first["power_w"]["mark"], "mark" in second["power_w"]) == ("copies", False)
    assert read(content)["power_ratio"]["mark"] == "copies"
    assert any("each copy draws what the one that was metered drew" in note.text for note in content.notes)
    assert list_bars(content, "equivalence-power") == ["predicted", "measured"]
    assert find_picture(content, "equivalence-power").subtitle.startswith("copies · ")


def test_estimated_power_of_copies_is_both(tmp_path):
    one = analyse_run(write_cpu(tmp_path, meters=GUESSED, run_id="a"))
    three = analyse_run(write_cpu(tmp_path, meters=GUESSED, run_id="b", rates=(250.0,)))
    content = describe(one, three, replicas=True)
    first, second = read_sides(content)
    assert (first["power_w"]["mark"], second["power_w"]["mark"]) == ("estimated and copies", "estimated")
    assert (first["nodes"]["mark"], first["price"]["mark"]) == ("copies", "copies")
    assert list_bars(content, "equivalence-power") == ["estimated", "estimated"]
    assert "estimated and copies" in find_picture(content, "equivalence-power").subtitle
    # Nothing of the price is estimated.
    assert "estimated" not in find_picture(content, "equivalence-price").subtitle


def test_a_single_copy_is_not_several(tmp_path):
    one = measure(tmp_path, "a", {1: 1000.0}, watts=300.0)
    side = match(one, measure(tmp_path, "b", {1: 900.0}), replicas=True).first
    assert (side.basis, side.power_mark) == ("1 copy of 1 node", "")


# ---- Rehearsals ----


@pytest.mark.parametrize("staged", ["first", "second"])
def test_copies_of_a_rehearsal_are_given_away_by_nothing(staged, tmp_path):
    """137 copies of one node; each of the sides may be the rehearsal."""
    how = {staged: {"recording": ONE_MACHINE}}
    one = measure(tmp_path, "a", {1: 1000.0, 2: 1500.0}, watts=300.0, **how.get("first", {}))
    other = measure(tmp_path, "b", {1: 80_000.0, 2: 136_500.0}, **how.get("second", {}))
    side = match(one, other, replicas=True).first
    assert isinstance(side.amount.nodes, Withheld)
    assert side.amount.nodes.value == 137
    assert (side.basis, side.assumptions) == ("copies", ())
    for name, text in write_all(describe(one, other, replicas=True)).items():
        assert not re.search(r"\b137\b", text), name
    forced = write_all(describe(one, other, replicas=True, force=True))
    assert all(re.search(r"\b137\b", text) for name, text in forced.items() if name != "assumptions.csv")


def test_that_one_copy_of_a_rehearsal_is_enough_is_not_told(tmp_path):
    staged = measure(tmp_path, "a", {1: 1000.0, 2: 1500.0}, recording=ONE_MACHINE)
    content = describe(staged, measure(tmp_path, "b", {1: 900.0}), replicas=True)
    for name, text in write_all(content).items():
        assert not re.search(r"\b(1|one) cop(y|ies)\b", text), name


@pytest.mark.parametrize("rate", [1400.0, 2200.0])
def test_the_size_of_a_rehearsal_is_given_away_by_nothing(rate, tmp_path):
    """Two nodes of two boards each as measured, or four by the law: neither is told, nor which of them it was."""
    staged = measure(tmp_path, "a", {1: 1000.0, 2: 1500.0}, watts=300.0, recording=ONE_MACHINE)
    content = describe(staged, measure(tmp_path, "b", {1: rate}))
    assert read_sides(content)[0]["basis"] == "measured or by the law"
    for name, text in write_all(content).items():
        assert not re.search(r"\b[0-9] (nodes|copies|GPU boards|ranks)\b", text), name


def test_what_follows_from_a_forced_rehearsal_of_the_second_is_one(tmp_path):
    real = measure(tmp_path, "a", {1: 1000.0, 2: 1900.0, 4: 3700.0}, watts=300.0)
    staged = measure(tmp_path, "b", {1: 1000.0, 2: 1500.0}, watts=300.0, recording=ONE_MACHINE)
    content = describe(real, staged, force=True)
    first, second = read_sides(content)
    for key in ("nodes", "racks", "images_per_s", "power_w", "price"):
        assert first[key]["mark"] == "rehearsal"
    # Nor is one machine priced as two.
    assert (second["power_w"]["mark"], second["price"]["withheld"]) == ("rehearsal", 40_000)
    data = read(content)
    assert data["nodes_ratio"]["mark"] == data["power_ratio"]["mark"] == "rehearsal"
    assert list_bars(content, "equivalence-power") == ["withheld", "withheld"]
    assert {picture.key for picture in content.pictures} == {"equivalence-power"}
    assert find_picture(content, "equivalence-power").subtitle.startswith("REHEARSAL · the same")


def test_a_forced_rehearsal_of_copies_and_estimates_says_all_of_it(tmp_path):
    staged = analyse_run(
        write(tmp_path, GUESSED, run_id="a", nodes=(1, 2), rates=(100.0, 150.0), how=ONE_MACHINE)
    )
    other = analyse_run(write(tmp_path, GUESSED, run_id="b", rates=(250.0,)))
    content = describe(staged, other, replicas=True, force=True)
    [first, _] = read_sides(content)
    assert first["nodes"]["mark"] == "rehearsal and copies"
    assert first["power_w"]["mark"] == "rehearsal and estimated and copies"
    assert list_bars(content, "equivalence-power") == ["withheld", "estimated"]


# ---- Intervals ----


def test_power_has_the_interval_of_its_meters_and_a_price_has_none(tmp_path):
    one = analyse_run(write_cpu(tmp_path, meters=GUESSED, run_id="a"))
    three = analyse_run(write_cpu(tmp_path, meters=GUESSED, run_id="b", rates=(250.0,)))
    first, second = read_sides(describe(one, three, replicas=True))
    # 160 to 240 W a node, and three of them for certain.
    assert (first["nodes"]["low"], first["nodes"]["high"]) == (3, 3)
    assert first["power_w"]["low"] == pytest.approx(480.0, rel=0.01)
    assert first["power_w"]["high"] == pytest.approx(720.0, rel=0.01)
    assert second["power_w"]["low"] == pytest.approx(160.0, rel=0.01)
    for side in (first, second):
        assert not side["price"].keys() & {"low", "high"}


def test_power_has_the_ends_of_its_nodes_as_well(tmp_path):
    one = analyse_run(write_cpu(tmp_path, meters=GUESSED, run_id="a"))
    other = analyse_run(write_cpu(tmp_path, meters=GUESSED, run_id="b"))
    [first, _] = read_sides(describe(one, other, replicas=True))
    # One node as fast as the other may do, and two surely: from 160 W to 2 x 240.
    assert (first["nodes"]["low"], first["nodes"]["high"]) == (1, 2)
    assert first["power_w"]["low"] == pytest.approx(160.0, rel=0.01)
    assert first["power_w"]["high"] == pytest.approx(480.0, rel=0.01)
    assert (first["price"]["low"], first["price"]["high"]) == (20_000, 40_000)


def test_who_does_not_surely_do_draws_nobody_knows_how_much(tmp_path):
    # 32 nodes are as far as the law is published: 1000 x 32 / (1 + 0.05 x 31) = 12,549 images/s.
    amdahl = {nodes: 1000.0 * nodes / (1 + 0.05 * (nodes - 1)) for nodes in (1, 2, 4)}
    mine = measure(tmp_path, "a", amdahl, watts=300.0)
    content = describe(mine, measure(tmp_path, "b", {1: 12_540.0}, watts=300.0, steps=400))
    [first, _] = read_sides(content)
    assert first["nodes"] == {"value": 32, "unit": "nodes", "mark": "predicted", "low": 32}
    assert first["price"] == {"value": 640_000, "unit": "EUR", "mark": "predicted", "low": 640_000}
    assert first["power_w"]["low"] < first["power_w"]["value"] == pytest.approx(32 * 600.0, rel=1e-3)
    assert "high" not in first["power_w"]
    assert any("from more than can be said on it surely does" in note.text for note in content.notes)


# ---- Boundaries ----


@pytest.mark.parametrize(
    ("meters", "told"),
    [(BOARDS, "2 GPU boards, measured"), (GUESSED, "1 CPU package, ESTIMATED")],
)
def test_watts_of_unlike_things_are_not_divided(meters, told, tmp_path):
    sockets = analyse_run(write_cpu(tmp_path))
    make = write_gpu if meters is BOARDS else write_cpu
    other = analyse_run(make(tmp_path, run_id="b", meters=meters))
    content = describe(sockets, other, replicas=True)
    reason = read(content)["power_ratio"]["missing"]
    assert "no boundary that all of these have alike" in reason
    assert "1 CPU package, 1 DRAM, measured" in reason
    assert told in reason
    assert all("missing" in side["power_w"] for side in read_sides(content))
    assert [picture.key for picture in content.pictures] == ["equivalence-price"]


def test_who_has_no_energy_to_be_believed_takes_none_from_the_other(tmp_path):
    one = measure(tmp_path, "a", {1: 1000.0}, watts=300.0)
    # 40 steps at this rate are 2.8 s: too short a window for a counter.
    quick = measure(tmp_path, "b", {1: 3700.0}, watts=300.0)
    content = describe(one, quick, replicas=True)
    first, second = read_sides(content)
    assert first["power_w"]["value"] == pytest.approx(4 * 600.0, rel=1e-3)
    assert "too short" in second["power_w"]["missing"]
    assert read(content)["power_ratio"]["missing"] == second["power_w"]["missing"]


# ---- Training ----


def test_estimated_energy_is_drawn_as_estimated(tmp_path):
    content = train(analyse_run(write_cpu(tmp_path, meters=GUESSED)))
    assert list_series(content, "training-time") == [("measured rate", "measured")]
    for key in ("training-energy", "training-cost"):
        assert list_series(content, key) == [("measured rate, energy estimated", "estimated")]
        assert "energy ESTIMATED" in find_picture(content, key).subtitle
    assert "ESTIMATED" not in find_picture(content, "training-time").subtitle


def test_estimates_carried_further_are_estimated_and_predicted(tmp_path):
    meters = {"node1": GUESSED["node1"], "node2": GUESSED["node1"]}
    content = train(analyse_run(write(tmp_path, meters, nodes=(1, 2), rates=(100.0, 190.0))))
    four = next(row for row in read(content)["training"][0]["rows"] if row["nodes"] == 4)
    assert (four["time_h"]["mark"], four["capital"]["mark"]) == ("predicted", "predicted")
    for key in ("energy_kwh", "electricity", "cost"):
        assert four[key]["mark"] == "estimated and predicted"
    assert list_series(content, "training-energy")[1] == (
        "model, energy estimated and predicted",
        "estimated",
    )
    for text in (as_markdown.render(content), as_terminal.write(content, width=200)):
        assert "estimated and predicted: from a specification" in text


def test_energy_of_another_size_is_drawn_as_predicted(tmp_path):
    """Power was sampled on one node only: what two draw is made of that."""
    metered = measure(tmp_path, "a", {1: 1000.0}, watts=300.0)
    content = train(metered, measure(tmp_path, "b", {2: 1900.0}))
    one, two, *_ = read(content)["training"][0]["rows"]
    assert ("mark" in one["energy_kwh"], two["energy_kwh"]["mark"]) == (False, "predicted")
    assert "mark" not in two["time_h"]
    assert list_series(content, "training-time")[0] == ("measured rate", "measured")
    assert list_series(content, "training-energy")[:2] == [
        ("measured rate", "measured"),
        ("measured rate, energy predicted", "predicted"),
    ]


def test_a_forced_rehearsal_is_withheld_everywhere(tmp_path):
    staged = analyse_run(
        write(tmp_path, GUESSED, nodes=(1, 2), rates=(100.0, 150.0), how=ONE_MACHINE, cost=COST)
    )
    content = train(staged, force=True)
    assert {picture.key for picture in content.pictures} == {"training-time", "training-energy"}
    for picture in content.pictures:
        assert {series.role for series in picture.form.series} == {"withheld"}
        assert picture.subtitle.startswith("REHEARSAL")
    assert "energy ESTIMATED" in find_picture(content, "training-energy").subtitle
    one, *_, last = read(content)["training"][0]["rows"]
    assert (one["time_h"]["mark"], one["energy_kwh"]["mark"]) == ("rehearsal", "rehearsal and estimated")
    assert last["time_h"]["mark"] == "rehearsal and predicted"
    assert all("withheld" in row["capital"] for row in (one, last))
