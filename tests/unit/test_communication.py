"""Probes: bandwidths as nccl-tests define them, fits, slow links, the order of a tournament."""

from __future__ import annotations

import json
from itertools import zip_longest

import numpy as np
import pytest
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st

from hpcdl import networks, report
from hpcdl.analysis.communication import (
    analyse_probe,
    bound_median,
    bus_factor,
    find_alone,
)
from hpcdl.analysis.expectation import expect, explain_difference, fill_buckets, find_ready_times
from hpcdl.analysis.job import analyse_run
from hpcdl.durable import publish_record
from hpcdl.estimates.links import find_slow_links, find_suspects
from hpcdl.probes import Collective, Pair, PairTable, Probe
from hpcdl.records import Missing
from hpcdl.report import as_json, as_markdown, as_terminal
from hpcdl.worker.models import build
from hpcdl.worker.probe.allreduce import bucket_sizes, message_sizes
from hpcdl.worker.probe.pairs import choose_players
from hpcdl.worker.probe.tournament import arrange_rounds
from tests.unit.records_maker import KILLED, Recording, make_host, record, write_run

SECOND = "20261122-151200-k3f9"
LATENCY_S, BANDWIDTH = 1e-4, 1e9


def took(size):
    return LATENCY_S + size / BANDWIDTH


def make_probe(ranks, *, slow=(), links=("mpi",)):
    """A probe of a network with a latency of 0.1 ms and 1 GB/s, some of whose links carry a tenth."""
    sizes = [4 * 4**power for power in range(14)]
    pairs = tuple(
        Pair(
            a_rank=a,
            b_rank=b,
            latency_s=1e-5,
            bandwidth_bytes_per_s=1e9 * (0.1 if {a, b} in slow else 1 + 0.01 * ((a + b) % 3)),
        )
        for a in range(ranks)
        for b in range(a + 1, ranks)
    )
    return Probe(
        world_size=ranks,
        allreduce=tuple(Collective(size_bytes=size, seconds=(took(size),) * 9) for size in sizes),
        mpi=Missing(missing="srun starts no MPI here"),
        gradients=Collective(size_bytes=243_860_896, seconds=(took(243_860_896),) * 9),
        links=tuple(PairTable(over=over, pairs=pairs) for over in links)
        if links
        else Missing(missing="all ranks are on one node"),
    )


def probe_run(store, probe, *, nodes=4, how=None, **shape):
    """A run of one probe launch; its rates are as asked for."""
    run = write_run(store, nodes=(nodes,), launches={"probe": "only"}, **shape)
    folder = record(run, 1, how or Recording(summarised=False, steps=0))
    if probe is not None:
        publish_record(folder.probe_path, probe)
    return analyse_run(run)


# ---- nccl-tests, PERFORMANCE.md ----


def test_bandwidths_are_those_of_nccl_tests(tmp_path):
    """Algbw = S / t; busbw = algbw * 2 (n - 1) / n for allreduce."""
    found = analyse_probe(probe_run(tmp_path, make_probe(4)).launches[0])
    large = found.messages[-1]
    assert large.size_bytes == 268_435_456
    assert large.algorithm_bytes_per_s == pytest.approx(large.size_bytes / took(large.size_bytes))
    assert large.bus_bytes_per_s == pytest.approx(1.5 * large.algorithm_bytes_per_s)
    assert [bus_factor(n) for n in (2, 4, 8)] == [1.0, 1.5, 1.75]


def test_latency_and_bandwidth_are_fitted(tmp_path):
    fit = analyse_probe(probe_run(tmp_path, make_probe(4)).launches[0]).fit
    assert fit.latency_s == pytest.approx(LATENCY_S, rel=1e-3)
    assert fit.bandwidth_bytes_per_s == pytest.approx(BANDWIDTH, rel=1e-3)


def test_the_median_has_a_distribution_free_interval():
    interval = bound_median([*range(1, 100), 1000.0])
    assert interval.value == 50.5
    # Binomial(100, 1/2): order statistics 40 and 61.
    assert (interval.low, interval.high) == (40.0, 61.0)
    # Between the smallest and the largest of six: 1 - 2^-5 of all cases; of five, fewer than 95 %.
    assert (bound_median([6, 1, 5, 2, 4, 3]).low, bound_median([6, 1, 5, 2, 4, 3]).high) == (1, 6)
    assert "5 times only" in bound_median([1.0] * 5).missing


def test_a_probe_that_did_not_complete_has_no_numbers(tmp_path):
    how = Recording(summarised=False, steps=0, outcomes={2: KILLED}, outcome="stopped")
    result = probe_run(tmp_path, None, how=how)
    assert result.state == "failed"
    assert "rank 2" in analyse_probe(result.launches[0]).missing


UNFIT = {
    "another world": (make_probe(3), "4 ranks were to probe, and 3 did"),
    "a stranger": (make_probe(5).model_copy(update={"world_size": 4}), "name rank 4, which is not of this"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_probe_of_something_else_has_no_numbers(tmp_path, name):
    probe, words = UNFIT[name]
    result = probe_run(tmp_path, probe)
    assert words in analyse_probe(result.launches[0]).missing
    told = as_json.as_dict(report.build([result]))
    assert told["probes"] == []
    assert any("not published" in note["text"] and words in note["text"] for note in told["notes"])


def test_gpus_of_one_node_are_wired_unlike_each_other_by_design(tmp_path):
    """On a DGX-1 half of the pairs have no NVLink between them: no fault, and nobody is named."""
    slow = [{0, 1}, {0, 2}, {0, 3}]
    result = probe_run(tmp_path, make_probe(4, slow=slow, links=("nccl",)), nodes=1, tasks_per_node=4)
    [links] = analyse_probe(result.launches[0]).links
    assert (links.slow, links.suspects) == ((), ())


def test_a_completed_probe_says_so_by_its_record(tmp_path):
    assert probe_run(tmp_path / "a", make_probe(4)).completed
    assert probe_run(tmp_path / "b", None).state == "failed"


# ---- Links ----


def matrix(nodes, slow, seed=1):
    values = 1e9 * np.random.default_rng(seed).uniform(0.65, 1.35, (nodes, nodes))
    values = np.minimum(values, values.T)
    for a, b in slow:
        values[a, b] = values[b, a] = 5e7
    np.fill_diagonal(values, np.nan)
    return values


@given(st.integers(3, 16), st.integers(0, 10_000), st.data())
def test_a_node_with_a_slow_adapter_is_named(nodes, seed, data):
    node = data.draw(st.integers(0, nodes - 1))
    slow = [(min(node, other), max(node, other)) for other in range(nodes) if other != node]
    found = find_slow_links(matrix(nodes, slow, seed))
    if nodes == 3:
        return  # two of three links are slow: which one is usual?
    assert sorted(found) == sorted(slow)
    assert find_suspects(found, nodes) == (node,)


def test_a_single_slow_link_is_named_and_no_node():
    found = find_slow_links(matrix(6, [(1, 4)]))
    assert found == ((1, 4),)
    assert find_suspects(found, 6) == ()


@given(st.integers(2, 32), st.integers(0, 10_000))
def test_alike_links_are_not_named(nodes, seed):
    assert find_slow_links(matrix(nodes, (), seed)) == ()


def test_two_nodes_have_nothing_to_compare_with():
    assert find_slow_links(matrix(2, [(0, 1)])) == ()


# ---- The tournament ----


@given(st.integers(2, 40))
def test_everybody_meets_everybody_once_and_nobody_twice_in_a_round(players):
    rounds = arrange_rounds(players)
    assert len(rounds) == players - 1 + players % 2
    met = [pair for matches in rounds for pair in matches]
    assert sorted(met) == [(a, b) for a in range(players) for b in range(a + 1, players)]
    for matches in rounds:
        busy = [player for pair in matches for player in pair]
        assert len(busy) == len(set(busy)) >= players - 1


# ---- Sizes ----


def test_messages_grow_beyond_the_gradients():
    sizes = message_sizes(1_724_320)
    assert sizes[:3] == [4, 16, 64]
    assert sizes[-2] < 1_724_320 <= sizes[-1]


@pytest.mark.parametrize("engine", ["horovod", "ddp"])
@pytest.mark.parametrize("name", ["lenet", "alexnet"])
def test_buckets_hold_all_gradients_the_last_layers_first(engine, name):
    network = networks.find(name)
    sizes = bucket_sizes(network, engine, 64)
    assert sum(sizes) == network.gradient_bytes()
    if engine == "ddp":
        assert len(sizes) < len(bucket_sizes(network, "horovod", 64))
    else:
        # The biases of the last layer, one for each class, and then its weights.
        assert sizes[0] == 4 * network.classes
        assert sum(sizes[:2]) == [row.parameters * 4 for row in network.rows if row.parameters][-1]


@pytest.mark.parametrize("limit_mb", [1, 25, 64])
def test_buckets_are_those_of_ddp(limit_mb):
    """As torch itself shares out the parameters of the same network."""
    network = networks.find("alexnet")
    parameters = list(build(network, seed=1).parameters())[::-1]
    indices, _ = dist._compute_bucket_assignment_by_size(parameters, [limit_mb << 20])
    expected = [sum(parameters[index].numel() * 4 for index in bucket) for bucket in indices]
    assert bucket_sizes(network, "ddp", limit_mb) == expected


# ---- Expected against measured ----


def test_gradients_are_ready_from_the_last_layer_to_the_first():
    network = networks.find("alexnet")
    ready = find_ready_times(network, 1.0)
    layers = sorted(ready)
    assert [ready[layer] for layer in layers] == sorted(ready.values(), reverse=True)
    assert ready[layers[0]] == pytest.approx(1.0)
    # Backward begins after a third of the arithmetic, and the fully connected layers come first.
    assert 0.3 < ready[layers[-1]] < 0.42
    buckets = fill_buckets(network, 64)
    assert sum(size for _, size in buckets) == network.gradient_bytes()


def test_the_expected_step_hides_what_it_can(tmp_path):
    run = write_run(tmp_path, nodes=(1, 4), launches={"probe": "also"}, batch=32)
    record(run, 1, Recording(summarised=False, steps=0))
    result = analyse_run(run)
    publish_record(run.path / result.launches[0].plan.name / "probe.json", make_probe(4))
    record(run, 2, Recording(images_per_s=32.0, engine="single", transport="none"))
    record(run, 3, Recording(images_per_s=4 * 32.0))
    result = analyse_run(run)
    probe = analyse_probe(result.launches[0])
    base, four = result.trainings
    expected = expect(base, probe, 4, 32)
    # One rank: 1 s, of which 0.70 computing; 15 % exchange of its own are no exchange at 4 ranks.
    assert expected.exposed_s < 0.1, "computing hides nearly all of 0.24 s"
    assert expected.step_s == pytest.approx(0.05 + 0.70 + 0.10 + expected.exposed_s, rel=0.01)
    assert explain_difference(four, expected) != ""
    assert expect(four, probe, 8, 32).missing.startswith("the base has more than one rank")
    assert find_alone([probe])(four).value == pytest.approx(took(243_860_896))


def run_alike(store, **changes):
    """The training launch and the probe of a run of four ranks on so many nodes."""
    shape = {"nodes": (4,), "batch": 32, "launches": {"probe": "also"}} | changes
    run = write_run(store, **shape)
    publish_record(record(run, 1, Recording(summarised=False, steps=0)).probe_path, make_probe(4))
    record(run, 2, Recording(images_per_s=4 * 32.0))
    result = analyse_run(run)
    return result.trainings[0], analyse_probe(result.launches[0])


@pytest.mark.parametrize(
    "other", [{"nodes": (2,), "tasks_per_node": 2}, {"fusion_mb": 1}, {"model": "lenet"}]
)
def test_a_probe_in_other_places_or_of_other_buckets_says_nothing_of_an_exchange(tmp_path, other):
    training, own = run_alike(tmp_path / "a")
    _, foreign = run_alike(tmp_path / "b", **other)
    assert find_alone([foreign, own])(training) == own.gradients_s
    assert find_alone([foreign])(training).missing.startswith("no probe of this engine, size and --fusion-mb")


def test_the_probe_of_another_job_says_nothing_of_this_one(tmp_path):
    """Neither of its overlap nor of what its sizes should take, though engine, size and buckets are the same."""
    shape = {"data": "digits", "model": "lenet", "batch": 64}
    train = write_run(tmp_path, nodes=(1, 4), launches={"attribution": True}, **shape)
    for launch in train.job().launches:
        record(train, launch.index, Recording())
    lone = write_run(tmp_path, run_id=SECOND, nodes=(4,), launches={"probe": "only"}, **shape)
    publish_record(record(lone, 1, Recording(summarised=False, steps=0)).probe_path, make_probe(4))
    content = report.build([analyse_run(train), analyse_run(lone)])
    data = json.loads(as_json.render(content))
    assert data["probes"], "it is shown all the same"
    assert "no probe of this engine" in data["attribution"][1]["overlap"]["missing"]
    assert data["scaling"][0]["rows"][1]["expected_step_s"] is None


# ---- Reports ----


def test_every_format_shows_the_probe_and_names_the_slow_node(tmp_path):
    slow = [{1, other} for other in (0, 2, 3)]
    content = report.build([probe_run(tmp_path, make_probe(4, slow=slow))])
    for text in (as_terminal.write(content, width=140), as_markdown.render(content)):
        assert "From node to node, over MPI" in text
        assert "latency of 8 bytes: 10.0 µs in the middle" in text
        assert "every link of node2 is slow over MPI" in text
        assert "░ 100.0 MB/s" in text
        assert "bus bandwidth" in text
    data = json.loads(as_json.render(content))
    assert data["probes"][0]["latency_s"]["value"] == pytest.approx(LATENCY_S, rel=1e-3)
    assert data["probes"][0]["rows"][0]["size_bytes"]["value"] == 4
    assert data["links"][0]["suspects"] == "node2"
    assert data["links"][0]["rows"][0]["to_node1"] is None
    assert data["launches"] == []


def test_a_clean_network_names_nobody(tmp_path):
    content = report.build([probe_run(tmp_path, make_probe(4))])
    assert "slow" not in as_terminal.write(content, width=140)
    assert json.loads(as_json.render(content))["links"][0]["suspects"] is None


def test_on_one_node_there_is_no_map_and_the_reason_is_told(tmp_path):
    text = as_terminal.write(report.build([probe_run(tmp_path, make_probe(4, links=()))]), width=140)
    assert "no map of the links: all ranks are on one node" in text
    assert "Allreduce" in text


def test_gpus_have_a_map_of_their_own(tmp_path):
    slow = [{1, other} for other in (0, 2, 3)]
    content = report.build([probe_run(tmp_path, make_probe(4, slow=slow, links=("mpi", "nccl")))])
    text = as_markdown.render(content)
    assert text.index("From node to node, over MPI") < text.index("From GPU to GPU, over NCCL")
    assert "every link of node2 is slow over NCCL" in text
    data = json.loads(as_json.render(content))
    assert [links["transport"] for links in data["links"]] == ["mpi", "nccl"]
    assert data["links"][1]["latency_s"]["value"] == pytest.approx(1e-5)


def place_ranks(path, nodes, each, *, gpus=()):
    """Hosts of so many ranks on each node; `gpus` are the UUIDs of their GPUs, by rank."""
    [launch] = write_run(path / f"{nodes}x{each}{gpus}", nodes=(nodes,), tasks_per_node=each).job().launches
    hosts = [make_host(launch, rank, Recording()) for rank in range(nodes * each)]
    return [host.model_copy(update={"gpu_uuid": gpu}) for host, gpu in zip_longest(hosts, gpus)]


def test_who_meets_whom(tmp_path):
    assert choose_players(place_ranks(tmp_path, 3, 2)) == (0, 2, 4), "the first rank of each node"
    assert choose_players(place_ranks(tmp_path, 1, 4)) == (0,), "on one node CPUs have no links"
    assert choose_players(place_ranks(tmp_path, 1, 4, gpus="abcd")) == (0, 1, 2, 3), "but GPUs have"
    assert choose_players(place_ranks(tmp_path, 1, 4, gpus="aabb")) == (0,), "where each rank has its own"


def test_gpus_of_one_node_are_told_apart(tmp_path):
    run = write_run(tmp_path, nodes=(1,), tasks_per_node=4, launches={"probe": "only"})
    folder = record(run, 1, Recording(summarised=False, steps=0))
    publish_record(folder.probe_path, make_probe(4, links=("nccl",)))
    [links] = analyse_probe(analyse_run(run).launches[0]).links
    assert links.places == ("node1:0", "node1:1", "node1:2", "node1:3")
