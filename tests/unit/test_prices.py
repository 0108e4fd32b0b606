"""What can stand in the table [cost] of a site file, and what each mistake is told."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.errors import Mistake
from hpcdl.frozen import parse
from hpcdl.plan import cluster_sizes, hash_plan, make_launches
from hpcdl.prices import Assumption, Cost
from hpcdl.settings import resolve_site
from hpcdl.site import Power, Site
from hpcdl.spec import Benchmark

EUR = 'currency = "EUR"\n'


def read(text):
    return parse(Cost, tomllib.loads(text), where="site.toml")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("node_price = 1", 'node_price is a price without a currency: add currency = "EUR"'),
        ("electricity_per_kwh = 0.3", "electricity_per_kwh is a price without a currency"),
        ("partition_price = {gpu = 3}", "partition_price is a price without a currency"),
        (
            'currency = "eur"',
            "'eur' is no ISO 4217 code, which are three capitals such as 'EUR'. Did you mean 'EUR'?",
        ),
        ('currency = "€"', "'€' is no ISO 4217 code"),
        ('currency = "EURO"', "'EURO' is no ISO 4217 code"),
        ("currency = 3", "currency: input should be a valid string (given: 3)"),
        (EUR + "node_price = -1", "node_price.value: input should be greater than or equal to 0 (given: -1)"),
        (EUR + "partition_price = {gpu = -3}", "partition_price.gpu.value: input should be greater than or"),
        (EUR + "node_price = {value = 2, low = 3}", "low, value and high are in that order, not 3, 2, 2"),
        (EUR + "node_price = {value = 2, high = 1}", "low, value and high are in that order, not 2, 2, 1"),
        (EUR + "node_price = {valu = 2}", "there is no key 'node_price.valu'. Did you mean 'value'?"),
        (
            EUR + "partition_price = {gpu = {valu = 2}}",
            "there is no key 'partition_price.gpu.valu'. Did you mean",
        ),
        (EUR + 'node_price = "95k"', "'95k' is no number: write one, or a table with value, low, high, date"),
        (EUR + "node_price = true", "True is no number"),
        (EUR + "node_price = [1]", "[1] is no number"),
        (EUR + "node_price = inf", "input should be a finite number"),
        (EUR + "node_price = nan", "input should be a finite number"),
        ("carbon_kg_per_kwh = {low = 1}", "carbon_kg_per_kwh.value is missing"),
        ("utilisation = 1.2", "utilisation is a part of the whole: at most 1"),
        ("utilisation = {value = 0.5, high = 1.5}", "utilisation is a part of the whole: at most 1"),
        ("utilisation = 0", "utilisation is above zero"),
        ("utilisation = {value = 0.5, low = 0}", "utilisation is above zero"),
        ("lifetime_years = 0", "lifetime_years is above zero"),
        ("nodes_per_rack = 0", "nodes_per_rack is above zero"),
        ("pue = 0.9", "pue is what the building draws over what its computers draw: at least 1"),
        ("pue = {value = 1.2, low = 0.8}", "at least 1"),
        ("node_prize = 3", "there is no key 'node_prize'. Did you mean 'node_price'?"),
    ],
)
def test_each_mistake_is_told_with_its_key(text, told):
    with pytest.raises(Mistake) as caught:
        read(text)
    assert told in str(caught.value)
    assert str(caught.value).startswith("site.toml: ")


def test_a_number_alone_and_a_table_are_the_same_figure():
    plain, full = (
        read(EUR + "node_price = 5"),
        read(EUR + 'node_price = {value = 5.0, date = "", source = ""}'),
    )
    assert plain == full
    assert plain.given
    assert not Cost().given


def test_a_date_may_be_one_of_tomls_own():
    assert read(EUR + "node_price = {value = 5, date = 2026-01-31}").node_price.date == "2026-01-31"


def test_zero_is_a_price():
    assert read(EUR + "node_price = 0").node_price == Assumption(value=0)


def test_a_partition_has_its_own_price_or_that_of_any_node():
    cost = read(EUR + 'node_price = 5\n[partition_price]\n"gpu.h100" = 300')
    assert cost.price_of("gpu.h100").value == 300
    assert cost.price_of("cpu").value == 5
    assert cost.price_of(None).value == 5
    assert Cost().price_of("cpu") is None


def test_prices_live_through_being_laid_over_by_flags():
    cost = {"currency": "EUR", "node_price": {"value": 5, "low": 4}, "partition_price": {"gpu.h100": 300}}
    site = Site.model_validate({"name": "juno", "cost": cost, "power": {"pue": 1.2}})
    assert resolve_site(site, None, {"slurm.partition": ("gpu.h100", "--partition")})[0].cost == site.cost


def test_a_building_has_one_pue():
    with pytest.raises(Mistake, match=r"pue is 1\.2 in \[cost\] and 1\.3 in \[power\]"):
        parse(Site, {"cost": {"pue": 1.2}, "power": {"pue": 1.3}}, where="site.toml")
    assert Site.model_validate({"cost": {"pue": 1.2}, "power": {"pue": 1.2}}).metered.pue == 1.2


def test_a_pue_that_only_the_prices_name_holds_for_power_too():
    site = Site.model_validate({"cost": {"pue": {"value": 1.2, "source": "bill"}}})
    assert site.metered == Power(pue=1.2)
    assert Site().metered == Power()


def test_what_nodes_cost_asks_nothing():
    """The same job at other prices is the same plan."""
    benchmark = Benchmark()
    plain = Site(name="juno")
    priced = Site.model_validate({"name": "juno", "cost": {"currency": "EUR", "node_price": 3}})
    launches = make_launches(benchmark, plain, cluster_sizes(benchmark, plain, cores=8), launcher="srun")
    assert hash_plan(benchmark, plain, launches) == hash_plan(benchmark, priced, launches)


@given(st.text(max_size=6))
def test_any_text_is_a_currency_or_told_why_not(code):
    try:
        assert Cost(currency=code).currency == code
    except ValueError as problem:
        assert "ISO 4217" in str(problem)  # noqa: PT017 (which of the two it is, hypothesis chooses)
    else:
        assert len(code) == 3
        assert code.isascii()
        assert code.isupper()


@given(st.floats(0, 1e9), st.none() | st.floats(0, 1e9), st.none() | st.floats(0, 1e9))
def test_ends_enclose_the_value(value, low, high):
    if (low is None or low <= value) and (high is None or value <= high):
        figure = Assumption(value=value, low=low, high=high)
        assert figure.ends[0] <= value <= figure.ends[1]
    else:
        with pytest.raises(ValueError, match="in that order"):
            Assumption(value=value, low=low, high=high)
