"""Benchmark x Site -> launches: sizes, order, batches, walltimes, and what identifies a plan."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from hpcdl import networks
from hpcdl.errors import Mistake
from hpcdl.plan import (
    NodeCheck,
    Size,
    cluster_sizes,
    default_batch,
    hash_plan,
    local_sizes,
    make_launches,
    resolve_training,
)
from hpcdl.settings import resolve_benchmark, shipped_benchmarks
from hpcdl.site import Site
from hpcdl.spec import Benchmark
from hpcdl.walltime import STARTUP_S, estimate_walltime_s, format_walltime, parse_walltime_s
from tests.check_launches import as_check

ONE = Size(nodes=1, tasks_per_node=1, cpus_per_task=8, threads_per_core=1, gpus_per_node=0)


def ask(launches=None, name="custom", about="", **train):
    return Benchmark.model_validate(
        {"name": name, "about": about, "train": train, "launches": launches or {}}
    )


def on_cluster(benchmark, site=None, *, cores=8):
    site = site or Site()
    return make_launches(benchmark, site, cluster_sizes(benchmark, site, cores=cores), launcher="srun")


def trainings(benchmark, **where):
    return [launch for launch in on_cluster(benchmark, **where) if launch.kind == "train"]


def on_node(**node):
    return Site.model_validate({"node": node})


# ---- Walltimes: man sbatch names six forms ----


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 1800),
        ("30:15", 1815),
        ("1:30:15", 5415),
        ("1-12", 129_600),
        ("1-12:30", 131_400),
        ("1-12:30:15", 131_415),
        (" 0:01 ", 1),
        ("0-0:0:1", 1),
    ],
)
def test_all_forms_of_a_walltime(text, seconds):
    assert parse_walltime_s(text) == seconds


@given(st.integers(1, 400 * 86_400))
def test_a_walltime_is_read_back_as_written(seconds):
    assert parse_walltime_s(format_walltime(seconds)) == seconds


@given(st.one_of(st.text(max_size=12), st.text("0123456789-: \nx.+", max_size=12)))
@example("٣")
@example("9" * 5000)
@example("9" * 400)
@example("1:2:3:4")
@example("1-2:3:4:5")
@example("0")
@example("0:00")
@example("-5")
@example("UNLIMITED")
@example("30\n")
def test_any_text_is_a_walltime_or_a_mistake(text):
    try:
        seconds = parse_walltime_s(text)
    except Mistake:
        return
    assert 0 < seconds < 2**53
    assert text.strip().isascii()


def test_a_bad_walltime_is_quoted_and_the_right_forms_are_shown():
    with pytest.raises(Mistake, match=r"'9x' is not one that Slurm reads\. Write minutes"):
        parse_walltime_s("9x")


def test_a_check_takes_as_long_as_its_looks_one_after_the_other():
    [launch] = on_cluster(ask({"probe": "never"}, steps=20, warmup=5))
    names = ("identity", "arithmetic", "matrix", "train", "health", "soak")
    check = NodeCheck(checks=names, trainings=(launch.train, launch.train), repeats=3, soak_s=600)
    launches = (as_check(launch, check),)
    # Three times two networks of 2.5 s and a matrix product, 5 s beside each; two exact trainings; half as long again
    # as the soak is to be; the start.
    seconds = 3 * (2 * (2.5 + 5) + 5) + 2 * 60 + 1.5 * 600 + STARTUP_S
    assert estimate_walltime_s(launches, seen_step_s=0.1) == 60 * math.ceil(1.5 * seconds / 60)
    data = NodeCheck(checks=("data",), data_dir="/data")
    # A thousand images a second on eight cores are more than is assumed.
    longer = estimate_walltime_s((as_check(launch, data),), seen_step_s=None, images=1_200_000)
    assert longer == 60 * math.ceil(1.5 * (1000 + STARTUP_S) / 60)


# ---- Sizes ----


def test_a_node_with_gpus_has_a_task_for_each():
    [size] = cluster_sizes(ask(), on_node(gpus=4), cores=64)
    assert size == Size(nodes=1, tasks_per_node=4, cpus_per_task=16, threads_per_core=1, gpus_per_node=4)


def test_on_the_cpu_the_gpus_do_not_count():
    [size] = cluster_sizes(ask(device="cpu"), on_node(gpus=4), cores=64)
    assert size == Size(nodes=1, tasks_per_node=1, cpus_per_task=64, threads_per_core=1, gpus_per_node=0)


def test_tasks_per_node_as_the_benchmark_says_else_as_the_site_does():
    site = on_node(gpus=4, tasks_per_node=2)
    assert cluster_sizes(ask(), site, cores=8)[0].tasks_per_node == 2
    assert cluster_sizes(ask({"tasks_per_node": 8}), site, cores=8)[0].tasks_per_node == 8


def test_more_tasks_than_cores_is_a_mistake():
    with pytest.raises(Mistake, match="9 tasks per node do not fit a node of 8 cores"):
        cluster_sizes(ask({"tasks_per_node": 9}), Site(), cores=8)


def test_here_all_launches_give_a_rank_the_same_cores():
    sizes = local_sizes(ask({"nodes": [1, 2, 4]}), Site(), cores=8)
    assert [(size.tasks_per_node, size.cpus_per_task) for size in sizes] == [(1, 2), (2, 2), (4, 2)]
    assert {size.nodes for size in sizes} == {1}


def test_a_task_takes_whole_cores_and_computes_with_one_thread_on_each():
    on_slurm = cluster_sizes(ask({"tasks_per_node": 4}), on_node(threads_per_core=2), cores=64)
    here = local_sizes(ask({"nodes": [4]}), on_node(threads_per_core=2), cores=64)
    for [size] in (on_slurm, here):
        assert (size.tasks_per_node, size.cpus_per_task) == (4, 32)
        assert resolve_training(ask(), size).threads == 16


def test_here_more_ranks_than_cores_share_one():
    [size] = local_sizes(ask({"nodes": [5]}), Site(), cores=2)
    assert (size.tasks_per_node, size.cpus_per_task) == (5, 1)


def test_a_gpu_that_is_not_here_is_missed_before_a_run_begins():
    asked = Benchmark.model_validate({"train": {"device": "gpu"}})
    with pytest.raises(Mistake, match="no NVIDIA GPU here"):
        local_sizes(asked, Site(), cores=8)
    assert local_sizes(asked, Site.model_validate({"node": {"gpus": 1}}), cores=8)[0].gpus_per_node == 1


@pytest.mark.parametrize("ranks", [1, 2])
def test_compression_wants_another_rank(ranks):
    asked = Benchmark.model_validate({"train": {"compression": "fp16"}, "launches": {"nodes": [1, ranks]}})
    sizes = local_sizes(asked, Site(), cores=8)
    with pytest.raises(Mistake, match="one rank alone") if ranks == 1 else contextlib.nullcontext():
        make_launches(asked, Site(), sizes, launcher="direct")


def test_far_more_ranks_than_cores_are_refused_before_they_fill_the_memory():
    assert local_sizes(ask({"nodes": [32]}), Site(), cores=2)
    with pytest.raises(Mistake, match=r"33 ranks on 2 cores .* memory"):
        local_sizes(ask({"nodes": [33]}), Site(), cores=2)


# ---- Launches ----


def test_repeats_are_interleaved_and_names_unique():
    launches = on_cluster(ask({"nodes": [1, 2, 1], "repeat": 2, "probe": "never"}))
    assert [(launch.repeat, launch.nodes) for launch in launches] == [
        (1, 1),
        (1, 2),
        (1, 1),
        (2, 1),
        (2, 2),
        (2, 1),
    ]
    assert [launch.index for launch in launches] == [1, 2, 3, 4, 5, 6]
    names = [launch.name for launch in launches]
    assert names == sorted(set(names))


def name_sides(benchmark):
    return [(launch.nodes, launch.train.engine, launch.variant) for launch in trainings(benchmark)]


def test_a_sweep_is_bracketed_by_its_base():
    assert [launch.nodes for launch in trainings(ask({"nodes": [1, 2, 4]}))] == [1, 2, 4, 1]
    assert [launch.nodes for launch in trainings(ask({"nodes": [1, 2], "repeat": 2}))] == [1, 2, 1, 2, 1]
    assert [launch.nodes for launch in trainings(ask({"nodes": [1, 2], "bracket": False}))] == [1, 2]
    assert [launch.nodes for launch in trainings(ask({"nodes": [2, 2]}))] == [2, 2]


def test_per_gpu_the_base_is_one_rank():
    site = Site.model_validate({"node": {"gpus": 4, "cores": 32}})
    benchmark = ask({"nodes": [1, 2], "per": "gpu"})
    launches = make_launches(benchmark, site, cluster_sizes(benchmark, site, cores=32), launcher="srun")
    trained = [launch for launch in launches if launch.kind == "train"]
    assert [(launch.nodes, launch.tasks_per_node) for launch in trained] == [(1, 1), (1, 4), (2, 4), (1, 1)]
    assert {launch.cpus_per_task for launch in trained} == {8}


def test_engines_stand_side_by_side_in_turns():
    benchmark = ask({"nodes": [2], "engines": ["horovod", "ddp"], "repeat": 2, "probe": "never"})
    engines = [launch.train.engine for launch in on_cluster(benchmark)]
    assert engines == ["horovod", "ddp", "ddp", "horovod"]
    assert on_cluster(benchmark)[0].name == "001-alexnet-2n-horovod"


def test_an_attribution_leaves_one_thing_out_at_a_time():
    benchmark = ask({"nodes": [2], "attribution": True}, data="digits", model="lenet")
    launches = trainings(benchmark)
    sides = [(launch.variant, launch.train.exchange, launch.train.feed) for launch in launches]
    assert sides == [
        ("full", True, "streamed"),
        ("no exchange", False, "streamed"),
        ("resident", True, "resident"),
        ("synthetic", False, "synthetic"),
    ]
    assert [launch.train.validate_after for launch in launches] == [True, False, False, False]


def test_an_attribution_has_no_launch_that_would_show_nothing():
    alone = ask({"nodes": [1], "attribution": True}, data="digits", model="lenet")
    assert [variant for _, _, variant in name_sides(alone)] == ["full", "resident", "synthetic"]
    random = ask({"nodes": [2], "attribution": True})
    assert [variant for _, _, variant in name_sides(random)] == ["full", "no exchange"]


def test_where_a_sweep_needs_a_probe_it_comes_first_on_the_largest_size():
    named = Site.model_validate({"slurm": {"pmi": "pmix"}})
    first, *rest = on_cluster(ask({"nodes": [1, 4]}, engine="ddp"), named)
    assert (first.kind, first.name, first.nodes, first.pmi) == ("probe", "001-probe-4n", 4, "pmix")
    assert {launch.kind for launch in rest} == {"train"}
    assert {launch.pmi for launch in rest} == {"none"}
    # Nobody knows whether this Slurm speaks PMIx; DDP does not need it.
    assert on_cluster(ask({"nodes": [1, 4]}, engine="ddp"))[0].pmi == "none"
    assert on_cluster(ask({"nodes": [1, 4]}, engine="horovod"))[0].pmi == "pmix"
    assert [launch.kind for launch in on_cluster(ask({"nodes": [4]}))] == ["train"]
    assert [launch.kind for launch in on_cluster(ask({"nodes": [4], "probe": "also"}))] == ["probe", "train"]
    assert [launch.kind for launch in on_cluster(ask({"nodes": [4], "probe": "only"}))] == ["probe"]


def test_a_probe_of_one_rank_is_a_mistake():
    with pytest.raises(Mistake, match="at least two ranks"):
        on_cluster(ask({"nodes": [1], "probe": "only"}))


def test_a_precision_bounds_the_steps():
    [launch] = on_cluster(ask(steps=100, precision="1%"))
    assert (launch.train.precision, launch.train.steps, launch.train.max_steps) == (0.01, 100, 1600)
    [launch] = on_cluster(ask(steps=100, precision=0.02, max_steps=150))
    assert launch.train.max_steps == 150
    with pytest.raises(Mistake, match="less than the 100 steps"):
        on_cluster(ask(steps=100, precision="1%", max_steps=50))


BAD_PRECISION = {
    "epochs": {"precision": "1%", "epochs": 2, "data": "digits", "model": "lenet"},
    "nothing to bound": {"max_steps": 100},
    "none": {"precision": 0},
    "not a number": {"precision": "one%"},
    "more than all": {"precision": "150%"},
}


@pytest.mark.parametrize("name", BAD_PRECISION)
def test_a_precision_that_makes_no_sense_is_refused(name):
    with pytest.raises(ValidationError, match="precision"):
        ask(**BAD_PRECISION[name])


@pytest.mark.parametrize("engines", [["ddp"], ["ddp", "ddp"], ["auto", "ddp"], ["ddp", "mpi"]])
def test_engines_side_by_side_are_different_ones_by_name(engines):
    with pytest.raises(ValidationError, match="engines"):
        ask({"engines": engines})


def test_names_say_nodes_on_a_cluster_and_ranks_here():
    benchmark = ask({"nodes": [2]}, model="lenet")
    assert on_cluster(benchmark)[0].name == "001-lenet-2n"
    sizes = local_sizes(benchmark, Site(), cores=2)
    assert make_launches(benchmark, Site(), sizes, launcher="direct")[0].name == "001-lenet-2r"


@pytest.mark.parametrize(
    ("train", "site", "pmi"),
    [
        ({}, Site(), "pmix"),
        ({}, Site.model_validate({"slurm": {"pmi": "pmi2"}}), "pmi2"),
        ({"engine": "ddp"}, Site.model_validate({"slurm": {"pmi": "pmi2"}}), "none"),
        ({"engine": "horovod", "transport": "gloo"}, Site(), "none"),
        ({"engine": "horovod", "transport": "mpi"}, Site(), "pmix"),
    ],
)
def test_only_mpi_needs_pmi(train, site, pmi):
    assert on_cluster(ask(**train), site)[0].pmi == pmi


def test_weak_scaling_holds_the_local_batch():
    trains = [launch.train for launch in trainings(ask({"nodes": [1, 4]}, batch=8))]
    sizes = [(t.mode, t.local_batch, t.global_batch) for t in trains]
    assert sizes == [("weak", 8, 8), ("weak", 8, 32), ("weak", 8, 8)]


def test_strong_scaling_holds_the_global_batch():
    trains = [launch.train for launch in trainings(ask({"nodes": [1, 4]}, global_batch=64))]
    assert [(t.mode, t.local_batch, t.global_batch) for t in trains] == [
        ("strong", 64, 64),
        ("strong", 16, 64),
        ("strong", 64, 64),
    ]


def test_a_global_batch_that_cannot_be_shared_is_a_mistake():
    with pytest.raises(Mistake, match="64 cannot be shared equally by 3 ranks"):
        on_cluster(ask({"nodes": [1, 3]}, global_batch=64))


def test_the_single_engine_has_one_rank():
    assert on_cluster(ask(engine="single"))[0].world_size == 1
    with pytest.raises(Mistake, match="this launch has 2"):
        on_cluster(ask({"nodes": [2]}, engine="single"))


@pytest.mark.parametrize("model", networks.NETWORKS)
def test_the_default_batch_is_the_recipes_and_small_for_large_networks_on_a_cpu(model):
    network = networks.find(model)
    assert default_batch(model, gpu=True) == network.recipe.batch
    assert default_batch(model, gpu=False) <= max(32, 64 if network.train_flops < 1e9 else 0)


def test_epochs_leave_the_steps_open():
    train = resolve_training(ask(data="digits", epochs=3), ONE)
    assert (train.steps, train.epochs) == (None, 3)


def test_threads_are_the_tasks_cores_unless_said():
    assert resolve_training(ask(), ONE).threads == 8
    assert resolve_training(ask(threads=3), ONE).threads == 3


@pytest.mark.parametrize("path", shipped_benchmarks().values(), ids=shipped_benchmarks())
def test_every_shipped_benchmark_plans(path):
    benchmark, _ = resolve_benchmark(path, {})
    assert benchmark.name == path.stem
    assert benchmark.about
    sizes = benchmark.launches.nodes
    again = sizes[-1] != min(sizes)  # the base, at the end of a sweep
    assert len(trainings(benchmark)) == len(sizes) * benchmark.launches.repeat + again
    sizes = local_sizes(benchmark, Site(), cores=2)
    assert make_launches(benchmark, Site(), sizes, launcher="direct")


# ---- Estimates ----


def test_the_estimate_counts_every_launch_with_its_start():
    one = on_cluster(ask(steps=95, warmup=5))
    # 1.5 x (start + 100 steps of 6 s), in whole minutes
    assert estimate_walltime_s(one, seen_step_s=6.0) == -(-1.5 * (STARTUP_S + 600) // 60) * 60
    both = on_cluster(ask({"repeat": 2}, steps=95, warmup=5))
    assert estimate_walltime_s(both, seen_step_s=6.0) == -(-1.5 * 2 * (STARTUP_S + 600) // 60) * 60


def test_an_estimate_is_never_under_five_minutes():
    assert estimate_walltime_s(on_cluster(ask(model="lenet", steps=1)), seen_step_s=1e-4) == 300


def test_a_probe_of_many_nodes_takes_longer():
    """All pairs meet, in as many rounds as there are other nodes."""
    few, many = (
        estimate_walltime_s(on_cluster(ask({"nodes": [nodes], "probe": "only"})), seen_step_s=None)
        for nodes in (2, 512)
    )
    assert few == 300
    assert many > 511 * 2


def test_ddp_does_not_exchange_over_mpi():
    asked = ask({"nodes": [2], "engines": ["horovod", "ddp"]}, transport="mpi")
    with pytest.raises(Mistake, match="DDP exchanges over NCCL or Gloo"):
        on_cluster(asked)


def test_an_unmeasured_network_is_estimated_from_its_arithmetic():
    slow = estimate_walltime_s(on_cluster(ask(model="overfeat", steps=100)), seen_step_s=None)
    fast = estimate_walltime_s(on_cluster(ask(model="alexnet", steps=100)), seen_step_s=None)
    assert slow > 4 * fast


# ---- Identity ----


def test_the_benchmark_id_is_the_question_alone():
    same = {ask(name=name, about=about).benchmark_id for name, about in [("a", ""), ("b", "prose")]}
    assert same == {ask().benchmark_id}
    assert ask(batch=8).benchmark_id not in same


def test_the_plan_hash_follows_from_what_was_asked_and_nothing_else():
    benchmark = ask({"nodes": [1, 2]})
    first = hash_plan(benchmark, Site(), on_cluster(benchmark))
    assert first == hash_plan(benchmark, Site(), on_cluster(benchmark))
    elsewhere = Site(name="juno")
    assert first != hash_plan(benchmark, elsewhere, on_cluster(benchmark, elsewhere))
    assert first != hash_plan(benchmark, Site(), on_cluster(benchmark, cores=4))
