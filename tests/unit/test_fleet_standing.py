"""Where the units of a fleet stand: by hand, and over many simulated fleets whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hpcdl.estimates.fleet import Samples, estimate_standing
from hpcdl.estimates.moderation import FIRMEST, moderate


def arrange(table, kinds=None):
    """(unit, block) -> speeds, as samples."""
    rows = [(math.log(x), unit, block) for (unit, block), speeds in table.items() for x in speeds]
    logs, units, blocks = zip(*rows, strict=True)
    count = max(units) + 1
    return Samples(np.array(logs), np.array(units), np.array(blocks), np.array(kinds or [0] * count))


def simulate(random, units, blocks, repeats, *, noise, spread, drift, draw=None):
    """Speeds' logarithms, and how far each unit truly is from the fleet's median."""
    node = spread * random.standard_normal(units)
    draw = draw or random.standard_normal
    logs = node[:, None, None] + drift * random.standard_normal(blocks)[None, :, None]
    logs = logs + noise * draw((units, blocks, repeats))
    owner, block, _ = np.indices(logs.shape)
    samples = Samples(logs.ravel(), owner.ravel(), block.ravel(), np.zeros(units, dtype=np.intp))
    return samples, node - np.median(node)


def test_a_unit_is_held_against_the_median_of_its_kind():
    table = {(0, 0): [100], (1, 0): [110], (2, 0): [200], (3, 0): [10], (4, 0): [20], (5, 0): [30]}
    standing = estimate_standing(arrange(table, [0, 0, 0, 1, 1, 1]), relative=True)
    assert np.exp(standing.values) == pytest.approx([100 / 110, 1, 200 / 110, 0.5, 1, 1.5])


def test_one_slow_repeat_does_not_make_a_slow_unit():
    table = {(unit, 0): [100, 101, 99] for unit in range(4)} | {(4, 0): [100, 100, 50]}
    standing = estimate_standing(arrange(table), relative=True)
    assert np.exp(standing.values[4]) == pytest.approx(1.0)
    assert standing.errors[4] > 2 * standing.errors[0]


def test_what_is_measured_at_the_same_time_shares_the_weather():
    """Unit 3 was measured again on a day when all were half as fast."""
    first = {(unit, 0): [100, 101, 99] for unit in range(4)}
    again = {(unit, 1): [50, 50.5, 49.5] for unit in range(1, 4)}
    standing = estimate_standing(arrange(first | again), relative=True)
    assert np.exp(standing.values) == pytest.approx([1, 1, 1, 1])
    by_itself = estimate_standing(arrange(first | again), relative=False)
    assert math.exp(by_itself.values[3]) == pytest.approx(math.sqrt(99 * 50.5))


def test_the_weather_is_not_read_off_the_bad_ones():
    """Six that are 20 % slow are measured again, with three that are not."""
    first = {(unit, 0): [80, 81, 79] if unit < 6 else [100, 101, 99] for unit in range(40)}
    again = {(unit, 1): [80, 81, 79] if unit < 6 else [100, 101, 99] for unit in range(9)}
    standing = estimate_standing(arrange(first | again), relative=True)
    assert np.exp(standing.values[:6]) == pytest.approx([0.8] * 6)
    assert np.exp(standing.values[6:]) == pytest.approx([1.0] * 34)


def test_the_ends_are_those_of_single_blocks():
    table = {(unit, block): [100, 100] for unit in range(5) for block in range(2)} | {(4, 1): [60, 60]}
    standing = estimate_standing(arrange(table), relative=True)
    assert math.exp(standing.lowest[4]) == pytest.approx(0.6)
    assert math.exp(standing.highest[4]) == pytest.approx(1.0)


def test_single_repeats_tell_nothing_of_the_noise():
    standing = estimate_standing(arrange({(unit, 0): [100 + unit] for unit in range(5)}), relative=True)
    assert np.isnan(standing.reach(0.01)).all()


def test_repeats_of_one_unit_have_students_interval():
    """Of two samples the median is the mean; one degree of freedom; alpha 0.025 on each side: t = 12.706."""
    low, high = math.log(90), math.log(110)
    standing = estimate_standing(arrange({(0, 0): [90, 110]}), relative=False)
    spread = abs(high - low) / math.sqrt(2)
    assert standing.reach(0.025)[0] == pytest.approx(12.7062 * spread / math.sqrt(2), rel=1e-4)


def test_a_unit_without_samples_has_no_place():
    samples = arrange({(0, 0): [100, 101], (2, 0): [100, 102]})
    standing = estimate_standing(samples, relative=True)
    assert np.isnan(standing.values[1])
    assert np.isnan(standing.reach(0.01)[1])


def test_variances_are_drawn_towards_the_fleets():
    random = np.random.default_rng(1)
    variances = random.chisquare(2, 500) / 2
    noise = moderate(variances, np.full(500, 2.0))
    assert noise.typical == pytest.approx(1.0, rel=0.15)
    assert noise.variances.std() < 0.25 * variances.std()
    assert noise.degrees == pytest.approx(2 + FIRMEST)
    wild = moderate(np.append(variances, 400.0), np.full(501, 2.0))
    assert wild.variances[-1] > 5


def test_as_many_degrees_as_there_are_samples_for():
    noise = moderate(np.array([1.0, 2.0, 0.5, 1.5]), np.full(4, 2.0))
    assert (noise.degrees <= 8).all()
    assert moderate(np.array([1.0, 3.0]), np.array([2.0, 0.0])).variances == pytest.approx([1.0, 1.0])


# Few units and many, one job and two, without and with weather.
@pytest.mark.parametrize(
    ("units", "blocks", "drift"), [(4, 1, 0.0), (4, 2, 0.05), (30, 1, 0.05), (30, 2, 0.05)]
)
@pytest.mark.parametrize("tails", [None, 4])
def test_ends_miss_the_truth_no_more_often_than_they_may(units, blocks, drift, tails):
    alpha, missed, counted = 0.01, 0, 0
    random = np.random.default_rng(20261122)
    for _ in range(2000 // units):
        draw = None if tails is None else lambda shape: random.standard_t(tails, shape) / 2**0.5
        samples, truth = simulate(random, units, blocks, 3, noise=0.015, spread=0.01, drift=drift, draw=draw)
        standing = estimate_standing(samples, relative=True)
        missed += np.count_nonzero(standing.values + standing.reach(alpha) < truth)
        counted += units
    # Three standard errors of so many draws.
    assert missed / counted <= alpha + 3 * math.sqrt(alpha / counted)
