"""What a suite asks, as jobs: launches in their order, groups of nodes, and what too few nodes cannot do."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from hpcdl import script
from hpcdl.acceptance.folder import Acceptance, AcceptanceFolder
from hpcdl.acceptance.planning import list_tests, plan_launches, plan_round, read_kind
from hpcdl.acceptance.rounds import Ground, Round
from hpcdl.acceptance.suite import Suite
from hpcdl.campaign.size import first_rounds, measure
from hpcdl.errors import Mistake
from hpcdl.frozen import parse
from hpcdl.site import Site

TESTS = {
    "node": {
        "checks": ["identity", "train", "storage"],
        "models": ["lenet", "alexnet"],
        "data_dir": "images",
    },
    "links": {"groups": ["all", "halves"]},
    "scaling": {"model": "lenet", "steps": 20},
    "convergence": {"epochs": 2},
}
CRITERION = {"name": "finished", "metric": "node.finished", "at_least": 1}


def make_suite(**tests: object) -> Suite:
    content = {"name": "made", "tests": TESTS | tests, "criteria": [CRITERION]}
    return parse(Suite, content, where="made")


def make_ground(*, gpus: int = 0, launcher: str = "srun") -> Ground:
    site = Site.model_validate({"node": {"cores": 8, "gpus": gpus, "threads_per_core": 1}})
    return Ground(site, 8, launcher)


def make_asked(
    suite: Suite, *, executor: str = "slurm", per_node_jobs: bool = False, **slurm: str
) -> Acceptance:
    return Acceptance(
        accept_id="20261127-000000-made",
        created_utc=datetime.now(UTC),
        suite=suite,
        suite_file="/suites/made.toml",
        suite_digest=suite.digest,
        executor=executor,
        per_node_jobs=per_node_jobs,
        site=Site.model_validate({"node": {"cores": 8, "gpus": 0, "threads_per_core": 1}, "slurm": slurm}),
        hpcdl="1",
    )


def first(suite: Suite, count: int) -> Round:
    return Round("first", list_tests(suite, count), count)


def test_all_tests_of_four_nodes_follow_one_another():
    suite = make_suite()
    launches = plan_launches(suite, first(suite, 4), make_ground(), beside=Path("/suites"))
    assert [(one.name, one.kind, one.test, one.first_node, one.nodes) for one in launches] == [
        ("001-check-4n", "check", "node", 0, 4),
        ("002-probe-4n", "probe", "links", 0, 4),
        ("003-probe-2n-half-1", "probe", "links-half-1", 0, 2),
        ("004-probe-2n-half-2", "probe", "links-half-2", 2, 2),
        ("005-lenet-1n", "train", "scaling", 0, 1),
        ("006-lenet-4n", "train", "scaling", 0, 4),
        ("007-lenet-1n", "train", "scaling", 0, 1),
        ("008-lenet-4n", "train", "convergence", 0, 4),
    ]
    assert [one.index for one in launches] == list(range(1, 9))


def test_a_check_trains_each_network_alone():
    suite = make_suite()
    check = plan_launches(suite, first(suite, 4), make_ground(), beside=Path("/suites"))[0]
    assert check.pmi == "none"
    assert check.check is not None
    assert check.check.data_dir == "/suites/images"
    assert [(one.model, one.engine, one.local_batch, one.global_batch) for one in check.check.trainings] == [
        ("lenet", "single", 64, 64),
        ("alexnet", "single", 32, 32),
    ]


def test_nodes_with_gpus_have_a_rank_for_each():
    suite = make_suite()
    launches = plan_launches(suite, first(suite, 2), make_ground(gpus=4))
    assert {one.tasks_per_node for one in launches} == {4}
    check = launches[0].check
    assert check is not None
    # Each of the four trains alone, with the batch of a GPU.
    assert [one.global_batch for one in check.trainings] == [64, 256]


def test_one_node_has_no_links_and_no_scaling():
    suite = make_suite()
    assert list_tests(suite, 1) == ("node", "convergence")
    launches = plan_launches(suite, first(suite, 1), make_ground())
    assert [one.test for one in launches] == ["node", "convergence"]
    assert launches[1].train.engine == "single"
    with pytest.raises(Mistake, match="tests nothing on 1 node"):
        plan_launches(suite, Round("rerun", ("links", "scaling"), 1), make_ground())


def test_this_machine_is_one_node():
    suite = make_suite()
    launches = plan_launches(suite, first(suite, 1), make_ground(launcher="direct"))
    assert [(one.name, one.launcher, one.pmi) for one in launches] == [
        ("001-check-1r", "direct", None),
        ("002-lenet-1r", "direct", None),
    ]


@pytest.mark.parametrize(("nodes", "taking_part", "batch"), [(3, 3, 63), (64, 64, 64), (1000, 64, 64)])
def test_a_batch_is_shared_equally_by_as_many_as_it_has_images(nodes, taking_part, batch):
    suite = make_suite()
    launch = plan_launches(suite, Round("rerun", ("convergence",), nodes), make_ground())[0]
    assert (launch.nodes, launch.train.global_batch) == (taking_part, batch)


def test_three_nodes_are_halved_into_one_and_two():
    suite = make_suite()
    launches = plan_launches(suite, Round("bisection", ("links",), 3, ("a", "b", "c")), make_ground())
    # One node alone has nobody to exchange with.
    assert [(one.test, one.first_node, one.nodes) for one in launches] == [("links-half-2", 1, 2)]


def test_a_switch_is_measured_by_its_own_nodes():
    suite = make_suite()
    wanted = Round("switch", ("links",), 2, ("n1", "n2"), switch="Leaf_07")
    assert [one.test for one in plan_launches(suite, wanted, make_ground())] == ["links-switch-leaf-07"]


def test_a_job_names_its_nodes_and_what_it_is_for(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    asked = make_asked(make_suite(), exclude="bad1")
    wanted = Round("rerun", ("node",), 2, ("n1", "n2"))
    job = plan_round(asked, AcceptanceFolder(tmp_path), wanted)
    assert (job.nodes, job.site.slurm.nodelist, job.name, read_kind(job)) == (
        2,
        "n1,n2",
        "accept-made",
        "rerun",
    )
    assert job.run_dir == str(tmp_path / "runs" / job.run_id)
    text = script.render(job)
    assert "#SBATCH --nodelist=n1,n2\n" in text
    assert "#SBATCH --no-kill\n" in text


def test_nodes_that_join_are_any_but_those_that_have(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    asked = make_asked(make_suite(), exclude="bad1", nodelist="n1,n2")
    job = plan_round(asked, AcceptanceFolder(tmp_path), Round("added", ("node",), 1, without=("n1", "n2")))
    assert (job.site.slurm.nodelist, job.site.slurm.exclude) == (None, "bad1,n1,n2")


def test_a_thousand_nodes_are_counted_before_anything_is_submitted(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    asked = make_asked(make_suite())
    size, job = measure(asked, AcceptanceFolder(tmp_path), 1000)
    assert (size.jobs, size.more_jobs, job.nodes) == (1, 2 + 9, 1000)
    assert size.node_hours == pytest.approx(1000 * job.walltime_s / 3600)
    # 999 rounds of pairs, and they are not free.
    assert job.walltime_s > 999 * 4
    assert not list(tmp_path.iterdir())


def test_a_job_for_each_node_and_one_for_all():
    asked = make_asked(make_suite(), per_node_jobs=True)
    assert first_rounds(asked, 5) == [
        (Round("node", ("node",), 1), 5),
        (Round("first", ("links", "scaling", "convergence"), 5), 1),
    ]
