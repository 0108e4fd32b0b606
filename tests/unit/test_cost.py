"""Cost of images: hand-computed cases, laws that must hold whatever the prices, and what is not to be published."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hpcdl import report
from hpcdl.analysis import amounts
from hpcdl.analysis.amounts import Amount
from hpcdl.analysis.break_even import Line, compare, compare_pairs, draw_band, find_crossing
from hpcdl.analysis.cost import Use, split, study_costs
from hpcdl.analysis.job import analyse_run
from hpcdl.analysis.readings import Withheld
from hpcdl.analysis.sensitivity import move_assumptions
from hpcdl.analysis.tariffs import SECONDS_PER_YEAR, Tariff, choose_newest_tariff, choose_tariff, list_ranges
from hpcdl.errors import Mistake, UnknownName
from hpcdl.estimates.intervals import Interval
from hpcdl.prices import Assumption, Cost, Pricing
from hpcdl.records import Missing
from hpcdl.report import as_json, as_markdown, as_terminal
from hpcdl.report.costs import make_cost_chapter
from hpcdl.report.pictures import Tornado, Waterfall
from tests.unit.cost_runs import (
    COST,
    boards,
    estimate_of,
    estimated,
    meter_of,
    packages,
    steady,
    write,
    write_cpu,
    write_gpu,
)
from tests.unit.test_report import compare as compare_golden
from tests.unit.test_report import settle


def tariff(**changes):
    figures = {
        "electricity_per_kwh": 0.5,
        "node_price": 31_557.6,
        "lifetime_years": 1.0,
        "utilisation": 0.5,
        "pue": 1.5,
        "carbon_kg_per_kwh": 0.6,
    } | changes
    given_figures = {name: Assumption(value=value) for name, value in figures.items() if value is not None}
    return Tariff(currency="EUR", **given_figures)


def use(**changes):
    values = {"nodes": 2, "rate": Amount(1000.0), "joules": Amount(0.72), "idle_w": 200.0, "facility": True}
    return Use(**values | changes)


# ---- By hand ----


def test_a_million_images_by_hand():
    parts = split(use(), tariff())
    # 1e6 images at 1,000/s take 1,000 s. A node: 31,557.6 EUR over 31,557,600 s, half of which it works: 0.002 EUR/s.
    assert parts.capital.value == pytest.approx(1000 * 2 * 0.002)  # 4 EUR
    # 0.72 J x 1e6 = 720,000 J = 0.2 kWh, at 0.5 EUR.
    assert parts.electricity.value == pytest.approx(0.1)
    # The building adds half of that.
    assert parts.overhead.value == pytest.approx(0.05)
    # As long idle as at work: 1,000 s x 200 W x 1.5 = 300,000 J = 0.08333 kWh, at 0.5 EUR.
    assert parts.idle.value == pytest.approx(0.0416667, rel=1e-5)
    assert parts.total.value == pytest.approx(4.1916667)
    # 0.2 kWh x 1.5 + 0.08333 kWh, and 0.6 kg for each.
    assert parts.energy_kwh.value == pytest.approx(0.3833333)
    assert parts.carbon_kg.value == pytest.approx(0.23)


def test_a_year_has_so_many_seconds():
    assert SECONDS_PER_YEAR == 31_557_600
    # One image/s for a whole year on a node that always works: the node's price for 31.5576 million images.
    parts = split(use(nodes=1, rate=Amount(1.0)), tariff(utilisation=1.0))
    assert parts.capital.value * 31.5576 == pytest.approx(31_557.6)


def test_a_kilowatt_for_an_hour_is_a_kilowatt_hour():
    """1,000 W for 3,600 s over a million images are 3.6 J/image."""
    parts = split(use(joules=Amount(3.6), facility=False), tariff(utilisation=1.0))
    assert parts.energy_kwh.value == pytest.approx(1.0)
    assert parts.electricity.value == pytest.approx(0.5)
    assert parts.overhead.value == 0


def test_who_always_works_is_never_idle():
    assert split(use(idle_w=Missing(missing="?")), tariff(utilisation=1.0)).idle.value == 0


def test_without_idle_power_the_total_is_of_the_rest():
    parts = split(use(idle_w=Missing(missing="not measured")), tariff())
    assert parts.idle.value == Missing(missing="not measured")
    assert parts.total.value == pytest.approx(4.15)
    assert parts.energy_kwh.value == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("name", "absent"),
    [
        ("node_price", {"capital", "total"}),
        ("lifetime_years", {"capital", "total"}),
        ("utilisation", {"capital", "idle", "idle_kwh", "total"}),
        ("electricity_per_kwh", {"electricity", "overhead", "idle", "total"}),
        ("carbon_kg_per_kwh", {"carbon_kg"}),
        ("pue", {"overhead", "idle", "idle_kwh", "total", "energy_kwh", "carbon_kg"}),
    ],
)
def test_what_is_not_given_costs_what_needs_it_and_nothing_else(name, absent):
    parts = split(use(), tariff(**{name: None}))
    found = {
        field.name
        for field in dataclasses.fields(parts)
        if isinstance(getattr(parts, field.name).value, Missing)
    }
    assert found == absent
    for part in absent:
        assert getattr(parts, part).value.missing == f"add {name} to [cost] in the site file"


def test_intervals_go_through_the_arithmetic():
    rate = Amount(1000.0, Interval(1000.0, 800.0, 1250.0, 40, 40.0))
    joules = Amount(0.72, Interval(0.72, 0.70, 0.75, 10, 10.0))
    parts = split(use(rate=rate, joules=joules, idle_w=0.0), tariff(pue=1.0))
    assert parts.capital.interval.low == pytest.approx(4 * 1000 / 1250)
    assert parts.capital.interval.high == pytest.approx(4 * 1000 / 800)
    # Both hang on the same seconds, so that ends add up to ends: 3.2 + 0.0972 EUR, 5 + 0.1042 EUR.
    assert parts.total.interval.low == pytest.approx(3.2 + 0.70 / 7.2)
    assert parts.total.interval.high == pytest.approx(5.0 + 0.75 / 7.2)


def test_a_sum_without_the_interval_of_a_part_has_none():
    known = Amount(1.0, Interval(1.0, 0.9, 1.1, 5, 5.0))
    assert amounts.add([known, Amount(2.0)]).interval is None
    assert amounts.add([known, Amount(0.0)]).interval == known.interval
    assert amounts.add([known, Amount(Missing(missing="?"))]).value == Missing(missing="?")


# ---- Laws ----

money = st.floats(1e-3, 1e7)
part = st.floats(0.01, 1.0)
uses = st.builds(
    Use,
    nodes=st.integers(1, 64),
    rate=st.floats(1e-2, 1e7).map(Amount),
    joules=st.floats(1e-4, 1e3).map(Amount),
    idle_w=st.floats(0, 1e6),
    facility=st.booleans(),
)
tariffs = st.builds(
    tariff,
    electricity_per_kwh=money,
    node_price=money,
    lifetime_years=st.floats(0.1, 30),
    utilisation=part,
    pue=st.floats(1, 3),
    carbon_kg_per_kwh=st.floats(0, 2),
)


@given(uses, tariffs, st.floats(0.01, 100))
def test_prices_times_k_are_money_times_k(one, prices, factor):
    dearer = prices.at("node_price", factor * prices.read("node_price")).at(
        "electricity_per_kwh", factor * prices.read("electricity_per_kwh")
    )
    for name in ("capital", "electricity", "overhead", "idle", "total"):
        before, after = (getattr(split(one, which), name).value for which in (prices, dearer))
        assert after == pytest.approx(factor * before, rel=1e-9)
    assert split(one, prices).energy_kwh == split(one, dearer).energy_kwh


@given(uses, tariffs)
def test_twice_the_lifetime_is_half_the_capital(one, prices):
    before, after = (
        split(one, which)
        for which in (prices, prices.at("lifetime_years", 2 * prices.read("lifetime_years")))
    )
    assert after.capital.value == pytest.approx(before.capital.value / 2)
    assert (after.electricity, after.idle) == (before.electricity, before.idle)


@given(uses, tariffs, part)
def test_the_line_is_the_cost_at_every_utilisation(one, prices, utilisation):
    costs = pretend(one, prices)
    expected = split(one, prices.at("utilisation", utilisation)).total.value
    assert draw_band(costs, with_idle=True).value.at(utilisation) == pytest.approx(expected, rel=1e-6)


@given(uses, uses, tariffs, tariffs)
def test_at_break_even_totals_are_equal(one, other, prices, others):
    pair = compare(pretend(one, prices), pretend(other, others, "B"))
    if isinstance(pair.utilisation, Missing):
        assert pair.verdict in {"first", "second", "equal"}
        return
    # Lines that are nearly one say nothing about where they cross.
    totals = [
        split(side, which.at("utilisation", pair.utilisation)).total.value
        for side, which in ((one, prices), (other, others))
    ]
    assert 0 < pair.utilisation <= 1
    assert totals[0] == pytest.approx(totals[1], rel=1e-5)


@given(uses, uses, tariffs, tariffs, part)
def test_who_is_always_cheaper_is_cheaper_anywhere(one, other, prices, others, utilisation):
    pair = compare(pretend(one, prices), pretend(other, others, "B"))
    first, second = (
        split(side, which.at("utilisation", utilisation)).total.value
        for side, which in ((one, prices), (other, others))
    )
    assume(first != pytest.approx(second, rel=1e-5))
    if pair.verdict in {"first", "second"}:
        assert (first < second) == (pair.verdict == "first")
    else:
        assume(utilisation != pytest.approx(pair.utilisation, rel=1e-5))
        above = "first" if pair.verdict == "first above" else "second"
        cheaper = "first" if first < second else "second"
        assert (cheaper == above) == (utilisation > pair.utilisation)


def pretend(one, prices, letter="A"):
    """Costs of nothing that ran: what the arithmetic needs of them."""

    class Thing:
        def __init__(self, **values):
            self.__dict__.update(values)

    configuration = Thing(letter=letter, withheld=None)
    return Thing(use=one, tariff=prices, configuration=configuration, parts=split(one, prices))


def test_crossing_by_hand():
    # 2/u + 1 and 1/u + 3 meet at u = 1/2: 5 and 5. Above, the first is cheaper.
    assert find_crossing(Line(2, 1), Line(1, 3)) == ("first above", 0.5)
    assert find_crossing(Line(1, 3), Line(2, 1)) == ("second above", 0.5)
    assert find_crossing(Line(1, 1), Line(2, 1))[0] == "first"
    # They would meet at u = 2: never.
    assert find_crossing(Line(3, 1), Line(1, 2))[0] == "second"
    assert find_crossing(Line(1, 1), Line(1, 1))[0] == "equal"


def test_needed_utilisation_by_hand(tmp_path):
    """The second costs what it costs now; how busy must the first be?"""
    costs = study_costs([analyse_run(write_cpu(tmp_path)), analyse_run(write_gpu(tmp_path))]).costs
    cpu, gpu = costs
    [pair] = compare_pairs([gpu, cpu])
    assert pair.verdict == "first"
    dear = split(gpu.use, gpu.tariff.at("utilisation", pair.needed)).total.value
    assert dear == pytest.approx(cpu.parts.total.value)
    # The other way round, no utilisation is enough.
    [back] = compare_pairs([cpu, gpu])
    assert back.needed == Missing(missing="no utilisation is enough")


# ---- Which prices hold ----


def priced(cost, *, site="unnamed", named=False):
    return Pricing(cost, 1.2, "site.toml", site, named)


def test_todays_prices_stand_above_those_of_the_run(tmp_path):
    result = analyse_run(write_cpu(tmp_path))
    recorded = choose_tariff(result, None)
    assert (recorded.read("electricity_per_kwh"), recorded.origin) == (0.5, "recorded with run run-cpu")
    today = priced(Cost(currency="USD", electricity_per_kwh=Assumption(value=0.1)), named=True)
    held = choose_tariff(result, today)
    assert (held.currency, held.read("electricity_per_kwh"), held.read("pue")) == ("USD", 0.1, 1.2)
    assert held.origin == "site.toml"
    assert held.origin_of("pue") == "site.toml"
    # A PUE that today's file does not know is the one that the run has recorded.
    knowing = analyse_run(write_cpu(tmp_path / "pue", site={"power": {"pue": 1.4}}))
    silent = choose_tariff(knowing, dataclasses.replace(today, pue=None))
    assert (silent.read("pue"), silent.origin_of("pue")) == (1.4, "recorded with run run-cpu")
    # A site file without prices is not asked.
    assert choose_tariff(result, priced(Cost(), named=True)) == recorded


@pytest.mark.parametrize(
    ("recorded", "of_file", "holds"),
    [
        (("juno", COST), ("juno", False), True),
        (("juno", {}), ("juno", False), True),
        (("juno", COST), ("vega", False), False),
        (("juno", {}), ("vega", False), False),
        (("juno", COST), ("vega", True), True),
        (("juno", COST), (None, False), False),
        ((None, COST), ("vega", False), False),
        ((None, {}), ("vega", False), True),
        ((None, {}), (None, False), True),
        # Two sites without a name need not be one.
        ((None, COST), (None, False), False),
        ((None, COST), (None, True), True),
    ],
)
def test_whose_prices_hold(recorded, of_file, holds, tmp_path):
    (of_run, prices), (of_site, named) = recorded, of_file
    site = {"name": of_run or "unnamed"}
    run = analyse_run(write_cpu(tmp_path, site=site, cost=prices))
    dollars = Cost(currency="USD", electricity_per_kwh=Assumption(value=0.1))
    chosen = choose_tariff(run, priced(dollars, site=of_site or "unnamed", named=named))
    assert (chosen.origin == "site.toml") is holds
    assert chosen.currency == ("USD" if holds else prices.get("currency"))
    assert bool(chosen.passed_over) is not holds


def test_prices_of_another_site_are_neither_used_nor_hidden(tmp_path):
    run = analyse_run(write_cpu(tmp_path, site={"name": "juno"}))
    dollars = Cost(currency="USD", electricity_per_kwh=Assumption(value=0.1))
    chapter = make_cost_chapter([run], priced(dollars, site="vega"))
    [told] = [note.text for note in chapter.notes if "--site" in note.text]
    assert "the prices of site.toml are of vega, and run run-cpu is of juno" in told
    bare = analyse_run(write_cpu(tmp_path / "bare", site={"name": "juno"}, cost={}))
    # Nobody has priced it, and so a report on it has no chapter on cost unless it is asked for.
    sections = report.build([bare], pricing=priced(dollars, site="vega")).sections
    assert "cost" not in {table.key for table in sections}


def test_several_runs_have_the_prices_of_the_newest_and_say_so(tmp_path):
    old, new = (
        analyse_run(write_cpu(tmp_path / name, run_id=name, cost=COST | {"node_price": price}))
        for name, price in (("20261101-old", 1000), ("20261102-new", 2000))
    )
    tariff = choose_newest_tariff([old, new], None)
    assert tariff.read("node_price") == 2000
    assert "those of 20261101-old are others" in tariff.passed_over
    assert choose_newest_tariff([new, new], None).passed_over == ""


def test_a_partition_has_its_own_price(tmp_path):
    cost = COST | {"partition_price": {"big": 90_000}}
    run = write_cpu(tmp_path, site={"slurm": {"partition": "big"}}, cost=cost)
    assert choose_tariff(analyse_run(run), None).read("node_price") == 90_000


def test_what_was_not_said_may_be_off_by_a_fifth_within_what_can_be():
    ranges = {one.name: one for one in list_ranges(tariff(utilisation=0.9, pue=1.1))}
    assert (ranges["node_price"].low, ranges["node_price"].high) == pytest.approx(
        (0.8 * 31_557.6, 1.2 * 31_557.6)
    )
    assert (ranges["utilisation"].low, ranges["utilisation"].high) == (pytest.approx(0.72), 1.0)
    assert ranges["pue"].low == 1.0
    named = Tariff(currency="EUR", node_price=Assumption(value=10, low=9))
    [only] = list_ranges(named)
    assert (only.low, only.high, only.low_guessed, only.high_guessed) == (9, 12, False, True)


def test_sensitivity_by_hand(tmp_path):
    [costs] = study_costs([analyse_run(write_cpu(tmp_path))]).costs
    moves = {move.range.name: move for move in move_assumptions(costs)}
    # 100 images/s: 10,000 s x 0.002 EUR/s = 20 EUR. 200 W / 100 = 2 J/image: 0.5556 kWh at 0.5 EUR: 0.2778 EUR.
    assert costs.parts.total.value == pytest.approx(20 + 1 / 3.6)
    # Electricity from 0.25 to 1 EUR/kWh; the node from 80 to 120 %; the lifetime from 0.8 to 1.2 years.
    assert moves["electricity_per_kwh"].at_low == pytest.approx(20 + 0.5 / 3.6)
    assert moves["electricity_per_kwh"].at_high == pytest.approx(20 + 2 / 3.6)
    assert moves["node_price"].at_high == pytest.approx(24 + 1 / 3.6)
    assert moves["lifetime_years"].at_low == pytest.approx(25 + 1 / 3.6)
    # CO2 moves no money, and there is no PUE.
    assert set(moves) == {"electricity_per_kwh", "node_price", "lifetime_years", "utilisation"}
    assert next(iter(moves)) in {"lifetime_years", "utilisation"}  # the widest first


def test_an_end_that_needs_idle_power_says_that_it_is_without(tmp_path):
    """Who always works needs no idle power; who works four fifths of the time does, and nobody has measured it."""
    content = report.build(
        [analyse_run(write_cpu(tmp_path, cost=COST | {"utilisation": 1.0}))], pictured=True
    )
    told = "without idle power, which is not known, at a utilisation of 80.0 %"
    pictures = {picture.key: picture for picture in content.pictures}
    assert told in pictures["cost-sensitivity"].caption
    assert told not in pictures["cost"].caption
    [table] = [table for table in content.sections if table.key == "sensitivity"]
    assert table.captions[1:] == (told,)


def test_where_idle_power_is_known_or_left_out_everywhere_no_end_says_so(tmp_path):
    idle = {"power": {"idle_w": {"node1": {"package 0": 50, "dram 0": 10}}}}
    for store, changes in (("a", {"cost": COST | {"utilisation": 1.0}, "site": idle}), ("b", {})):
        [costs] = study_costs([analyse_run(write_cpu(tmp_path / store, **changes))]).costs
        moves = move_assumptions(costs)
        assert moves
        assert not any(move.idle_unknown for move in moves)


def draw_five(store, *changes):
    """Pictures of five configurations of different batches, the first of them the dearest."""
    runs = [
        write_cpu(store, run_id=f"run-{place}", batch=64 + place, cost=COST | {"node_price": price} | change)
        for place, (price, change) in enumerate(zip((9e4, 5e4, 4e4, 3e4, 2e4), changes, strict=True))
    ]
    pictures = make_cost_chapter([analyse_run(run) for run in runs]).pictures
    waterfalls = [picture for picture in pictures if isinstance(picture.form, Waterfall)]
    [caption] = {picture.caption.rsplit(". ", 1)[-1] for picture in waterfalls}
    return [picture.key for picture in waterfalls], caption


def test_of_many_configurations_the_cheapest_are_drawn(tmp_path):
    keys, caption = draw_five(tmp_path, *[{}] * 5)
    assert keys == ["cost-b", "cost-c", "cost-d", "cost-e"]
    assert caption == "the 4 cheapest of 5 configurations are drawn"


def test_across_currencies_nothing_is_the_cheapest(tmp_path):
    keys, caption = draw_five(tmp_path, {}, {"currency": "JPY"}, {}, {}, {})
    assert keys == ["cost-a", "cost-b", "cost-c", "cost-d"]
    assert caption == (
        "the first 4 of 5 configurations are drawn, which are not of one currency, network and data"
    )


# ---- What is not priced ----


def test_machines_in_disguise_are_not_priced_as_so_many(tmp_path):
    run = write(
        tmp_path,
        {"node1": packages(), "node2": packages()},
        how={"one_machine": True},
        rates=(1000.0, 1950.0),
        nodes=(1, 2),
    )
    one, two = study_costs([analyse_run(run)]).costs
    # The launch of one node ran on one name of a machine that has two.
    disguise = "2 hosts share one boot id: none of them is a node by itself"
    assert (one.parts.capital.value.missing, one.parts.capital.value.value) == (disguise, pytest.approx(2.0))
    reason = "2 nodes were 1 machine: the price of 2 would not be that of what has worked"
    assert isinstance(two.parts.capital.value, Withheld)
    assert two.parts.capital.value.missing == reason
    assert two.parts.capital.value.value == pytest.approx(4 / 1.95)
    assert isinstance(two.parts.total.value, Withheld)
    # What the meters saw is real.
    assert not isinstance(two.parts.electricity.value, Missing)
    plain, forced = (report.build([analyse_run(run)], force=force, pictured=True) for force in (False, True))
    [first, second] = json.loads(as_json.render(plain))["cost"][0]["rows"]
    assert first["total_per_million"] == {"missing": disguise, "unit": "EUR"}
    assert second["total_per_million"] == {"missing": reason, "unit": "EUR"}
    [_, struck] = json.loads(as_json.render(forced))["cost"][0]["rows"]
    assert struck["capital_per_million"]["withheld"] == pytest.approx(4 / 1.95)
    assert "~~2.051 EUR~~" in as_markdown.render(forced)
    assert any(note.kind == "rehearsal" and reason in note.text for note in plain.notes)
    # Neither a picture nor a verdict is made of it.
    assert find_pictures(forced) == []


def test_a_part_of_a_shared_node_is_not_priced_as_a_whole(tmp_path):
    site = {"slurm": {"exclusive": False}, "node": {"cores": 32}}
    [costs] = study_costs([analyse_run(write_cpu(tmp_path, site=site))]).costs
    assert costs.parts.capital.value.missing.startswith(
        "the job had 8 of 32 CPUs of a node that others may have used"
    )
    whole = {"slurm": {"exclusive": False}, "node": {"cores": 8}}
    [costs] = study_costs([analyse_run(write_cpu(tmp_path / "whole", site=whole))]).costs
    assert costs.parts.capital.value == pytest.approx(20)


def test_several_ranks_on_one_machine_are_one_node(tmp_path):
    run = write_cpu(tmp_path, tasks_per_node=2, launcher="mpirun")
    [costs] = study_costs([analyse_run(run)]).costs
    assert costs.parts.capital.value == pytest.approx(20)


# ---- Boundaries ----


def test_the_widest_boundary_that_all_have_alike(tmp_path):
    cpu, gpu = analyse_run(write_cpu(tmp_path)), analyse_run(write_gpu(tmp_path))
    study = study_costs([cpu, gpu])
    assert study.boundary == "node"
    # 200 W / 100 images/s; (600 + 100) W / 10,000 images/s.
    assert [one.joules.value for one in study.costs] == pytest.approx([2.0, 0.07], rel=1e-3)
    assert [one.power_w for one in study.costs] == pytest.approx([200, 700], rel=1e-3)


def test_the_building_is_the_widest_where_its_pue_is_known(tmp_path):
    run = write_cpu(tmp_path, site={"power": {"pue": 1.25}})
    study = study_costs([analyse_run(run)])
    assert study.boundary == "facility"
    [costs] = study.costs
    assert costs.joules.value == pytest.approx(2.5)
    assert costs.power_w == pytest.approx(250)
    assert costs.parts.overhead.value == pytest.approx(0.25 / 3.6)
    assert study_costs([analyse_run(run)], boundary="node").costs[0].parts.overhead.value == 0


def test_idle_power_of_the_node_is_priced(tmp_path):
    site = {"power": {"idle_w": {"node1": {"package 0": 50.0, "dram 0": 10.0}}}}
    [costs] = study_costs([analyse_run(write_cpu(tmp_path, site=site))]).costs
    # 10,000 s at work and as long idle: 60 W x 10,000 s = 1/6 kWh at 0.5 EUR.
    assert costs.parts.idle.value == pytest.approx(0.5 / 6)
    assert "idle power" not in costs.left_out


def test_idle_power_that_is_known_is_not_left_out_for_want_of_a_price(tmp_path):
    site = {"power": {"idle_w": {"node1": {"package 0": 50.0, "dram 0": 10.0}}}}
    unpriced = {key: value for key, value in COST.items() if key != "electricity_per_kwh"}
    [costs] = study_costs([analyse_run(write_cpu(tmp_path, site=site, cost=unpriced))]).costs
    # 2 J x 1e6 at work and 60 W x 10,000 s idle.
    assert costs.parts.energy_kwh.value == pytest.approx(2 / 3.6 + 1 / 6)
    assert "idle power" not in costs.left_out
    [dark] = study_costs([analyse_run(write_cpu(tmp_path, run_id="dark", cost=unpriced))]).costs
    assert dark.parts.energy_kwh.value == pytest.approx(2 / 3.6)
    assert "idle power" in dark.left_out


def test_what_cannot_be_compared_is_told_by_name(tmp_path):
    cpu = analyse_run(write_cpu(tmp_path))
    gpu = analyse_run(write_gpu(tmp_path, meters={"node1": boards() | {estimate_of(): estimated(100.0)}}))
    study = study_costs([cpu, gpu])
    told = study.boundary.missing
    assert "facility: A, B: no PUE is known" in told
    assert "A has 1 CPU package, 1 DRAM, measured" in told
    assert "B has 2 GPU boards, 1 CPU package, part ESTIMATED, without DRAMs" in told
    assert "device: A has 1 CPU package, 1 DRAM, measured" in told
    assert all(isinstance(one.parts.electricity.value, Missing) for one in study.costs)
    # The rest is reported.
    assert all(not isinstance(one.parts.capital.value, Missing) for one in study.costs)
    chapter = make_cost_chapter([cpu, gpu])
    assert any("no electricity is compared: there is no boundary" in note.text for note in chapter.notes)


@pytest.mark.parametrize("boundary", ["facility", "device"])
def test_a_boundary_that_was_asked_for_and_is_not_there_is_a_mistake(boundary, tmp_path):
    results = [analyse_run(write_cpu(tmp_path)), analyse_run(write_gpu(tmp_path))]
    with pytest.raises(Mistake) as caught:
        study_costs(results, boundary=boundary)
    assert f"energy at the boundary '{boundary}' cannot be compared here: " in str(caught.value)
    assert "Possible here: node." in str(caught.value)


def test_a_boundary_that_nobody_knows(tmp_path):
    with pytest.raises(UnknownName, match="Did you mean 'node'"):
        study_costs([analyse_run(write_cpu(tmp_path))], boundary="nod")


def test_whole_nodes_and_their_parts_are_not_mixed(tmp_path):
    whole = {"node1": {meter_of("node", "node", sensor="ipmi"): steady(500.0)}}
    results = [analyse_run(write_cpu(tmp_path)), analyse_run(write_gpu(tmp_path, meters=whole))]
    told = study_costs(results).boundary.missing
    assert "node: A has 1 CPU package, 1 DRAM, measured, without fans" in told
    assert "B has 1 node, measured" in told


@pytest.mark.parametrize("meters", [boards(), boards(count=1)])
def test_energy_that_nobody_believes_takes_nothing_from_the_others(meters, tmp_path):
    # A window of half a second is too short for any counter; one board of two is not the node.
    dark = analyse_run(write_gpu(tmp_path, rates=(100_000.0,), meters={"node1": meters}))
    cpu, gpu = study_costs([analyse_run(write_cpu(tmp_path)), dark]).costs
    # 2 J x 1e6 at 0.5 EUR a kWh.
    assert cpu.parts.electricity.value == pytest.approx(0.5 * 2 / 3.6)
    assert isinstance(gpu.parts.electricity.value, Missing)
    assert gpu.parts.capital.value == pytest.approx(0.02)


def test_a_run_without_energy_takes_nothing_from_the_others(tmp_path):
    dark = analyse_run(write_gpu(tmp_path, meters=None))
    study = study_costs([analyse_run(write_cpu(tmp_path)), dark])
    assert study.boundary == "node"
    assert study.costs[1].parts.electricity.value == Missing(missing="power was not sampled (--no-power)")
    assert study.costs[1].parts.capital.value == pytest.approx(0.2)
    notes = [note.text for note in make_cost_chapter([dark]).notes]
    assert any("power was not sampled" in text and "hpcdl power sensors" in text for text in notes)
    with pytest.raises(Mistake, match="there is no energy at the boundary 'node'"):
        study_costs([dark], boundary="node")


# ---- The chapter ----


def test_estimated_energy_makes_estimated_money(tmp_path):
    run = write_cpu(tmp_path, meters={"node1": {estimate_of(): estimated(200.0)}})
    content = report.build([analyse_run(run)], pictured=True)
    [table] = json.loads(as_json.render(content))["cost"]
    [row] = table["rows"]
    assert row["basis"] == "ESTIMATED"
    assert row["electricity_per_million"]["mark"] == row["total_per_million"]["mark"] == "estimated"
    assert "mark" not in row["capital_per_million"]
    assert all("ESTIMATED" in picture.subtitle for picture in find_pictures(content))
    assert any("ESTIMATED, and so are the money" in note.text for note in content.notes)


def test_without_prices_the_rest_is_reported(tmp_path):
    result = analyse_run(write_cpu(tmp_path, cost={}))
    assert json.loads(as_json.render(report.build([result])))["cost"] == []
    chapter = make_cost_chapter([result])
    cost = as_json.as_object(chapter.tables[0])["rows"][0]
    assert cost["total_per_million"]["missing"] == "add node_price to [cost] in the site file"
    assert cost["energy_kwh_per_million"]["value"] == pytest.approx(2 / 3.6)
    assert chapter.pictures == ()
    [note] = [note.text for note in chapter.notes if "not given" in note.text]
    assert "electricity_per_kwh, node_price, lifetime_years, utilisation, pue and carbon_kg_per_kwh" in note


def test_two_currencies_are_not_compared(tmp_path):
    dollars = COST | {"currency": "USD"}
    results = [analyse_run(write_cpu(tmp_path)), analyse_run(write_gpu(tmp_path, cost=dollars))]
    chapter = make_cost_chapter(results)
    assert "break_even" not in {table.key for table in chapter.tables}
    assert any("EUR and USD: nothing is converted" in note.text for note in chapter.notes)
    assert len([row for table in chapter.tables if table.key == "assumptions" for row in table.rows]) == 12


def test_images_of_two_networks_are_not_compared(tmp_path):
    results = [analyse_run(write_cpu(tmp_path)), analyse_run(write_gpu(tmp_path, model="overfeat"))]
    assert compare_pairs(study_costs(results).costs) == ()


def find_pictures(content):
    """Those on cost."""
    return [picture for picture in content.pictures if picture.key.startswith("cost")]


def test_pictures_say_what_tables_say(tmp_path):
    result = analyse_run(write_cpu(tmp_path, site={"power": {"pue": 1.25}}))
    content = report.build([result], pictured=True)
    waterfall, tornado = (picture.form for picture in find_pictures(content))
    assert isinstance(waterfall, Waterfall)
    assert isinstance(tornado, Tornado)
    [row] = json.loads(as_json.render(content))["cost"][0]["rows"]
    # Idle power is not known: the caption says so, and the parts are of the rest.
    assert [name for name, _ in waterfall.parts] == ["capital", "electricity", "PUE overhead"]
    assert sum(value for _, value in waterfall.parts) == pytest.approx(row["total_per_million"]["value"])
    assert "without idle power" in find_pictures(content)[0].caption
    assert tornado.base == row["total_per_million"]["value"]
    widths = [abs(swing.at_high - swing.at_low) for swing in tornado.swings]
    assert widths == sorted(widths, reverse=True)
    moved = json.loads(as_json.render(content))["sensitivity"]
    assert [one["total_at_low"]["value"] for one in moved] == [swing.at_low for swing in tornado.swings]


def cost_report(store):
    runs = [write_cpu(store, site={"power": {"pue": 1.25}}), write_gpu(store, site={"power": {"pue": 1.25}})]
    return report.build([analyse_run(run) for run in runs], accuracy=0.98)


@pytest.mark.parametrize("suffix", ["md", "json", "80.txt", "120.txt"])
def test_golden(suffix, tmp_path):
    writers = {
        "md": as_markdown.render,
        "json": as_json.render,
        "80.txt": lambda content: as_terminal.write(content, width=80),
        "120.txt": lambda content: as_terminal.write(content, width=120),
    }
    content = cost_report(tmp_path)
    kept = [table for table in content.sections if table.key not in {"checks", "meters", "hosts"}]
    more = tuple(settle(line, tmp_path) for line in content.more)
    content = dataclasses.replace(content, sections=tuple(kept), more=more)
    compare_golden(f"report-cost.{suffix}", settle(writers[suffix](content), tmp_path))


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_is_wider_than_the_terminal(width, tmp_path):
    lines = as_terminal.write(cost_report(tmp_path), width=width).splitlines()
    assert max(map(len, lines)) <= width


def test_the_same_numbers_in_all_formats(tmp_path):
    content = cost_report(tmp_path)
    rows = json.loads(as_json.render(content))["cost"][0]["rows"]
    assert [row["capital_per_million"]["value"] for row in rows] == pytest.approx([20.0, 0.2])
    for text in (as_markdown.render(content), as_terminal.write(content, width=160)):
        assert "20.00 EUR" in text
        assert "0.2000 EUR" in text
