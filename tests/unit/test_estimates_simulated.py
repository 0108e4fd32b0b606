"""What the promise rests on: of 2,000 simulated launches, 93 to 97 % of the intervals hold the truth.

Step times are a stationary first-order autoregression around 1, behind a warm-up that fades out.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from hpcdl.estimates.precision import next_look, reached
from hpcdl.estimates.steady import NoSteadyState, SteadyState, find_steady_state

TRIALS = 2000
COVERED = (0.93, 0.97)
BURN_IN = 200


def walk(random, count, phi, *, sigma=0.03):
    """(count,) step times whose neighbours correlate by phi."""
    shocks = random.standard_normal(count + BURN_IN) * np.sqrt(1 - phi**2)
    return 1 + sigma * lfilter([1], [1, -phi], shocks)[BURN_IN:]


def warm_up(count, fading):
    """Half a step longer at first, fading out over so many steps."""
    return 0.5 * np.exp(-np.arange(count) / fading)


def count_outcomes(make, trials=TRIALS):
    """The share of published intervals that hold the truth, and the share that was refused."""
    random = np.random.default_rng(20261122)
    found = [find_steady_state(make(random)) for _ in range(trials)]
    published = [state for state in found if isinstance(state, SteadyState)]
    covered = sum(state.mean.low <= 1 <= state.mean.high for state in published)
    return covered / len(published), 1 - len(published) / trials


# Long enough for at least 50 effective samples behind the warm-up: n (1 - phi) / (1 + phi).
@pytest.mark.parametrize(("phi", "count"), [(0.0, 110), (0.4, 200), (0.8, 700)])
@pytest.mark.parametrize("warming", [False, True])
def test_intervals_hold_the_truth(phi, count, warming):
    def make(random):
        return walk(random, count, phi) + (warm_up(count, 0.05 * count) if warming else 0)

    covered, refused = count_outcomes(make)
    assert COVERED[0] <= covered <= COVERED[1]
    assert refused < 0.03


@pytest.mark.parametrize("phi", [0.0, 0.4, 0.8])
def test_intervals_hold_the_truth_where_the_precision_decided_when_to_stop(phi):
    def make(random):
        series = walk(random, 60 * 32, phi) + warm_up(60 * 32, 5)
        count = 60
        while count < len(series) and not reached(series[:count], 0.01):
            count = next_look(count)
        return series[:count]

    covered, refused = count_outcomes(make)
    assert COVERED[0] <= covered <= COVERED[1]
    assert refused < 0.03


REFUSED = {
    "a change of 5 %": lambda count: np.where(np.arange(count) < count // 2, 0, 0.05),
    "a drift of 10 %": lambda count: np.linspace(0, 0.1, count),
    "half of it warm-up": lambda count: np.where(np.arange(count) < count // 2, 0.5, 0),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("phi", [0.0, 0.4])
def test_what_is_not_steady_is_refused(name, phi):
    """99 of 100, at step times that scatter by 2 %."""
    random = np.random.default_rng(5)
    found = [find_steady_state(walk(random, 400, phi, sigma=0.02) + REFUSED[name](400)) for _ in range(300)]
    assert sum(isinstance(state, NoSteadyState) for state in found) >= 297
