"""The dated result of a campaign: what was counted, how sure that is, and each trial behind it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from hpcdl.acceptance.words import cut
from tests.campaign.counting import clopper_pearson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.campaign.drill import Drill
    from tests.campaign.notebook import Trial

COMMAND = "make campaign"
# What went wrong may be all that a command printed: the page has its beginning, the JSON file the whole.
LONGEST = 240


@dataclass(frozen=True)
class Count:
    """How often one claim held. The worst time is of the trials that held; None where none did."""

    drill: str
    claim: str
    timed: str
    held: int
    trials: int
    planned: int
    low: float
    high: float
    worst_s: float | None
    worst_by_variant_s: dict[str, float]


def count(name: str, drill: Drill, trials: Sequence[Trial], *, planned: int) -> Count:
    """The count of one drill, void trials left out. Raises ValueError where no trial was done."""
    valid = [trial for trial in trials if trial.held is not None]
    held = sum(trial.held is True for trial in valid)
    low, high = clopper_pearson(held, len(valid))
    worst = _worst_by_variant(valid)
    worst_s = max(worst.values(), default=None)
    return Count(name, drill.claim, drill.timed, held, len(valid), planned, low, high, worst_s, worst)


def _worst_by_variant(trials: Sequence[Trial]) -> dict[str, float]:
    worst: dict[str, float] = {}
    for trial in trials:
        if trial.elapsed_s is not None:
            worst[trial.variant] = max(worst.get(trial.variant, 0.0), trial.elapsed_s)
    return dict(sorted(worst.items()))


def as_markdown(
    date: str, machine: Mapping[str, str], counts: Sequence[Count], trials: Sequence[Trial]
) -> str:
    """The report as people read it."""
    parts = [
        f"# Campaign of {date}",
        f"Made by `{COMMAND}`; every trial stands in the JSON file beside this one.",
        "The interval is Clopper and Pearson's, 95 %: the share of all such trials that would hold.",
        _table(counts),
        *(_claim(one) for one in counts),
        *_failures(trials),
        "## Where",
        "\n".join([*(f"- {name}: {value}" for name, value in machine.items()), _code(trials), _load(trials)]),
    ]
    return "\n\n".join(parts) + "\n"


def _table(counts: Sequence[Count]) -> str:
    rows = [
        f"| {one.drill} | {one.held} of {one.trials}{_open(one)} | {one.low:.0%} to {one.high:.0%} | {_worst(one)} |"
        for one in counts
    ]
    return "\n".join(["| drill | held | 95 % interval | worst time |", "|---|---|---|---|", *rows])


def _open(one: Count) -> str:
    return f" ({one.planned} planned)" if one.trials < one.planned else ""


def _worst(one: Count) -> str:
    return "none held" if one.worst_s is None else f"{one.worst_s:.1f} s"


def _claim(one: Count) -> str:
    worst = ", ".join(f"{variant} {worst_s:.1f} s" for variant, worst_s in one.worst_by_variant_s.items())
    return f"**{one.drill}.** {one.claim} The time is {one.timed}; at worst: {worst or 'none held'}."


def _failures(trials: Sequence[Trial]) -> list[str]:
    failed = [trial for trial in trials if trial.held is False]
    void = [trial for trial in trials if trial.held is None]
    parts = []
    if failed:
        parts += ["## What did not hold", _list(failed)]
    if void:
        parts += ["## Void, not counted, done again", _list(void)]
    return parts


def _list(trials: Sequence[Trial]) -> str:
    lines = [
        f"- {trial.drill}, trial {trial.number}: {cut(' '.join(trial.detail.split()), LONGEST)}"
        for trial in trials
    ]
    return "\n".join(lines)


def _code(trials: Sequence[Trial]) -> str:
    return f"- code: {', '.join(sorted({trial.code for trial in trials}))}"


def _load(trials: Sequence[Trial]) -> str:
    loads = [trial.load for trial in trials]
    return f"- load average when trials began: {min(loads):.1f} to {max(loads):.1f}"


def write(
    folder: Path, date: str, machine: Mapping[str, str], counts: Sequence[Count], trials: Sequence[Trial]
) -> Path:
    """Both forms in `folder`; returns the Markdown file."""
    folder.mkdir(exist_ok=True)
    path = folder / f"campaign-{date}.md"
    path.write_text(as_markdown(date, machine, counts, trials), encoding="utf-8")
    facts = {
        "schema": "hpcdl.campaign",
        "schema_version": 1,
        "date": date,
        "command": COMMAND,
        "machine": dict(machine),
        "counts": [asdict(one) for one in counts],
        "trials": [asdict(trial) for trial in trials],
    }
    path.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return path
