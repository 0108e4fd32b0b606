"""How diagnosis grows with the fleet: the verdict and the culprits of 1,000 nodes x 8 GPUs over those of 100 nodes.

Both fleets are simulated, with the built-in suite `smoke` and a bad node in a hundred: a GPU 40 % slow, a wrong digest,
another kernel. Made once; then judged by turns in one process. CPU time: what others do here is not in it.
"""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from instruments import make_row
from startup import paired_ratio

from hpcdl.acceptance.evidence import Evidence, Observation, Trait, Unit
from hpcdl.acceptance.judging import judge
from hpcdl.acceptance.suite import find_suite, load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from startup import Row

    from hpcdl.acceptance.suite import Suite

FEW, MANY, GPUS, REPEATS, JOBS = 100, 1000, 8, 3, 2
ROUNDS, TARGET = 9, 12.0
# Of so many nodes one is bad, in one of three ways by turns.
BAD_EACH = 100
WORDS = {
    "identity.cpu": "EPYC",
    "identity.gpu": "8 x H100",
    "identity.driver": "580.1",
    "identity.kernel": "6.12",
    "identity.versions": '{"torch": "2.10", "numpy": "2.3"}',
}
COUNTS = {"node.finished": 1.0, "identity.cores_visible": 64.0, "identity.memory_bytes": 1e12}
SPEEDS = ("train.lenet.images_per_s", "matrix.flops_per_s", "memory.bytes_per_s")
HEALTH = ("health.throttled_s", "health.ecc_uncorrected")
LINKS = ("link.bandwidth_bytes_per_s", "link.latency_s")


def measure(rounds: int = ROUNDS) -> list[Row]:
    """CPU time of the large fleet over that of the small one, (small, large, large, small) in each round."""
    suite = load(find_suite("smoke"))
    few, many = make_fleet(FEW), make_fleet(MANY)
    for fleet in (few, many):
        _judge_s(suite, fleet)
    ratios = [
        paired_ratio(lambda: _judge_s(suite, few), lambda: _judge_s(suite, many)) for _ in range(rounds)
    ]
    name = f"diagnosis: {MANY:,} nodes x {GPUS} GPUs over {FEW} nodes x {GPUS}"
    return [make_row(name, ratios, TARGET, at_most=True)]


def _judge_s(suite: Suite, evidence: Evidence) -> float:
    begin_s = time.process_time()
    verdict = judge(suite, evidence, final=True)
    elapsed_s = time.process_time() - begin_s
    if verdict.outcome != "fail" or not verdict.culprits:
        raise RuntimeError("the bad nodes of the simulated fleet were not found")
    return elapsed_s


def make_fleet(count: int) -> Evidence:
    """What two jobs saw of so many nodes; of links each node's to the next."""
    random = np.random.default_rng(20261122)
    nodes = tuple(f"node{place:04d}" for place in range(count))
    observations: list[Observation] = []
    traits: list[Trait] = []
    for job in range(JOBS):
        for place, node in enumerate(nodes):
            for seen in _look(f"job{job}/node", place, node, random):
                (traits if isinstance(seen, Trait) else observations).append(seen)
    observations.extend(_meet(nodes))
    return Evidence(nodes, observations, traits, ())


def _look(block: str, place: int, node: str, random: np.random.Generator) -> Iterator[Observation | Trait]:
    bad = place // BAD_EACH % 3 if place % BAD_EACH == 0 else None
    unit = Unit("node", node, (node,), "EPYC")
    for metric, word in WORDS.items():
        yield Trait(metric, unit, block, "6.1" if metric == "identity.kernel" and bad == 2 else word)
    for metric, number in COUNTS.items():
        yield Observation(metric, unit, block, (number,))
    for gpu in range(GPUS):
        device = Unit("device", f"{node}/GPU-{gpu:08x}", (node,), "H100")
        ill = bad if gpu == 0 else None
        yield Trait("arithmetic.lenet.digest", device, block, "bad" if ill == 1 else "good")
        yield Observation("arithmetic.lenet.repeatable", device, block, (1.0,))
        yield from (Observation(metric, device, block, (0.0,)) for metric in HEALTH)
        for metric in SPEEDS:
            speed = 1000 * np.exp(0.01 * random.standard_normal(REPEATS)) * (0.6 if ill == 0 else 1)
            yield Observation(metric, device, block, tuple(speed.tolist()))


def _meet(nodes: tuple[str, ...]) -> Iterator[Observation]:
    for one, other in pairwise(nodes):
        unit = Unit("pair", f"{one}-{other}", (one, other))
        yield from (Observation(metric, unit, "job0/links", (1.0,)) for metric in LINKS)
