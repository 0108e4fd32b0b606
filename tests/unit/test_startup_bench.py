"""The arithmetic behind the bench of start-up times; the times themselves are for `make bench`."""

from __future__ import annotations

from itertools import count
from math import comb

import pytest

from benchmarks.self import startup


@pytest.mark.parametrize("number", [6, 7, 15, 30])
def test_the_interval_of_a_median_leaves_out_at_most_a_twentieth(number: int) -> None:
    low, high = startup.median_interval(range(1, number + 1))

    def outside(rank: float) -> float:
        return 2 * sum(comb(number, below) for below in range(int(rank))) / 2**number

    assert low + high == number + 1
    assert outside(low) <= 0.05 < outside(low + 1)


def test_few_values_have_no_narrower_interval_than_all_of_them() -> None:
    assert startup.median_interval([3.0, 1.0, 2.0]) == (1.0, 3.0)
    assert startup.median_interval([2.0]) == (2.0, 2.0)


def test_a_machine_that_slows_down_steadily_cancels_out() -> None:
    now = count(100)
    assert startup.paired_ratio(lambda: next(now), lambda: 2 * next(now)) == pytest.approx(2.0)


@pytest.mark.parametrize(("ratio", "met"), [(1.4, True), (1.6, False)])
def test_a_target_is_met_or_missed(ratio: float, *, met: bool) -> None:
    row = startup._row("x", 1.5, [ratio] * 7)
    assert (row["ratio"], row["met"]) == (ratio, met)


def test_a_command_that_fails_has_no_time(tmp_path) -> None:
    with pytest.raises(RuntimeError, match="left with 2"):
        startup._start_s(startup._hpcdl("nonsense"), tmp_path)
