"""Published figures: as they stand in the sources, and through the arithmetic that serves measurements."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpcdl import references
from hpcdl.analysis.gains import Rate, compare_rates
from hpcdl.analysis.job import analyse_run
from hpcdl.analysis.published import published_rates, work_out
from hpcdl.analysis.scaling import compare_sizes
from hpcdl.errors import Mistake, UnknownName
from hpcdl.frozen import parse
from hpcdl.records import Missing
from hpcdl.references import (
    Reference,
    Series,
    find_reference,
    find_system,
    load_references,
    read_reference,
)
from hpcdl.report import as_json, as_markdown, as_terminal
from hpcdl.report.published import describe_published, list_published
from hpcdl.report.published_pictures import make_published_picture
from tests.unit.records_maker import Recording, record, write_run
from tests.unit.test_report import compare

WRITERS = {
    "md": as_markdown.render,
    "json": as_json.render,
    "80.txt": lambda content: as_terminal.write(content, width=80),
    "120.txt": lambda content: as_terminal.write(content, width=120),
}
NAMES = sorted(path.stem for path in references.FOLDER.glob("*.toml"))
GOLDEN = ["tensorflow-dgx-1", "convnet-alexnet-owt", "data-centre-pair", "training-task"]


def points_of(name, series=0):
    return work_out(find_reference(name).series[series])


def test_all_files_are_of_the_schema_and_say_what_they_leave_out():
    assert list(load_references()) == NAMES
    assert len(NAMES) == 10
    for reference in load_references().values():
        assert reference.source.document
        assert len(reference.conditions.leaves_out) > 20


def test_the_files_come_with_the_package():
    assert Path(references.__file__).with_name("published") == references.FOLDER


# ---- The rows as published ----


def test_the_dgx_1_row():
    points = points_of("tensorflow-dgx-1")
    assert [point.images_per_s for point in points] == [2987, 5658, 10509, 17822]
    assert [round(point.gain.efficiency, 3) for point in points[1:]] == [0.947, 0.880, 0.746]
    assert [round(point.gain.karp_flatt, 3) for point in points[1:]] == [0.056, 0.046, 0.049]
    assert isinstance(points[0].gain.karp_flatt, Missing)
    assert not any(point.computed for point in points)


def test_the_published_row_and_a_measured_one_are_one_arithmetic(tmp_path):
    """The same rates as a measured sweep: the very same numbers."""
    published = points_of("tensorflow-dgx-1")
    run = write_run(tmp_path, nodes=(1, 2, 4, 8), batch=512)
    for index, point in enumerate(published, start=1):
        record(run, index, Recording(images_per_s=point.images_per_s))
    [table] = compare_sizes([analyse_run(run)]).tables
    for mine, theirs in zip(table.points, published, strict=True):
        assert mine.speed_up == pytest.approx(theirs.gain.speed_up)
        assert mine.efficiency == pytest.approx(theirs.gain.efficiency)
        if mine.relative > 1:
            assert mine.karp_flatt == pytest.approx(theirs.gain.karp_flatt)


def test_real_data_end_where_the_source_does():
    points = points_of("tensorflow-dgx-1", series=1)
    assert [point.images_per_s for point in points[:3]] == [2890, 4448, 7105]
    assert isinstance(points[3].images_per_s, Missing)
    assert isinstance(points[3].gain.efficiency, Missing)


def test_the_k80_row():
    points = points_of("tensorflow-gce-k80")
    assert points[1].gain.speed_up == pytest.approx(7.07, abs=0.005)  # 4640 / 656
    assert points[1].gain.efficiency == pytest.approx(4640 / 656 / 8)


def test_rates_of_convnet_benchmarks_are_computed_and_say_so():
    owt, overfeat = points_of("convnet-alexnet-owt"), points_of("convnet-overfeat-fast")
    assert [point.row.step_s for point in owt] == [0.081, 0.071, 0.324]
    assert [point.row.forward_s for point in overfeat] == [0.094, 0.086, 0.355]
    assert owt[0].images_per_s == pytest.approx(128 / 0.081)
    assert owt[0].computed == "128 images / 0.081 s"
    assert owt[0].gain is None


def test_a_speed_up_that_was_read_is_over_the_base_that_the_source_gives():
    [flow] = points_of("gradientflow")
    assert flow.gain.speed_up == 410.2
    # The source's own 80 % is over one GPU.
    assert flow.gain.relative == 512
    assert flow.gain.efficiency == pytest.approx(0.80, abs=0.005)
    assert flow.gain.karp_flatt == pytest.approx((1 / 410.2 - 1 / 512) / (1 - 1 / 512))
    assert isinstance(flow.images_per_s, Missing)


@pytest.mark.parametrize("series", range(3))
def test_without_a_base_nothing_follows_from_an_efficiency(series):
    """90 % of 512 GPUs is a speed-up of 460.8 over one GPU, and of 115.2 over one server: the source says neither."""
    [point] = points_of("horovod-512", series)
    assert point.gain.efficiency == (0.90, 0.90, 0.68)[series]
    for reading in (point.gain.relative, point.gain.speed_up, point.gain.karp_flatt):
        assert reading.missing == "the source does not say over how many devices"
    report = describe_published("horovod-512")
    row = json.loads(as_json.render(report))["series"][series]["rows"][0]
    assert row["efficiency"] == {"value": point.gain.efficiency, "unit": "fraction"}
    assert row["speed_up"]["missing"] == row["karp_flatt"]["missing"]
    assert report.pictures == ()
    assert "460" not in as_markdown.render(report)


def series_of(*rows, **options):
    return Series.model_validate({"label": "all", "network": "mine", "rows": rows, **options})


def test_a_base_of_several_devices_is_what_efficiencies_are_over():
    four, eight = work_out(
        series_of({"devices": 4, "efficiency": 1.0}, {"devices": 8, "efficiency": 0.75}, base_devices=4)
    )
    assert (four.gain.relative, four.gain.speed_up) == (1, 1)
    assert (eight.gain.relative, eight.gain.speed_up, eight.gain.efficiency) == (2, 1.5, 0.75)
    # (1/1.5 - 1/2) / (1 - 1/2)
    assert eight.gain.karp_flatt == pytest.approx(1 / 3)


def test_a_speed_up_without_a_base_is_what_was_read_and_no_more():
    [point] = work_out(series_of({"devices": 8, "speed_up": 6.0}))
    assert point.gain.speed_up == 6.0
    assert isinstance(point.gain.efficiency, Missing)
    assert isinstance(point.gain.karp_flatt, Missing)


def test_systems_and_task_are_those_of_the_document():
    _, google = find_system("published:google-data-centre")
    _, stanford = find_system("stanford-ai-lab")
    assert (google.servers, google.cpus, google.cores, google.power_w, google.price) == (
        1000,
        2000,
        16000,
        6e5,
        5e6,
    )
    assert (stanford.servers, stanford.gpus, stanford.cores) == (3, 12, 18432)
    assert (stanford.power_w, stanford.price, stanford.currency) == (4000, 33000, "USD")
    [row] = json.loads(as_json.render(describe_published("dgx-1")))["systems"]
    assert row["peak_flops_per_j"]["value"] == pytest.approx(53.1e9, rel=1e-3)  # 170e12 / 3200
    [task] = find_reference("training-task").tasks
    assert (task.images, task.parameters, task.flop, task.gpu_days) == ((10**7, 10**8), 10**9, 30e18, (1, 30))


# ---- Arithmetic ----


def test_gains_are_over_the_fewest_ranks_wherever_these_stand():
    larger, base = compare_rates([Rate(8, 300.0), Rate(2, 100.0)])
    assert (larger.relative, larger.speed_up, larger.efficiency) == (4, 3, 0.75)
    # (1/3 - 1/4) / (1 - 1/4)
    assert larger.karp_flatt == pytest.approx(1 / 9)
    assert base.speed_up == 1


def test_without_a_base_there_is_no_gain():
    gain = compare_rates([Rate(1, Missing(missing="nobody measured")), Rate(2, 3.0)])[1]
    assert gain.speed_up.missing == "there is no base to compare with: nobody measured"


# ---- What stands beside a run ----


def test_only_the_very_same_network_stands_beside_a_run():
    assert published_rates("alexnet") == ()
    labels = [rate.label for rate in published_rates("alexnet_owt")]
    assert labels == [
        f"Titan X (Maxwell), {how}" for how in ("cuDNN R4, fp32", "cuDNN R4, fp16", "Caffe, native")
    ]
    assert all("leaves out dropout" in rate.conditions for rate in published_rates("overfeat-fast"))
    with pytest.raises(UnknownName, match="alxnet"):
        published_rates("alxnet")


def test_the_hybrid_is_said_to_be_one():
    for name in ("tensorflow-dgx-1", "tensorflow-gce-k80"):
        reference = find_reference(name)
        assert "neither hpcdl's alexnet nor its alexnet-owt" in " ".join(
            reference.conditions.leaves_out.split()
        )
        assert all("hybrid" in series.label and series.same_as is None for series in reference.series)


def test_published_bars_beside_yours(tmp_path):
    run = write_run(tmp_path, model="alexnet-owt", batch=128)
    record(run, 1, Recording(images_per_s=500.0))
    picture = make_published_picture([analyse_run(run)])
    assert [role for _, role, _ in picture.form.bars] == ["measured", "published", "published", "published"]
    label, _, dot = picture.form.bars[0]
    assert label.startswith("you: 1 rank, fp32")
    assert dot.y == pytest.approx(500.0)
    assert dot.low < 500.0 < dot.high
    assert "Titan X" in picture.alt
    assert "leaves out dropout" in picture.caption
    assert "REHEARSAL" not in picture.subtitle


def test_a_rehearsal_beside_published_figures_says_so(tmp_path):
    run = write_run(tmp_path, model="overfeat-fast", nodes=(2,), batch=32)
    record(run, 1, Recording(images_per_s=50.0, one_machine=True))
    assert make_published_picture([analyse_run(run)]).subtitle.startswith("REHEARSAL")


def test_of_other_networks_there_is_no_such_picture(tmp_path):
    run = write_run(tmp_path)
    record(run, 1)
    assert make_published_picture([analyse_run(run)]) is None


def test_the_picture_of_a_published_speed_up():
    [picture] = describe_published("tensorflow-dgx-1").pictures
    ideal, synthetic, real = picture.form.series
    assert (ideal.role, synthetic.role, real.role) == ("ideal", "published", "published")
    assert [dot.x for dot in synthetic.dots] == [1, 2, 4, 8]
    assert len(real.dots) == 3
    assert ideal.dots[-1].x == ideal.dots[-1].y == 8
    assert "not measured here" in picture.subtitle


# ---- The report ----


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("suffix", WRITERS)
def test_golden(name, suffix):
    compare(f"published-{name}.{suffix}", WRITERS[suffix](describe_published(name)))


@pytest.mark.parametrize("suffix", WRITERS)
def test_golden_list(suffix):
    compare(f"published.{suffix}", WRITERS[suffix](list_published()))


@pytest.mark.parametrize("name", NAMES)
def test_every_reference_shows_source_and_what_it_leaves_out(name):
    reference = find_reference(name)
    for width in (80, 120):
        text = as_terminal.write(describe_published(name), width=width)
        assert max(map(len, text.splitlines())) <= width
        flat = " ".join(text.split())
        assert "(as published)" in flat
        assert reference.source.document.split(",")[0] in flat
        assert "leaves out" in flat


def test_json_tells_computed_numbers_from_read_ones():
    data = json.loads(as_json.render(describe_published("convnet-alexnet-owt")))
    [series] = data["series"]
    row = series["rows"][0]
    assert row["images_per_s"] == {"value": pytest.approx(1580.2469), "unit": "images/s", "mark": "computed"}
    assert row["step_s"] == {"value": 0.081, "unit": "s"}
    assert series["same_as"] == "alexnet-owt"


# ---- Bad files ----

SOUND = {
    "name": "mine",
    "title": "Mine",
    "source": {"document": "a paper"},
    "conditions": {"leaves_out": "everything that matters"},
    "series": [{"label": "all", "network": "mine", "rows": [{"devices": 1, "images_per_s": 10}]}],
}
BAD = {
    "no source": ({"source": {}}, "document"),
    "nothing left out": ({"conditions": {}}, "leaves_out"),
    "no figures": ({"series": []}, "there are no figures"),
    "two figures": (
        {"series": [{**SOUND["series"][0], "rows": [{"images_per_s": 1, "step_s": 1}]}]},
        "exactly one",
    ),
    "no figure": ({"series": [{**SOUND["series"][0], "rows": [{"devices": 1}]}]}, "exactly one"),
    "twice": ({"series": [{**SOUND["series"][0], "rows": [{"images_per_s": 1}] * 2}]}, "two rows"),
    "below zero": ({"series": [{**SOUND["series"][0], "rows": [{"images_per_s": -1}]}]}, "greater than 0"),
    "above ideal": (
        {"series": [{**SOUND["series"][0], "rows": [{"devices": 2, "efficiency": 1.2}]}]},
        "less than",
    ),
    "of nothing": ({"series": [{**SOUND["series"][0], "rows": [{"speed_up": 2}]}]}, "some number of devices"),
    "base of nothing": (
        {"series": [{**SOUND["series"][0], "base_devices": 1}]},
        "base_devices is the base of a speed-up or an efficiency",
    ),
    "another network": (
        {"series": [{**SOUND["series"][0], "same_as": "alxnet"}]},
        "none of hpcdl's networks",
    ),
    "no currency": ({"systems": [{"name": "a", "title": "A", "price": 3}]}, "stand together"),
    "unknown key": ({"titel": "Mine"}, "Did you mean 'title'?"),
    "order": (
        {"tasks": [{"label": "a", "images": [2, 1], "parameters": 1, "flop": 1, "gpu_days": [1, 2]}]},
        "from the least to the most",
    ),
}


def test_a_sound_reference_is_one():
    assert Reference.model_validate(SOUND).name == "mine"


@pytest.mark.parametrize("name", BAD)
def test_bad_references_are_refused_with_their_key(name, tmp_path):
    changes, words = BAD[name]
    with pytest.raises(Mistake) as refused:
        parse(Reference, SOUND | changes, where="mine.toml")
    assert words in str(refused.value)


def test_a_file_is_called_as_its_reference(tmp_path):
    path = tmp_path / "other.toml"
    path.write_text((references.FOLDER / "dgx-1.toml").read_text(encoding="utf-8"))
    with pytest.raises(Mistake, match="the file is called 'other'"):
        read_reference(path)


def test_unknown_names_have_a_nearest():
    with pytest.raises(UnknownName) as unknown:
        find_reference("dgx1")
    assert "Did you mean 'dgx-1'?" in str(unknown.value)
    with pytest.raises(UnknownName) as unknown:
        find_system("published:standford-ai-lab")
    assert "Did you mean 'stanford-ai-lab'?" in str(unknown.value)
