"""Words, and numbers that must be equal: to what was asked, or to what most of the fleet have."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import isclose
from typing import TYPE_CHECKING

from hpcdl.acceptance.suite import read_quantity
from hpcdl.acceptance.verdict import Decision
from hpcdl.acceptance.wording import tell_difference, tell_number
from hpcdl.acceptance.words import shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.acceptance.case import Case
    from hpcdl.acceptance.evidence import Unit

# Two that differ accuse each other.
FEWEST = 3
# What must not depend on the model that it is found on, as it tells the model, or is copied from one place.
ACROSS_MODELS = frozenset({"identity.cpu", "identity.gpu", "data.digest"})


@dataclass(frozen=True)
class _Voice:
    """A unit with all the words that it gave."""

    unit: Unit
    words: tuple[str, ...]

    @property
    def steady(self) -> bool:
        return len(self.words) == 1


def decide_words(case: Case, units: Sequence[Unit]) -> list[Decision]:
    """Each unit that must be equal to something."""
    voices = [_Voice(case.as_seen(unit), _collect_words(case, unit)) for unit in units]
    if case.criterion.equals == "fleet":
        return _decide_by_fleet(case, voices)
    wanted = _read_wanted(case)
    return [_decide_literal(case, voice, wanted) for voice in voices]


def _collect_words(case: Case, unit: Unit) -> tuple[str, ...]:
    numbers = {tell_number(sample, case.criterion.what) for sample in case.samples_of(unit)}
    return tuple(sorted({word.word for word in case.words_of(unit)} | numbers))


def _read_wanted(case: Case) -> str | float:
    equals, metric = case.criterion.equals, case.criterion.what
    return str(equals) if metric.dimension == "text" else read_quantity(equals, metric)


def _decide_literal(case: Case, voice: _Voice, wanted: str | float) -> Decision:
    if not voice.words:
        return case.lack_all(voice.unit)
    if isinstance(wanted, str):
        wrong = [word for word in voice.words if word != wanted]
        return _settle(
            case, voice, wanted, wrong[0] if wrong else "", f"it is {shorten(wrong[0])}" if wrong else ""
        )
    samples = case.samples_of(voice.unit)
    off = [sample for sample in samples if not isclose(sample, wanted, rel_tol=1e-9)]
    shown = tell_number(wanted, case.criterion.what)
    if not off:
        return _settle(case, voice, shown, "", "")
    return _settle(case, voice, shown, tell_number(off[0], case.criterion.what), f"it is {voice.words[0]}")


def _settle(case: Case, voice: _Voice, wanted: str, wrong: str, reason: str) -> Decision:
    """Of exact words one wrong one is enough; without a `reason` there is none."""
    if not reason:
        return case.accept(voice.unit, wanted, threshold=wanted, samples=len(voice.words))
    return Decision(
        unit=voice.unit.name,
        nodes=voice.unit.nodes,
        outcome="fail",
        value=wrong,
        threshold=wanted,
        samples=len(voice.words),
        reason=reason,
    )


def _decide_by_fleet(case: Case, voices: Sequence[_Voice]) -> list[Decision]:
    kinds: dict[tuple[str, ...], list[_Voice]] = {}
    for voice in voices:
        kinds.setdefault(_sort(case, voice.unit), []).append(voice)
    given = [voice for voice in voices if voice.words]
    common = {word for voice in given for word in voice.words}
    united = common.pop() if len(common) == 1 and len(given) > 1 else None
    decided = {
        decision.unit: decision for alike in kinds.values() for decision in _decide_alike(case, alike, united)
    }
    return [decided[voice.unit.name] for voice in voices]


def _sort(case: Case, unit: Unit) -> tuple[str, ...]:
    """Only like is compared with like; arithmetic is the same only by the same libraries."""
    metric = case.criterion.metric
    if metric in ACROSS_MODELS:
        return ()
    if metric.startswith("arithmetic."):
        return (unit.model, *(case.seen.software.get(node, "") for node in unit.nodes))
    return (unit.model,)


def _decide_alike(case: Case, alike: Sequence[_Voice], united: str | None) -> list[Decision]:
    given = [voice for voice in alike if voice.words]
    votes = Counter(voice.words[0] for voice in given if voice.steady)
    word, count = max(votes.items(), key=lambda item: (item[1], item[0]), default=("", 0))
    if united is not None:
        most, reason = united, ""
    elif len(given) == 1:
        most, reason = None, _say_alone(case, given[0].unit)
    elif 2 * count > len(given) and (len(given) >= FEWEST or count == len(given)):
        most, reason = word, ""
    else:
        most, reason = None, _say_split(votes, len(given))
    return [_decide_voice(case, voice, most, reason) for voice in alike]


def _decide_voice(case: Case, voice: _Voice, most: str | None, reason: str) -> Decision:
    if not voice.words:
        return case.lack_all(voice.unit)
    if most is None:
        shown = voice.words[0]
        return case.lack(voice.unit, reason, helps=False).model_copy(
            update={"value": shown, "samples": len(voice.words)}
        )
    wrong = [word for word in voice.words if word != most]
    if not wrong:
        return _settle(case, voice, most, "", "")
    changed = "" if voice.steady else "at one time: "
    return _settle(case, voice, most, wrong[0], changed + tell_difference(wrong[0], most))


def _say_alone(case: Case, unit: Unit) -> str:
    if len(case.seen.nodes) == 1:
        return "a fleet of one has no majority; what is asked literally can still be said"
    of = f" ({shorten(unit.model)})" if unit.model else ""
    return f"there is no other of its kind{of} to compare it with"


def _say_split(votes: Counter[str], given: int) -> str:
    told = [
        f"{count} say{'s' if count == 1 else ''} {shorten(word)}" for word, count in sorted(votes.items())
    ]
    if (rest := given - votes.total()) > 0:
        told.append(f"{rest} said now this, now that")
    return f"{', '.join(told[:4])}: there is no majority"
