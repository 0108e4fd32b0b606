"""Counting: exact intervals, notes that survive a crash, a result that hides no failure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scipy.stats import binom

from tests.campaign import __main__ as campaign
from tests.campaign import result
from tests.campaign.counting import clopper_pearson
from tests.campaign.drill import Drill, Seen, Setting, Void
from tests.campaign.drills import DRILLS
from tests.campaign.notebook import Notebook, Trial


def make_trial(number: int, *, held: bool = True, drill: str = "coin") -> Trial:
    elapsed_s = float(number) if held else None
    return Trial(drill, number, held, "toss", elapsed_s, "edge" if not held else "", "abc", "2026-11-22", 1.0)


def make_drill(attempt) -> Drill:
    return Drill(claim="It falls.", timed="of the fall", trials=3, attempt=attempt, missing=lambda: "")


@pytest.mark.parametrize(
    ("held", "trials", "low", "high"), [(10, 10, 0.6915, 1.0), (9, 10, 0.5550, 0.9975), (0, 20, 0.0, 0.1684)]
)
def test_intervals_as_published(held: int, trials: int, low: float, high: float) -> None:
    assert clopper_pearson(held, trials) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("held", range(1, 20))
def test_the_interval_ends_where_the_count_becomes_implausible(held: int) -> None:
    """At each end the count, or one more extreme, has a probability of 2.5 %."""
    low, high = clopper_pearson(held, 20)
    assert binom.sf(held - 1, 20, low) == pytest.approx(0.025)
    assert binom.cdf(held, 20, high) == pytest.approx(0.025)


def test_notes_outlive_a_torn_line(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path / "state" / "trials.jsonl")
    notebook.add(make_trial(1))
    with (tmp_path / "state" / "trials.jsonl").open("a") as file:
        file.write('{"drill": "coin", "num')
    notebook.add(make_trial(2))
    assert [trial.number for trial in notebook.trials()] == [1, 2]


def test_a_fresh_start_forgets_only_what_is_asked(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path / "trials.jsonl")
    for drill in ("coin", "die"):
        notebook.add(make_trial(1, drill=drill))
    notebook.forget({"coin"})
    assert [trial.drill for trial in notebook.trials()] == ["die"]


def test_trials_that_were_done_are_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []

    def toss(setting: Setting) -> Seen:
        done.append(setting.number)
        if setting.number == 2 and done.count(2) == 1:
            raise KeyboardInterrupt
        return Seen("toss", 0.5, "")

    monkeypatch.setattr(campaign, "DRILLS", {"coin": make_drill(toss)})
    notebook = Notebook(tmp_path / "trials.jsonl")
    with pytest.raises(KeyboardInterrupt):
        campaign._conduct(["coin"], None, notebook, tmp_path)
    campaign._conduct(["coin"], None, notebook, tmp_path)
    assert done == [1, 2, 2, 3]


@pytest.mark.parametrize("problem", [AssertionError("tails"), TimeoutError("still falling")])
def test_a_claim_that_does_not_hold_is_counted_with_its_reason(tmp_path: Path, problem: Exception) -> None:
    def toss(setting: Setting) -> Seen:
        raise problem

    trial = campaign.attempt("coin", make_drill(toss), 1, tmp_path)
    assert (trial.held, trial.elapsed_s) == (False, None)
    assert str(problem) in trial.detail
    assert (tmp_path / "coin-1").is_dir()


def test_a_void_trial_is_not_counted_and_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def toss(setting: Setting) -> Seen:
        calls.append(setting.number)
        if len(calls) == 1:
            raise Void("the table fell over")
        return Seen("toss", 0.5, "")

    drill = make_drill(toss)
    monkeypatch.setattr(campaign, "DRILLS", {"coin": drill})
    notebook = Notebook(tmp_path / "trials.jsonl")
    campaign._conduct(["coin"], None, notebook, tmp_path)
    campaign._conduct(["coin"], None, notebook, tmp_path)
    assert calls == [1, 2, 3, 1]
    trials = notebook.trials()
    counted = result.count("coin", drill, trials, planned=3)
    assert (counted.held, counted.trials) == (3, 3)
    text = result.as_markdown("2026-11-22", {}, [counted], trials)
    assert "Void, not counted, done again" in text
    assert "the table fell over" in text
    assert "did not hold" not in text


def test_the_result_tells_what_did_not_hold(tmp_path: Path) -> None:
    trials = [make_trial(1), make_trial(2, held=False)]
    drill = make_drill(lambda _: None)
    counts = [result.count("coin", drill, trials, planned=3)]
    path = result.write(tmp_path, "2026-11-22", {"CPU": "abacus"}, counts, trials)
    text = path.read_text()
    assert "| coin | 1 of 2 (3 planned) | 1% to 99% | 1.0 s |" in text
    assert "- coin, trial 2: edge" in text
    assert "- CPU: abacus" in text
    assert "at worst: toss 1.0 s." in text
    facts = json.loads(path.with_suffix(".json").read_text())
    assert [trial["held"] for trial in facts["trials"]] == [True, False]


def test_no_trial_has_no_count() -> None:
    with pytest.raises(ValueError, match="n"):
        result.count("coin", make_drill(lambda _: None), [], planned=3)


def test_chance_is_the_same_every_time_and_other_for_each_trial() -> None:
    draws = [Setting("coin", number, Path()).chance.random() for number in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


def test_every_drill_says_what_it_claims() -> None:
    for drill in DRILLS.values():
        assert drill.claim.endswith(".")
        assert drill.trials > 0
