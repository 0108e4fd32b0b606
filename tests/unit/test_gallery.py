"""Pictures of what was found: the numbers in them are those of the tables, and marks go along."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hpcdl import report
from hpcdl.analysis.job import analyse_run
from hpcdl.durable import publish_record
from hpcdl.report import as_json
from hpcdl.report.gallery.steps import MOST_COLUMNS, _map_ranks
from hpcdl.report.pictures import HeatMap, Lines, Scatter, Stack
from tests.unit.cost_runs import boards, write_cpu, write_gpu
from tests.unit.records_maker import Recording, make_step, record, tabulate, write_run
from tests.unit.test_communication import make_probe
from tests.unit.test_report import RUNS, digits_run, energy_run, killed_run, rehearsal_run, scaling_run


def draw(make, store, *, force=False):
    content = report.build([analyse_run(run) for run in make(store)], force=force, pictured=True)
    return content, {picture.key: picture for picture in content.pictures}


def find(picture, name):
    return next(series for series in picture.form.series if series.name.startswith(name))


def test_speed_up_and_efficiency_are_the_tables(tmp_path):
    content, pictures = draw(scaling_run, tmp_path)
    [table] = json.loads(as_json.render(content))["scaling"]
    speed_up, efficiency = find(pictures["speed-up"], "measured"), find(pictures["efficiency"], "measured")
    assert [dot.y for dot in speed_up.dots] == [row["speed_up"]["value"] for row in table["rows"]]
    assert [(dot.y, dot.low) for dot in efficiency.dots[1:]] == [
        (row["efficiency"]["value"], row["efficiency"]["low"]) for row in table["rows"][1:]
    ]
    assert [(dot.x, dot.y) for dot in find(pictures["speed-up"], "ideal").dots] == [(1, 1), (2, 2), (4, 4)]
    law = find(pictures["speed-up"], "fit")
    assert law.role == "predicted"
    assert law.dots[-1].low < 3.69 < law.dots[-1].high


def test_a_rehearsal_has_throughput_and_no_speed_up(tmp_path):
    _, pictures = draw(rehearsal_run, tmp_path / "plain")
    assert "speed-up" not in pictures
    assert [dot.y for dot in find(pictures["throughput"], "measured").dots] == pytest.approx([1000, 1400])
    assert all("REHEARSAL" in picture.subtitle for picture in pictures.values())
    _, forced = draw(rehearsal_run, tmp_path / "forced", force=True)
    assert find(forced["speed-up"], "measured on one machine").role == "withheld"
    assert "REHEARSAL" in forced["speed-up"].subtitle


def test_what_did_not_complete_is_not_drawn(tmp_path):
    _, pictures = draw(killed_run, tmp_path)
    assert not pictures.keys() - {"phases"}


def test_phases_add_up_and_a_single_launch_has_them_in_its_table(tmp_path):
    _, pictures = draw(scaling_run, tmp_path / "several")
    form = pictures["phases"].form
    assert isinstance(form, Stack)
    assert [label for label, _ in form.bars][:2] == ["#1: 1 rank", "#2: 2 ranks on 2 nodes"]
    for _, parts in form.bars:
        assert sum(value for _, value in parts) == pytest.approx(1)
    _, pictures = draw(digits_run, tmp_path / "single")
    assert "phases" not in pictures


def test_power_over_time_shades_the_window(tmp_path):
    """Planted: boards of 320 and 340 W on two nodes from 95 to 145 s; the window lies between them."""
    content, pictures = draw(energy_run, tmp_path)
    form = pictures["power-2"].form
    assert isinstance(form, Lines)
    board = find(pictures["power-2"], "GPU-node1-0")
    assert [dot.y for dot in board.dots] == pytest.approx([320.0] * len(board.dots))
    [stretch] = form.stretches
    assert board.dots[0].x < stretch.begin == 0 < stretch.end < board.dots[-1].x
    energy = json.loads(as_json.render(content))["energy"]
    assert stretch.end == pytest.approx(energy[-1]["window_s"]["value"])
    assert find(pictures["power-2"], "CPU (estimated) on node2").role == "estimated"
    assert pictures["power-2"].subtitle.startswith("part ESTIMATED · run k3f9, launch 2")


def test_throughput_stands_against_power_at_one_boundary(tmp_path):
    content, pictures = draw(energy_run, tmp_path)
    data = json.loads(as_json.render(content))
    for boundary, role in (("device", "measured"), ("node", "estimated")):
        form = pictures[f"power-throughput-{boundary}"].form
        assert isinstance(form, Scatter)
        [series] = form.series
        assert series.role == role
        watts = [row["average_w"]["value"] for row in data["energy"] if row["boundary"] == boundary]
        assert [dot.x for dot in series.dots] == watts
        assert [dot.y for dot in series.dots] == [row["images_per_s"]["value"] for row in data["launches"]]


def draw_throughput(*runs):
    """The pictures of throughput against power: subtitle -> names of series with their numbers of dots."""
    content = report.build([analyse_run(run) for run in runs], pictured=True)
    found = [picture for picture in content.pictures if picture.key.startswith("power-throughput")]
    assert len({picture.key for picture in found}) == len(found)
    return {
        picture.subtitle.partition("boundary ")[2]: [(one.name, len(one.dots)) for one in picture.form.series]
        for picture in found
    }


def test_throughput_of_two_networks_stands_apart_by_name(tmp_path):
    small = write_gpu(tmp_path)
    large = write_gpu(tmp_path, run_id="large", model="overfeat", rates=(3000.0,), steps=150)
    drawn = draw_throughput(small, large)
    # At the device and at the node.
    assert list(drawn.values()) == [[("AlexNet", 1), ("OverFeat, accurate", 1)]] * 2


def test_watts_of_unlike_things_are_pictures_of_their_own(tmp_path):
    cpus = [write_cpu(tmp_path, run_id=name) for name in ("cpu-a", "cpu-b")]
    gpus = [write_gpu(tmp_path, run_id=name, meters={"node1": boards()}) for name in ("gpu-a", "gpu-b")]
    drawn = draw_throughput(*cpus, *gpus)
    assert [(what.split(",")[0], series) for what, series in drawn.items()] == [
        ("device: CPU packages", [("AlexNet", 2)]),
        ("device: GPU boards", [("AlexNet", 2)]),
    ]
    # One dot of a kind is no picture.
    assert draw_throughput(cpus[0], gpus[0]) == {}


def test_the_map_of_ranks_shows_the_slow_one(tmp_path):
    _, pictures = draw(scaling_run, tmp_path)
    # Of the two launches on four nodes the first; the name says which.
    form = pictures["ranks-3"].form
    assert pictures["ranks-3"].subtitle.startswith("run k3f9, launch 3: AlexNet")
    assert isinstance(form, HeatMap)
    assert form.rows == ("0 node1", "1 node2", "2 node3", "3 node4")
    assert len(form.columns) == 40
    steps = tabulate(
        make_step(rank, step, step_s=2.0 if rank == 2 else 1.0) for rank in range(4) for step in range(300)
    )
    ranks, columns, values = _map_ranks(steps)
    assert (ranks, columns[0], columns[-1]) == ([0, 1, 2, 3], "0-2", "297-299")
    assert values.shape == (4, 100)
    assert values[2] == pytest.approx(np.full(100, 1.5))
    assert values[1] == pytest.approx(np.full(100, 0.75))


def test_steps_that_a_rank_lacks_are_no_number():
    steps = tabulate([*(make_step(0, step) for step in range(4)), make_step(1, 0)])
    _, columns, values = _map_ranks(steps)
    assert columns == ("0", "1", "2", "3")
    assert np.isnan(values).tolist() == [[False] * 4, [False, True, True, True]]


@pytest.mark.parametrize("count", [1, 119, 120, 121, 1000, 7919])
def test_the_map_has_a_column_for_every_step_and_not_too_many(count):
    steps = tabulate(make_step(0, step) for step in range(count))
    _, columns, values = _map_ranks(steps)
    assert len(columns) == values.shape[1] <= MOST_COLUMNS
    assert columns[-1].split("-")[-1] == str(count - 1)
    assert not np.isnan(values).any()


def test_bandwidth_and_links_of_a_probe(tmp_path):
    run = write_run(tmp_path, nodes=(4,), launches={"probe": "only"})
    folder = record(run, 1, Recording(summarised=False))
    publish_record(folder.probe_path, make_probe(4, slow=({1, 3},)))
    content = report.build([analyse_run(run)], pictured=True)
    pictures = {picture.key: picture for picture in content.pictures}
    [table] = json.loads(as_json.render(content))["probes"]
    dots = find(pictures["allreduce"], "allreduce").dots
    assert [dot.y for dot in dots] == pytest.approx(
        [row["bus_bytes_per_s"]["value"] for row in table["rows"]]
    )
    assert "slow: node2 to node4" in pictures["links-mpi"].alt
    assert pictures["links-mpi"].form.values[1][3] == pytest.approx(1e8)
    assert pictures["links-mpi"].form.values[1][1] is None


@pytest.mark.parametrize("name", RUNS)
def test_every_picture_can_be_told_in_words_and_has_a_name_of_its_own(name, tmp_path):
    content, pictures = draw(RUNS[name], tmp_path)
    assert len(pictures) == len(content.pictures)
    assert all(picture.alt.endswith((".", "%")) or picture.key == "phases" for picture in pictures.values())
    assert all(picture.title and picture.subtitle for picture in pictures.values())


def test_texts_behind_the_numbers(tmp_path):
    content, _ = draw(scaling_run, tmp_path)
    sources = {source.key: source.text for source in content.sources}
    assert sources["script"] == "#!/bin/bash\n"
    assert json.loads(sources["plan"])["benchmark"]["train"]["model"] == "alexnet"
    assert json.loads(sources["environment"])["versions"]["torch"] == "2.13.0"


def test_without_pictures_none_are_made(tmp_path):
    content = report.build([analyse_run(run) for run in scaling_run(tmp_path)])
    assert content.pictures == content.sources == ()
