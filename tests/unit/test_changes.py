"""Change points: planted ones are found where they are, and steady series are left alone at the stated rate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcdl.estimates.changes import FALSE_ALARMS, SHORTEST, find_changes


def places(values, **options):
    return [change.at for change in find_changes(values, **options)]


def levels(seed, *parts, noise=0.01):
    """Values about levels: (level, count) each."""
    generator = np.random.default_rng(seed)
    return np.concatenate([level * (1 + noise * generator.standard_normal(count)) for level, count in parts])


def test_a_clear_step():
    [change] = find_changes([100.0, 101.0, 99.0, 100.5, 99.5, 90.0, 91.0, 89.0, 90.5, 89.5])
    # Five below five: of 252 orders 2 part them as well, and both are of the ends.
    assert (change.at, change.before, change.after) == (5, 100.0, 90.0)
    assert change.relative == pytest.approx(-0.1)
    assert change.p_value <= FALSE_ALARMS


@pytest.mark.parametrize("values", [[], [1.0], [5.0] * 40, list(range(1, 10)), [100.0] * 4 + [50.0] * 5])
def test_too_few_or_all_the_same(values):
    assert places(values) == []


def test_a_single_wild_value_is_no_change():
    values = levels(1, (1000.0, 30))
    values[17] = 10.0
    assert places(values) == []


def test_a_fall_that_was_made_good_again_is_seen():
    assert places(levels(2, (1000.0, 20), (950.0, 15), (1000.0, 25), noise=0.005)) == [20, 35]


def test_several_steps():
    found = places(levels(3, (1000.0, 20), (1050.0, 20), (1010.0, 20), (1100.0, 20)))
    assert len(found) == 3
    assert np.abs(np.array(found) - [20, 40, 60]).max() <= 2


def test_levels_are_no_shorter_than_asked():
    found = [0, *places(levels(4, (1000.0, 12), (900.0, 7), (1000.0, 12)), shortest=7), 31]
    assert np.diff(found).min() >= 7


def test_the_same_values_have_the_same_changes():
    values = levels(5, (1000.0, 15), (985.0, 15))
    assert find_changes(values) == find_changes(list(values))


@pytest.mark.parametrize("count", [10, 25])
@pytest.mark.parametrize("noise", ["normal", "heavy"])
def test_steady_series_are_left_alone(count, noise):
    """400 series: at a rate of 1 %, 11 and more false alarms are rarer than once in 300 such tests (binomial)."""
    generator = np.random.default_rng(20261122 + count)
    alarms = 0
    for seed in range(400):
        draw = generator.standard_normal if noise == "normal" else lambda size: generator.standard_t(2, size)
        alarms += bool(find_changes(1000 + 5 * draw(count), seed=seed))
    assert alarms <= 10


def test_a_step_of_three_standard_deviations_is_found_nine_times_of_ten():
    hits = 0
    for seed in range(60):
        found = places(levels(seed, (1000.0, 15), (970.0, 15)))
        hits += len(found) == 1 and abs(found[0] - 15) <= 2
    assert hits >= 54


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([1.0, 2.0, 3.0]) | st.floats(0.1, 1e9), max_size=40))
def test_changes_are_in_order_and_apart(values):
    edges = [0, *places(values), len(values)]
    assert len(edges) == 2 or min(np.diff(edges)) >= SHORTEST
    assert edges == sorted(edges)
