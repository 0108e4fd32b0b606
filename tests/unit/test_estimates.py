"""Intervals, fits and tests against what is known; the simulations are in test_estimates_simulated."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.estimates.comparison import batch, compare_samples
from hpcdl.estimates.fits import fit_latency_bandwidth, fit_scaling, karp_flatt
from hpcdl.estimates.intervals import (
    Interval,
    TooFew,
    difference,
    estimate_mean,
    estimate_over_repeats,
    hull,
    invert,
    ratio,
    scale,
    total,
)
from hpcdl.estimates.precision import is_precise, next_look, reached
from hpcdl.estimates.steady import NoSteadyState, SteadyState, find_steady_state


def around(value, width):
    return Interval(value, value - width, value + width, count=100, effective=80.0)


# ---- Intervals ----


def test_the_inverse_of_what_may_be_zero_is_unbounded():
    assert invert(around(1.0, 0.5), 10).bounded
    assert not invert(around(1.0, 1.0), 10).bounded


def test_student_t_over_repeats():
    interval = estimate_over_repeats([9.0, 10.0, 11.0])
    # 4.3027 is the 97.5 % quantile of Student's t with 2 degrees of freedom.
    assert interval.value == 10.0
    assert interval.high - 10.0 == pytest.approx(4.302652 / 3**0.5)
    with pytest.raises(TooFew, match="2 are needed"):
        estimate_over_repeats([1.0])


def test_independent_samples_count_in_full():
    series = np.random.default_rng(3).normal(1.0, 0.1, 400)
    interval = estimate_mean(series)
    assert interval.low < 1.0 < interval.high
    assert interval.effective > 250
    # Of white noise, 1.96 sigma / sqrt(n), up to what 20 batches make of it.
    assert interval.half_width == pytest.approx(1.96 * 0.1 / 20, rel=0.5)


def test_repeated_samples_count_once():
    """Each sample ten times over is no more information, and the interval is not to shrink."""
    once = np.random.default_rng(4).normal(1.0, 0.1, 100)
    many = np.repeat(once, 10)
    assert estimate_mean(many).effective < 200
    assert estimate_mean(many).half_width == pytest.approx(estimate_mean(once).half_width, rel=0.35)


def test_a_constant_series_has_no_width():
    interval = estimate_mean(np.full(50, 2.0))
    assert (interval.low, interval.high, interval.half_width, interval.effective) == (2.0, 2.0, 0.0, 50.0)


def test_too_few_samples_have_no_interval():
    with pytest.raises(TooFew, match="29 samples are too few"):
        estimate_mean(np.ones(29))


def test_a_time_becomes_a_rate_with_its_ends_exchanged():
    rate = invert(around(0.5, 0.1), 256)
    assert (rate.value, rate.low, rate.high) == pytest.approx((512, 256 / 0.6, 640))
    assert invert(Interval(1.0, -0.5, 2.5, 3, 3.0), 1.0).high == float("inf")


def test_differences_and_sums_add_the_squares_of_their_widths():
    apart = difference(around(10.0, 3.0), around(4.0, 4.0))
    assert (apart.value, apart.low, apart.high) == pytest.approx((6.0, 1.0, 11.0))
    together = total([around(10.0, 3.0), around(4.0, 4.0)])
    assert (together.value, together.low, together.high) == pytest.approx((14.0, 9.0, 19.0))


def test_a_ratio_adds_relative_widths():
    quotient = ratio(around(10.0, 0.3), around(5.0, 0.2))
    assert quotient.value == 2.0
    assert quotient.half_width == pytest.approx((0.03**2 + 0.04**2) ** 0.5, rel=0.05)
    assert ratio(Interval(1.0, -1.0, 3.0, 9, 9.0), around(1.0, 0.1)).low == 0.0


def test_a_hull_takes_in_all():
    whole = hull([around(10.0, 1.0), around(12.0, 0.5)], 11.0)
    assert (whole.value, whole.low, whole.high) == (11.0, 9.0, 12.5)


@given(st.floats(0.1, 1e3), st.floats(0, 0.09), st.floats(1e-3, 1e3))
def test_scaling_keeps_the_relative_width(value, width, factor):
    interval = around(value, width * value)
    assert scale(interval, factor).half_width == pytest.approx(interval.half_width, abs=1e-9)


# ---- Steady state ----


def noise(count, *, seed=7, sigma=0.01):
    return 1.0 + sigma * np.random.default_rng(seed).standard_normal(count)


def test_warm_up_is_cut_off():
    series = noise(200)
    series[:20] += np.linspace(1.0, 0.1, 20)
    found = find_steady_state(series)
    assert isinstance(found, SteadyState)
    assert 20 <= found.start <= 60
    assert found.mean.value == pytest.approx(series[found.start :].mean())
    assert found.mean.low < 1.0 < found.mean.high


def test_a_steady_series_is_kept_whole():
    found = find_steady_state(noise(200))
    assert isinstance(found, SteadyState)
    assert found.start == 0


REFUSED = {
    "too few steps": (noise(29), "29 steps are too few for an interval: 30 are needed"),
    "change": (
        np.concatenate([noise(100), 1.1 * noise(100, seed=8)]),
        "the step time changed by +10 % at step 100",
    ),
    "drift": (noise(200) + np.linspace(0, 0.2, 200), "drifts by +18 % over 200 steps"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_steady_is_refused_by_name(kind):
    series, words = REFUSED[kind]
    found = find_steady_state(series)
    assert isinstance(found, NoSteadyState)
    assert found.kind == kind
    assert words in found.detail


def test_a_long_warm_up_leaves_too_few_steps():
    series = noise(36)
    series[:5] *= 3
    found = find_steady_state(series)
    assert found.kind == "too few steps"
    assert found.detail == "28 steps are left behind a warm-up of 8: 30 are needed for an interval"


def test_a_step_that_comes_after_warm_up_is_counted_from_the_beginning():
    series = np.concatenate([[3.0] * 20, noise(150), 1.2 * noise(150, seed=8)])
    found = find_steady_state(series)
    assert found.kind == "change"
    assert found.at == pytest.approx(170, abs=2)


def test_what_is_too_small_to_matter_is_no_change():
    """Half a percent is seen in so even a series, and no conclusion hangs on it."""
    series = np.concatenate([noise(200, sigma=1e-4), 1.005 * noise(200, seed=8, sigma=1e-4)])
    found = find_steady_state(series)
    assert isinstance(found, SteadyState)
    # It has two levels: the interval reaches from one to the other.
    assert found.mean.low < 1.0005
    assert found.mean.high > 1.0045


def test_a_few_slow_steps_are_weather():
    refused = 0
    for seed in range(100):
        series = noise(200, seed=seed)
        series[np.random.default_rng(seed).random(200) < 0.02] *= 3
        refused += isinstance(find_steady_state(series), NoSteadyState)
    assert refused <= 5


def test_steps_that_follow_each_other_closely_are_too_few():
    found = find_steady_state(1 + 0.05 * np.sin(np.arange(90) / 4.0))
    assert found.kind == "too few steps"
    assert "independent ones" in found.detail


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=150))
def test_no_series_raises(series):
    found = find_steady_state(series)
    if isinstance(found, SteadyState):
        assert len(series) - found.start >= 30


def test_precision_needs_samples_and_a_narrow_interval():
    assert reached(noise(400, sigma=0.02), 0.01)
    assert not reached(noise(400, sigma=0.3), 0.01)
    assert not reached(noise(60, sigma=1e-5), 0.01), "60 samples may be even by chance"
    assert not reached(np.concatenate([noise(200), 2 * noise(200)]), 0.5)
    assert next_look(60) == 120


@pytest.mark.parametrize(
    ("effective", "width", "precise"), [(100, 0.005, True), (99, 0.001, False), (400, 0.02, False)]
)
def test_the_rule_of_precision_is_one_for_all_who_ask(effective, width, precise):
    mean = Interval(1.0, 1 - width, 1 + width, count=400, effective=effective)
    assert is_precise(SteadyState(0, mean), 0.01) is precise


# ---- Comparison ----


@pytest.mark.parametrize(("m", "n"), [(3, 3), (4, 4), (5, 3)])
def test_a_clear_order_is_as_rare_as_it_can_be(m, n):
    """Of (m + n choose m) equally likely orders, two are as extreme as this one."""
    low, high = np.arange(m), 100.0 + np.arange(n)
    assert compare_samples(low, high) == pytest.approx(2 / math.comb(m + n, m))
    assert compare_samples(high, low) == pytest.approx(2 / math.comb(m + n, m))


@pytest.mark.parametrize("count", [10, 20, 40])
def test_samples_of_one_distribution_are_seldom_told_apart(count):
    random = np.random.default_rng(count)
    alarms = sum(
        compare_samples(random.exponential(size=count), random.exponential(size=count)) < 0.05
        for _ in range(400)
    )
    assert alarms / 400 < 0.08
    assert compare_samples(random.normal(0, 1, count), random.normal(3, 1, count)) < 0.001


def test_ties_are_corrected_for():
    one, other = [1, 1, 2, 3, 3, 4, 5, 5], [2, 3, 4, 4, 5, 6, 6, 7]
    # U = 15.5 where 32 is the mean; three pairs and three triples of ties: sigma 9.416, z = (32 - 15.5 - 0.5) / 9.416.
    assert compare_samples(one, other) == pytest.approx(0.0893, abs=1e-4)
    assert compare_samples([1.0] * 5, [1.0] * 5) == 1.0


def test_batches_are_means_of_equal_stretches():
    assert batch(np.arange(41), 20).tolist() == [value + 0.5 for value in range(1, 41, 2)]
    assert len(batch(np.arange(7), 20)) == 7


# ---- Fits ----


@given(st.floats(1e-6, 1e-3), st.floats(1e7, 1e11))
def test_latency_and_bandwidth_are_recovered(latency_s, bandwidth):
    sizes = [4.0 * 4**power for power in range(14)]
    fit = fit_latency_bandwidth(sizes, [latency_s + size / bandwidth for size in sizes])
    assert fit.latency_s == pytest.approx(latency_s, rel=1e-4)
    assert fit.bandwidth_bytes_per_s == pytest.approx(bandwidth, rel=1e-4)
    assert fit.worst < 1e-6
    assert fit.time_s(1e6) == pytest.approx(latency_s + 1e6 / bandwidth, rel=1e-4)


def test_two_sizes_make_no_fit():
    with pytest.raises(TooFew, match="3 are needed"):
        fit_latency_bandwidth([4, 1024, 4], [1.0, 2.0, 1.0])


@given(st.floats(0, 0.2), st.floats(0, 0.005))
def test_the_scalability_law_is_recovered(serial, crosstalk):
    sizes = [1, 2, 4, 8, 16, 32]
    rates = [100 * n / (1 + serial * (n - 1) + crosstalk * n * (n - 1)) for n in sizes]
    fit = fit_scaling(sizes, [around(rate, 0.01 * rate) for rate in rates])
    assert fit.law == "usl"
    assert (fit.rate, fit.serial, fit.crosstalk) == pytest.approx(
        (100, serial, crosstalk), abs=1e-5, rel=1e-4
    )
    there = fit.predict(64)
    truth = 100 * 64 / (1 + serial * 63 + crosstalk * 64 * 63)
    assert there.value == pytest.approx(truth, rel=1e-3)
    assert there.low < truth < there.high


def test_with_fewer_than_five_sizes_the_law_is_amdahls():
    sizes, rates = [1, 2, 4, 8], [100 * n / (1 + 0.05 * (n - 1)) for n in (1, 2, 4, 8)]
    fit = fit_scaling(sizes, [around(rate, 0.01 * rate) for rate in rates])
    assert (fit.law, fit.crosstalk) == ("amdahl", 0.0)
    assert fit.serial == pytest.approx(0.05)
    with pytest.raises(TooFew):
        fit_scaling([2, 2], [around(1.0, 0.1)] * 2)


@given(
    st.floats(0, 0.1),
    st.floats(0, 0.01),
    st.sampled_from([(1, 2), (1, 2, 4), (1, 2, 4, 8)]),
    st.integers(1, 8),
)
def test_few_sizes_leave_open_which_shape_the_loss_has(serial, crosstalk, sizes, times):
    """Whatever the loss is made of, the interval beyond the measured sizes holds what is true there."""
    rates = [100 * n / (1 + serial * (n - 1) + crosstalk * n * (n - 1)) for n in sizes]
    fit = fit_scaling(sizes, [around(rate, 0.01 * rate) for rate in rates])
    assert fit.law == "amdahl"
    n = sizes[-1] * times
    truth = 100 * n / (1 + serial * (n - 1) + crosstalk * n * (n - 1))
    there = fit.predict(n)
    assert there.low <= truth <= there.high


def test_where_half_of_the_efficiency_is_left():
    """Amdahl: 1 + 0.1 (N - 1) = 2 at 11. With crosstalk: 1 + 0.1 (N - 1) + 0.01 N (N - 1) = 2 at N = 6.91."""
    sizes = [1, 2, 4, 8, 16]
    for serial, crosstalk, expected in ((0.1, 0.0, 11.0), (0.1, 0.01, 6.9127)):
        rates = [100 * n / (1 + serial * (n - 1) + crosstalk * n * (n - 1)) for n in sizes]
        half, low, high = fit_scaling(sizes, [around(rate, 0.01 * rate) for rate in rates]).half_efficient
        assert half == pytest.approx(expected, rel=1e-3)
        assert low < half < high


def test_a_law_that_does_not_fit_says_so_in_its_width():
    rates = [100.0, 150.0, 390.0, 400.0]
    fit = fit_scaling([1, 2, 4, 8], [around(rate, 0.001 * rate) for rate in rates])
    assert fit.misfit > 0.1
    assert fit.predict(16).half_width >= fit.misfit


@pytest.mark.filterwarnings("error")
def test_a_law_without_a_finite_rate_has_no_bounds():
    rates = [around(1000.0, 400.0), around(500.0, 0.5), around(100.0, 0.1)]
    assert not fit_scaling([1, 2, 4], rates).predict(8).bounded


def test_karp_flatt_of_the_dgx_1():
    """AlexNet on 1, 2, 4, 8 P100 (TensorFlow's benchmarks page): 2987, 5658, 10509, 17822 images/s."""
    rates = {2: 5658, 4: 10509, 8: 17822}
    assert [round(karp_flatt(rate / 2987, n), 3) for n, rate in rates.items()] == [0.056, 0.046, 0.049]
    assert [round(100 * rate / 2987 / n) for n, rate in rates.items()] == [95, 88, 75]
    with pytest.raises(ValueError, match="no serial fraction"):
        karp_flatt(1.0, 1)
