"""The preflight's questions: each held and failed, with rank and host named."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hpcdl.errors import Refused
from hpcdl.plan import cluster_sizes, make_launches
from hpcdl.records import Finding, Host, Versions
from hpcdl.site import Site
from hpcdl.spec import Benchmark
from hpcdl.worker.engine.single import Single
from hpcdl.worker.place import Place
from hpcdl.worker.preflight import Card, check_cards, check_world, exchange, require

VERSIONS = Versions(hpcdl="0.1.0", code="0123456789ab", python="3.11.2", torch="2.13.0", horovod="0.28.1")
CHECKS = [
    "one rank for each place",
    "one GPU for each rank",
    "same software, plan and data",
    "cores as asked",
]


def make_launch(nodes=2, tasks=2, cores=8):
    benchmark = Benchmark.model_validate({"launches": {"nodes": [nodes], "tasks_per_node": tasks}})
    sizes = cluster_sizes(benchmark, Site(), cores=cores)
    return make_launches(benchmark, Site(), sizes, launcher="srun")[0]


def make_cards(count=4, **of_rank_2):
    """Cards of ranks on two nodes, with what is different about rank 2 (node2, local rank 0)."""
    return [make_card(rank, **(of_rank_2 if rank == 2 else {})) for rank in range(count)]


def make_card(rank, *, versions=VERSIONS, plan="plan", data="data", **host):
    facts = {
        "host": f"node{1 + rank // 2}",
        "local_rank": rank % 2,
        "boot_id": "b",
        "pid": 100 + rank,
        "cpu": "a processor",
        "cores_visible": 4,
        "affinity": (0, 1, 2, 3),
        "threads": 4,
    }
    return Card(host=Host(rank=rank, **facts | host), versions=versions, plan=plan, data=data)


def look(cards, launch=None):
    return {finding.check: finding for finding in check_cards(launch or make_launch(), cards)}


def failures(cards, launch=None):
    return [
        (name, finding.detail) for name, finding in look(cards, launch).items() if finding.outcome == "failed"
    ]


def world_of(count):
    return SimpleNamespace(name="horovod", transport="mpi", world_size=count)


def place_of(count):
    return Place(rank=0, world_size=count, local_rank=0, node=0, host="node1")


def test_all_is_as_planned():
    findings = look(make_cards())
    assert list(findings) == CHECKS
    assert {finding.outcome for finding in findings.values()} == {"held"}
    assert findings["one rank for each place"].detail == "2 hosts"
    assert findings["one GPU for each rank"].detail == "no GPU is used"
    require(tuple(findings.values()))


def test_the_world_is_as_large_as_asked():
    finding = check_world(make_launch(), place_of(4), world_of(4))
    assert (finding.outcome, finding.detail) == ("held", "4 ranks")


def test_worlds_of_one_are_refused_with_a_word_on_pmi():
    with pytest.raises(Refused, match=r"4 ranks were asked for; .*sees a world of 1.*--mpi=list"):
        check_world(make_launch(), place_of(4), world_of(1))


def test_a_launch_started_by_hand_with_other_numbers_is_refused():
    with pytest.raises(
        Refused, match=r"4 ranks were asked for; srun started 3.*not start the launch by hand"
    ):
        check_world(make_launch(), place_of(3), world_of(3))


def test_an_engine_that_sees_more_than_the_launcher_started_is_refused():
    with pytest.raises(Refused, match="started 4, and horovod over mpi sees a world of 8"):
        check_world(make_launch(), place_of(4), world_of(8))


def test_two_ranks_in_one_place():
    [(check, detail)] = failures(make_cards(local_rank=1))
    assert check == "one rank for each place"
    assert detail == "ranks 2 and 3 are both local rank 1 of node2"


def with_gpus(*uuids):
    return [make_card(rank, gpu_uuid=uuid) for rank, uuid in enumerate(uuids)]


def test_every_rank_has_a_gpu_of_its_own():
    assert look(with_gpus("a", "b", "c", "d"))["one GPU for each rank"].detail == "4 distinct UUIDs"


@pytest.mark.parametrize(
    ("uuids", "words"),
    [
        (("a", "b", "c", "b"), ["GPU b", "rank 1 (node1)", "rank 3 (node2)"]),
        (("a", "b", None, "d"), ["rank 2 (node2)", "has none"]),
    ],
)
def test_a_gpu_that_is_shared_or_missing_names_the_ranks(uuids, words):
    [(check, detail)] = failures(with_gpus(*uuids))
    assert check == "one GPU for each rank"
    for word in words:
        assert word in detail


def test_other_versions_name_rank_host_and_library():
    [(check, detail)] = failures(make_cards(versions=VERSIONS.model_copy(update={"torch": "2.12.0"})))
    assert check == "same software, plan and data"
    assert detail == "rank 2 (node2) runs torch 2.12.0 instead of 2.13.0"


@pytest.mark.parametrize("what", ["plan", "data"])
def test_another_plan_or_other_data_name_rank_and_host(what):
    [(_, detail)] = failures(make_cards(**{what: "other"}))
    assert detail == f"the {what} of rank 2 (node2) is not that of rank 0 (node1)"


def test_fewer_cores_than_planned_name_the_worst_rank():
    [(check, detail)] = failures(make_cards(cores_visible=1))
    assert check == "cores as asked"
    assert detail.startswith("rank 2 (node2) may use 1 cores, and the plan says 4")


def test_more_cores_than_planned_are_no_fault():
    assert failures(make_cards(cores_visible=64)) == []


def test_all_failures_are_told_at_once():
    findings = check_cards(make_launch(), make_cards(cores_visible=1, plan="other"))
    with pytest.raises(Refused, match=r"same software, plan and data: .*; cores as asked: "):
        require(findings)


def test_what_could_not_be_looked_at_does_not_stop_the_launch():
    require([Finding(check="topology", outcome="could not look", detail="no permission")])


def test_cards_survive_the_exchange():
    card = make_card(0, gpu_uuid="GPU-1", cpu="naïve 数")
    assert exchange(card, Single()) == (card,)


def test_fewer_nodes_than_planned_are_not_the_planned_launch():
    """Four ranks on two hosts are not four nodes, whatever the edited script started them on."""
    [(name, detail)] = failures(make_cards(), make_launch(nodes=4, tasks=1, cores=4))
    assert name == "one rank for each place"
    assert detail == "1 ranks on each of 4 nodes were planned, and there are 2 on node1, 2 on node2"
