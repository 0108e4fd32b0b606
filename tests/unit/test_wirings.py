"""What is said of several nodes: which are alike, in what they differ, who did not answer."""

from __future__ import annotations

import pytest

from hpcdl.analysis.telling import tell_far_ranks
from hpcdl.analysis.wiring import find_differences, group_alike
from hpcdl.errors import Mistake
from hpcdl.examination import prepare_examination
from hpcdl.power.wiring import Plugged, Wiring
from hpcdl.preparation import Asked
from hpcdl.records import Binding, Environment, Missing
from hpcdl.report import as_terminal
from hpcdl.report.as_json import as_dict
from hpcdl.report.wirings import describe_nodes, sum_up
from hpcdl.script import render
from hpcdl.site import Site
from hpcdl.spec import Benchmark
from hpcdl.store import Store
from hpcdl.topology import PcieLink
from hpcdl.worker.topology import read
from tests.unit.node_trees import GPU_ROUTES, make_node
from tests.unit.records_maker import VERSIONS, Recording, make_host, write_run


def make(root, host, *, gpus=4, width=16.0, boot_id=None, **changes):
    """A node of four GPUs and two adapters, unless it is said otherwise."""
    link = PcieLink(generation=1, width=width, max_generation=5, max_width=16)
    wired = tuple(
        Plugged(index, f"GPU-{host}-{index}", "NVIDIA H100", f"0000{route[-12:]}", link, (), 80e9)
        for index, route in enumerate(GPU_ROUTES[:gpus])
    )
    tree = make_node(root / host, **changes)
    (tree.roots.net).mkdir(parents=True, exist_ok=True)
    node = read(tree.roots, wiring=lambda: Wiring(wired, (), ()), host=host)
    return node.model_copy(update={"boot_id": boot_id or f"boot of {host}"})


def test_nodes_that_are_alike_are_one_group(tmp_path):
    nodes = [make(tmp_path, name) for name in ("n1", "n2", "n3")] + [make(tmp_path, "n4", second=False)]
    assert [[node.host for node in group] for group in group_alike(nodes)] == [["n1", "n2", "n3"], ["n4"]]
    assert find_differences(nodes[:3], {}) == ()


def test_a_node_that_lacks_an_adapter_is_named(tmp_path):
    nodes = [make(tmp_path, "n1"), make(tmp_path, "n2"), make(tmp_path, "n3", second=False)]
    assert find_differences(nodes, {}) == (
        "n3 has one NIC less than n1 (1, not 2)",
        "n3 has no eno1, which n1 has",
    )


def test_a_narrow_link_and_a_lost_gpu_are_named(tmp_path):
    nodes = [make(tmp_path, "n1"), make(tmp_path, "n2"), make(tmp_path, "n3", gpus=3, width=8.0)]
    found = find_differences(nodes, {})
    assert found[0] == "n3 has one GPU less than n1 (3, not 4)"
    assert found[1:] == tuple(f"GPU {gpu} of n3: PCIe width 8, on n1 16" for gpu in range(3))


def test_how_a_link_idles_is_no_difference(tmp_path):
    one, other = make(tmp_path, "n1"), make(tmp_path, "n2")
    assert not isinstance(other.gpus, Missing)
    busy = [
        gpu.model_copy(update={"pcie": gpu.pcie.model_copy(update={"generation": 5.0})}) for gpu in other.gpus
    ]
    assert find_differences((one, other.model_copy(update={"gpus": tuple(busy)})), {}) == ()


def test_a_relation_and_a_speed_that_differ_are_named(tmp_path):
    one, other = make(tmp_path, "n1"), make(tmp_path, "n2")
    assert not isinstance(other.nics, Missing)
    slow = other.nics[0].model_copy(update={"speed_bits_per_s": 200e9})
    relations = tuple(
        link.model_copy(update={"word": "SYS"}) if (link.one, link.other) == ("GPU0", "mlx5_0") else link
        for link in other.relations
    )
    changed = other.model_copy(update={"nics": (slow, *other.nics[1:]), "relations": relations})
    assert find_differences((one, changed), {}) == (
        "mlx5_0 of n2: speed 200 Gbit/s, on n1 400 Gbit/s",
        "GPU0 to mlx5_0 on n2 is SYS, on n1 PIX",
    )


def test_what_one_node_does_not_tell_is_said_and_never_counted_as_none(tmp_path):
    one, other = make(tmp_path, "n1"), make(tmp_path, "n2")
    untold = other.model_copy(update={"gpus": Missing(missing="NVML: no driver"), "relations": ()})
    assert find_differences((one, untold), {}) == ("n2 does not tell its GPUs: NVML: no driver",)
    assert "GPUs not told (NVML: no driver)" in sum_up(untold)


def test_versions_that_differ_are_named(tmp_path):
    nodes = [make(tmp_path, name) for name in ("n1", "n2", "n3")]
    words = {name: {"kernel": "6.1", "version.torch": "2.13.0"} for name in ("n1", "n2", "n3")}
    words["n2"] = {"kernel": "6.2", "version.torch": "2.12.0"}
    assert find_differences(nodes, words) == (
        "the kernel of n2 is 6.2, elsewhere 6.1",
        "torch of n2 is 2.12.0, elsewhere 2.13.0",
    )


def test_the_report_shows_each_wiring_once_and_who_is_silent(tmp_path):
    nodes = [make(tmp_path, "n1"), make(tmp_path, "n2"), make(tmp_path, "n3", second=False)]
    report = describe_nodes(nodes, {}, {"n4": "the node was never reached"}, run_id="r")
    text = as_terminal.write(report, width=120)
    assert text.startswith("3 of 4 nodes answered; wired in 2 ways")
    assert "n4 did not answer: the node was never reached" in text
    assert "n3 has one NIC less than n1 (1, not 2)" in text
    assert "400.0 Gbit/s" in text
    facts = as_dict(report)
    assert [one["hosts"] for one in facts["gpus"]] == ["n1 and n2", "n3"]
    assert [len(one["rows"]) for one in facts["nics"]] == [2, 1]
    matrix = {row["device"]: row for row in facts["matrix"][0]["rows"]}
    assert (matrix["GPU0"]["GPU0"], matrix["GPU0"]["mlx5_0"], matrix["mlx5_0"]["GPU1"]) == ("X", "PIX", "PXB")
    assert "PXB: several PCIe switches" in text


def test_nodes_that_are_one_machine_are_a_rehearsal(tmp_path):
    nodes = [make(tmp_path, name, boot_id="same") for name in ("n1", "n2")]
    report = describe_nodes(nodes, {})
    assert report.badges == ("REHEARSAL",)
    assert [note.kind for note in report.notes] == ["rehearsal"]
    assert describe_nodes(nodes[:1], {}).badges == ()


def test_nobody_answered(tmp_path):
    report = describe_nodes((), {}, {"n1": "why"})
    assert (report.title, report.sections) == ("0 of 1 node answered", ())


# ---- The job ----


def test_the_job_takes_each_node_as_a_whole_for_one_rank(tmp_path, monkeypatch):
    monkeypatch.setattr("hpcdl.slurm.is_here", lambda: False)
    site = Site.model_validate({"node": {"cores": 64, "threads_per_core": 2, "gpus": 8}})
    job = prepare_examination(Asked(Benchmark(), site, {}), Store(tmp_path), 3)
    [launch] = job.launches
    assert (launch.nodes, launch.tasks_per_node, launch.cpus_per_task, launch.gpus_per_node) == (3, 1, 128, 8)
    assert launch.check is not None
    assert launch.check.checks == ("identity", "topology")
    script = render(job)
    assert "--gpus-per-node=8 --gpu-bind=none --cpu-bind=cores --kill-on-bad-exit=0" in script
    assert "\n#SBATCH --nodes=3\n" in script
    # On a processor: a node whose GPUs torch cannot use is looked at all the same.
    assert launch.train.device == "cpu"


def test_a_walltime_that_is_none_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("hpcdl.slurm.is_here", lambda: False)
    site = Site.model_validate({"slurm": {"walltime": "soon"}})
    with pytest.raises(Mistake, match="walltime 'soon'"):
        prepare_examination(Asked(Benchmark(), site, {}), Store(tmp_path), 1)


# ---- Ranks that are far from their GPU ----


def environment_of(tmp_path, *nearness):
    [launch] = write_run(tmp_path / "runs", tasks_per_node=len(nearness)).job().launches
    hosts = tuple(
        make_host(launch, rank, Recording(host={"binding": Binding(action="left", near=near, detail="why")}))
        for rank, near in enumerate(nearness)
    )
    return Environment(
        world_size=len(hosts),
        engine="horovod",
        transport="nccl",
        device="cuda",
        layout="nhwc",
        steps=1,
        images=None,
        classes=10,
        versions=VERSIONS,
        hosts=hosts,
        findings=(),
        slurm={},
    )


def test_ranks_far_from_their_gpu_are_a_finding(tmp_path):
    [one] = tell_far_ranks(environment_of(tmp_path, "all", "none"))
    assert one.startswith("rank 1 (node1) runs far from its GPU: why; without cpu_bind")
    [two] = tell_far_ranks(environment_of(tmp_path / "b", "none", "none", "some"))
    assert two.startswith("2 of 3 ranks run far from their GPUs; the first is rank 0 (node1): why")


def test_ranks_that_are_near_or_of_which_nobody_knows_are_none(tmp_path):
    assert tell_far_ranks(environment_of(tmp_path, "all", "some", None)) == ()
    assert tell_far_ranks(None) == ()
