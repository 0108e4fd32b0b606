"""Drills of acceptance on the Slurm cluster of tests/cluster: each fault by itself, and none."""

from __future__ import annotations

import functools
import json
import shutil
import time
from typing import TYPE_CHECKING, Any

from tests.campaign.drill import Drill, Seen, Setting
from tests.campaign.on_cluster import arrive, missing
from tests.cluster import layout, planting
from tests.cluster.accepting import (
    FAULTS,
    accept,
    add_environment,
    await_checks,
    check_fault,
    decisions,
    write_suite,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.campaign.tree import Visitor

TRIALS, CLEAN_TRIALS = 10, 40
WORDS = {
    "cpu-quota": "has a CPU quota of 20 % of a core",
    "slow-link": "may send 50 Mbit/s only",
    "other-library": "has another version of torch",
    "fewer-cores": "shows one core less",
    "corrupt-file": "has one image that was cut short",
    "wrong-gradient": "computes one gradient of one step by a thousandth too large",
    "throttled": "has a GPU that its (stand-in) driver calls throttled by heat",
    "missing-tool": "has no DALI",
}


def find_fault(name: str, setting: Setting) -> Seen:
    """Plant it in one node; the verdict tells of that node by the right requirement, and of no other."""
    person, fault = arrive(setting), FAULTS[name]
    node = setting.chance.choice(layout.NODES)
    suite = write_suite(person.home, checks=fault.checks, links=fault.links, slow=True)
    with fault.plant(node, person.home) as variables:
        add_environment(person, variables)
        verdict, elapsed_s = _time(person, suite, code=1 if fault.outcome == "fail" else 3)
    check_fault(verdict, fault, node)
    return _leave(person, name, elapsed_s, node)


def lose_a_node(setting: Setting) -> Seen:
    """Take a node down between two of its checks; it fails, and the others are judged."""
    person = arrive(setting)
    # Not the first: the batch script runs there, and the job would end with it.
    node = setting.chance.choice(layout.NODES[1:])
    suite = write_suite(person.home, checks=("identity", "arithmetic", "train"))
    began_s = time.monotonic()
    child = person.start("accept", "run", str(suite), "--nodes", "4", "--json")
    await_checks(person, node)
    with planting.down(node):
        out, err = child.communicate(timeout=300)
    assert child.returncode == 1, f"left with {child.returncode}: {out} {err}"
    verdict = json.loads(out)
    told = {unit: one["outcome"] for unit, one in decisions(verdict, "finished").items()}
    assert told == {name: "fail" if name == node else "pass" for name in layout.NODES}, told
    return _leave(person, "down", time.monotonic() - began_s, node)


def pass_in_peace(setting: Setting) -> Seen:
    """Nothing is planted: with links and without, by turns, the fleet passes."""
    person = arrive(setting)
    links = bool(setting.number % 2)
    verdict, elapsed_s = _time(person, write_suite(person.home, links=links, slow=True), code=0)
    assert verdict["outcome"] == "pass"
    assert not verdict["culprits"], verdict["culprits"]
    return _leave(person, "with links" if links else "nodes alone", elapsed_s, "nobody")


def _time(person: Visitor, suite: Any, *, code: int) -> tuple[Mapping[str, Any], float]:
    began_s = time.monotonic()
    verdict = accept(person, suite, code=code)
    return verdict, time.monotonic() - began_s


def _leave(person: Visitor, variant: str, elapsed_s: float, detail: str) -> Seen:
    shutil.rmtree(person.home, ignore_errors=True)
    return Seen(variant, elapsed_s, detail)


def _claim(name: str) -> str:
    fault = FAULTS[name]
    told = "its links are told as too slow" if fault.links else f"it does not pass {fault.criterion!r}"
    named = (
        "and is the one that is named"
        if fault.outcome == "fail"
        else "for want of evidence, and nobody is blamed"
    )
    return f"One node of four {WORDS[name]}: {told}, {named}; no other node."


DRILLS: dict[str, Drill] = {
    f"accept-{name}": Drill(
        claim=_claim(name),
        timed="of the whole acceptance",
        trials=TRIALS,
        attempt=functools.partial(find_fault, name),
        missing=missing,
    )
    for name in FAULTS
} | {
    "accept-down": Drill(
        claim="One node of four, not that of the batch script, is taken down between two of its checks: it fails, the "
        "job goes on, and the other three finish.",
        timed="of the whole acceptance",
        trials=TRIALS,
        attempt=lose_a_node,
        missing=missing,
    ),
    "accept-clean": Drill(
        claim="Nothing is planted: the fleet passes, and nobody is named (what fails here is a false alarm, or a "
        "lack of evidence).",
        timed="of the whole acceptance",
        trials=CLEAN_TRIALS,
        attempt=pass_in_peace,
        missing=missing,
    ),
}
