"""The order of images: nothing twice, nothing lost, and the same whatever the number of ranks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.datasets.split import apportion, hold_out, share
from hpcdl.errors import Mistake
from hpcdl.worker.data.sampler import Sampler, permute, read_stream


@st.composite
def worlds(draw):
    """(samples, world size, local batch, seed) that fit each other."""
    samples = draw(st.integers(1, 300))
    world_size = draw(st.integers(1, min(samples, 16)))
    local_batch = draw(st.integers(1, samples // world_size))
    return samples, world_size, local_batch, draw(st.integers(0, 2**31))


def samplers(samples, world_size, local_batch, seed):
    return [Sampler(samples, local_batch * world_size, rank, world_size, seed) for rank in range(world_size)]


@given(worlds(), st.integers(0, 30))
def test_the_ranks_together_read_what_one_rank_would(world, step):
    samples, world_size, local_batch, seed = world
    parts = [sampler.draw(step) for sampler in samplers(*world)]
    (alone,) = samplers(samples, 1, local_batch * world_size, seed)
    assert all(len(part) == local_batch for part in parts)
    assert np.concatenate(parts).tolist() == alone.draw(step).tolist()


@given(worlds(), st.integers(1, 3))
def test_each_epoch_holds_each_image_once(world, epochs):
    """Also across steps that straddle two epochs: the stream is cut every `samples` entries."""
    samples, world_size, local_batch, _ = world
    ranks = samplers(*world)
    steps = -(-epochs * samples // (world_size * local_batch))
    stream = np.concatenate([rank.draw(step) for step in range(steps) for rank in ranks])
    for epoch in range(epochs):
        assert sorted(stream[epoch * samples : (epoch + 1) * samples]) == list(range(samples))


@given(st.integers(2, 200), st.integers(0, 5), st.integers(0, 1000), st.integers(1, 1000))
def test_a_stretch_of_the_stream_is_its_entries_one_by_one(samples, seed, first, count):
    one_by_one = [read_stream(samples, seed, first + place, 1)[0] for place in range(count)]
    assert read_stream(samples, seed, first, count).tolist() == one_by_one


def test_order_changes_with_epoch_and_with_seed_and_with_nothing_else():
    orders = {tuple(permute(100, seed, epoch).tolist()) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    permute.cache_clear()
    assert tuple(permute(100, 0, 0).tolist()) in orders


def test_an_order_that_was_handed_out_cannot_be_spoilt():
    with pytest.raises(ValueError, match="read-only"):
        permute(10, 1, 0)[0] = 3


@pytest.mark.parametrize(
    ("samples", "global_batch", "world_size", "said"),
    [
        (3, 4, 4, "4 ranks are more than the 3 training images"),
        (10, 11, 1, "a global batch of 11 is larger than the training part, 10 images"),
        (10, 5, 2, "a global batch of 5 cannot be shared equally by 2 ranks"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_numbers(samples, global_batch, world_size, said):
    with pytest.raises(Mistake, match=said):
        Sampler(samples, global_batch, 0, world_size, seed=1)


@given(st.lists(st.integers(0, 7), min_size=8, max_size=200), st.data())
def test_holding_out_divides_all_images_and_empties_no_class(classes, data):
    labels = np.array(classes)
    present = len(set(classes))
    count = data.draw(st.integers(0, len(classes) - present))
    kept, held = hold_out(labels, count, seed=3)
    assert sorted([*kept, *held]) == list(range(len(classes)))
    assert len(held) == count
    assert set(labels[kept]) == set(classes)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=30))
def test_classes_give_in_proportion(sizes):
    """A tenth of each, one more or less, where no class is too small to give it."""
    total = sum(sizes)
    quotas = apportion(np.array(sizes), total // 10)
    room = sum(size - 1 for size in sizes)
    assert quotas.sum() == min(total // 10, room)
    if min(sizes) >= 10:
        exact = np.array(sizes) * (total // 10) / total
        assert (abs(quotas - exact) < 1).all()


def test_what_is_held_out_follows_the_seed():
    labels = np.repeat(np.arange(4), 50)
    first, again, other = (hold_out(labels, 20, seed)[1].tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


@given(st.integers(0, 500), st.integers(1, 40))
def test_shares_are_disjoint_complete_and_even(samples, world_size):
    shares = [share(samples, rank, world_size) for rank in range(world_size)]
    assert [index for part in shares for index in part] == list(range(samples))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
