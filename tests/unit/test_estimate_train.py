"""Time to train: hand-computed cases, where measurement ends, what is typed, and the commands themselves."""

from __future__ import annotations

import json
import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl import cli
from hpcdl.analysis.cost import study_costs
from hpcdl.analysis.job import analyse_run
from hpcdl.analysis.readings import Withheld
from hpcdl.analysis.sweep import gather_sweeps
from hpcdl.analysis.tariffs import choose_tariff
from hpcdl.analysis.training_time import Goal, Work, count_images, estimate_training
from hpcdl.cli import look
from hpcdl.cli.amounts import FACTORS, SECONDS, read_amount, read_deadline
from hpcdl.errors import Mistake
from hpcdl.networks import NETWORKS
from hpcdl.prices import Cost, Pricing
from hpcdl.records import Missing
from hpcdl.report import as_json, as_markdown, as_terminal
from hpcdl.report.trainings import describe_trainings
from hpcdl.store import RunFolder, publish_record
from tests.unit import records_maker
from tests.unit.cost_runs import write_cpu
from tests.unit.estimate_runs import COST, measure, price
from tests.unit.test_report import compare, settle

WRITERS = {
    "md": as_markdown.render,
    "json": as_json.render,
    "80.txt": lambda content: as_terminal.write(content, width=80),
    "120.txt": lambda content: as_terminal.write(content, width=120),
}
# Amdahl's form exactly, with X(1) = 1000 and s = 0.05.
AMDAHL = {1: 1000.0, 2: 2000 / 1.05, 4: 4000 / 1.15}
DAY_S = 86_400.0


def estimate(run, images=86.4e6, *, tariff=None, deadline_s=None, force=False, **how):
    """86.4 million images are a day's work at 1000 images/s."""
    [sweep] = gather_sweeps([run], force=force)
    return estimate_training(sweep, Goal(images, "so many images", deadline_s), tariff or price(), **how)


def times_of(found):
    return {time.spot.nodes: time for time in found.times}


# ---- How much there is to do ----


def test_images_are_counted_each_as_often_as_it_is_seen():
    assert count_images("alexnet", Work(images=1e8, epochs=90))[0] == 9e9
    total, how = count_images("alexnet", Work(images=1e6))
    assert (total, how) == (1e6, "1,000,000 images, once")


@pytest.mark.parametrize("model", NETWORKS)
def test_arithmetic_becomes_images_by_the_layer_table(model):
    total, how = count_images(model, Work(flop=30e18))
    assert total * NETWORKS[model].train_flops == pytest.approx(30e18)
    assert how.startswith("30 EFLOP at ")


def test_thirty_exaflop_of_alexnet():
    # 4,135,610,496 FLOP an image.
    assert count_images("alexnet", Work(flop=30e18))[0] == pytest.approx(7.254e9, rel=1e-3)


def test_nothing_to_do_is_a_mistake():
    with pytest.raises(Mistake, match="not said"):
        count_images("alexnet", Work())


# ---- Hand-computed ----


def test_hours_days_energy_and_money_as_measured(tmp_path):
    """A day on one node of two boards of 300 W: 14.4 kWh, and its part of 20,000 EUR over 5 x 0.8 years."""
    found = estimate(measure(tmp_path, "a", AMDAHL, watts=300.0), boundary="device")
    one = times_of(found)[1]
    assert one.spot.basis == "measured"
    assert one.seconds.value == pytest.approx(DAY_S)
    assert one.seconds.interval.low < DAY_S < one.seconds.interval.high
    assert one.node_days.value == pytest.approx(1.0)
    assert one.energy.joules.value == pytest.approx(600 * DAY_S, rel=1e-3)
    assert one.energy.joules.interval.low < 600 * DAY_S < one.energy.joules.interval.high
    assert one.electricity.value == pytest.approx(14.4 * 0.25, rel=1e-3)
    # 20,000 / (5 years of 365.25 days x 0.8) = 13.69 EUR a day.
    assert one.capital.value == pytest.approx(20_000 / (5 * 365.25 * 0.8))
    assert one.cost.value == pytest.approx(3.6 + 13.689, rel=1e-3)
    assert one.cost.interval.low < one.cost.value < one.cost.interval.high


def test_on_cpus_days_of_nodes_and_of_cores(tmp_path):
    found = estimate(measure(tmp_path, "a", AMDAHL))
    assert found.devices == "core"
    cores = found.sweep.launches[-1].plan.cpus_per_task
    assert times_of(found)[1].device_days.value == pytest.approx(cores)
    [table] = json.loads(as_json.render(describe_trainings([found])))["training"]
    assert table["rows"][0]["gpu_days"] is None
    assert table["rows"][0]["core_days"]["unit"] == "days"


def test_on_gpus_days_of_gpus(tmp_path, monkeypatch):
    plain = records_maker.make_host

    def with_gpu(launch, rank, how):
        host = plain(launch, rank, how)
        return host.model_copy(update={"gpu": "NVIDIA H100", "gpu_uuid": f"GPU-{host.host}-{rank}"})

    monkeypatch.setattr(records_maker, "make_host", with_gpu)
    found = estimate(measure(tmp_path, "a", {1: 2000.0, 2: 3900.0}, tasks_per_node=2))
    assert found.devices == "GPU"
    # Half a day on two GPUs.
    assert times_of(found)[1].device_days.value == pytest.approx(1.0)
    assert "GPU-days" in as_terminal.write(describe_trainings([found]), width=140)


def test_beyond_the_measured_sizes_the_law_takes_over_and_says_so(tmp_path):
    found = estimate(measure(tmp_path, "a", AMDAHL, watts=300.0))
    assert [(time.spot.nodes, time.spot.basis) for time in found.times] == [
        (1, "measured"),
        (2, "measured"),
        (4, "measured"),
        (8, "model"),
        (16, "model"),
        (32, "model"),
    ]
    eight = times_of(found)[8]
    # 8000 / 1.35 images/s; 8 nodes of 600 W.
    hours = 86.4e6 / (8000 / 1.35)
    assert eight.seconds.value == pytest.approx(hours, rel=1e-3)
    assert eight.energy.joules.value == pytest.approx(8 * 600 * hours, rel=2e-3)
    assert eight.energy.mark == "predicted"
    assert eight.energy.joules.interval is not None
    assert any("each node draws what one of 4 drew" in text for text in found.assumptions)
    text = " ".join(as_terminal.write(describe_trainings([found]), width=120).split())
    assert (
        "measurement ends at 4 nodes; beyond it the Amdahl fit over 3 sizes, no further than 32 nodes" in text
    )
    assert "measured rate" in text
    assert "model (Amdahl fit)" in text


def test_the_law_is_withheld_too_far_out(tmp_path):
    found = estimate(measure(tmp_path, "a", AMDAHL), nodes=(33, 16))
    times = times_of(found)
    assert list(times) == [1, 2, 4, 16, 33]
    assert isinstance(times[33].seconds.value, Withheld)
    assert "more than 8 times" in times[33].seconds.value.missing
    assert times[33].seconds.interval is None


def test_beyond_its_peak_no_size_is_offered(tmp_path):
    run = measure(tmp_path, "a", {1: 1000.0, 2: 1600.0, 4: 2200.0, 8: 2500.0, 16: 2300.0})
    assert [time.spot.nodes for time in estimate(run).times] == [1, 2, 4, 8, 16]


# ---- Deadlines ----


def test_the_smallest_size_by_the_deadline_is_named(tmp_path):
    found = estimate(measure(tmp_path, "a", AMDAHL), deadline_s=DAY_S / 2)
    # 2000 images/s: two nodes do 1905, three 2727.
    assert found.smallest == 3
    assert found.surely == 3
    assert [times_of(found)[nodes].meets for nodes in (1, 2, 3, 4)] == ["no", "no", "yes", "yes"]
    [answer] = json.loads(as_json.render(describe_trainings([found])))["answers"]
    assert answer["smallest_nodes"] == {"value": 3, "unit": "nodes", "mark": "predicted"}
    assert answer["basis"] == "model (Amdahl fit)"
    assert answer["deadline_h"] == {"value": 12, "unit": "h"}


def test_a_deadline_within_the_interval_is_a_perhaps(tmp_path):
    found = estimate(measure(tmp_path, "a", AMDAHL), deadline_s=86.4e6 / (2000 / 1.05))
    assert times_of(found)[2].meets == "perhaps"
    assert (found.smallest, found.surely) in {(2, 4), (3, 3), (3, 4)}


def test_a_deadline_too_far_out_is_withheld_with_its_size(tmp_path):
    found = estimate(measure(tmp_path, "a", AMDAHL), deadline_s=DAY_S / 14)
    assert isinstance(found.smallest, Withheld)
    assert found.smallest.value == 45
    assert "45" not in as_terminal.write(describe_trainings([found]), width=160)
    assert "~~45~~" in as_terminal.write(describe_trainings([found], force=True), width=160)


def test_a_deadline_that_nobody_meets_says_why(tmp_path):
    found = estimate(measure(tmp_path, "a", AMDAHL), deadline_s=DAY_S / 25)
    assert found.smallest.missing.startswith("never: by Amdahl's form")
    assert {time.meets for time in found.times} == {"no"}


def test_of_one_size_only_that_one_is_told(tmp_path):
    run = measure(tmp_path, "a", {2: 2000.0})
    found = estimate(run, deadline_s=DAY_S)
    assert [time.spot.nodes for time in found.times] == [2]
    assert found.smallest == 2
    assert "needs two" in estimate(run, deadline_s=1.0).smallest.missing
    text = " ".join(as_terminal.write(describe_trainings([found])).split())
    assert "only what was measured is shown" in text
    assert "fewer than 2 nodes may do" in text


@pytest.fixture
def by_gpu(tmp_path):
    """1 rank on 1 node and 8 ranks on 2, as they are measured; 4 ranks on 1 node are by the law alone."""
    run = records_maker.write_run(
        tmp_path,
        nodes=(2,),
        tasks_per_node=4,
        launches={"per": "gpu"},
        site={"node": {"gpus": 4, "cores": 8}},
        run_id="a",
    )
    for index, rate in ((1, 1000.0), (2, 7000.0)):
        how = records_maker.Recording(images_per_s=rate, device="gpu", transport="nccl")
        records_maker.record(run, index, how)
    return analyse_run(run)


def test_the_answer_names_the_division_that_meets_the_deadline(by_gpu):
    # 3000 images/s: 1000 on one GPU are too few, and by the law four do more.
    found = estimate(by_gpu, deadline_s=86.4e6 / 3000)
    rows = [(time.spot.nodes, time.spot.ranks, time.spot.basis, time.meets) for time in found.times]
    assert rows[:3] == [(1, 1, "measured", "no"), (1, 4, "model", "yes"), (2, 8, "measured", "yes")]
    [answer] = json.loads(as_json.render(describe_trainings([found])))["answers"]
    assert answer["basis"] == "model (Amdahl fit)"
    assert answer["smallest_nodes"] == {"value": 1, "unit": "nodes", "mark": "predicted"}
    assert answer["surely_nodes"] == {"value": 1, "unit": "nodes", "mark": "predicted"}


def test_an_answer_that_was_measured_has_no_mark(by_gpu):
    # The law's four GPUs of one node do not: 5000 images/s.
    [answer] = json.loads(as_json.render(describe_trainings([estimate(by_gpu, deadline_s=86.4e6 / 5000)])))[
        "answers"
    ]
    assert answer["basis"] == "measured rate"
    assert answer["smallest_nodes"] == {"value": 2, "unit": "nodes"}


# ---- What is not published ----


def test_a_rehearsal_is_withheld_unless_asked_for(tmp_path):
    run = measure(tmp_path, "a", {1: 1000.0, 2: 1400.0}, recording={"one_machine": True})
    found = estimate(run, deadline_s=DAY_S)
    for time in found.times:
        assert isinstance(time.seconds.value, Missing)
        assert isinstance(time.energy.joules.value, Missing)
    content = describe_trainings([found])
    assert (content.badges, content.pictures) == (("REHEARSAL",), ())
    forced = describe_trainings([estimate(run, deadline_s=DAY_S, force=True)], force=True)
    [row, *_] = json.loads(as_json.render(forced))["training"][0]["rows"]
    assert row["time_h"]["mark"] == "rehearsal"
    assert all("REHEARSAL" in picture.subtitle for picture in forced.pictures)


def test_a_withheld_rate_stays_withheld_in_all_that_follows(tmp_path):
    run = measure(tmp_path, "a", {1: 1000.0}, watts=300.0, steps=20)
    [time] = estimate(run).times
    for bounded in (time.seconds, time.node_days, time.energy.joules, time.cost):
        assert isinstance(bounded.value, Missing)
    assert "20 steps are too few" in time.seconds.value.missing
    assert describe_trainings([estimate(run)]).pictures == ()


def test_without_meters_and_prices_the_rest_is_told(tmp_path):
    found = estimate(measure(tmp_path, "a", AMDAHL), tariff=price(without=["utilisation"]))
    one = times_of(found)[1]
    assert one.energy.joules.value.missing == "power was not sampled (--no-power)"
    assert "add utilisation to [cost]" in one.capital.value.missing
    assert isinstance(one.cost.value, Missing)
    assert one.seconds.value == pytest.approx(DAY_S)


def test_the_widest_boundary_or_the_one_that_is_named(tmp_path):
    run = measure(tmp_path, "a", AMDAHL, watts=300.0, site={"power": {"pue": 1.5}})
    tariff = choose_tariff(run, None)
    assert estimate(run, tariff=tariff).boundary == "facility"
    facility, node, device = (
        times_of(estimate(run, tariff=tariff, boundary=one))[1].energy.joules.value
        for one in ("facility", "node", "device")
    )
    assert facility == pytest.approx(1.5 * device)
    # Of the nodes only the boards are metered, and that is said.
    assert node == device
    [table, *_] = describe_trainings([estimate(run, tariff=price(), boundary="node")]).sections
    assert any("without CPU packages, DRAMs" in caption for caption in table.captions)
    with pytest.raises(Mistake, match="run a: no PUE is known"):
        estimate(run, tariff=price(), boundary="facility")


def test_the_pue_is_that_of_the_prices(tmp_path):
    run = measure(tmp_path, "a", AMDAHL, watts=300.0, site={"power": {"pue": 1.5}, "cost": COST})
    today = Cost.model_validate(COST | {"pue": 1.1})
    recorded, held = (
        times_of(estimate(run, tariff=choose_tariff(run, pricing)))[1]
        for pricing in (None, Pricing(today, None, "today.toml", "juno", named=True))
    )
    # 600 W for a day: 14.4 kWh before the PUE, at 0.25 EUR.
    assert recorded.electricity.value == pytest.approx(14.4 * 1.5 * 0.25, rel=1e-3)
    assert held.electricity.value == pytest.approx(14.4 * 1.1 * 0.25, rel=1e-3)


def test_a_pue_among_the_prices_counts_as_it_does_in_a_report(tmp_path):
    run = analyse_run(write_cpu(tmp_path, cost=COST | {"pue": 1.5, "utilisation": 1.0}))
    [costs] = study_costs([run]).costs
    found = estimate(run, 1e6, tariff=choose_tariff(run, None))
    [time] = found.times
    assert found.boundary == "facility"
    # 2 J x 1e6 x 1.5.
    assert time.energy.kwh.value == pytest.approx(1.5 * 2 / 3.6) == costs.parts.energy_kwh.value
    assert time.cost.value == pytest.approx(costs.parts.total.value)


IDLENESS = "nodes also draw power while nobody works"


@pytest.mark.parametrize(("utilisation", "told"), [(0.8, True), (1.0, False)])
def test_what_idle_nodes_draw_is_told_as_left_out(utilisation, told, tmp_path):
    run = measure(tmp_path, "a", AMDAHL, watts=300.0)
    content = describe_trainings([estimate(run, tariff=price({"utilisation": utilisation}))])
    for write in (as_json.render, as_markdown.render, lambda one: as_terminal.write(one, width=200)):
        assert (IDLENESS in write(content)) is told


def test_a_part_of_a_shared_node_has_no_price_of_its_own(tmp_path):
    site = {"slurm": {"exclusive": False}, "node": {"gpus": 2, "cores": 64}}
    found = estimate(measure(tmp_path, "a", AMDAHL, watts=300.0, site=site))
    one = times_of(found)[1]
    assert "others may have used" in one.capital.value.missing
    assert isinstance(one.cost.value, Withheld)
    assert one.electricity.value == pytest.approx(3.6, rel=1e-3)


def test_assumptions_are_listed(tmp_path):
    content = describe_trainings([estimate(measure(tmp_path, "a", AMDAHL))])
    text = " ".join(as_terminal.write(content).split())
    for words in ("the rate stays", "no checkpoints", "no failures", "not considered", "by the fitted law"):
        assert f"{words}" in text


# ---- Pictures and golden files ----


def test_pictures_tell_measured_from_predicted(tmp_path):
    found = estimate(measure(tmp_path, "a", AMDAHL, watts=300.0), deadline_s=DAY_S / 2)
    time, energy, cost = describe_trainings([found]).pictures
    measured, model, deadline = time.form.series
    assert [(one.role, len(one.dots)) for one in time.form.series] == [
        ("measured", 3),
        ("predicted", 4),
        ("ideal", 2),
    ]
    assert measured.dots[0].y == pytest.approx(24.0)
    assert measured.dots[0].low < 24 < measured.dots[0].high
    assert {dot.y for dot in deadline.dots} == {12}
    assert model.dots[0].x == 3
    assert energy.form.y.title == "energy, node"
    assert energy.form.series[0].dots[0].y == pytest.approx(14.4, rel=1e-3)
    assert cost.form.y.title == "cost in EUR"
    assert "24.00 h on 1 node" in time.alt


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    run = measure(
        tmp_path_factory.mktemp("golden"),
        "20261122-141200-k3f9",
        AMDAHL,
        watts=300.0,
        site={"power": {"pue": 1.25}},
    )
    total, how = count_images("alexnet", Work(images=1e8, epochs=90))
    [sweep] = gather_sweeps([run])
    return describe_trainings([estimate_training(sweep, Goal(total, how, 21 * DAY_S), price({"pue": 1.25}))])


@pytest.mark.parametrize("suffix", WRITERS)
def test_golden(suffix, golden, tmp_path):
    # A law is fitted: its last digits are the processor's own.
    compare(f"training.{suffix}", settle(WRITERS[suffix](golden), tmp_path))
    if suffix.endswith("txt"):
        assert max(map(len, WRITERS[suffix](golden).splitlines())) <= int(suffix.split(".")[0])


def test_the_same_numbers_in_all_formats(golden):
    [table] = json.loads(as_json.render(golden))["training"]
    for text in (as_markdown.render(golden), as_terminal.write(golden, width=200)):
        for row in table["rows"]:
            assert f"{row['energy_kwh']['value']:,.0f} kWh" in text
            assert f"{row['node_days']['value']:,.1f}" in text


# ---- What is typed ----


@given(st.integers(1, 10**6), st.sampled_from(sorted(FACTORS)), st.sampled_from(["", " "]))
def test_amounts(number, unit, gap):
    assert read_amount(f"{number}{gap}{unit}", "--images") == number * FACTORS[unit]


@given(st.integers(1, 10**6), st.sampled_from(sorted(SECONDS)))
def test_deadlines(number, unit):
    assert read_deadline(f"{number} {unit}", "--deadline") == number * SECONDS[unit]


@given(st.text(max_size=12))
def test_anything_else_is_refused_in_words(text):
    for read in (read_amount, read_deadline):
        try:
            assert 0 < read(text, "--flag") < float("inf")
        except Mistake as mistake:
            assert mistake.what.startswith("--flag")  # noqa: PT017
            assert mistake.do  # noqa: PT017


@pytest.mark.parametrize(
    "text", ["100m", "100K", "1e9", "-1", "0", "0.0k", "nan", "inf", "1,000", "M", "", "1 2", "9" * 400]
)
def test_no_amounts(text):
    with pytest.raises(Mistake):
        read_amount(text, "--images")


@pytest.mark.parametrize("text", ["24", "24H", "1y", "0h", "-1h", "h", "1 h 30", "mins", "1ss"])
def test_no_deadlines(text):
    with pytest.raises(Mistake):
        read_deadline(text, "--deadline")


def test_words_of_time():
    assert read_deadline("3 days", "--deadline") == 3 * DAY_S
    assert read_deadline("1.5h", "--deadline") == 5400


# ---- The commands ----


@pytest.fixture
def hpcdl(monkeypatch, capsys, tmp_path):
    """Exit code, stdout, stderr of a command line, in this process, of a person without a site file."""
    for name in list(os.environ):
        if name.startswith(("HPCDL_", "SLURM_", "SBATCH_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HPCDL_STORE", str(tmp_path / "runs"))
    monkeypatch.setenv("COLUMNS", "160")

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["hpcdl", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        return left.value.code, out, err

    return call


@pytest.fixture
def store(tmp_path):
    """An old and a new sweep of AlexNet, and one size of OverFeat."""
    runs = tmp_path / "runs"
    measure(runs, "20261120-141200-aaaa", AMDAHL, watts=300.0, site={"cost": COST})
    measure(
        runs, "20261121-141200-bbbb", {1: 3000.0, 2: 5900.0}, watts=400.0, site={"name": "vega", "cost": COST}
    )
    measure(runs, "20261122-141200-cccc", {1: 60.0}, model="overfeat", batch=32)
    measure(runs, "20261123-141200-dddd", {1: 900.0}, recording={"summarised": False})
    return runs


MISTAKES = {
    "nothing said": (["train"], "what is to be trained is not said"),
    "twice said": (["train", "--images", "1M", "--exaflop", "3"], "Leave one of them out"),
    "epochs alone": (["train", "--exaflop", "3", "--epochs", "2"], "Leave one of them out"),
    "amount": (["train", "--images", "100m"], "--images 100m: a number above zero"),
    "epochs": (["train", "--images", "1M", "--epochs", "many"], "--epochs many"),
    "exaflop": (["train", "--exaflop", "0"], "--exaflop 0"),
    "deadline": (["train", "--images", "1M", "--deadline", "24"], "--deadline 24h"),
    "nodes": (["train", "--images", "1M", "--nodes", "0"], "whole numbers above zero"),
    "model": (["train", "--images", "1M", "--model", "alxnet"], "Did you mean 'alexnet'?"),
    "never trained": (["train", "--images", "1M", "--model", "lenet"], "hpcdl submit scaling --model lenet"),
    "of another": (["train", "aaaa", "--images", "1M", "--model", "lenet"], "trained alexnet, and not lenet"),
    "no throughput": (["train", "dddd", "--images", "1M"], "has no throughput"),
    "run": (["train", "zzzz", "--images", "1M"], "there is no run 'zzzz'"),
    "boundary": (["train", "aaaa", "--images", "1M", "--boundary", "nodes"], "Did you mean 'node'?"),
    "no boundary": (
        ["train", "aaaa", "--images", "1M", "--boundary", "facility"],
        "no PUE is known",
    ),
    "format": (["train", "aaaa", "--images", "1M", "--format", "markdwn"], "Did you mean 'markdown'?"),
    "one alone": (["equivalent", "aaaa"], "Missing argument"),
    "system": (
        ["equivalent", "published:google", "published:stanford-ai-lab"],
        "there is no published system",
    ),
    "near system": (
        ["equivalent", "published:google-datacentre", "published:stanford-ai-lab"],
        "Did you mean 'google-data-centre'?",
    ),
    "unlike": (["equivalent", "published:dgx-1", "published:stanford-ai-lab"], "no document says"),
    "measured against published": (
        ["equivalent", "aaaa", "published:dgx-1"],
        "no throughput of it is published",
    ),
    "other network": (["equivalent", "aaaa", "cccc"], "different networks are different work"),
    "size": (["equivalent", "aaaa", "bbbb", "--nodes", "3"], "not measured on 3 nodes"),
    "one size": (["equivalent", "bbbb", "cccc", "--nodes", "0"], "--nodes"),
    "no such run": (["equivalent", "aaaa", "zzzz"], "there is no run 'zzzz'"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(hpcdl, store, name):
    words, expected = MISTAKES[name]
    code, out, err = hpcdl("estimate", *words)
    assert (code, out) == (2, "")
    assert err.startswith("hpcdl: ")
    assert "Traceback" not in err
    assert expected in " ".join(err.split())


def test_an_unknown_reference(hpcdl):
    code, out, err = hpcdl("published", "dgx1")
    assert (code, out) == (2, "")
    assert "Did you mean 'dgx-1'?" in err


def test_an_empty_store_says_what_to_run(hpcdl):
    code, out, err = hpcdl("estimate", "train", "--images", "1M", "--model", "alexnet")
    assert (code, out) == (2, "")
    assert "hpcdl submit scaling --model alexnet --nodes 1,2,4" in err


@pytest.mark.parametrize("words", [["--help"], ["equivalent", "--help"], ["train", "--help"]])
def test_help(hpcdl, words):
    code, out, err = hpcdl("estimate", *words)
    assert (code, err) == (0, "")
    assert "Usage: hpcdl estimate" in out


def test_published_from_the_command_line(hpcdl):
    code, out, _ = hpcdl("published")
    assert code == 0
    assert "tensorflow-dgx-1" in out
    assert hpcdl("published", "dgx-1", "--format", "markdown")[1].startswith("# DGX-1 by its specification")
    assert json.loads(hpcdl("published", "dgx-1", "--json")[1])["kind"] == "published"


def test_the_newest_run_of_the_network_is_used_and_named(hpcdl, store):
    code, out, err = hpcdl("estimate", "train", "--images", "1M", "--model", "alexnet", "--json")
    assert (code, err) == (0, "")
    [table] = json.loads(out)["training"]
    # dddd is newer and has no throughput.
    assert table["runs"] == "20261121-141200-bbbb"
    assert hpcdl("estimate", "train", "--images", "1M", "--model", "bvlc_alexnet", "--json")[1] == out


def test_without_a_network_whichever_was_measured_last(hpcdl, store):
    [table] = json.loads(hpcdl("estimate", "train", "--exaflop", "1", "--json")[1])["training"]
    assert (table["model"], table["runs"]) == ("overfeat", "20261122-141200-cccc")
    assert table["images"]["value"] == pytest.approx(1e18 / NETWORKS["overfeat"].train_flops)


def test_single_sizes_of_one_question_stand_together(hpcdl, tmp_path):
    for number, (nodes, rate) in enumerate(((1, 1000.0), (2, 1900.0), (4, 3600.0))):
        measure(tmp_path / "runs", f"2026112{number}-141200-run{number}", {nodes: rate})
    [table] = json.loads(hpcdl("estimate", "train", "--images", "1M", "--json")[1])["training"]
    assert [row["nodes"] for row in table["rows"][:3]] == [1, 2, 4]
    assert table["runs"].count("run") == 3


def test_equivalent_from_the_command_line(hpcdl, store):
    code, out, err = hpcdl("estimate", "equivalent", "aaaa", "bbbb", "--nodes", "1", "--json")
    assert (code, err) == (0, "")
    data = json.loads(out)
    # 3000 images/s: 1000 N / (1 + 0.05 (N - 1)) on four nodes is 3478, on three 2727.
    assert data["equivalence"][0]["nodes"]["value"] == 4
    assert data["equivalence"][0]["price"] == {"value": 80_000, "unit": "EUR"}
    document = ("published:google-data-centre", "published:stanford-ai-lab")
    text = hpcdl("estimate", "equivalent", *document)[1]
    assert "150.00 x" in text
    assert "151.52 x" in text


def test_todays_site_file_prices_its_own_runs(hpcdl, store, tmp_path, monkeypatch):
    site = tmp_path / "site.toml"
    site.write_text('name = "juno"\n[cost]\ncurrency = "CHF"\nnode_price = 30000\n', encoding="utf-8")
    monkeypatch.setenv("HPCDL_SITE", str(site))
    data = json.loads(hpcdl("estimate", "equivalent", "aaaa", "bbbb", "--nodes", "1", "--json")[1])
    assert [row["price"]["unit"] for row in data["equivalence"]] == ["CHF", "EUR"]
    assert data["price_ratio"]["missing"] == "the currencies differ: CHF against EUR"


def test_a_site_file_that_is_named_prices_all_runs(hpcdl, store, tmp_path):
    site = tmp_path / "today.toml"
    site.write_text('name = "juno"\n[cost]\ncurrency = "CHF"\nnode_price = 30000\n', encoding="utf-8")
    words = ("estimate", "equivalent", "aaaa", "bbbb", "--nodes", "1", "--site", site, "--json")
    data = json.loads(hpcdl(*words)[1])
    assert [row["price"]["unit"] for row in data["equivalence"]] == ["CHF", "CHF"]
    assert {row["origin"] for row in data["assumptions"]} == {"today.toml", None}
    trained = json.loads(hpcdl("estimate", "train", "bbbb", "--images", "1M", "--site", site, "--json")[1])
    assert trained["training"][0]["rows"][0]["capital"]["unit"] == "CHF"
    site.write_text('name = "juno"\n', encoding="utf-8")
    code, _, err = hpcdl(*words)
    assert (code, "has no prices" in err) == (2, True)


def test_several_stores_are_one_and_runs_go_by_tag_or_benchmark(hpcdl, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for store, run_id, nodes in ((one, "20261121-141200-aaaa", 1), (other, "20261122-141200-bbbb", 2)):
        measure(store, run_id, {nodes: 950.0 * nodes})
        run = RunFolder(store / run_id)
        publish_record(run.job_path, run.job().model_copy(update={"tags": ("wide",)}))
    measure(other, "20261123-141200-cccc", {1: 60.0}, model="overfeat", batch=32)
    stores = ("--store", one, "--store", other, "--json")
    ask = ("estimate", "train", "--images", "1M")
    for words in ((*ask, "wide"), (*ask, "tag:wide"), (*ask, "--model", "alexnet")):
        code, out, err = hpcdl(*words, *stores)
        assert (code, err) == (0, "")
        [table] = json.loads(out)["training"]
        assert [row["nodes"] for row in table["rows"][:2]] == [1, 2]
    code, out, _ = hpcdl("estimate", "equivalent", "wide", "aaaa", *stores)
    assert (code, json.loads(out)["equivalence"][0]["nodes"]["value"]) == (0, 1)


def test_the_newest_is_found_without_reading_the_others(hpcdl, store, monkeypatch):
    words = ("estimate", "train", "--images", "1M", "--model", "alexnet", "--json")
    first = hpcdl(*words)[1]
    read = []
    original = look.analyse
    monkeypatch.setattr(look, "analyse", lambda folder: read.append(folder.run_id) or original(folder))
    assert hpcdl(*words)[1] == first
    assert read == ["20261121-141200-bbbb"]
