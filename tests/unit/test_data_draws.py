"""What is random in an augmentation belongs to places of the stream."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.worker.data import draws


@given(st.integers(0, 2**31), st.integers(0, 2**40), st.integers(1, 40), st.integers(1, 40))
def test_a_place_has_its_numbers_whoever_asks_and_from_wherever(seed, first, before, count):
    whole = draws.draw(seed, first, before + count)
    assert np.array_equal(whole[before:], draws.draw(seed, first + before, count))


def test_numbers_have_the_published_ranges_and_do_not_repeat():
    drawn = draws.draw(7, 0, 20_000)
    area = drawn[:, draws.HEIGHT] * drawn[:, draws.WIDTH]
    aspect = drawn[:, draws.WIDTH] / drawn[:, draws.HEIGHT]
    assert 0.08 <= area.min() < 0.081
    assert 0.999 < area.max() <= 1.0001
    assert abs(area.mean() - 0.54) < 0.01
    assert 0.749 < aspect.min() < 0.751
    assert 1.33 < aspect.max() < 1.334
    assert abs(np.log(aspect).mean()) < 0.005
    for column in (draws.DOWN, draws.ACROSS):
        assert abs(drawn[:, column].mean() - 0.5) < 0.01
    assert abs(drawn[:, draws.MIRROR].mean() - 0.5) < 0.015
    assert set(drawn[:, draws.MIRROR]) == {0, 1}
    assert len(np.unique(drawn, axis=0)) == 20_000
    assert np.abs(np.corrcoef(drawn.T) - np.eye(5))[2:].max() < 0.03
    assert not np.array_equal(drawn, draws.draw(8, 0, 20_000))
