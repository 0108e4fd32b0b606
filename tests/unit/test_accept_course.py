"""The course of an acceptance over a cluster of stand-ins: what is submitted, to whom, and when it ends."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from hpcdl import jobs
from hpcdl.acceptance.folder import NodeState
from hpcdl.acceptance.planning import read_kind
from hpcdl.acceptance.suite import Suite, load
from hpcdl.campaign import course as courses
from hpcdl.campaign.course import Course, Manner
from hpcdl.campaign.fleet import join, note_states, unfit_since_s
from hpcdl.campaign.opening import begin, require_same_suite
from hpcdl.campaign.sight import Cell
from hpcdl.durable import publish_record
from hpcdl.errors import Failure, Mistake
from hpcdl.frozen import parse
from hpcdl.jobs import Standing
from hpcdl.records import Cancellation
from hpcdl.slurm import NodeWord
from hpcdl.store import RunFolder, lay_out
from tests.unit.checks_maker import write_healthy
from tests.unit.test_accept_planning import make_asked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hpcdl.acceptance.folder import AcceptanceFolder
    from hpcdl.campaign.sight import Sight
    from hpcdl.plan import Job

OWN = """
name = "own"
[tests.node]
checks = ["identity"]
[[criteria]]
name = "finished"
metric = "node.finished"
at_least = 1
"""
NODES = ("node1", "node2", "node3", "node4")


class Cluster:
    """Runs every job at once, in full, on the nodes that it names, else on the first that are fit.

    A job that names a node that is down waits. `kernels` are those that differ; `deaf` jobs leave no records.
    """

    def __init__(
        self, states: Mapping[str, str] | None = None, kernels: Mapping[str, str] | None = None
    ) -> None:
        self.states = dict.fromkeys(NODES, "idle") | dict(states or {})
        self.kernels = kernels or {}
        self.jobs: list[Job] = []
        self.standings: dict[str, Standing] = {}
        self.deaf = False
        self.word = "COMPLETED"

    def submit(self, job: Job) -> None:
        # Ids have a second's resolution and must sort.
        run = lay_out(job, "#!/bin/bash\n")
        self.jobs.append(job)
        self.standings[job.run_id] = Standing(over=False, word="PENDING", slurm_job_id=len(self.jobs))
        named = self.name_nodes(job.site.slurm.nodelist or "")
        fit = [node for node in NODES if self.states[node] == "idle"]
        if not set(named) <= set(fit):
            return
        nodes = named or tuple(fit[: job.nodes])
        if not self.deaf:
            changes = {
                node: {"identity": {"words": {"kernel": kernel}}} for node, kernel in self.kernels.items()
            }
            write_healthy(run, nodes, {node: changes[node] for node in nodes if node in changes})
        over = Standing(over=True, word=self.word, slurm_job_id=len(self.jobs), nodes=",".join(nodes))
        self.standings[job.run_id] = over

    def look(self, runs: Sequence[RunFolder]) -> Mapping[str, Standing] | None:
        return {run.run_id: self.standings[run.run_id] for run in runs if run.run_id in self.standings}

    def words(self) -> Mapping[str, NodeWord] | None:
        return {node: NodeWord(node, state) for node, state in self.states.items()}

    def name_nodes(self, hosts: str) -> tuple[str, ...]:
        return tuple(filter(None, hosts.split(",")))

    def cancel(self, run: RunFolder) -> None:
        publish_record(run.cancelled_path, Cancellation(requested_utc=datetime.now(UTC)))
        self.standings[run.run_id] = replace(self.standings[run.run_id], over=True, word="CANCELLED")

    def close(self) -> bool:
        return False

    def told(self) -> list[tuple[str | None, str | None, int]]:
        return [(read_kind(job), job.site.slurm.nodelist, job.nodes) for job in self.jobs]


class Watcher:
    """Remembers what it was told and shown."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.sights: list[Sight] = []

    def say(self, words: str) -> None:
        self.words.append(words)

    def show(self, sight: Sight) -> None:
        self.sights.append(sight)


@pytest.fixture(autouse=True)
def _quickly(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(courses, "TICK_S", 0.0)
    monkeypatch.setattr("hpcdl.slurm.waits_s", lambda: itertools.repeat(0.0))
    monkeypatch.setattr(jobs, "SETTLE_S", 0.0)
    monkeypatch.setattr(jobs, "SETTLE_BADLY_S", 0.0)
    numbers = itertools.count()
    monkeypatch.setattr("hpcdl.preparation.new_run_id", lambda: f"20261127-0000{next(numbers):02d}-made")


def make_suite(*, reruns: int = 1, kernel: str = "fleet") -> Suite:
    content = {
        "name": "made",
        "policy": {"reruns": reruns},
        "tests": {"node": {"checks": ["identity", "arithmetic", "matrix", "train", "health"]}},
        "criteria": [
            {"name": "finished", "metric": "node.finished", "at_least": 1},
            {"name": "kernel", "metric": "identity.kernel", "equals": kernel},
        ],
    }
    return parse(Suite, content, where="made")


def open_folder(
    tmp_path: Path, *, named: tuple[str, ...] = (), per_node_jobs: bool = False, **suite
) -> AcceptanceFolder:
    asked = make_asked(make_suite(**suite), per_node_jobs=per_node_jobs).model_copy(
        update={"nodes": len(NODES)}
    )
    if named:
        asked = asked.model_copy(
            update={
                "site": asked.site.model_copy(
                    update={"slurm": asked.site.slurm.model_copy(update={"nodelist": ",".join(named)})}
                )
            }
        )
    return begin(asked, named, tmp_path)


def make_course(
    folder: AcceptanceFolder, cluster: Cluster, *, patience_s: float = 3600.0, at_once: int = 16
) -> Course:
    return Course(folder, cluster, Watcher(), Manner(at_once=at_once, patience_s=patience_s))


def test_a_healthy_fleet_passes_in_one_job(tmp_path):
    folder, cluster = open_folder(tmp_path), Cluster()
    course = make_course(folder, cluster)
    verdict = course.go()
    assert verdict.outcome == "pass"
    assert cluster.told() == [("first", None, 4)]
    assert folder.fleet() == NODES
    assert {name: state.state for name, state in folder.states().items()} == dict.fromkeys(NODES, "idle")
    last = course.watcher.sights[-1]
    assert last.nodes == NODES
    assert last.cell("node3", "identity") == Cell("looked")
    assert last.cell("node3", "train").unit == "images/s"


def test_gone_through_again_it_submits_nothing(tmp_path):
    folder, cluster = open_folder(tmp_path), Cluster()
    first = make_course(folder, cluster).go()
    again = make_course(folder, cluster).go()
    assert again == first
    assert len(cluster.jobs) == 1


def test_a_job_under_way_is_adopted(tmp_path):
    folder, cluster = open_folder(tmp_path), Cluster()
    make_course(folder, cluster).start()
    assert make_course(folder, cluster).go().outcome == "pass"
    assert len(cluster.jobs) == 1


def test_another_kernel_fails_its_node(tmp_path):
    verdict = make_course(open_folder(tmp_path), Cluster(kernels={"node2": "5.4.0"})).go()
    assert verdict.outcome == "fail"
    failed = [one.unit for need in verdict.requirements for one in need.decisions if one.outcome == "fail"]
    assert failed == ["node2"]


def test_a_job_that_leaves_no_records_is_not_sent_again(tmp_path):
    folder, cluster = open_folder(tmp_path, reruns=5), Cluster()
    cluster.deaf = True
    course = make_course(folder, cluster)
    assert course.go().outcome == "insufficient"
    assert len(cluster.jobs) == 1
    # Whoever comes back wants another try.
    cluster.deaf = False
    assert make_course(folder, cluster).go().outcome == "pass"
    assert [kind for kind, _, _ in cluster.told()] == ["first", "first"]


def test_a_cancelled_job_ends_the_course_until_somebody_comes_back(tmp_path):
    folder, cluster = open_folder(tmp_path), Cluster()
    cluster.deaf, cluster.word = True, "CANCELLED by 0"
    with pytest.raises(Failure, match="was cancelled"):
        Course(folder, _Homeless(cluster), Watcher()).go()
    assert len(cluster.jobs) == 1


class _Homeless(Cluster):
    """Slurm does not tell the nodes of its jobs."""

    def __init__(self, cluster: Cluster) -> None:
        self.__dict__ = cluster.__dict__

    def look(self, runs):
        return {name: replace(one, nodes="") for name, one in super().look(runs).items()}


def test_a_named_node_that_stays_down_is_given_up(tmp_path):
    folder = open_folder(tmp_path, named=NODES)
    cluster = Cluster({"node4": "down*"})
    course = make_course(folder, cluster, patience_s=-1.0)
    verdict = course.go()
    assert cluster.told() == [("first", "node1,node2,node3,node4", 4), ("first", "node1,node2,node3", 3)]
    assert any("node4 cannot be had" in words for words in course.watcher.words)
    told = {one.unit: one.outcome for one in verdict.requirements[0].decisions}
    assert told["node1"] == "pass"
    assert told["node4"] != "pass"


def test_a_node_that_comes_back_has_its_part_after_all(tmp_path):
    folder, cluster = open_folder(tmp_path, named=NODES), Cluster({"node4": "down*"})
    make_course(folder, cluster, patience_s=-1.0).go()
    cluster.states["node4"] = "idle"
    assert make_course(folder, cluster).go().outcome == "pass"
    assert cluster.told()[-1] == ("added", "node1,node2,node3,node4", 4)


def test_a_job_for_each_node_as_far_as_there_is_room(tmp_path):
    folder = open_folder(tmp_path, named=NODES, per_node_jobs=True)
    cluster = Cluster()
    course = make_course(folder, cluster, at_once=3)
    course.start()
    assert [nodes for _, nodes, _ in cluster.told()] == ["node1", "node2", "node3"]
    assert make_course(folder, cluster).go().outcome == "pass"
    assert [nodes for _, nodes, _ in cluster.told()] == list(NODES)
    assert {kind for kind, _, _ in cluster.told()} == {"node"}


def test_busy_nodes_are_come_back_for(tmp_path):
    folder = open_folder(tmp_path, named=NODES, per_node_jobs=True)
    cluster = Cluster({"node2": "allocated"})
    course = make_course(folder, cluster)
    course.start()
    assert [nodes for _, nodes, _ in cluster.told()] == ["node1", "node3", "node4"]
    cluster.states["node2"] = "idle"
    assert course.go().outcome == "pass"
    assert len(cluster.jobs) == 4


def test_a_silent_slurm_is_waited_for(tmp_path):
    class Silent(Cluster):
        asked = 0

        def look(self, runs):
            self.asked += 1
            return None if self.asked < 3 else super().look(runs)

    course = make_course(open_folder(tmp_path), Silent())
    assert course.go().outcome == "pass"
    assert "Slurm does not answer; its jobs go on" in course.watcher.words


def test_states_are_written_when_they_change(tmp_path):
    folder = open_folder(tmp_path)
    join(folder, ["node1"])
    for state in ("idle", "idle", "down*", "idle"):
        note_states(folder, {"node1": NodeWord("node1", state)}, ["node1", "node9"])
    assert folder.states_path.read_text().count("\n") == 3
    begun = datetime.now(UTC) - timedelta(seconds=60)
    assert unfit_since_s(folder, "node1", begun) == 0.0
    old = NodeState(node="node1", state="drained", seen_utc=begun - timedelta(seconds=600))
    folder.add(folder.states_path, [old])
    # Not for the time before anybody waited.
    assert 59 <= unfit_since_s(folder, "node1", begun) < 70


def test_a_suite_that_changed_is_refused(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    asked = make_asked(load(path)).model_copy(update={"suite_file": str(path)})
    require_same_suite(asked)
    path.write_text(OWN + 'why = "because"\n')
    with pytest.raises(Mistake, match="was changed since acceptance"):
        require_same_suite(asked)
    path.unlink()
    with pytest.raises(Mistake, match="is no longer at"):
        require_same_suite(asked)
