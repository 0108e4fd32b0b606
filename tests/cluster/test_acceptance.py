"""Acceptance on a real cluster: a healthy fleet passes, and each fault that is planted is found and named."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.cluster import planting
from tests.cluster.accepting import (
    FAULTS,
    accept,
    add_environment,
    await_checks,
    check_fault,
    decisions,
    find_folder,
    write_suite,
)
from tests.cluster.commands import Person

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

pytestmark = [pytest.mark.cluster, pytest.mark.horovod, pytest.mark.dali, pytest.mark.timeout(600)]


@pytest.fixture
def person(cluster: ModuleType, shared_dir: Path) -> Person:
    return Person.arrive(shared_dir)


def test_a_healthy_fleet_passes_and_its_certificate_holds(person: Person) -> None:
    """With links, so that everything that has a small form is run; then signed, verified, and tampered with."""
    verdict = accept(person, write_suite(person.home, links=True), code=0)
    assert verdict["outcome"] == "pass"
    assert verdict["culprits"] == []
    assert {one["outcome"] for one in verdict["requirements"]} <= {"pass", "not applicable"}
    assert verdict["rehearsal"], "four nodes of one machine are a rehearsal"
    assert len(decisions(verdict, "link-speed")) == 6, "every pair of four nodes"
    key = person.home / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    place = person.home / "certificate"
    person.hpcdl("accept", "report", "last", "--format", "html,md", "--out", str(place), "--key", str(key))
    person.hpcdl("accept", "verify", str(place))
    [stream] = place.glob("records/**/checks-node2.jsonl")
    text = stream.read_text()
    stream.write_text(text.replace('"images_per_s":', '"images_per_s":1', 1))
    told = person.hpcdl("accept", "verify", str(place), code=1)
    assert "checks-node2.jsonl" in told.stdout + told.stderr


def test_node_by_node_and_after_an_interruption_it_passes_too(person: Person) -> None:
    suite = write_suite(person.home)
    child = person.start("accept", "run", str(suite), "--nodes", "4", "--per-node-jobs", "--at-once", "2")
    await_checks(person, "node1")
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "hpcdl accept resume" in out + err
    verdict = json.loads(person.hpcdl("accept", "resume", "last", "--json").stdout)
    assert verdict["outcome"] == "pass"
    runs = list((find_folder(person) / "runs").iterdir())
    assert len(runs) == 4, "one job for each node, none of them twice"


@pytest.mark.parametrize("name", ["cpu-quota", "slow-link"])
def test_what_makes_a_node_slow_is_found_and_named(person: Person, name: str) -> None:
    fault = FAULTS[name]
    suite = write_suite(person.home, checks=fault.checks, links=fault.links, slow=True)
    with fault.plant("node3", person.home):
        verdict = accept(person, suite, code=1)
    check_fault(verdict, fault, "node3")


def test_what_is_wrong_with_each_node_is_found_and_nothing_else(person: Person) -> None:
    """None of these disturbs the others: each in a node of its own."""
    planted = {
        "other-library": "node2",
        "corrupt-file": "node4",
        "fewer-cores": "node1",
        "wrong-gradient": "node3",
        "throttled": "node4",
    }
    suite = write_suite(person.home)
    with contextlib.ExitStack() as stack:
        for name, node in planted.items():
            add_environment(person, stack.enter_context(FAULTS[name].plant(node, person.home)))
        verdict = accept(person, suite, code=1)
    for name, node in planted.items():
        check_fault(verdict, FAULTS[name], node, others=set(planted.values()) - {node})
    told = person.hpcdl("accept", "suspects", "last", "--slurm").stdout
    assert [line.split()[2] for line in told.splitlines()] == [f"NodeName=node{one}" for one in (1, 2, 3, 4)]


def test_a_check_that_did_not_run_is_no_pass(person: Person) -> None:
    suite = write_suite(person.home, checks=("identity", "data"))
    with FAULTS["missing-tool"].plant("node2", person.home):
        verdict = accept(person, suite, code=3)
    told = decisions(verdict, "readable-data")
    assert told["node2"]["outcome"] == "insufficient"
    assert "DALI" in told["node2"]["reason"]
    assert {one["outcome"] for unit, one in told.items() if unit != "node2"} == {"pass"}


def test_a_node_that_goes_down_meanwhile_fails_and_the_others_are_judged(person: Person) -> None:
    suite = write_suite(person.home, checks=("identity", "arithmetic", "train"))
    child = person.start("accept", "run", str(suite), "--nodes", "4", "--json")
    await_checks(person, "node3")
    with planting.down("node3"):
        out, err = child.communicate(timeout=300)
    assert child.returncode == 1, err
    told = decisions(json.loads(out), "finished")
    assert told["node3"]["outcome"] == "fail"
    assert "lost" in told["node3"]["reason"] or "Slurm says" in told["node3"]["reason"]
    assert {one["outcome"] for unit, one in told.items() if unit != "node3"} == {"pass"}


def test_a_suite_that_was_changed_is_refused(person: Person) -> None:
    suite = write_suite(person.home)
    accept(person, suite, "--no-wait", code=0)
    suite.write_text(suite.read_text().replace("repeats = 8", "repeats = 9"))
    told = person.hpcdl("accept", "resume", "last", code=2)
    assert "changed" in told.stderr
