"""Baselines: only of what passed, outliers removed the same way each time, read back as they were written."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from hpcdl.acceptance.baseline_making import make_baseline
from hpcdl.acceptance.baselines import Baseline, Reference, read_baseline, read_references, write_baseline
from hpcdl.acceptance.concluding import Conclusion
from hpcdl.acceptance.drifts import find_drifts
from hpcdl.acceptance.judging import judge
from hpcdl.acceptance.outliers import LEAST_VALUES, remove_outliers
from hpcdl.acceptance.toml_text import write_comment, write_key, write_string, write_value
from hpcdl.cli import baseline as commands
from hpcdl.errors import Mistake
from hpcdl.report import as_json
from hpcdl.report.references import describe_drifts
from tests.unit.acceptances_maker import ACCEPT_ID, make_asked, write_acceptance
from tests.unit.fleets import device, make_evidence, make_suite, name_nodes, node, said, seen

NOW = datetime(2026, 12, 2, 10, tzinfo=UTC)
SPEED = "train.lenet.images_per_s"
GPU = "NVIDIA H200"


def conclude(rates, *, accept_id=ACCEPT_ID, outcome=None, rehearsal=None, uuid="{place}"):
    """An acceptance of nodes of one GPU each, at these rates."""
    suite = make_suite({"metric": SPEED, "at_least": "1 images/s"}, reruns=0)
    names = name_nodes(len(rates))
    parts = []
    for place, (name, rate) in enumerate(zip(names, rates, strict=True)):
        unit = device(name, GPU, uuid.format(place=place))
        parts += [seen(SPEED, unit, rate, rate * 1.01, rate * 0.99), said("identity.gpu", node(name), GPU)]
    evidence = replace(make_evidence(names, *parts), rehearsal=rehearsal)
    verdict = judge(suite, evidence, final=True)
    if outcome:
        verdict = verdict.model_copy(update={"outcome": outcome})
    return Conclusion(make_asked(accept_id, suite), evidence, verdict)


def make(*accepted, threshold_mads=5.0):
    return make_baseline(accepted, threshold_mads=threshold_mads, now=NOW)


# ---- Outliers ----


def test_outliers_by_hand():
    values = {"a": 100.0, "b": 101.0, "c": 99.0, "d": 102.0, "e": 98.0, "f": 60.0, "g": 90.0}
    # Median 99, absolute deviations 0 1 1 2 3 9 39: their median is 2, scaled 2.9652.
    kept = remove_outliers(values)
    first = kept.removed[0]
    assert (first.name, first.round, first.median) == ("f", 1, 99.0)
    assert first.mads == pytest.approx(39 / (2 * 1.4826))
    # Of the six that are left: median 99.5, deviations 0.5 0.5 1.5 1.5 2.5 9.5, whose median is 1.5.
    assert [(one.name, one.round) for one in kept.removed[1:]] == []
    assert 9.5 / (1.5 * 1.4826) < 5
    again = remove_outliers(values, threshold_mads=4.0)
    assert [(one.name, one.round) for one in again.removed] == [("f", 1), ("g", 2)]
    assert again.median == 100.0
    assert again.spread == pytest.approx(1.4826 * 1.0 / 100)


def test_few_values_are_all_kept():
    values = {str(place): value for place, value in enumerate([1.0, 1.0, 1.0, 100.0])}
    assert len(values) < LEAST_VALUES
    assert not remove_outliers(values).removed


def test_values_that_agree_have_no_outliers_by_rounding():
    values = {str(place): 100.0 for place in range(10)} | {"x": 100.2, "y": 130.0}
    assert [one.name for one in remove_outliers(values).removed] == ["y"]
    assert not remove_outliers(dict.fromkeys("abcdef", 0.0)).removed


@given(
    st.dictionaries(st.text(max_size=3), st.floats(0.1, 1e6), min_size=1, max_size=30),
    st.randoms(use_true_random=False),
)
def test_the_order_does_not_matter_and_nothing_is_lost(values, random):
    names = list(values)
    random.shuffle(names)
    one, other = remove_outliers(values), remove_outliers({name: values[name] for name in names})
    assert one == other
    assert {*one.values, *(gone.name for gone in one.removed)} == set(values)
    # Doing it again to what is left removes nothing more.
    assert not remove_outliers(one.values).removed


# ---- TOML ----


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_names_and_words_are_read_back(name, word):
    text = f"[{write_key('units', name)}]\n{write_key(name)} = {write_string(word)}\n"
    assert tomllib.loads(text) == {"units": {name: {name: word}}}


@given(st.text())
def test_no_control_character_reaches_a_reviewer(text):
    line = write_string(text)
    assert line.isprintable()
    (comment,) = write_comment([text])
    assert comment.isprintable()
    assert tomllib.loads(f"{comment}\nx = {line}").keys() == {"x"}


@given(
    st.floats(allow_nan=False, allow_infinity=False)
    | st.integers()
    | st.booleans()
    | st.lists(st.sampled_from(["a", '"', "\\"]))
)
def test_values_are_read_back(value):
    found = tomllib.loads(f"x = {write_value(value)}")["x"]
    assert found == value
    assert type(found) is type(value)


def test_what_is_no_number_is_not_written():
    with pytest.raises(ValueError, match="no number"):
        write_value(float("nan"))
    assert tomllib.loads(f"x = {write_value(NOW)}") == {"x": NOW}


# ---- A baseline ----


def test_a_baseline_by_hand():
    made = make(conclude([100, 101, 99, 102, 98, 60]))
    (reference,) = made.references
    assert (reference.metric, reference.model, reference.unit) == (SPEED, GPU, "images/s")
    assert (reference.value, reference.units, reference.removed) == (100.0, 5, 1)
    assert reference.relative_spread == pytest.approx(1.4826 * 1 / 100)
    (gone,) = made.removed
    assert (gone.name, gone.value) == ("node6/GPU-5", 60.0)
    assert "scaled deviations from the median 99.5, in round 1" in gone.reason
    # It is told all the same what that one did: its drift can be seen.
    assert made.units[SPEED][GPU]["node6/GPU-5"] == 60.0
    (source,) = made.sources
    assert (source.accept_id, source.nodes, source.hardware) == (ACCEPT_ID, 6, (GPU,))


def test_several_acceptances_are_one_baseline():
    made = make(conclude([100, 104]), conclude([102, 100], accept_id="other"))
    # Medians of 99 100 101 and 100.98 102 103.02, and of 102.96 104 105.04 and 99 100 101, together.
    expected = {"node1/GPU-0": (100.98 + 101) / 2, "node2/GPU-1": (101 + 102.96) / 2}
    assert made.units[SPEED][GPU] == pytest.approx(expected)
    assert len(made.sources) == 2


@pytest.mark.parametrize("outcome", ["fail", "insufficient"])
def test_what_did_not_pass_becomes_none(outcome):
    with pytest.raises(Mistake, match="only what passed"):
        make(conclude([100] * 5), conclude([100] * 5, accept_id="other", outcome=outcome))


def test_twice_the_same_and_mixed_ones_are_refused():
    with pytest.raises(Mistake, match="named twice"):
        make(conclude([100]), conclude([100]))
    with pytest.raises(Mistake, match="rehearsals"):
        make(conclude([100]), conclude([100], accept_id="other", rehearsal="one machine"))


def test_a_rehearsal_says_so_in_its_file():
    text = write_baseline(make(conclude([100] * 5, rehearsal="4 hosts share one boot id")))
    assert "# REHEARSAL" in text
    assert tomllib.loads(text)["rehearsal"] == "4 hosts share one boot id"


def test_a_baseline_is_read_back(tmp_path):
    made = make(conclude([100, 101, 99, 102, 98, 60]))
    path = tmp_path / "baseline.toml"
    path.write_text(write_baseline(made))
    assert read_baseline(path) == made


@given(
    name=st.text(st.characters(exclude_categories=["Cs"])),
    value=st.floats(allow_nan=False, allow_infinity=False),
    model=st.text(st.characters(exclude_categories=["Cs"])),
)
def test_a_baseline_of_any_names_is_read_back(name, value, model, tmp_path_factory):
    made = Baseline(
        kind="hpcdl.baseline",
        schema_version=1,
        made_utc=NOW,
        hpcdl="0.1.0",
        references=(Reference(metric=SPEED, model=model, value=value),),
        units={SPEED: {model: {name: value}}},
    )
    assert Baseline.model_validate(tomllib.loads(write_baseline(made))) == made


def test_references_as_a_verdict_asks_for_them(tmp_path):
    path = tmp_path / "baseline.toml"
    path.write_text(write_baseline(make(conclude([100, 101, 99]))))
    known = read_references(path)
    assert known.find(SPEED, device("new", GPU, "x")) == 100.0
    assert known.find(SPEED, device("new", "another GPU", "x")) is None
    assert known.units[SPEED, "node2/GPU-1"] == 101.0
    # A reviewer may say that a number is for any model.
    path.write_text(path.read_text().replace(f'model = "{GPU}"', 'model = ""'))
    assert read_references(path).find(SPEED, device("new", "another GPU", "x")) == 100.0
    # The verdict takes it.
    suite = make_suite({"metric": SPEED, "at_least": "95 %", "of": "reference"}, reruns=0)
    names = name_nodes(8)
    rates = [80.0 if name == "node3" else 100.0 for name in names]
    parts = [
        seen(SPEED, device(name, GPU, name), rate, rate * 1.005, rate * 0.995)
        for name, rate in zip(names, rates, strict=True)
    ]
    (requirement,) = judge(
        suite, make_evidence(names, *parts), read_references(path), final=True
    ).requirements
    assert {one.unit: one.outcome for one in requirement.decisions if one.outcome != "pass"} == {
        "node3/GPU-node3": "fail"
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("kind", "sort"), "kind"),
        (lambda text: text.replace("relative_spread = ", "spread = "), "Allowed here: .*relative_spread"),
        (lambda text: text.replace("value = 100.0", 'value = "fast"'), "references.0.value"),
        (lambda text: text + "[", "not TOML"),
        (
            lambda text: (
                text.split("[[references]]", maxsplit=1)[0]
                + 2 * f'[[references]]\nmetric = "{SPEED}"\nvalue = 1.0\n'
            ),
            "two references",
        ),
    ],
)
def test_a_file_that_is_no_baseline(tmp_path, change, words):
    path = tmp_path / "baseline.toml"
    path.write_text(change(write_baseline(make(conclude([100, 101, 99])))))
    with pytest.raises(Mistake, match=words):
        read_references(path)


# ---- Drift ----


def test_drift_by_hand_and_moved_gpus():
    known = make(conclude([100, 101, 99, 100, 102]))
    # node1's GPU is in node2 now and slower, node2's in node1; the others did not move.
    later = conclude([101, 90, 99, 105, 102])
    names = {"node1/GPU-0": "node1/GPU-1", "node2/GPU-1": "node2/GPU-0"}
    moved = [
        replace(one, unit=replace(one.unit, name=names.get(one.unit.name, one.unit.name)))
        for one in later.evidence.observations
    ]
    found = find_drifts(known, replace(later.evidence, observations=moved))
    assert [(one.unit, one.moved_from, one.worse) for one in found.moves[:2]] == [
        ("node2/GPU-0", "node1/GPU-0", True),
        ("node4/GPU-3", "", False),
    ]
    worst = found.moves[0]
    assert (worst.before, worst.now, worst.change) == (100.0, 90.0, pytest.approx(-0.1))
    assert worst.spreads == pytest.approx(0.1 / known.references[0].relative_spread)
    swapped = next(one for one in found.moves if one.unit == "node1/GPU-1")
    assert (swapped.moved_from, swapped.change) == ("node2/GPU-1", 0.0)
    assert found.new == found.gone == ()


def test_units_that_only_one_side_knows():
    found = find_drifts(make(conclude([100, 100])), conclude([100, 100], uuid="new{place}").evidence)
    assert found.moves == ()
    assert found.new == ("node1/GPU-new0", "node2/GPU-new1")
    assert found.gone == ("node1/GPU-0", "node2/GPU-1")


def test_hotter_is_worse():
    def at(heat):
        return make_evidence(("node1",), seen("health.temperature_c", device("node1", GPU, "0"), heat))

    base = conclude([100])
    known = make(replace(base, evidence=at(60)))
    (move,) = find_drifts(known, at(72)).moves
    assert (move.worse, move.change) == (True, pytest.approx(0.2))
    assert not find_drifts(known, at(50)).moves[0].worse


def test_what_was_nothing_and_is_something_has_moved_farthest():
    def at(heat, errors):
        return make_evidence(
            ("node1",),
            seen("health.temperature_c", device("node1", GPU, "0"), heat),
            seen("health.throttled_s", device("node1", GPU, "0"), errors),
        )

    base = conclude([100])
    found = find_drifts(make(replace(base, evidence=at(60, 0))), at(90, 3))
    assert [(one.metric, one.change, one.worse) for one in found.moves] == [
        ("health.throttled_s", None, True),
        ("health.temperature_c", pytest.approx(0.5), True),
    ]
    first = json.loads(as_json.render(describe_drifts(found, "b.toml", "a", None)))["drift"][0]
    assert first["change"]["missing"] == "it was 0, of which nothing is a part"
    assert first["direction"] == "worse"


# ---- As it is typed ----


def run(*words):
    return CliRunner().invoke(commands.app, [str(word) for word in words])


def test_from_an_acceptance_to_drift(tmp_path):
    write_acceptance(tmp_path, accept_id="20261201-075500-good", here=True)
    write_acceptance(tmp_path, accept_id="20261202-075500-slow", rates={"node3": 0.6}, here=True)
    path = tmp_path / "baseline.toml"
    done = run("make", "good", "--store", tmp_path, "--out", path, "--json")
    assert done.exit_code == 0, done.output
    assert {row["metric"] for row in json.loads(done.stdout)["references"]} >= {SPEED, "matrix.flops_per_s"}
    done = run("show", path)
    assert done.exit_code == 0, done.output
    assert SPEED in done.stdout
    done = run("compare", path, "slow", "--store", tmp_path, "--json")
    worst = json.loads(done.stdout)["drift"][0]
    assert (worst["unit"], worst["metric"], worst["direction"]) == ("node3", SPEED, "worse")
    assert worst["change"]["value"] == pytest.approx(-0.4)
    done = run("make", "slow", "--store", tmp_path, "--out", tmp_path / "other.toml")
    assert isinstance(done.exception, Mistake)
    assert "failed: only what passed" in str(done.exception)
    done = run("make", "good", "--store", tmp_path, "--out", path)
    assert "not written over" in str(done.exception)
