"""How much of one system does another's work: the document's table, hand-computed cases, and what is refused."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.analysis.equivalence import compare_systems
from hpcdl.analysis.job import RunResult, analyse_run
from hpcdl.analysis.matching import Asked, match_sweeps, pair_sweeps
from hpcdl.analysis.readings import Withheld
from hpcdl.analysis.sweep import find_first, gather_sweeps
from hpcdl.errors import Mistake
from hpcdl.estimates.fits import ScalingFit
from hpcdl.records import Missing
from hpcdl.references import find_system
from hpcdl.report import as_json, as_markdown, as_terminal
from hpcdl.report.equivalences import describe_equivalence
from tests.unit.cost_runs import write_cpu
from tests.unit.estimate_runs import COST, measure, price
from tests.unit.test_report import compare

WRITERS = {
    "md": as_markdown.render,
    "json": as_json.render,
    "80.txt": lambda content: as_terminal.write(content, width=80),
    "120.txt": lambda content: as_terminal.write(content, width=120),
}
# Amdahl's form exactly, with X(1) = 1000 and s = 0.05: X(N) = 1000 N / (1 + 0.05 (N - 1)).
AMDAHL = {1: 1000.0, 2: 2000 / 1.05, 4: 4000 / 1.15}


def document_pair():
    return compare_systems(find_system("google-data-centre"), find_system("stanford-ai-lab"))


def as_data(equivalence, **how):
    return json.loads(as_json.render(describe_equivalence(equivalence, **how)))


def match(first, second, tariffs=None, **asked):
    runs = ([one] if isinstance(one, RunResult) else one for one in (first, second))
    pair = pair_sweeps(*runs, force=asked.get("force", False))
    return match_sweeps(*pair, tariffs or (price(), price()), Asked(**asked))


# ---- The document's table ----


def test_the_documents_table_comes_out():
    pair = document_pair()
    data = as_data(pair)
    google, stanford = data["equivalence"]
    assert (google["nodes"]["value"], google["power_w"]["value"], google["price"]["value"]) == (
        1000,
        600e3,
        5e6,
    )
    assert (stanford["nodes"]["value"], stanford["power_w"]["value"], stanford["price"]["value"]) == (
        3,
        4e3,
        33e3,
    )
    assert google["processors"] == "2,000 CPUs, 16,000 cores"
    assert stanford["processors"] == "12 GPUs, 18,432 cores"
    assert data["power_ratio"]["value"] == 150
    assert data["price_ratio"]["value"] == pytest.approx(151.515, abs=0.001)
    assert data["price_ratio"]["mark"] == google["power_w"]["mark"] == "as published"
    assert "NVIDIA: Deep Learning and GPUs" in google["source"]
    assert google["racks"] == {"missing": "the document does not give it", "unit": "number"}
    assert data["kind"] == "equivalence"


@pytest.mark.parametrize("suffix", WRITERS)
def test_golden_document(suffix):
    compare(f"equivalence-document.{suffix}", WRITERS[suffix](describe_equivalence(document_pair())))


def test_what_no_document_says_is_not_compared():
    found = compare_systems(find_system("dgx-1"), find_system("stanford-ai-lab"))
    assert "no document says that NVIDIA DGX-1 and Stanford AI Lab do the same work" in found.missing


def test_pictures_of_the_document_are_published_bars():
    power, cost = describe_equivalence(document_pair()).pictures
    assert [(label, role, dot.y) for label, role, dot in power.form.bars] == [
        ("Google data centre", "published", 600e3),
        ("Stanford AI Lab", "published", 4e3),
    ]
    assert cost.form.value.title == "price in USD"
    assert power.subtitle.startswith("as published")
    assert "600.0 kW" in power.alt


# ---- Runs against each other ----


def test_as_measured_where_it_was_measured(tmp_path):
    mine = measure(tmp_path, "a", {1: 2000.0, 2: 3900.0, 4: 7500.0}, watts=500.0)
    theirs = measure(tmp_path, "b", AMDAHL, watts=300.0)
    found = match(mine, theirs)
    # 4000 / 1.15 = 3478 images/s: two nodes do 3900, one does not.
    assert (found.first.basis, found.first.amount.nodes, found.first.mark) == ("measured", 2, "")
    assert found.first.images_per_s == pytest.approx(3900.0)
    # Two boards a node: 2 x 2 x 500 W against 4 x 2 x 300 W.
    assert found.first.power_w == pytest.approx(2000.0, rel=1e-3)
    assert found.second.power_w == pytest.approx(2400.0, rel=1e-3)
    assert found.power_ratio == pytest.approx(2000 / 2400, rel=1e-3)
    assert found.nodes_ratio == 0.5
    # 20,000 a node; four nodes a rack, and a part of one stands in a whole one.
    assert (found.first.price, found.second.price, found.price_ratio) == (40_000, 80_000, 0.5)
    assert (found.first.racks, found.second.racks) == (1, 1)
    assert found.first.boundary == found.second.boundary == "node"


def test_beyond_it_by_the_law_and_never_by_multiplication(tmp_path):
    mine = measure(tmp_path, "a", AMDAHL, watts=300.0)
    theirs = measure(tmp_path, "b", {1: 4900.0})
    found = match(mine, theirs)
    # 1000 N / (1 + 0.05 (N - 1)) >= 4900: N (1000 - 245) >= 4655, N >= 6.17. By multiplication it would be 5.
    assert found.first.amount.nodes == 7
    assert found.first.mark == "predicted"
    assert found.first.images_per_s == pytest.approx(7000 / 1.3, rel=1e-3)
    assert found.first.amount.low <= 7 <= found.first.amount.high
    assert found.first.racks == 2
    assert any("by the fitted law" in text for text in found.assumptions)


def test_power_beyond_what_was_metered_is_that_of_more_such_nodes(tmp_path):
    mine = measure(tmp_path, "a", AMDAHL, watts=300.0)
    theirs = measure(tmp_path, "b", {1: 4900.0}, watts=400.0)
    found = match(mine, theirs)
    assert found.first.power_w == pytest.approx(7 * 600.0, rel=1e-3)
    assert found.first.power_mark == "predicted"
    assert "every further node draws what one of 4 drew (node)" in found.assumptions


def test_a_size_between_two_measured_ones_is_by_the_law(tmp_path):
    mine = measure(tmp_path, "a", {**AMDAHL, 8: 8000 / 1.35})
    # X(5) = 5000 / 1.2 = 4167, X(6) = 6000 / 1.25 = 4800.
    found = match(mine, measure(tmp_path, "b", {1: 4500.0}))
    assert (found.first.amount.nodes, found.first.basis) == (6, "model, fitted to 4 sizes")


def test_too_far_out_is_withheld_unless_asked_for(tmp_path):
    mine = measure(tmp_path, "a", AMDAHL)
    # 1000 N / (1 + 0.05 (N - 1)) >= 14000: N (1000 - 700) >= 13300, N >= 44.3: beyond 8 x 4.
    theirs = measure(tmp_path, "b", {1: 14000.0})
    found = match(mine, theirs)
    assert isinstance(found.first.amount.nodes, Withheld)
    assert found.first.amount.nodes.value == 45
    row = as_data(found)["equivalence"][0]
    assert "more than 8 times" in row["nodes"]["missing"]
    assert "45" not in as_terminal.write(describe_equivalence(found), width=200)
    shown = as_data(match(mine, theirs, force=True), force=True)
    assert shown["equivalence"][0]["nodes"]["withheld"] == 45
    assert shown["equivalence"][0]["price"]["withheld"] == 45 * 20_000


def test_what_is_never_reached_is_said(tmp_path):
    # Amdahl's 1000 / 0.05 = 20,000 images/s at most.
    found = match(measure(tmp_path, "a", AMDAHL), measure(tmp_path, "b", {1: 21000.0}))
    reason = found.first.amount.nodes.missing
    assert reason.startswith("never: by Amdahl's form")
    assert "20,000 images/s" in reason
    assert found.first.price == found.first.amount.nodes
    assert as_data(found)["nodes_ratio"]["missing"] == reason


def usl(n):
    """X(1) = 1000, s = 0.05, k = 0.01: the peak is at sqrt(0.95 / 0.01) = 9.75."""
    return 1000 * n / (1 + 0.05 * (n - 1) + 0.01 * n * (n - 1))


def test_beyond_the_peak_of_the_scalability_law_there_is_nothing(tmp_path):
    mine = measure(tmp_path, "a", {n: usl(n) for n in (1, 2, 3, 4, 6)})
    [sweep] = gather_sweeps([mine])
    assert sweep.fit.law == "usl"
    assert sweep.most == 10
    assert sweep.find_nodes(usl(9) - 1) == 9
    reason = match(mine, measure(tmp_path, "b", {1: usl(10) + 100})).first.amount.nodes.missing
    assert "the Universal Scalability Law" in reason
    assert "on about 10 nodes, and falls beyond" in reason


def test_where_it_was_measured_the_measurement_counts_and_not_the_law(tmp_path):
    # Two nodes did far less than the law through the others.
    mine = measure(tmp_path, "a", {1: 1000.0, 2: 1500.0, 4: 3800.0})
    [sweep] = gather_sweeps([mine])
    assert sweep.fit.rate_at(2) > 1600
    assert sweep.find_nodes(1600.0) == 3


def test_one_size_is_no_sweep(tmp_path):
    one = measure(tmp_path, "a", {1: 1000.0})
    with pytest.raises(Mistake) as refused:
        match(one, measure(tmp_path, "b", {1: 1500.0}))
    assert "hpcdl submit scaling" in refused.value.do
    assert "--replicas" in refused.value.do
    # One node is the least that there is, and it was measured.
    assert match(one, measure(tmp_path, "c", {1: 900.0})).first.amount.nodes == 1


def test_fewer_than_the_smallest_size_may_do(tmp_path):
    mine = measure(tmp_path, "a", {2: 1900.0, 4: 3600.0})
    found = match(mine, measure(tmp_path, "b", {1: 100.0}))
    assert found.first.amount.nodes == 2
    assert "fewer than 2 nodes may do: that is the smallest size measured" in found.assumptions
    assert "smaller than what was measured" in gather_sweeps([mine])[0].at(1).images_per_s.missing


def test_copies_add_up_and_that_is_an_assumption(tmp_path):
    mine = measure(tmp_path, "a", {2: 1900.0}, watts=300.0)
    theirs = measure(tmp_path, "b", {1: 4900.0}, watts=300.0)
    found = match(mine, theirs, replicas=True)
    # 4900 / 1900 = 2.6: three copies of two nodes.
    assert (found.first.amount.nodes, found.first.basis) == (6, "3 copies of 2 nodes")
    assert found.first.images_per_s == pytest.approx(5700.0)
    assert found.first.power_w == pytest.approx(6 * 600.0, rel=1e-3)
    assert found.first.mark == "copies"
    assert any("independent copies add up" in text for text in found.assumptions)


def test_exactly_as_many_copies_are_not_one_more(tmp_path):
    mine, theirs = measure(tmp_path, "a", {1: 1000.0}), measure(tmp_path, "b", {1: 3000.0})
    assert match(mine, theirs, replicas=True).first.amount.nodes == 3


def test_a_size_of_the_second_can_be_named(tmp_path):
    mine, theirs = measure(tmp_path, "a", AMDAHL), measure(tmp_path, "b", AMDAHL)
    assert match(mine, theirs).second.amount.nodes == 4
    assert match(mine, theirs, nodes=2).first.amount.nodes == 2
    with pytest.raises(Mistake, match="not measured on 3 nodes, but on 1, 2, 4"):
        match(mine, theirs, nodes=3)


def test_a_rehearsal_on_either_side_is_withheld(tmp_path):
    staged = measure(tmp_path, "a", {1: 1000.0, 2: 1400.0}, recording={"one_machine": True})
    real = measure(tmp_path, "b", AMDAHL)
    for first, second in ((staged, real), (real, staged)):
        found = match(first, second, nodes=1)
        data = as_data(found)
        assert data["badges"] == ["REHEARSAL"]
        assert data["equivalence"][0]["nodes"]["missing"] == "2 hosts share one boot id (--force shows it)"
        assert "missing" in data["nodes_ratio"]
        # Nor is one machine priced as several.
        assert all("missing" in row["price"] for row in data["equivalence"] if row["name"] == "a")
    # That it never gets there is what its law says, and no more to be published.
    assert "share one boot id" in match(staged, real).first.amount.nodes.missing
    shown = as_data(match(staged, real, nodes=1, force=True), force=True)
    assert shown["equivalence"][0]["nodes"] == {
        "value": 1,
        "unit": "nodes",
        "mark": "rehearsal",
        "low": 1,
        "high": 2,
    }
    assert shown["badges"] == ["REHEARSAL"]


def test_boundaries_are_never_mixed(tmp_path):
    mine = measure(tmp_path, "a", AMDAHL, watts=300.0, site={"power": {"pue": 1.5}})
    theirs = measure(tmp_path, "b", AMDAHL, watts=300.0)
    found = match(mine, theirs)
    # One has a facility, too: both are compared where both were metered.
    assert found.first.boundary == found.second.boundary == "node"
    assert found.power_ratio == pytest.approx(1.0)
    assert "without CPU packages" in found.first.metered
    same = match(mine, mine, tariffs=(price({"pue": 1.5}), price({"pue": 1.5})))
    assert same.first.boundary == "facility"
    assert same.first.power_w == pytest.approx(1.5 * 2400, rel=1e-3)
    with pytest.raises(Mistake, match="run b: no PUE is known"):
        match(mine, theirs, tariffs=(price({"pue": 1.5}), price()), boundary="facility")


def test_what_is_not_alike_is_not_divided(tmp_path):
    boards = measure(tmp_path, "a", AMDAHL, watts=300.0)
    sockets = analyse_run(write_cpu(tmp_path, model="alexnet"))
    found = match(boards, sockets)
    told = found.power_ratio.missing
    assert "no boundary that all of these have alike" in told
    assert "run a has" in told
    assert "1 CPU package" in told


def test_runs_of_one_question_stand_together_as_one_system(tmp_path):
    sizes = [measure(tmp_path, f"run-{nodes}", {nodes: rate}) for nodes, rate in AMDAHL.items()]
    found = match(sizes, measure(tmp_path, "b", {1: 1900.0}))
    assert (found.first.basis, found.first.amount.nodes) == ("measured", 2)
    assert found.first.title == "juno, runs 1, 2, 4"


def test_without_meters_there_is_no_power_and_the_rest_is_told(tmp_path):
    found = match(measure(tmp_path, "a", AMDAHL, watts=300.0), measure(tmp_path, "b", AMDAHL))
    assert found.power_ratio.missing == found.second.power_w.missing == "power was not sampled (--no-power)"
    assert found.first.power_w == pytest.approx(2400.0, rel=1e-3)
    assert found.price_ratio == 1


def test_nodes_that_others_may_have_used_are_not_priced(tmp_path):
    site = {"slurm": {"exclusive": False}, "node": {"gpus": 2, "cores": 64}}
    shared = measure(tmp_path, "a", AMDAHL, watts=300.0, site=site)
    found = match(shared, measure(tmp_path, "b", AMDAHL, watts=300.0))
    assert isinstance(found.first.price, Withheld)
    data = as_data(found)
    mine, theirs = data["equivalence"]
    assert "others may have used" in mine["price"]["missing"]
    assert "others may have used" in data["price_ratio"]["missing"]
    # What was measured of them is there.
    assert theirs["price"]["value"] == 80_000
    assert data["power_ratio"]["value"] == pytest.approx(1.0)
    assert [picture.key for picture in describe_equivalence(found).pictures] == ["equivalence-power"]


def test_prices_that_are_not_known_are_missing(tmp_path):
    run = measure(tmp_path, "a", AMDAHL)
    found = match(run, run, tariffs=(price(), price(without=["node_price", "nodes_per_rack"])))
    assert found.first.price == 80_000
    assert "add node_price to [cost]" in found.second.price.missing
    assert "add node_price to [cost]" in found.price_ratio.missing
    assert "add nodes_per_rack to [cost]" in found.second.racks.missing


def test_currencies_are_not_divided(tmp_path):
    run = measure(tmp_path, "a", AMDAHL)
    found = match(run, run, tariffs=(price(), price({"currency": "CHF"})))
    assert found.price_ratio.missing == "the currencies differ: EUR against CHF"
    assert not any(picture.key == "equivalence-price" for picture in describe_equivalence(found).pictures)


def test_other_networks_are_other_work(tmp_path):
    with pytest.raises(Mistake, match="images of different networks are different work"):
        match(measure(tmp_path, "a", AMDAHL), measure(tmp_path, "b", {1: 60.0}, model="overfeat", batch=32))


def test_what_differs_in_the_work_is_told(tmp_path):
    found = match(measure(tmp_path, "a", AMDAHL), measure(tmp_path, "b", AMDAHL, batch=64, dtype="bf16"))
    assert found.differences == (
        "batch: weak scaling, 256 images per rank against weak scaling, 64 images per rank",
        "dtype: fp32 against bf16",
    )
    assert "the work is not quite the same: dtype" in as_terminal.write(
        describe_equivalence(found), width=160
    )


def test_a_run_without_throughput_is_refused_with_its_reason(tmp_path):
    broken = measure(tmp_path, "a", {1: 1000.0}, recording={"summarised": False})
    with pytest.raises(Mistake, match="run a has no throughput"):
        match(broken, measure(tmp_path, "b", AMDAHL))


# ---- Which prices ----


def test_what_was_taken_as_given_is_listed(tmp_path):
    run = measure(tmp_path, "a", AMDAHL)
    rows = as_data(match(run, run))["assumptions"]
    assert [(row["key"], row["value"]["value"], row["origin"]) for row in rows] == [
        ("node_price", 20_000, "site.toml"),
        ("nodes_per_rack", 4, "site.toml"),
    ]
    bare = as_data(match(run, run, tariffs=(price(without=COST), price(without=COST))))
    assert "assumptions" not in bare
    assert any("not given: node_price and nodes_per_rack" in note["text"] for note in bare["notes"])


def test_sides_at_other_prices_have_rows_of_their_own(tmp_path):
    one, other = (measure(tmp_path, name, AMDAHL, site={"name": name}) for name in ("juno", "vega"))
    found = as_data(match(one, other, tariffs=(price(), price({"node_price": 30_000}))))
    assert [(row["configurations"], row["value"]["value"]) for row in found["assumptions"]] == [
        ("juno, run juno", 20_000),
        ("juno, run juno", 4),
        ("vega, run vega", 30_000),
        ("vega, run vega", 4),
    ]


# ---- Parts ----


@given(st.integers(1, 500), st.integers(1, 500), st.integers(1, 500))
def test_the_first_is_found_wherever_it_is(least, more, edge):
    most = least + more
    found = find_first(lambda number: number >= edge, least, most)
    assert found == (max(edge, least) if edge <= most else None)


def test_nothing_is_found_in_nothing():
    assert find_first(lambda _: True, 3, 2) is None


@pytest.mark.parametrize(
    ("serial", "crosstalk", "peak", "ceiling"),
    [
        (0.0, 0.0, math.inf, math.inf),
        (0.05, 0.0, math.inf, 20_000.0),
        (0.05, 0.0095, 10.0, 1000 * 10 / (1 + 0.05 * 9 + 0.0095 * 90)),
        (1.2, 0.0, 1.0, 1000.0),
    ],
)
def test_where_a_law_ends(serial, crosstalk, peak, ceiling):
    fit = ScalingFit("usl", 1000.0, serial, crosstalk, 8.0, 0.0, None, None)
    assert fit.peak == pytest.approx(peak)
    assert fit.ceiling == pytest.approx(ceiling)


def test_missing_is_never_zero(tmp_path):
    found = match(measure(tmp_path, "a", AMDAHL), measure(tmp_path, "b", {1: 21000.0}))
    side = found.first
    for reading in (side.amount.nodes, side.racks, side.images_per_s, side.power_w, side.price):
        assert isinstance(reading, Missing)
