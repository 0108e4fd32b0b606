"""Where the time goes: shares from launches that leave one thing out, on made records of known phases."""

from __future__ import annotations

import pytest

from hpcdl.analysis.attribution import Share, attribute, judge
from hpcdl.analysis.job import analyse_run
from hpcdl.estimates.intervals import Interval, ratio
from hpcdl.records import Missing
from hpcdl.report.attributions import _tell_overlap
from tests.unit.records_maker import KILLED, Recording, record, write_run

# Seconds of a step: computing 0.6, exposed exchange 0.25, input 0.1, and 0.05 in which the two pass at the same time.
STEPS_S = {"full": 1.0, "no exchange": 0.75, "resident": 0.9, "synthetic": 0.6}
UNKNOWN = Missing(missing="no probe ran")


def measure(store, steps_s, *, nodes=(2,), alone_s=UNKNOWN, **train):
    """The one attribution of a run whose variants took so long."""
    asked = {"data": "digits", "model": "lenet", "batch": 64} | train
    run = write_run(store, nodes=nodes, launches={"attribution": True}, **asked)
    for launch in run.job().launches:
        step_s = steps_s[launch.variant]
        how = (
            Recording(images_per_s=launch.train.global_batch / step_s)
            if step_s
            else Recording(steps=7, outcomes={0: KILLED}, outcome="stopped", summarised=False)
        )
        record(run, launch.index, how)
    [found] = attribute(analyse_run(run).trainings, lambda launch: alone_s)
    return found


def test_the_shares_add_up_to_the_step(tmp_path):
    found = measure(tmp_path, STEPS_S)
    times = {share.key: share.time_s.value for share in found.shares}
    assert times == pytest.approx({"compute": 0.6, "exchange": 0.25, "input": 0.1, "other": 0.05}, abs=1e-3)
    assert sum(share.fraction.value for share in found.shares) == pytest.approx(1.0)
    for share in found.shares:
        assert share.time_s.low < share.time_s.value < share.time_s.high
    assert found.step_s.value == pytest.approx(1.0)


def test_what_binds_is_named_with_what_would_loosen_it(tmp_path):
    found = measure(tmp_path, STEPS_S)
    assert found.verdict.startswith("exposed communication costs 25 % of the step: a faster network")
    slow_input = STEPS_S | {"full": 2.0, "no exchange": 1.75, "resident": 0.9}
    assert measure(tmp_path / "b", slow_input).verdict.startswith("input wait costs 55 % of the step")
    even = dict.fromkeys(STEPS_S, 1.0)
    assert measure(tmp_path / "c", even).verdict.startswith("computing binds the step, 100 % of it")


def test_what_passes_at_the_same_time_is_not_called_contention(tmp_path):
    """T = C + max(I, E): 0.6 + max(0.3, 0.4)."""
    found = measure(tmp_path, {"full": 1.0, "no exchange": 0.9, "resident": 1.0, "synthetic": 0.6})
    assert {share.key: share.time_s.value for share in found.shares}["other"] == pytest.approx(0.3, abs=1e-3)
    exchange, hidden = found.verdict.split("; ")
    assert exchange.startswith("exposed communication costs 10 % of the step")
    assert hidden.startswith(
        "input and exchange pass at the same time for 30 % of the step: taking away only one"
    )
    assert "cores per rank" not in found.verdict


def test_what_hides_each_other_wholly_is_told_though_no_share_shows_it(tmp_path):
    found = measure(tmp_path, {"full": 1.0, "no exchange": 1.0, "resident": 1.0, "synthetic": 0.6})
    assert found.verdict.startswith("input and exchange pass at the same time for 40 % of the step")


def test_what_hinders_each_other_is_told_by_what_it_costs(tmp_path):
    """T = C + I + E + K: 0.5 + 0.1 + 0.15 + 0.25, of which both shares hold K."""
    found = measure(tmp_path, {"full": 1.0, "no exchange": 0.6, "resident": 0.65, "synthetic": 0.5})
    times = {share.key: share.time_s.value for share in found.shares}
    assert times == pytest.approx({"compute": 0.5, "exchange": 0.4, "input": 0.35, "other": -0.25}, abs=1e-3)
    assert found.verdict == (
        "contention costs 25 % of the step: input and exchange hinder each other, "
        "and more cores per rank would loosen it"
    )
    # Where the exchange by itself costs more, it is named.
    slow = {"full": 1.0, "no exchange": 0.5, "resident": 0.85, "synthetic": 0.4}
    assert measure(tmp_path / "b", slow).verdict.startswith("exposed communication costs 50 % of the step")


def test_the_whole_is_as_uncertain_as_its_parts(tmp_path):
    """A fraction is a ratio of two means, each with its own interval."""
    found = measure(tmp_path, STEPS_S)
    parts = {share.key: share for share in found.shares}
    compute, exchange = parts["compute"], parts["exchange"]
    assert compute.fraction == ratio(compute.time_s, found.step_s)
    assert compute.fraction.half_width == pytest.approx(2**0.5 * compute.time_s.half_width, rel=0.02)
    # 1 - 0.75 / 1: the difference itself would count the whole with 1, not with 0.75.
    assert exchange.fraction.half_width < exchange.time_s.half_width
    for part in parts.values():
        assert part.fraction.low < part.fraction.value < part.fraction.high


def test_a_variant_that_makes_no_sense_leaves_no_share(tmp_path):
    found = measure(tmp_path, STEPS_S | {"synthetic": 2.0})
    assert found.verdict.endswith("'synthetic' took longer than 'no exchange' and 'resident' together")


def test_random_numbers_are_no_input(tmp_path):
    found = measure(tmp_path, STEPS_S, data="synthetic")
    times = {share.key: share.time_s.value for share in found.shares}
    assert times == pytest.approx({"compute": 0.75, "exchange": 0.25, "input": 0.0, "other": 0.0}, abs=1e-3)


def test_one_rank_has_nothing_to_exchange(tmp_path):
    steps_s = {"full": 1.0, "resident": 0.8, "synthetic": 0.75}
    found = measure(tmp_path, steps_s, nodes=(1,))
    times = {share.key: share.time_s.value for share in found.shares}
    assert times == pytest.approx({"compute": 0.75, "exchange": 0.0, "input": 0.2, "other": 0.05}, abs=1e-3)
    assert found.overlap.missing == "one rank has nothing to exchange"
    assert found.verdict.startswith("input wait costs 20 % of the step")
    assert "at the same time" not in found.verdict, "there is no exchange that input could hide"


def test_a_variant_that_failed_leaves_its_share_missing(tmp_path):
    found = measure(tmp_path, STEPS_S | {"resident": None})
    by_key = {share.key: share.time_s for share in found.shares}
    assert isinstance(by_key["input"], Missing)
    assert isinstance(by_key["other"], Missing)
    assert by_key["exchange"].value == pytest.approx(0.25, abs=1e-3)
    assert found.verdict.startswith(
        "what binds the step cannot be told: variant 'resident': the launch stopped"
    )


def test_overlap_is_what_the_exchange_alone_takes_longer(tmp_path):
    alone_s = Interval(1.0, 0.95, 1.05, 20, 20.0)
    overlap = measure(tmp_path, STEPS_S, alone_s=alone_s).overlap
    assert overlap.value == pytest.approx(0.75, abs=1e-3)
    assert overlap.low < 0.75 < overlap.high
    hidden = measure(tmp_path / "b", STEPS_S | {"full": 0.75}, alone_s=alone_s).overlap
    assert hidden.high == 1.0
    assert hidden.value == pytest.approx(1.0, abs=0.02)


def bound(low, value, high):
    return Interval(value=value, low=low, high=high, count=40, effective=40)


def test_what_wide_intervals_leave_open_is_not_decided():
    """As on two busy cores: the exchange may cost nothing, or half of the step."""
    parts = {"compute": (0.6, 0.8, 1.06), "exchange": (-0.17, 0.19, 0.47), "input": (-0.5, -0.1, 0.16)}
    parts["other"] = (-0.2, 0.1, 0.5)
    shares = [Share(key, bound(*ends), bound(*ends)) for key, ends in parts.items()]
    verdict = judge(shares, alone=False)
    assert verdict.startswith(
        "what binds the step cannot be told yet: exposed communication may cost nothing"
    )
    assert "up to 47 %" in verdict
    assert "--repeat 5" in verdict


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ((-13.0, -3.7, 1.0), "cannot be told: none or up to 100 %"),
        ((-5.0, -3.7, -2.0), "beside computing it takes 4.7 times what it takes alone"),
        ((0.5, 0.6, 0.7), "computing hides 60 % of the exchange (50 to 70 %)"),
    ],
)
def test_overlap_is_told_as_surely_as_it_is_known(ends, words):
    assert words in _tell_overlap(bound(*ends))


def test_without_variants_there_is_no_attribution(tmp_path):
    run = write_run(tmp_path, nodes=(2,))
    record(run, 1)
    assert attribute(analyse_run(run).trainings, lambda launch: UNKNOWN) == ()
