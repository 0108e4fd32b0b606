"""Where the time of a step goes, from launches that leave one thing out each.

With T the mean step of a variant: exposed communication = T(full) - T(no exchange), input wait = T(full) -
T(resident), compute = T(synthetic), which exchanges nothing and reads nothing. What the three leave over of
T(full) is 'other' = T(no exchange) + T(resident) - T(full) - T(synthetic): what input and exchange do to each other.

It is positive where they pass at the same time: of T(full) = C + max(I, E), taking away one gains only what reaches
beyond the other, and min(I, E) is left over. It is negative where they hinder each other: what that costs goes away
with either of them, so T(full) = C + I + E + K holds K in both shares, and -K is left over.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from hpcdl.analysis.question import read_batch, read_means
from hpcdl.analysis.repeats import combine_times, why_absent
from hpcdl.estimates.intervals import Interval, difference, ratio, scale, total
from hpcdl.records import Missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from hpcdl.analysis.launch import LaunchResult

Key = Literal["compute", "exchange", "input", "other"]
# Seconds, and the same as a fraction of the mean step.
Part: TypeAlias = "tuple[Interval | Missing, Interval | Missing]"
TITLES: dict[Key, str] = {
    "compute": "compute",
    "exchange": "exposed communication",
    "input": "input wait",
    "other": "other",
}
# A share is worth a word from here on, if its interval does not reach down to nothing.
NOTABLE_SHARE = 0.05
# An interval that reaches up to here leaves open what binds the step.
NOTABLE_LIMIT = 0.25

LOOSENED_BY: dict[Key, str] = {
    "compute": "a faster device, or fewer bits (--dtype bf16 on a GPU), would shorten the step",
    "exchange": "a faster network, more images per rank, or other buckets (--fusion-mb) would loosen it",
    "input": "more cores for decoding, faster storage, or smaller files would loosen it",
    "other": "input and exchange hinder each other, and more cores per rank would loosen it",
}
# What a loss is called; of 'other', only contention is one.
LOSSES = TITLES | {"other": "contention"}


@dataclass(frozen=True)
class Share:
    """One part of the mean step: seconds, and as a fraction of the whole, each with its 95 % interval."""

    key: Key
    time_s: Interval | Missing
    fraction: Interval | Missing


@dataclass(frozen=True)
class Attribution:
    """The mean step of one size, taken apart.

    `overlap` is the part of the communication that computing hides: 1 - exposed / allreduce alone; it needs a
    probe. `verdict` says what binds the step, and what would loosen it.
    """

    nodes: int
    ranks: int
    engine: str
    transport: str
    step_s: Interval | Missing
    shares: tuple[Share, ...]
    overlap: Interval | Missing
    verdict: str


def attribute(
    launches: Sequence[LaunchResult], alone_s: Callable[[LaunchResult], Interval | Missing]
) -> tuple[Attribution, ...]:
    """One for each size and engine that was measured in more than one variant.

    Args:
        launches: Of one run.
        alone_s: Seconds that the exchange of all gradients takes by itself, where such a launch ran.
    """
    groups: defaultdict[tuple[object, ...], dict[str, list[LaunchResult]]] = defaultdict(dict)
    for launch in launches:
        train = launch.plan.train
        asked = (launch.plan.nodes, launch.world_size, train.engine, train.model, read_batch(launch))
        groups[asked].setdefault(launch.plan.variant, []).append(launch)
    return tuple(
        _take_apart(group, alone_s) for group in groups.values() if len(group) > 1 and "full" in group
    )


def _take_apart(
    variants: Mapping[str, Sequence[LaunchResult]], alone_s: Callable[[LaunchResult], Interval | Missing]
) -> Attribution:
    full = variants["full"]
    first = next((launch for launch in full if launch.environment), full[0])
    times = {name: _mean_step(members) for name, members in variants.items()}
    shares = _share_out(times, alone=first.world_size == 1, random=first.plan.train.data == "synthetic")
    by_key = {share.key: share for share in shares}
    return Attribution(
        nodes=first.plan.nodes,
        ranks=first.world_size,
        engine=first.engine,
        transport=first.transport,
        step_s=times["full"],
        shares=shares,
        overlap=_measure_overlap(by_key["exchange"].time_s, alone_s(first), alone=first.world_size == 1),
        verdict=judge(shares, alone=first.world_size == 1),
    )


def _mean_step(launches: Sequence[LaunchResult]) -> Interval | Missing:
    means = {read_means(launch) for launch in launches if launch.environment}
    if len(means) > 1:
        return Missing(missing="its repeats did not run with the same software on the same hardware")
    work = launches[0].plan.train.global_batch
    time_s = combine_times([launch.interval for launch in launches], work)
    if time_s is None:
        return Missing(missing=f"variant '{launches[0].plan.variant}': {why_absent(launches).missing}")
    return time_s


ZERO = Interval(value=0.0, low=0.0, high=0.0, count=0, effective=0.0)


def _share_out(times: Mapping[str, Interval | Missing], *, alone: bool, random: bool) -> tuple[Share, ...]:
    """The four parts. Alone there is no exchange; random numbers are no input; then a variant stands for another."""
    absent = Missing(missing="no launch left this out")
    full = times["full"]
    no_exchange = full if alone else times.get("no exchange", absent)
    resident = full if random else times.get("resident", absent)
    # With random numbers all along, no exchange leaves nothing but arithmetic.
    bare = no_exchange if random else times.get("synthetic", absent)
    parts: dict[Key, Part] = {
        "compute": (bare, _combine(ratio, bare, full)),
        "exchange": (ZERO, ZERO) if alone else _gain(full, no_exchange),
        "input": (ZERO, ZERO) if random else _gain(full, resident),
        # Nothing where one of the effects is not there at all.
        "other": _leave_over(full, no_exchange, resident, bare, alone=alone, random=random),
    }
    return tuple(Share(key, time_s, fraction) for key, (time_s, fraction) in parts.items())


def _gain(full: Interval | Missing, variant: Interval | Missing) -> Part:
    """What the step is shorter by without it. The fraction is 1 - variant / full: full too is uncertain, but once."""
    fraction = _combine(lambda part, whole: _take_from(1, ratio(part, whole)), variant, full)
    return _combine(difference, full, variant), fraction


def _take_from(whole: float, part: Interval) -> Interval:
    return replace(part, value=whole - part.value, low=whole - part.high, high=whole - part.low)


def _leave_over(
    full: Interval | Missing,
    no_exchange: Interval | Missing,
    resident: Interval | Missing,
    bare: Interval | Missing,
    *,
    alone: bool,
    random: bool,
) -> Part:
    """(no exchange + resident - synthetic) - full."""
    if random:
        return ZERO, ZERO
    if alone:
        time_s = _combine(difference, resident, bare)
        # Full is in it no more but as the measure, whose uncertainty does not count beside that of a difference.
        return time_s, _combine(lambda part, whole: scale(part, 1 / whole.value), time_s, full)
    both = _combine(lambda one, other: total([one, other]), no_exchange, resident)
    without = _combine(difference, both, bare)
    return _combine(difference, without, full), _combine(_exceed, without, full)


def _exceed(without: Interval, full: Interval) -> Interval | Missing:
    """As a fraction of full: without / full - 1."""
    if without.value <= 0:
        return Missing(missing="'synthetic' took longer than 'no exchange' and 'resident' together")
    part = ratio(without, full)
    return replace(part, value=part.value - 1, low=part.low - 1, high=part.high - 1)


def _combine(
    formula: Callable[[Interval, Interval], Interval | Missing],
    one: Interval | Missing,
    other: Interval | Missing,
) -> Interval | Missing:
    if isinstance(one, Missing):
        return one
    return other if isinstance(other, Missing) else formula(one, other)


def _measure_overlap(
    exposed_s: Interval | Missing, alone_s: Interval | Missing, *, alone: bool
) -> Interval | Missing:
    if alone:
        return Missing(missing="one rank has nothing to exchange")
    if isinstance(exposed_s, Missing) or isinstance(alone_s, Missing):
        return exposed_s if isinstance(exposed_s, Missing) else alone_s
    if exposed_s.low <= 0:
        # All of it is hidden, as far as can be told; a ratio of what may be nothing has no interval.
        hidden = 1 - max(exposed_s.high, 0) / alone_s.low
        return Interval(
            value=min(1.0, 1 - exposed_s.value / alone_s.value),
            low=hidden,
            high=1.0,
            count=exposed_s.count,
            effective=exposed_s.effective,
        )
    return _take_from(1, ratio(exposed_s, alone_s))


def judge(shares: Sequence[Share], *, alone: bool) -> str:
    """What binds the step, and whether input and exchange hide each other, which no single share shows.

    Args:
        shares: All four.
        alone: One rank exchanges nothing, so what is left over there is neither overlap nor contention.
    """
    known = {share.key: share.fraction for share in shares if not isinstance(share.fraction, Missing)}
    missing = [share.fraction.missing for share in shares if isinstance(share.fraction, Missing)]
    if missing:
        return f"what binds the step cannot be told: {missing[0]}"
    left_over = ZERO if alone else known["other"]
    losses: dict[Key, Interval] = {
        "exchange": known["exchange"],
        "input": known["input"],
        "other": _take_from(0, left_over),
    }
    told = [*_tell_worst(losses), *_tell_hidden(left_over)]
    if not told and (open_yet := _tell_open(losses)):
        return open_yet
    computing = f"computing binds the step, {_percent(known['compute'])} of it: {LOOSENED_BY['compute']}"
    return "; ".join(told) or computing


def _tell_worst(losses: Mapping[Key, Interval]) -> Iterator[str]:
    """The largest of those that are there for certain; contention is among them as what it costs."""
    binding = {key: loss.value for key, loss in losses.items() if _is_notable(loss)}
    # It is in the shares of exchange and input as well: without it they would be shorter by as much.
    contention = binding.get("other", 0.0)
    own = {key: loss if key == "other" else loss - contention for key, loss in binding.items()}
    if own:
        worst = max(own, key=lambda key: own[key])
        yield f"{LOSSES[worst]} costs {_percent(losses[worst])} of the step: {LOOSENED_BY[worst]}"


def _tell_open(losses: Mapping[Key, Interval]) -> str:
    """Where intervals are so wide that a share that binds may hide in them; empty where none can."""
    wide = {key: loss.high for key, loss in losses.items() if loss.high >= NOTABLE_LIMIT}
    if not wide:
        return ""
    widest = max(wide, key=lambda key: wide[key])
    return (
        f"what binds the step cannot be told yet: {LOSSES[widest]} may cost nothing or up to "
        f"{100 * wide[widest]:.0f} % of it; more steps or --repeat 5 would narrow it"
    )


def _tell_hidden(left_over: Interval) -> Iterator[str]:
    if _is_notable(left_over):
        yield (
            f"input and exchange pass at the same time for {_percent(left_over)} of the step: "
            "taking away only one of them gains less than it takes by itself"
        )


def _is_notable(part: Interval) -> bool:
    return part.low > 0 and part.value >= NOTABLE_SHARE


def _percent(part: Interval) -> str:
    return f"{100 * part.value:.0f} %"
