"""Break-even of costs with intervals: what may be said in spite of them, and what may not."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl import report
from hpcdl.analysis.amounts import Amount
from hpcdl.analysis.break_even import compare
from hpcdl.analysis.cost import split
from hpcdl.analysis.job import analyse_run
from hpcdl.estimates.intervals import Interval
from hpcdl.prices import Assumption
from hpcdl.report import as_json, as_terminal
from hpcdl.report.verdicts import describe_verdict
from tests.unit.cost_runs import write_cpu, write_gpu
from tests.unit.test_cost import part, pretend, tariff, tariffs, use, uses


def spread(value, part=0.02):
    return Amount(value, Interval(value, value / (1 + part), value / (1 - part), 40, 40.0))


def hold(rates, watts=(200.0, 200.0), prices=(4.0, 4.0), part=0.02):
    """Two costs, both used half of the time; 1 EUR/kWh, and a million images take 1e6 / rate seconds."""
    sides = []
    for letter, rate, power, price in zip("AB", rates, watts, prices, strict=True):
        one = use(nodes=1, rate=spread(rate, part), joules=spread(power / rate, part), facility=False)
        one = dataclasses.replace(one, idle_w=0.0)
        given = tariff(utilisation=0.5, node_price=price * 31_557.6, electricity_per_kwh=1.0)
        sides.append(pretend(one, dataclasses.replace(given, lifetime_years=Assumption(value=1)), letter))
    return compare(*sides)


def test_costs_whose_intervals_overlap_are_not_told_apart():
    """Two of the same, of which one came out 0.1 % faster."""
    pair = hold((1000.0, 1001.0))
    assert pair.verdict == "overlap"
    assert pair.utilisation.missing == "the intervals of the two costs overlap"
    assert (pair.ends.first, pair.ends.second, pair.ends.utilisation) == (None, None, None)
    assert describe_verdict(pair) == "they cannot be told apart"
    # A at 0.98 of its cost, and B at its dearest: A may be enough at less than a half; or need more than that.
    assert pair.ends.needed.low < 0.5 < pair.ends.needed.high
    again = hold((1000.0, 1000.0))
    assert again.verdict == "overlap"


def test_costs_whose_intervals_do_not_touch_are():
    pair = hold((1000.0, 2000.0))
    assert (pair.verdict, describe_verdict(pair)) == ("second", "B is always cheaper")
    assert pair.ends.second.whole
    assert pair.never is False
    assert hold((2000.0, 1000.0)).verdict == "first"


def test_a_crossing_has_the_range_that_the_ends_give():
    """A is dear to buy and cheap to run: 6 / u + 1 against 2 / u + 9 EUR; at u = 1/2 both cost 13."""
    watts = tuple(3.6 * running for running in (1.0, 9.0))
    pair = hold((1.0, 1.0), watts=watts, prices=(6e-3, 2e-3), part=0.01)
    assert pair.verdict == "first above"
    assert pair.utilisation == pytest.approx(0.5, rel=1e-3)
    # Seconds are between 0.99 and 1.01 of theirs, and joules between 1 / 1.01 and 1 / 0.99. Surely cheaper: the upper
    # line of A below the lower of B, and the other way round.
    assert pair.ends.utilisation.high == pytest.approx(
        (6 * 1.01 - 2 * 0.99) / (9 / 1.01 - 1 / 0.99), rel=1e-3
    )
    assert pair.ends.utilisation.low == pytest.approx((6 * 0.99 - 2 * 1.01) / (9 / 0.99 - 1 / 1.01), rel=1e-3)
    assert describe_verdict(pair) == "A is cheaper above it, B below"


def test_a_crossing_beyond_what_the_ends_tell_is_said_as_far_as_it_is_known():
    """6 / u + 1 against 2 / u + 5.2 EUR meet at 0.95; within the intervals they may never meet."""
    watts = tuple(3.6 * running for running in (1.0, 5.2))
    pair = hold((1.0, 1.0), watts=watts, prices=(6e-3, 2e-3), part=0.02)
    assert pair.verdict == "overlap"
    assert pair.ends.first is None
    assert pair.ends.second.low == 0
    below = 100 * pair.ends.second.high
    assert 80 < below < 95
    assert describe_verdict(pair) == (f"B is cheaper below {below:.1f} %; else they cannot be told apart")
    # B costs 9.2 as it is used now; A costs 7 at best: from 0.73 on, within what the ends leave.
    assert pair.needed == pytest.approx(6 / 8.2, rel=1e-2)
    assert pair.ends.needed.low < pair.needed < pair.ends.needed.high


def test_whether_any_utilisation_is_enough_may_be_open():
    """A costs 7 at full use, and B 6.9 as it is used now."""
    watts = tuple(3.6 * running for running in (1.0, 2.9))
    pair = hold((1.0, 1.0), watts=watts, prices=(6e-3, 2e-3), part=0.02)
    assert pair.needed.missing == ("within the intervals of the two costs, perhaps no utilisation is enough")
    assert pair.ends.needed is None
    assert not pair.never


def test_without_intervals_the_values_alone_are_compared():
    pair = hold((1000.0, 2000.0))
    bare = [
        pretend(dataclasses.replace(one.use, rate=Amount(one.use.rate.value)), one.tariff, letter)
        for letter, one in (("A", pair.first), ("B", pair.second))
    ]
    alone = compare(*bare)
    assert (alone.verdict, alone.ends) == ("second", None)
    assert (
        describe_verdict(alone) == "B is always cheaper, by the values alone: not both costs have intervals"
    )


@given(uses, uses, tariffs, tariffs, st.tuples(st.floats(0.0, 0.3), part))
def test_who_is_surely_cheaper_is_so_at_both_ends(one, other, prices, others, drawn):
    width, utilisation = drawn
    sides = [
        pretend(
            dataclasses.replace(
                side, rate=spread(side.rate.value, width), joules=spread(side.joules.value, width)
            ),
            which,
            letter,
        )
        for side, which, letter in ((one, prices, "A"), (other, others, "B"))
    ]
    pair = compare(*sides)
    totals = [split(side.use, side.tariff.at("utilisation", utilisation)).total.interval for side in sides]
    for sure, cheap, dear in ((pair.ends.first, *totals), (pair.ends.second, *reversed(totals))):
        if sure and sure.low < utilisation < sure.high:
            assert cheap.high <= dear.low * (1 + 1e-6)


def test_overlapping_costs_of_runs(tmp_path):
    """20.28 and 20.26 EUR are one number to anybody who looks at their intervals."""
    runs = [
        write_cpu(tmp_path, run_id="run-x", rates=(100.0, 101.0, 99.0), repeat=3),
        write_cpu(tmp_path, run_id="run-y", rates=(100.1, 101.1, 99.1), repeat=3, how={"cpu": "a twin"}),
    ]
    [row] = json.loads(as_json.render(report.build([analyse_run(run) for run in runs])))["break_even"]
    assert row["verdict"] == "they cannot be told apart"
    assert row["utilisation"] == {"missing": "the intervals of the two costs overlap", "unit": "fraction"}
    assert row["needed"]["low"] < 0.5 < row["needed"]["high"]


def test_a_number_never_stands_without_its_range(tmp_path):
    runs = [
        write_cpu(tmp_path, run_id="run-x", rates=(100.0, 101.0, 99.0), repeat=3),
        write_cpu(tmp_path, run_id="run-y", rates=(100.1, 101.1, 99.1), repeat=3, how={"cpu": "a twin"}),
        write_gpu(tmp_path),
    ]
    content = report.build([analyse_run(run) for run in runs])
    sections = tuple(table for table in content.sections if table.key == "break_even")
    for width in (80, 120):
        text = as_terminal.write(dataclasses.replace(content, sections=sections, notes=()), width=width)
        assert "50.1 %  47.6 % to 52.6 %" in text
