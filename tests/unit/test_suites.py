"""Suites as data: what a file may say, what it builds on, and every mistake with what to do."""

from __future__ import annotations

import pytest
from fleets import make_evidence, name_nodes, node, said, seen
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.acceptance import metrics
from hpcdl.acceptance.judging import judge
from hpcdl.acceptance.suite import (
    Criterion,
    Suite,
    find_suite,
    load,
    read_part,
    read_quantity,
    shipped_suites,
)
from hpcdl.errors import Mistake, UnknownName
from hpcdl.frozen import parse

SPEED = "train.lenet.images_per_s"


@pytest.fixture
def write(tmp_path):
    def write_file(text, name="mine.toml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


def criterion(**said):
    return parse(Criterion, {"name": "one", **said}, where="mine.toml")


# ---- The shipped suites ----


@pytest.mark.parametrize("name", ["smoke", "standard", "burn-in"])
def test_a_shipped_suite_is_sound_and_explains_itself(name):
    suite = load(find_suite(name))
    assert suite.name == name
    assert suite.about
    assert suite.tests.node is not None
    assert any(one.severity == "required" for one in suite.criteria)


def test_each_shipped_suite_asks_for_all_that_the_smaller_one_asks():
    names = [
        {one.name for one in load(find_suite(name)).criteria} for name in ("smoke", "standard", "burn-in")
    ]
    assert names[0] < names[1] < names[2]


def test_a_gpu_that_has_fallen_off_the_bus_fails_its_node_by_the_smallest_shipped_suite():
    """Those that are left have one name."""
    nodes = name_nodes(4)
    parts = [said("identity.gpu", node(name), "H100") for name in nodes]
    parts += [seen("identity.gpus", node(name), 7 if name == "node3" else 8) for name in nodes]
    verdict = judge(load(find_suite("smoke")), make_evidence(nodes, *parts))
    assert [
        one.unit
        for requirement in verdict.requirements
        for one in requirement.decisions
        if one.outcome == "fail"
    ] == ["node3"]
    assert [one.unit for one in verdict.culprits] == ["node3"]


def test_the_shipped_example_builds_on_a_shipped_suite():
    example = load(shipped_suites()["smoke"].parents[1] / "acceptance.toml")
    assert example.tests.node.checks == load(find_suite("smoke")).tests.node.checks
    assert example.tests.convergence is not None


# ---- What a file builds on ----


def test_a_criterion_of_the_same_name_replaces_the_other_in_its_place(write):
    below = load(find_suite("smoke"))
    above = write(
        f'extends = "smoke"\n[[criteria]]\nname = "lenet-speed"\nmetric = "{SPEED}"\nat_least = "70 %"\nof = "fleet"\n'
        '[[criteria]]\nname = "warm"\nmetric = "health.temperature_c"\nat_most = "85 °C"\n'
    )
    names = [one.name for one in load(above).criteria]
    assert names == [*(one.name for one in below.criteria), "warm"]
    [speed] = [one for one in load(above).criteria if one.name == "lenet-speed"]
    assert speed.threshold == pytest.approx(0.7)


def test_a_suite_may_build_on_a_file_beside_it(write):
    write('extends = "smoke"\nname = "base"\n[tests.node]\nsteps = 7\n', "base.toml")
    assert load(write('extends = "base.toml"\nname = "mine"\n')).tests.node.steps == 7


def test_a_circle_of_suites_is_told(write):
    write('extends = "b.toml"\n', "a.toml")
    with pytest.raises(Mistake, match="extends itself"):
        load(write('extends = "a.toml"\n', "b.toml"))


@given(st.integers(1, 500), st.integers(1, 50))
def test_two_suites_have_one_digest_only_if_they_ask_the_same(one, other):
    def make(steps):
        tests = {"node": {"checks": ["train"], "steps": steps}}
        asked = [{"name": "speed", "metric": SPEED, "at_least": "1 images/s"}]
        return parse(Suite, {"name": "x", "tests": tests, "criteria": asked}, where="here")

    assert (make(one).digest == make(other).digest) == (one == other)


# ---- Thresholds ----


@pytest.mark.parametrize(
    ("metric", "given", "expected"),
    [
        (SPEED, "1200 images/s", 1200.0),
        ("link.bandwidth_bytes_per_s", "100 Gbit/s", 12.5e9),
        ("link.latency_s", "1.5 us", 1.5e-6),
        ("matrix.flops_per_s", "19.5 TFLOP/s", 19.5e12),
        ("health.temperature_c", "85 °C", 85.0),
        ("health.ecc_uncorrected", 0, 0.0),
        ("scaling.efficiency", "85 %", 0.85),
        ("scaling.efficiency", "105 %", 1.05),
        ("identity.memory_bytes", "512 GiB", 512 * 2.0**30),
    ],
)
def test_a_threshold_is_read_in_the_metrics_own_unit(metric, given, expected):
    assert criterion(metric=metric, at_least=given).threshold == pytest.approx(expected)


@given(st.sampled_from(sorted(metrics.METRICS)), st.floats(1e-3, 1e6))
def test_every_unit_is_read_back(name, number):
    metric = metrics.METRICS[name]
    for unit, worth in metrics.UNITS[metric.dimension].items():
        assert read_quantity(f"{number!r} {unit}", metric) == pytest.approx(number * worth)


@given(st.text(st.sampled_from("0123456789.%+-eE x"), max_size=8))
def test_a_part_is_a_number_or_told_to_be_none(text):
    try:
        part = read_part(text)
    except Mistake:
        return
    assert part == pytest.approx(float(text.replace("%", "")) * (0.01 if "%" in text else 1))


# ---- Mistakes ----


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            {"metric": "train.lenet.image_per_s", "at_least": "1 images/s"},
            "Did you mean 'train.lenet.images_per_s'",
        ),
        ({"metric": "train.lenett.images_per_s", "at_least": "1 images/s"}, "Did you mean 'lenet'"),
        ({"metric": SPEED, "at_least": "1200 image/s"}, "Did you mean 'images/s'"),
        ({"metric": SPEED, "at_least": "1200"}, "has no unit"),
        ({"metric": SPEED, "at_least": "fast"}, "is no number"),
        ({"metric": SPEED, "at_least": "90 percent", "of": "fleet"}, "is no part"),
        ({"metric": SPEED, "at_least": 95, "of": "fleet"}, "is '95 %' meant?"),
        ({"metric": "scaling.efficiency", "at_least": 80}, "is '80 %' meant?"),
        ({"metric": SPEED}, "one of at_least, at_most and equals"),
        ({"metric": SPEED, "at_least": "1 images/s", "at_most": "2 images/s"}, "one of at_least"),
        ({"metric": "identity.kernel", "at_least": "6"}, "is a word"),
        ({"metric": "identity.kernel", "equals": "fleet", "of": "fleet"}, "needs no 'of'"),
        ({"metric": SPEED, "at_leest": "1 images/s"}, "Did you mean 'at_least'"),
        ({"metric": SPEED, "at_least": "90 %", "of": "fleets"}, "Did you mean 'fleet'"),
    ],
)
def test_a_mistake_names_what_is_wrong_and_what_to_write(said, told):
    with pytest.raises(Mistake, match=r"mine\.toml") as caught:
        criterion(**said)
    assert told in str(caught.value)


def test_a_mistake_below_others_names_its_criterion_and_its_network(write):
    path = write(
        'extends = "smoke"\nname = "x"\n[[criteria]]\nname = "mine"\n'
        'metric = "train.alexnet.images_per_s"\nat_least = "3 imgs/s"\n'
    )
    with pytest.raises(Mistake) as caught:
        load(path)
    assert "criteria.mine: train.alexnet.images_per_s: there is no unit 'imgs/s'" in str(caught.value)


def test_what_nobody_tests_cannot_be_required(write):
    text = 'name = "x"\n[tests.node]\nchecks = ["identity"]\n[[criteria]]\nname = "speed"\n'
    with pytest.raises(Mistake, match=r"needs check 'train' in \[tests\.node\]"):
        load(write(f'{text}metric = "{SPEED}"\nat_least = "1 images/s"\n'))
    with pytest.raises(Mistake, match=r"needs \[tests\.links\]"):
        load(write(f'{text}metric = "link.latency_s"\nat_most = "1 s"\n'))
    with pytest.raises(Mistake, match="needs 'overfeat' among the models"):
        load(
            write(
                f'{text}metric = "train.overfeat.images_per_s"\nat_least = "1 images/s"\n'.replace(
                    "identity", "train"
                )
            )
        )


def test_a_suite_without_criteria_is_refused(write):
    with pytest.raises(Mistake, match="would accept anything"):
        load(write('name = "x"\n[tests.node]\n'))


def test_two_criteria_of_one_name_are_refused(write):
    one = f'[[criteria]]\nname = "a"\nmetric = "{SPEED}"\nat_least = "1 images/s"\n'
    with pytest.raises(Mistake, match="two criteria named 'a'"):
        load(write(f'name = "x"\n[tests.node]\n{one}{one}'))


def test_checks_of_data_need_data(write):
    with pytest.raises(Mistake, match="check 'storage' needs data_dir"):
        load(write('extends = "smoke"\n[tests.node]\nchecks = ["storage", "train"]\n'))


def test_an_unknown_suite_names_the_nearest():
    with pytest.raises(UnknownName, match="there is no suite 'smok'"):
        find_suite("smok")
