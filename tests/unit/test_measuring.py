"""How a launch is fed and how long it goes on: until its precision is reached, or there is no room for more."""

from __future__ import annotations

import dataclasses

import numpy as np

from hpcdl.plan import FULL, VARIANTS, resolve_training
from hpcdl.spec import Benchmark
from hpcdl.worker.data import feed
from hpcdl.worker.data.feed import RESIDENT_BATCHES
from hpcdl.worker.measuring import _measure_stretch, count_more, fill_window
from tests.data_requests import make_request
from tests.unit.test_plan import ONE

RESIDENT, SYNTHETIC = VARIANTS[2], VARIANTS[3]


def plan(**train):
    return resolve_training(Benchmark.model_validate({"train": train}), ONE)


def noise(count, sigma=0.01):
    return 1 + sigma * np.random.default_rng(1).standard_normal(count)


def test_without_a_precision_the_steps_asked_for_are_enough():
    assert count_more(plan(steps=60), noise(60)) == 0


def test_looks_double_until_the_precision_is_reached():
    asked = plan(steps=60, precision="1%")
    assert count_more(asked, noise(60)) == 60, "60 effective samples are too few to stop at"
    assert count_more(asked, noise(240)) == 0
    assert count_more(asked, noise(240, sigma=0.5)) == 240


def test_the_limit_of_steps_holds():
    asked = plan(steps=60, precision="1%", max_steps=100)
    assert count_more(asked, noise(60, sigma=0.5)) == 40
    assert count_more(asked, noise(100, sigma=0.5)) == 0


class Lap:
    """A trainer of one-second steps, whose slowest peer comes half a minute after it."""

    def __init__(self, *, exchanges):
        self.exchanges, self.begins_s, self.now_s, self.arrived_s = exchanges, [], 0.0, 0.0

    def step(self, step, batches, *, warmup):
        self.begins_s.append(self.now_s)
        self.now_s += 1.0

    def meet(self):
        self.arrived_s = self.now_s
        self.now_s += 30.0
        return self.now_s


def test_waiting_at_the_end_is_no_part_of_a_step_where_nobody_exchanges():
    _, alone_s = _measure_stretch(Lap(exchanges=False), iter(()), 0, 4)
    _, together_s = _measure_stretch(Lap(exchanges=True), iter(()), 0, 4)
    assert alone_s.tolist() == [1, 1, 1, 1]
    assert together_s.tolist() == [1, 1, 1, 31]


class Numbers:
    """A source of batches that count up; it knows how many were taken."""

    name = "numbers"
    classes = 7
    taken = 0

    def open(self, steps):
        for number in range(steps):
            self.taken += 1
            yield number


def with_feed(variant):
    benchmark = Benchmark.model_validate({"train": {"model": "lenet", "batch": 2}})
    training = resolve_training(benchmark, ONE, variant=variant)
    return dataclasses.replace(make_request(), training=training)


def test_streamed_batches_are_the_sources_own():
    source = Numbers()
    assert list(feed(source, with_feed(FULL), 10)) == list(range(10))


def test_resident_batches_are_few_and_come_again():
    source = Numbers()
    assert list(feed(source, with_feed(RESIDENT), 10)) == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    assert source.taken == RESIDENT_BATCHES
    assert list(feed(Numbers(), with_feed(RESIDENT), 2)) == [0, 1]


def test_synthetic_batches_read_nothing_and_keep_the_classes():
    source = Numbers()
    batches = list(feed(source, with_feed(SYNTHETIC), 5))
    assert source.taken == 0
    assert len(batches) == 5
    assert all(batch is batches[0] for batch in batches)
    assert int(batches[0].labels.min()) >= 0
    assert int(batches[0].labels.max()) < 7


def test_a_window_is_filled_by_as_many_steps_as_it_lacks():
    asked = plan(steps=60, min_window_s="30s")
    assert fill_window(asked, 60, 10.0) == 126, "twice as many again, and a little more"
    assert fill_window(asked, 186, 30.5) == 0
    assert fill_window(plan(steps=60), 60, 0.1) == 0
