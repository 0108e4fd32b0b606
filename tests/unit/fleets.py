"""Evidence of made-up fleets, for the verdict's tests."""

from __future__ import annotations

from hpcdl.acceptance.evidence import Absence, Evidence, Observation, Trait, Unit
from hpcdl.acceptance.suite import Suite

TESTS = {
    "node": {
        "checks": ["identity", "arithmetic", "matrix", "memory", "train", "health"],
        "models": ["lenet"],
    },
    "links": {},
    "scaling": {"model": "lenet"},
}


def make_suite(*criteria, **policy):
    """Criteria as tables, named by their place where they have no name."""
    named = [{"name": f"c{place}"} | dict(one) for place, one in enumerate(criteria)]
    return Suite.model_validate({"name": "made", "tests": TESTS, "policy": policy, "criteria": named})


def name_nodes(count):
    return tuple(f"node{place}" for place in range(1, count + 1))


def node(name, model=""):
    return Unit("node", name, (name,), model)


def device(name, model="", gpu=None):
    return Unit("device", name if gpu is None else f"{name}/GPU-{gpu}", (name,), model)


def pair(one, other):
    return Unit("pair", f"{one}-{other}", (one, other))


def seen(metric, unit, *samples, block="job1/node", expected=None):
    return Observation(metric, unit, block, tuple(map(float, samples)), expected)


def said(metric, unit, word, block="job1/node"):
    return Trait(metric, unit, block, word)


def absent(metric, unit, reason="the tool is missing", block="job1/node", *, lasting=False):
    return Absence(metric, unit, block, reason, lasting)


def make_evidence(nodes, *parts):
    """The parts are sorted by what they are."""
    return Evidence(
        nodes=tuple(nodes),
        observations=[part for part in parts if isinstance(part, Observation)],
        traits=[part for part in parts if isinstance(part, Trait)],
        absences=[part for part in parts if isinstance(part, Absence)],
    )


def outcomes(requirement):
    """Unit -> outcome."""
    return {decision.unit: decision.outcome for decision in requirement.decisions}


def reasons(requirement):
    """Unit -> reason."""
    return {decision.unit: decision.reason for decision in requirement.decisions}
