"""Drills on the Slurm cluster of tests/cluster."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any, NoReturn

from tests.campaign.drill import Seen, Setting, Void, pick
from tests.campaign.tree import Visitor, check_failure_report, check_records
from tests.cluster import layout, quota, slurm_cluster
from tests.cluster.commands import is_over, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcdl.store import RunFolder

ENDLESS = ["--nodes", "4", "--model", "lenet", "--batch", "16", "--steps", "100000", "--warmup", "1"]
ENGINES = {
    "horovod-mpi": ["--engine", "horovod", "--transport", "mpi"],
    "horovod-gloo": ["--engine", "horovod", "--transport", "gloo"],
    "ddp": ["--engine", "ddp"],
}
BOUND_S = 75.0
# Other jobs on the cluster are waited for, so that the drill has its nodes to itself.
QUEUE_S = 3600.0


def missing() -> str:
    """Why there is no cluster here; empty where there is one, or one can be brought up."""
    return slurm_cluster.missing()


def kill_one_rank(setting: Setting) -> Seen:
    """SIGKILL one rank of four at a random step; see that all of it is found again in the records."""
    variant, flags = pick(ENGINES, setting.number)
    slurm_cluster.up()
    home = layout.SHARED / "campaign" / f"{setting.drill}-{setting.number}-{os.getpid()}"
    home.mkdir(parents=True)
    person = Visitor.visit(home, on_cluster=True, said=slurm_cluster.environment())
    until(nodes_are_free, "free nodes", timeout_s=QUEUE_S)
    run = person.submit(*ENDLESS, *flags, "--time", "20")
    with _cancelled_at_last(run):
        rank, node, elapsed_s = _kill_when_it_trains(run, setting)
    check_failure_report(person.report(run), culprit=f"rank {rank} ({node})")
    check_records(run, 4)
    shutil.rmtree(home, ignore_errors=True)
    return Seen(variant, elapsed_s, f"rank {rank} on {node}")


EVEN = ["--model", "lenet", "--batch", "128", "--threads", "1", "--steps", "40", "--warmup", "3"]


def throttle_one_link(setting: Setting) -> Seen:
    """Limit what one node can send; a probe names that node and no other."""
    person = arrive(setting)
    node = setting.chance.choice(layout.NODES)
    slurm_cluster.slow_link(node)
    try:
        facts, elapsed_s = _probe(person)
    finally:
        slurm_cluster.restore_link(node)
    [links] = facts["links"]
    assert links["suspects"] == node, f"{node} was slow, and {links['suspects']} is named: {links['rows']}"
    return Seen("probe", elapsed_s, node)


def starve_one_node(setting: Setting) -> Seen:
    """Leave one node a fifth of a core; the report names its rank and no other."""
    person = arrive(setting)
    node = setting.chance.choice(layout.NODES)
    quota.slow_cpu(node)
    try:
        facts, elapsed_s = _train(person)
    finally:
        quota.restore_cpu(node)
    named = [one["host"] for one in facts["stragglers"]]
    assert named == [node], f"{node} was slow, and {named} are named"
    return Seen("training", elapsed_s, node)


def leave_in_peace(setting: Setting) -> Seen:
    """Nothing is planted: nobody is named, neither by a probe nor by a training run, by turns."""
    person = arrive(setting)
    variant = ("probe", "training")[setting.number % 2]
    facts, elapsed_s = (_probe if variant == "probe" else _train)(person)
    named = [one["host"] for one in facts["stragglers"]]
    slow = [links["slow_links"] for links in facts["links"] if links["slow_links"]]
    assert not named, f"stragglers are named: {facts['stragglers']}"
    assert not slow, f"slow links are named: {slow}"
    return Seen(variant, elapsed_s, "nobody")


def arrive(setting: Setting) -> Visitor:
    """Somebody with a folder of their own, once the nodes are free."""
    slurm_cluster.up()
    home = layout.SHARED / "campaign" / f"{setting.drill}-{setting.number}-{os.getpid()}"
    home.mkdir(parents=True)
    person = Visitor.visit(home, on_cluster=True, said=slurm_cluster.environment())
    until(nodes_are_free, "free nodes", timeout_s=QUEUE_S)
    return person


def _probe(person: Visitor) -> tuple[dict[str, Any], float]:
    return _measure(person, "probe", "--nodes", "4", "--model", "lenet")


def _train(person: Visitor) -> tuple[dict[str, Any], float]:
    return _measure(person, "submit", "--nodes", "4", *EVEN, "--wait")


def _measure(person: Visitor, *argv: str) -> tuple[dict[str, Any], float]:
    """The report's facts, and how long the command took; what it left behind is removed where it came to its end."""
    began_s = time.monotonic()
    person.hpcdl(*argv)
    elapsed_s = time.monotonic() - began_s
    facts: dict[str, Any] = json.loads(person.hpcdl("report", "--json").stdout)
    shutil.rmtree(person.home, ignore_errors=True)
    return facts, elapsed_s


def _kill_when_it_trains(run: RunFolder, setting: Setting) -> tuple[int, str, float]:
    chance = setting.chance
    [launch] = run.launches()

    def trains() -> bool:
        if is_over(run):
            _explain_early_end(run)
        return len(set(launch.steps().rank.tolist())) == 4

    until(trains, "steps of all ranks", timeout_s=300)
    time.sleep(chance.uniform(0.0, 3.0))
    environment = launch.environment()
    assert environment is not None, "no environment record"
    victim = chance.choice(environment.hosts)
    os.kill(victim.pid, signal.SIGKILL)
    killed_s = time.monotonic()
    until(
        lambda: is_over(run), f"the end of all ranks after rank {victim.rank} was killed", timeout_s=BOUND_S
    )
    return victim.rank, victim.host, time.monotonic() - killed_s


def _explain_early_end(run: RunFolder) -> NoReturn:
    """No rank has trained. Void if no rank says anything but that it was stopped: then somebody took the job away."""
    exits = [record for launch in run.launches() for record in launch.exits()]
    if all(record.outcome == "stopped" for record in exits):
        raise Void("the job was taken away before it trained: another user of the cluster")
    told = [f"rank {record.rank}: {record.outcome}: {record.reason}" for record in exits]
    raise AssertionError(f"the job ended before it trained: {told}")


def nodes_are_free() -> bool:
    argv = ["sinfo", "--noheader", "--Node", "--format=%T"]
    states = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    return bool(states) and set(states) == {"idle"}


@contextlib.contextmanager
def _cancelled_at_last(run: RunFolder) -> Iterator[None]:
    try:
        yield
    finally:
        if not is_over(run):
            subprocess.run(["scancel", str(run.submission().slurm_job_id)], check=False)  # type: ignore[union-attr]
