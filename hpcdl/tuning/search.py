"""One setting after the other, each against the best so far, by turns, until the time is spent.

A change is kept only if its worth is above 1 %, and the 95 % interval of it above 1, at two looks one after the other:
whoever looks again and again until something shows finds what is not there. There are at least four pairs of trials
then, and at most six. How often nothing is taken for something, the tests count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from hpcdl.estimates.intervals import Interval, estimate_over_repeats

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hpcdl.tuning.candidates import Candidate, Value

FEWEST_PAIRS, MOST_PAIRS = 3, 6
WORTH = 1.01
# After two pairs, what is so much slower will not turn out to be faster.
HOPELESS = 0.9
Outcome = Literal["kept", "slower", "no difference", "undecided", "impossible", "not tried"]


@dataclass(frozen=True)
class Trial:
    """What a trial gave: images/s; or why it could not be run."""

    images_per_s: float | None
    reason: str = ""


class Measure(Protocol):
    """Runs a trial with these settings."""

    def __call__(self, settings: Mapping[str, Value]) -> Trial: ...


@dataclass(frozen=True)
class Finding:
    """What became of one candidate; `worth` is images/s with it over images/s without it."""

    candidate: Candidate
    outcome: Outcome
    worth: Interval | None = None
    pairs: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Tuned:
    """The settings that were kept, and what became of every candidate. `gain` is of all that was kept together."""

    settings: dict[str, Value]
    findings: tuple[Finding, ...]
    gain: float = field(default=1.0)


def search(
    candidates: Sequence[Candidate],
    measure: Measure,
    time_left_s: Callable[[], float],
    tell: Callable[[Finding], None] = lambda _: None,
) -> Tuned:
    """Go through the candidates; of several values of one setting the later ones are tried against the one kept.

    Args:
        candidates: What to try, in order.
        measure: Runs a trial.
        time_left_s: Seconds until nothing more is begun.
        tell: Hears of each finding.
    """
    best: dict[str, Value] = {}
    findings: list[Finding] = []
    gain = 1.0
    for candidate in candidates:
        if time_left_s() <= 0:
            finding = Finding(candidate, "not tried", reason="the time was spent")
        else:
            finding = _try(candidate, best, measure, time_left_s)
        if finding.outcome == "kept" and finding.worth is not None:
            best[candidate.key] = candidate.value
            gain *= finding.worth.value
        findings.append(finding)
        tell(finding)
    return Tuned(best, tuple(findings), gain)


def _try(
    candidate: Candidate, best: Mapping[str, Value], measure: Measure, time_left_s: Callable[[], float]
) -> Finding:
    with_it = {**best, candidate.key: candidate.value}
    logs: list[float] = []
    while len(logs) < MOST_PAIRS and time_left_s() > 0:
        # By turns, so that drift touches both alike.
        order = (best, with_it) if len(logs) % 2 == 0 else (with_it, best)
        trials = [measure(settings) for settings in order]
        without, changed = trials if order[0] is best else trials[::-1]
        if changed.images_per_s is None:
            return Finding(candidate, "impossible", pairs=len(logs), reason=changed.reason)
        if without.images_per_s is None:
            return Finding(candidate, "undecided", pairs=len(logs), reason=without.reason)
        logs.append(math.log(changed.images_per_s / without.images_per_s))
        outcome = _judge(logs)
        if outcome is not None:
            return _conclude(candidate, outcome, logs)
    return _conclude(candidate, "undecided", logs, spent=time_left_s() <= 0)


def _conclude(
    candidate: Candidate, outcome: Outcome, logs: Sequence[float], *, spent: bool = False
) -> Finding:
    """With its worth, where there are pairs enough for an interval that says something."""
    reasons = ["the time was spent"] if spent else []
    if len(logs) < FEWEST_PAIRS:
        pairs = f"{len(logs)} pair{'' if len(logs) == 1 else 's'}"
        most = f", at most {math.exp(max(logs)):.2f} times as fast" if outcome == "slower" else ""
        reasons.append(f"{pairs}{most}: {FEWEST_PAIRS} are the fewest for an interval")
        return Finding(candidate, outcome, None, len(logs), "; ".join(reasons))
    return Finding(candidate, outcome, _worth(logs), len(logs), "; ".join(reasons))


def _judge(logs: Sequence[float]) -> Outcome | None:
    """None: it takes more pairs."""
    if len(logs) == 2 and max(logs) < math.log(HOPELESS):
        return "slower"
    if len(logs) < FEWEST_PAIRS:
        return None
    worth = _worth(logs)
    if _is_worth_it(logs):
        return "kept" if len(logs) > FEWEST_PAIRS and _is_worth_it(logs[:-1]) else None
    if worth.high < 1:
        return "slower"
    return "no difference" if worth.high < WORTH else None


def _is_worth_it(logs: Sequence[float]) -> bool:
    worth = _worth(logs)
    return worth.low > 1 and worth.value > WORTH


def _worth(logs: Sequence[float]) -> Interval:
    """The geometric mean of the pairs' ratios, with Student's t on logarithms."""
    mean = estimate_over_repeats(logs)
    return Interval(math.exp(mean.value), math.exp(mean.low), math.exp(mean.high), mean.count, mean.effective)
