"""CPU against GPU, from made records: what is paired, which ratios follow, and what the audit sees."""

from __future__ import annotations

import json
import math

import pytest

from hpcdl import report
from hpcdl.analysis.counted import count_hardware
from hpcdl.analysis.cpu_audit import summarise
from hpcdl.analysis.cpu_gpu import confront
from hpcdl.analysis.job import analyse_run
from hpcdl.cli.pricing import read_accuracy, read_pricing
from hpcdl.errors import Mistake
from hpcdl.records import Missing
from hpcdl.report import as_json, as_markdown, as_terminal
from hpcdl.report.cpu_gpu import make_cpu_gpu_chapter
from hpcdl.report.pictures import Bars
from tests.unit.cost_runs import COST, TWO_SOCKETS, boards, packages, write_cpu, write_gpu
from tests.unit.records_maker import make_conditions


def pair(cpu, gpu, **asked):
    [found] = confront([analyse_run(cpu), analyse_run(gpu)], **asked).pairings
    return found, {line.measure: line for line in found.lines}


def ask(pairing):
    return {answer.question: (answer.outcome, answer.detail) for answer in pairing.audit}


def test_ratios_by_hand(tmp_path):
    found, lines = pair(write_cpu(tmp_path), write_gpu(tmp_path))
    # 10,000 over 100 images/s; a node each; two GPUs over two sockets.
    for measure in ("images_per_s", "images_per_s_per_node", "images_per_s_per_device"):
        assert lines[measure].ratio.value == pytest.approx(100)
    assert lines["images_per_s_per_device"].cpu.value == pytest.approx(50)
    # 700 W over 200 W, all that is metered of a node on both sides; 10,000 / 700 over 100 / 200 images/J.
    assert found.boundary == "node"
    assert lines["average_w"].ratio.value == pytest.approx(3.5, rel=1e-3)
    assert lines["images_per_j"].ratio.value == pytest.approx(100 / 3.5, rel=1e-3)
    # 20 EUR + 0.2778, and 0.2 EUR + 0.07 / 3.6 x 0.5.
    assert lines["total_per_million"].ratio.value == pytest.approx(
        (0.2 + 0.07 / 7.2) / (20 + 1 / 3.6), rel=1e-3
    )


def test_the_ratio_has_the_interval_of_both(tmp_path):
    """MOVER on logarithms: the squared distances to the ends add up."""
    _, lines = pair(write_cpu(tmp_path), write_gpu(tmp_path))
    line = lines["images_per_s"]
    cpu, gpu, ends = line.cpu.interval, line.gpu.interval, line.ratio.interval
    down = math.hypot(math.log(gpu.value / gpu.low), math.log(cpu.high / cpu.value))
    assert ends.low == pytest.approx(100 * math.exp(-down))
    assert ends.low < 100 < ends.high


def test_one_socket_against_eight_gpus_is_told(tmp_path):
    """The lesson of the bars that everybody has seen: the ratio by device is an eighth of the one that is drawn."""
    one_socket = TWO_SOCKETS | {
        "sockets": (0,),
        "sockets_of_host": 2,
        "cores": tuple(range(4)),
        "cores_of_host": 8,
        "threads": 4,
        "affinity": tuple(range(4)),
    }
    gpu = write_gpu(
        tmp_path,
        tasks_per_node=8,
        site={"node": {"gpus": 8, "cores": 8}},
        meters={"node1": boards(count=8) | packages()},
    )
    found, lines = pair(write_cpu(tmp_path, how={"host": one_socket}), gpu)
    assert found.cpu.counted.words == "1 node, 1 of 2 sockets, 4 of 8 cores"
    assert found.gpu.counted.words == "1 node, 8 GPUs"
    assert lines["images_per_s"].ratio.value == pytest.approx(100)
    assert lines["images_per_s_per_device"].ratio.value == pytest.approx(100 / 8)
    assert ask(found)["all sockets are used"] == ("failed", "1 of 2")
    assert ask(found)["all cores compute"] == (
        "failed",
        "1 x 4 threads on node1, which has 8 cores: cores stand idle",
    )
    notes = make_cpu_gpu_chapter(
        [analyse_run(run) for run in (write_cpu(tmp_path / "b", how={"host": one_socket}), gpu)]
    ).notes
    [warning] = [note for note in notes if "may flatter the GPU" in note.text]
    assert warning.kind == "warning"
    assert "all sockets are used: 1 of 2" in warning.text


def test_a_gpu_of_many_that_did_not_train_is_counted(tmp_path):
    launch = analyse_run(write_gpu(tmp_path, tasks_per_node=1)).launches[0]
    counted = count_hardware(launch)
    assert counted.words == "1 node, 1 of 2 GPUs"
    assert counted.devices == 1


# ---- The audit ----


def audit_of(store, *, conditions=None, **host):
    how = {"host": TWO_SOCKETS | host}
    if conditions:
        how["conditions"] = conditions
    found, _ = pair(write_cpu(store, how=how), write_gpu(store))
    return ask(found), found


def test_a_cpu_that_does_what_it_can(tmp_path):
    # AlexNet takes 4.1356 GFLOP for each image: 100 images/s are 413.6 GFLOP/s.
    answers, found = audit_of(tmp_path, conditions=(make_conditions(matrix_flops_per_s=(5e11, 5e11)),))
    assert {outcome for outcome, _ in answers.values()} == {"held"}
    assert answers["arithmetic near the CPU's own matrix product"] == ("held", "83 % of it")
    assert answers["it does not wait for images"] == ("held", "input wait is 5.0 % of the step")
    assert answers["oneDNN"] == ("held", "3.12.0")
    assert summarise(found.audit) == "11 held, 0 failed, 0 could not be looked at"


@pytest.mark.parametrize(
    ("host", "question", "told"),
    [
        ({"threads": 4}, "all cores compute", "1 x 4 threads on node1, which has 8 cores: cores stand idle"),
        (
            {"threads": 16},
            "all cores compute",
            "1 x 16 threads on node1, which has 8 cores: threads wait for each",
        ),
        (
            {"sockets": (0,), "sockets_of_host": 1, "cores": tuple(range(4)), "affinity": tuple(range(4))},
            "all cores compute",
            "1 x 8 threads on node1 may run on 4 of its 8 cores: the others stand idle",
        ),
        ({"vector": "AVX2"}, "vector instructions", "AVX2 on node1, whose processor has AVX512"),
        ({"sockets": (1,)}, "all sockets are used", "1 of 2"),
    ],
)
def test_what_a_straw_man_does(host, question, told, tmp_path):
    outcome, detail = audit_of(tmp_path, **host)[0][question]
    assert outcome == "failed"
    assert detail.startswith(told)


@pytest.mark.parametrize(
    ("versions", "question"), [({"onednn": "none"}, "oneDNN"), ({"blas": "none"}, "BLAS")]
)
def test_arithmetic_without_its_library(versions, question, tmp_path):
    found, _ = pair(write_cpu(tmp_path, how={"versions": versions}), write_gpu(tmp_path))
    assert ask(found)[question] == ("failed", "none")


def test_ranks_that_share_cores(tmp_path):
    """Both ranks were let onto all cores of the host."""
    run = write_cpu(tmp_path, tasks_per_node=2, how={"host": TWO_SOCKETS | {"threads": 4}})
    found, _ = pair(run, write_gpu(tmp_path))
    assert ask(found)["ranks have cores of their own"] == (
        "failed",
        "rank 1 on node1 shares cores with another rank",
    )
    assert ask(found)["all cores compute"][0] == "held"
    assert found.cpu.counted.cores == 8


def test_feeble_arithmetic_and_a_starved_step(tmp_path):
    answers, _ = audit_of(tmp_path, conditions=(make_conditions(matrix_flops_per_s=(1e12, 1e12)),))
    assert answers["arithmetic near the CPU's own matrix product"] == ("failed", "41 % of it")


def test_a_small_network_is_not_held_against_a_matrix_product(tmp_path):
    found, _ = pair(write_cpu(tmp_path, model="lenet"), write_gpu(tmp_path, model="lenet"))
    outcome, detail = ask(found)["arithmetic near the CPU's own matrix product"]
    assert outcome == "could not look"
    assert "a network this small is bound by other things" in detail


def test_a_layout_that_was_asked_for_is_nobodys_choice(tmp_path):
    found, _ = pair(write_cpu(tmp_path, layout="nchw"), write_gpu(tmp_path))
    assert ask(found)["memory layout"][0] == "could not look"


def test_batches_that_differ_are_told(tmp_path):
    found, _ = pair(write_cpu(tmp_path, batch=32), write_gpu(tmp_path))
    assert ask(found)["one batch for each rank on both sides"] == (
        "failed",
        "32 images on the CPU, 64 on the GPU",
    )


def test_old_records_lack_what_nobody_recorded_then(tmp_path):
    """Records without the younger fields are read, and the audit says that it could not look."""
    run = write_cpu(tmp_path, how={"host": {}, "versions": {}})
    path = next(run.path.glob("*/environment.json"))
    environment = json.loads(path.read_text())
    for host in environment["hosts"]:
        for name in ("sockets", "sockets_of_host", "cores", "cores_of_host", "vector", "vector_of_cpu"):
            del host[name]
    for name in ("onednn", "blas"):
        del environment["versions"][name]
    path.write_text(json.dumps(environment))
    found, lines = pair(run, write_gpu(tmp_path))
    answers = ask(found)
    for question in ("all cores compute", "all sockets are used", "oneDNN", "BLAS", "vector instructions"):
        assert answers[question][0] == "could not look"
        assert "not recorded" in answers[question][1]
    assert found.cpu.counted.words == "1 node, 8 CPUs (sockets not recorded)"
    assert lines["images_per_s_per_device"].ratio.value.missing.startswith("sockets: not recorded")
    assert lines["images_per_s_per_node"].ratio.value == pytest.approx(100)


# ---- What is paired ----


def test_another_number_type_is_not_compared(tmp_path):
    results = [analyse_run(write_cpu(tmp_path)), analyse_run(write_gpu(tmp_path, dtype="bf16"))]
    found = confront(results)
    assert found.pairings == ()
    assert found.refusals == ("alexnet is not compared: number type: fp32 on the CPU, bf16 on the GPU",)
    [note] = make_cpu_gpu_chapter(results).notes
    assert "number type: fp32 on the CPU" in note.text


def test_two_networks_have_nothing_to_say_to_each_other(tmp_path):
    results = [analyse_run(write_cpu(tmp_path)), analyse_run(write_gpu(tmp_path, model="overfeat"))]
    assert confront(results) == type(confront(results))((), ())
    assert make_cpu_gpu_chapter(results).tables == ()


def test_of_several_sizes_the_smallest_common_one_is_compared(tmp_path):
    meters = {host: packages(host) for host in ("node1", "node2", "node3")}
    run = write_cpu(tmp_path, nodes=(1, 2), rates=(100.0, 190.0), meters=meters)
    found, lines = pair(run, write_gpu(tmp_path))
    assert found.sizes == ((1, 2), (1,))
    assert lines["images_per_s"].cpu.value == pytest.approx(100)


def test_sides_of_different_sizes_are_told(tmp_path):
    meters = {host: packages(host) for host in ("node1", "node2")}
    results = [
        analyse_run(write_cpu(tmp_path, nodes=(2,), rates=(190.0,), meters=meters)),
        analyse_run(write_gpu(tmp_path)),
    ]
    [found] = confront(results).pairings
    ratios = {line.measure: line.ratio.value for line in found.lines}
    assert ratios["images_per_s"] == pytest.approx(10_000 / 190)
    assert ratios["images_per_s_per_node"] == pytest.approx(10_000 / 95)
    notes = [note.text for note in make_cpu_gpu_chapter(results).notes]
    assert any("2 nodes, 4 sockets, 16 cores against 1 node, 2 GPUs" in text for text in notes)


def test_machines_in_disguise_give_no_ratio(tmp_path):
    meters = {host: packages(host) for host in ("node1", "node2")}
    how = {"one_machine": True, "host": TWO_SOCKETS}
    found, lines = pair(
        write_cpu(tmp_path, nodes=(2,), rates=(190.0,), meters=meters, how=how), write_gpu(tmp_path)
    )
    assert lines["images_per_s"].ratio.value.missing.startswith("2 nodes were 1 machine")
    # One machine is counted once, however many hosts it plays.
    assert found.cpu.counted.words == "2 nodes on 1 machine, 2 sockets, 8 cores"
    for measure in ("images_per_s_per_node", "images_per_s_per_device"):
        assert lines[measure].cpu.value.missing.startswith("2 nodes were 1 machine")
        assert isinstance(lines[measure].ratio.value, Missing)
    assert lines["images_per_s"].cpu.value == pytest.approx(190)
    answers = ask(found)
    assert answers["all cores compute"] == (
        "failed",
        "2 x 8 threads on node1 and node2, one machine, which has 8 cores: threads wait for each other",
    )
    assert answers["ranks have cores of their own"][0] == "failed"
    assert answers["all sockets are used"] == ("held", "2 of 2")


def test_hosts_whose_boot_id_was_not_read_are_counted_by_name(tmp_path):
    meters = {host: packages(host) for host in ("node1", "node2")}
    run = write_cpu(
        tmp_path, nodes=(2,), rates=(190.0,), meters=meters, how={"host": TWO_SOCKETS | {"boot_id": ""}}
    )
    counted = count_hardware(analyse_run(run).launches[0])
    assert counted.words == "2 nodes, 4 sockets, 16 cores"


def write_twice(store, *, rates=(100.0, 120.0), **cost):
    """Two runs of one question on CPUs, the second under other prices."""
    return [
        analyse_run(write_cpu(store, run_id=f"run-{index}", rates=(rate,), cost=COST | changes))
        for index, (rate, changes) in enumerate(zip(rates, ({}, cost), strict=True))
    ]


def test_prices_that_differ_withhold_money_and_nothing_else(tmp_path):
    cheap, dear = write_twice(tmp_path, node_price=40_000.0)
    gpu = analyse_run(write_gpu(tmp_path))
    seen = []
    for results in ([cheap, dear, gpu], [dear, cheap, gpu], [gpu, dear, cheap]):
        [found] = confront(results).pairings
        lines = {line.measure: line for line in found.lines}
        # The harmonic mean of both launches, whichever run was named first; J/image 2 and 200 / 120.
        assert lines["images_per_s"].cpu.value == pytest.approx(2 / (1 / 100 + 1 / 120))
        assert lines["images_per_j"].cpu.value == pytest.approx(2 / (2 + 200 / 120), rel=1e-3)
        total = lines["total_per_million"]
        assert total.cpu.value.missing == (
            "its launches have no one node_price (31,557.6 and 40,000): report them apart, or give one [cost] "
            "with --site"
        )
        assert total.ratio.value == total.cpu.value
        assert total.gpu.value == pytest.approx(0.2 + 0.07 / 7.2, rel=1e-3)
        assert len(found.cpu.costs.configuration.launches) == 2
        seen.append([(line.measure, line.ratio.value) for line in found.lines])
    assert seen[0] == seen[1] == seen[2]


def test_currencies_and_what_is_not_given_are_prices_too(tmp_path):
    for name, value in (("currency", "USD"), ("electricity_per_kwh", None)):
        cpus = write_twice(tmp_path / name, **{name: value})
        [found] = confront([*cpus, analyse_run(write_gpu(tmp_path / name))]).pairings
        total = {line.measure: line for line in found.lines}["total_per_million"]
        assert f"no one {name} (" in total.cpu.value.missing


def test_a_price_from_another_source_is_the_same_price(tmp_path):
    again = COST["electricity_per_kwh"] | {"source": "another letter", "date": "2026-02"}
    cpus = write_twice(tmp_path, rates=(100.0, 100.0), electricity_per_kwh=again)
    [found] = confront([*cpus, analyse_run(write_gpu(tmp_path))]).pairings
    lines = {line.measure: line for line in found.lines}
    assert lines["total_per_million"].cpu.value == pytest.approx(20 + 1 / 3.6)


def test_a_pue_that_differs_leaves_the_boundary_of_the_node(tmp_path):
    cpus = write_twice(tmp_path, pue=1.5)
    gpu = analyse_run(write_gpu(tmp_path, cost=COST | {"pue": 1.2}))
    [found] = confront([*cpus, gpu]).pairings
    assert found.boundary == "node"


def test_of_several_ranks_on_a_node_the_most_are_compared_and_that_is_told(tmp_path):
    one = write_cpu(tmp_path, run_id="run-1", threads=4)
    two = write_cpu(tmp_path, run_id="run-2", rates=(110.0,), tasks_per_node=2, threads=4)
    results = [analyse_run(run) for run in (two, one, write_gpu(tmp_path))]
    [found] = confront(results).pairings
    assert found.ranks == ((1, 2), (2,))
    assert {line.measure: line for line in found.lines}["images_per_s"].cpu.value == pytest.approx(110)
    assert "measured with 1 and 2 ranks on 1 node with CPUs: the most are compared" in (
        make_cpu_gpu_chapter(results).tables[0].captions
    )


def test_the_audit_looks_at_every_launch(tmp_path):
    """What one launch did not do, the side did not do, wherever it stands in the order."""
    good = analyse_run(write_cpu(tmp_path, run_id="run-1"))
    half = TWO_SOCKETS | {"cores": (0, 1, 2, 3), "sockets": (0,), "affinity": (0, 1, 2, 3)}
    bad = analyse_run(write_cpu(tmp_path, run_id="run-2", how={"host": half}))
    gpu = analyse_run(write_gpu(tmp_path))
    for results in ([good, bad, gpu], [bad, good, gpu]):
        [found] = confront(results).pairings
        assert ask(found)["all cores compute"][0] == "failed"
        per_device = {line.measure: line for line in found.lines}["images_per_s_per_device"]
        assert per_device.cpu.value.missing == (
            "its launches were not on the same: 1 node, 1 of 2 sockets, 4 of 8 cores; 1 node, 2 sockets, 8 cores"
        )


def test_energy_of_boards_is_not_held_against_energy_of_packages(tmp_path):
    found, lines = pair(write_cpu(tmp_path), write_gpu(tmp_path, meters={"node1": boards()}))
    assert isinstance(found.boundary, Missing)
    assert "device: A has 1 CPU package, 1 DRAM" in found.boundary.missing
    assert isinstance(lines["images_per_j"].ratio.value, Missing)
    # The rest is reported.
    assert lines["images_per_s"].ratio.value == pytest.approx(100)


# ---- To an accuracy ----


def learn(store, cpu=0.99, gpu=0.985, **asked):
    digits = {"model": "lenet", "data": "digits"}
    return pair(
        write_cpu(store, how={"accuracy": cpu, "host": TWO_SOCKETS}, **digits),
        write_gpu(store, how={"accuracy": gpu}, **digits),
        **asked,
    )


def test_time_and_energy_to_an_accuracy_by_hand(tmp_path):
    _, lines = learn(tmp_path, accuracy=0.98)
    # 42 steps of 64 images at 100/s; 402 steps of 128 images at 10,000/s: warm-up trains too.
    cpu_s, gpu_s = 42 * 0.64, 402 * 0.0128
    assert lines["time_to_accuracy_s"].cpu.value == pytest.approx(cpu_s, rel=0.01)
    assert lines["time_to_accuracy_s"].gpu.value == pytest.approx(gpu_s, rel=0.01)
    assert lines["time_to_accuracy_s"].ratio.value == pytest.approx(gpu_s / cpu_s, rel=0.01)
    # 2 J/image and 0.07 J/image, for all images.
    assert lines["energy_to_accuracy_j"].cpu.value == pytest.approx(2.0 * 42 * 64, rel=1e-3)
    assert lines["energy_to_accuracy_j"].gpu.value == pytest.approx(0.07 * 402 * 128, rel=1e-3)


def test_who_has_not_reached_it_has_no_time(tmp_path):
    _, lines = learn(tmp_path, gpu=0.97, accuracy=0.98)
    line = lines["time_to_accuracy_s"]
    assert line.gpu.value.missing == "launch 1 has reached 97.0 %, not 98 %: more --epochs or --steps"
    assert line.cpu.value == pytest.approx(42 * 0.64, rel=0.01)
    assert isinstance(line.ratio.value, Missing)


def test_nobody_asked_for_an_accuracy(tmp_path):
    _, lines = learn(tmp_path)
    assert "--accuracy" in lines["time_to_accuracy_s"].cpu.value.missing


@pytest.mark.parametrize(("text", "accuracy"), [("98%", 0.98), ("0.98", 0.98), ("100 %", 1.0), (None, None)])
def test_an_accuracy_is_read(text, accuracy):
    assert read_accuracy(text) == accuracy


@pytest.mark.parametrize("text", ["98", "0", "-1%", "much", "nan", "101%", ""])
def test_what_is_no_accuracy_is_told(text):
    with pytest.raises(Mistake, match=r"a part of the whole is needed\. Write --accuracy 98%"):
        read_accuracy(text)


def test_prices_are_read_from_the_site_file_that_is_named(tmp_path, monkeypatch):
    site = tmp_path / "today.toml"
    site.write_text('[cost]\ncurrency = "EUR"\nnode_price = 5\n[power]\npue = 1.2\n')
    pricing = read_pricing(str(site))
    assert (pricing.cost.node_price.value, pricing.pue, pricing.source) == (5, 1.2, "today.toml")
    site.write_text('name = "juno"\n')
    with pytest.raises(Mistake, match=r"has no prices\. Add a table \[cost\]"):
        read_pricing(str(site))
    monkeypatch.setenv("HPCDL_SITE", str(site))
    assert read_pricing(None) is None


# ---- The chapter ----


def test_every_format_says_what_is_counted_and_how_the_audit_went(tmp_path):
    content = report.build([analyse_run(write_cpu(tmp_path)), analyse_run(write_gpu(tmp_path))])
    [table] = json.loads(as_json.render(content))["cpu_gpu"]
    assert table["cpu_counted"].startswith("1 node, 2 sockets, 8 cores")
    assert table["gpu_counted"] == "1 node, 2 GPUs (NVIDIA H100 80GB HBM3)"
    assert table["boundary"] == "node"
    rows = {row["key"]: row for row in table["rows"]}
    assert rows["images_per_s"]["gpu_over_cpu"]["value"] == pytest.approx(100)
    # Nobody asked for an accuracy: nothing is said of one.
    assert "time_to_accuracy_s" not in rows
    for text in (as_terminal.write(content, width=120), as_markdown.render(content)):
        flat = " ".join(text.replace("\\", "").split())
        assert "counted: 1 node, 2 sockets, 8 cores" in flat
        assert "audit of the CPU side: 10 held, 1 failed, 0 could not be looked at" in flat
        assert "100.00 x" in flat


def test_the_picture_says_what_stands_under_each_bar(tmp_path):
    results = [analyse_run(write_cpu(tmp_path)), analyse_run(write_gpu(tmp_path))]
    content = report.build(results, pictured=True)
    picture = next(one for one in content.pictures if one.key == "cpu-gpu")
    assert isinstance(picture.form, Bars)
    assert [(label, dot.y) for label, _, dot in picture.form.bars] == [
        ("1 node, 2 sockets, 8 cores", pytest.approx(100)),
        ("1 node, 2 GPUs", pytest.approx(10_000)),
    ]
    assert "audit of the CPU side" in picture.caption


def test_one_side_alone_says_nothing(tmp_path):
    data = json.loads(as_json.render(report.build([analyse_run(write_gpu(tmp_path))])))
    assert data["cpu_gpu"] == []
