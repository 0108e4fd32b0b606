"""Simulated fleets: false alarms within the budget, the judge and its core agree, and what the command shows."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from hpcdl.acceptance.judging import judge
from hpcdl.acceptance.simulation import (
    Asked,
    Planted,
    Scatter,
    Study,
    build_fleet,
    choose_again,
    count_outcomes,
    judge_jobs,
    measure_job,
    simulate_all,
    write_evidence,
    write_suite,
)
from hpcdl.acceptance.speeds import Finding
from hpcdl.acceptance.sweep import sweep_line
from hpcdl.cli.accept_simulate import simulate
from hpcdl.errors import Mistake
from hpcdl.estimates.intervals import TooFew
from hpcdl.estimates.proportions import estimate_proportion

OUTCOMES = {Finding.PASSES: "pass", Finding.FAILS: "fail"}
app = typer.Typer()
app.command()(simulate)


def count(planted=None, **asked):
    planted = planted or Planted(bad=0, loss=0.0)
    return count_outcomes(Asked(**asked), planted, np.random.default_rng(20261122))


# The node-to-node spread is left out: then every healthy node is truly within its line, and each failure is false.
@pytest.mark.parametrize("tails", [4.0, 1000.0])
@pytest.mark.parametrize("line", [0.99, 0.999])
def test_healthy_fleets_raise_no_more_false_alarms_than_they_may(line, tails):
    scatter = Scatter(noise=0.02, spread=0.0, between=0.0, tails=tails)
    tally = count(nodes=50, trials=80, line=line, scatter=scatter, false_alarms=0.05)
    assert tally.healthy_nodes == 4000
    # 0.05 for each fleet, and three standard errors of a Poisson number.
    allowed = 0.05 * 80
    assert tally.accused <= allowed + 3 * math.sqrt(allowed)


def test_four_nodes_of_which_one_is_bad():
    tally = count(Planted(bad=1, loss=0.4), nodes=4, trials=150, line=0.8)
    assert tally.found >= 0.95 * tally.bad_nodes
    assert tally.overlooked == 0
    assert tally.accused == 0


def test_a_loss_far_beyond_the_line_is_found_in_a_large_fleet():
    tally = count(Planted(bad=20, loss=0.2), nodes=400, trials=5)
    assert tally.found >= 0.95 * tally.bad_nodes
    assert tally.accused == 0


def test_a_loss_on_the_line_cannot_be_found():
    tally = count(Planted(bad=20, loss=0.05), nodes=400, trials=5, line=0.95)
    assert tally.found < 0.1 * tally.bad_nodes


def test_the_core_and_the_judge_agree():
    """All jobs on the same numbers, one after the other: same outcome of every node, each time."""
    asked = Asked(nodes=60, line=0.95, scatter=Scatter(noise=0.02))
    random = np.random.default_rng(7)
    fleet = build_fleet(asked, Planted(bad=6, loss=0.08), random)
    everybody = np.arange(asked.nodes)
    jobs = [(everybody, measure_job(asked, fleet, everybody, random))]
    seen = set()
    for final in (False, False, True):
        findings = judge_jobs(asked, jobs, final=final)
        verdict = judge(write_suite(asked), write_evidence(asked.nodes, jobs), final=final)
        decided = [decision.outcome for decision in verdict.requirements[0].decisions]
        assert decided == [OUTCOMES.get(Finding(one), "insufficient") for one in findings]
        seen.update(decided)
        again = choose_again(asked, np.flatnonzero(findings > int(Finding.FAILS)), random)
        jobs.append((again, measure_job(asked, fleet, again, random)))
    assert seen == {"pass", "fail", "insufficient"}


def test_the_open_ones_are_measured_again_beside_healthy_ones():
    random = np.random.default_rng(1)
    few = choose_again(Asked(nodes=100), np.array([5]), random)
    assert 5 in few
    assert len(few) == 4
    assert len(choose_again(Asked(nodes=100), np.arange(10), random)) == 20
    assert len(choose_again(Asked(nodes=8), np.array([5]), random)) == 8


def test_the_same_seed_gives_the_same_numbers():
    study = Study(asked=Asked(nodes=40, trials=3), bad=(0, 2), losses=(0.2,))
    assert list(simulate_all(study)) == list(simulate_all(study))
    assert len(list(simulate_all(study))) == 2


def test_curves_rise_with_the_line():
    study = Study(asked=Asked(nodes=40, trials=10), bad=(4,), losses=(0.1,))
    [(loss, points)] = sweep_line(study)
    assert loss == 0.1
    found = [point.found for point in points]
    assert found == sorted(found)
    assert found[0] == 0
    assert found[-1] == points[-1].bad == 40


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [(0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (5, 10, 0.1871, 0.8129), (1, 20, 0.0013, 0.2487)],
)
def test_proportions_have_the_exact_interval(hits, total, low, high):
    """The published tables' values."""
    seen = estimate_proportion(hits, total)
    assert (seen.low, seen.high) == pytest.approx((low, high), abs=6e-5)


def test_of_nothing_there_is_no_part():
    with pytest.raises(TooFew):
        estimate_proportion(0, 0)


SMALL = ["--nodes", "40", "--bad", "0,2", "--loss", "20%", "--fleets", "4"]


def test_the_command_in_json():
    done = CliRunner().invoke(app, [*SMALL, "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    data = json.loads(done.stdout)
    assert data["kind"] == "simulation"
    healthy, ill = data["power"]
    assert (healthy["healthy_count"], healthy["found"]) == (160, None)
    assert ill["bad_count"] == 8
    assert ill["found"]["low"] < ill["found"]["value"] == ill["found_count"] / 8
    assert data["roc"][0]["line"]["value"] == 0.7
    assert "Student's t, 4 degrees of freedom" in str(data["notes"])


def test_the_command_fills_a_folder(tmp_path):
    pytest.importorskip("vl_convert")
    done = CliRunner().invoke(
        app, [*SMALL, "--format", "md,svg", "--out", str(tmp_path)], catch_exceptions=False
    )
    assert done.exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "report.md",
        "acceptance-roc.svg",
        "acceptance-line.svg",
    }
    assert "SIMULATED" in (tmp_path / "acceptance-roc.svg").read_text()
    assert "stands on the line itself" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        (["--bad", "20"], "more than half"),
        (["--bad", "x"], "--bad"),
        (["--noise", "80%"], "--noise"),
        (["--at-least", "120%"], "--at-least"),
        (["--loss", "0%"], "--loss"),
    ],
)
def test_what_cannot_be_simulated_is_said(typed, named):
    with pytest.raises(Mistake, match=named):
        CliRunner().invoke(app, [*SMALL, *typed], catch_exceptions=False)
