"""Where the time of a step goes, from launches that leave one thing out each.

With T the mean step of a variant: exposed communication = T(full) - T(no exchange), input wait = T(full) -
T(resident), compute = T(synthetic), which exchanges nothing and reads nothing. What the three leave over of
T(full) is 'other': contention between input, exchange and arithmetic, positive where they hinder each other.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hpcdl.analysis.question import read_batch, read_means
from hpcdl.analysis.repeats import combine_times
from hpcdl.estimates.intervals import Interval, difference, ratio, scale, total
from hpcdl.records import Missing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hpcdl.analysis.launch import LaunchResult

Key = Literal["compute", "exchange", "input", "other"]
TITLES: dict[Key, str] = {
    "compute": "compute",
    "exchange": "exposed communication",
    "input": "input wait",
    "other": "other",
}
# A share is worth a word from here on, if its interval does not reach down to nothing.
NOTABLE_SHARE = 0.05

LOOSENED_BY: dict[Key, str] = {
    "compute": "a faster device, or fewer bits (--dtype bf16 on a GPU), would shorten the step",
    "exchange": "a faster network, more images per rank, or other buckets (--fusion-mb) would loosen it",
    "input": "more cores for decoding, faster storage, or smaller files would loosen it",
    "other": "input, exchange and arithmetic hinder each other: more cores per rank would loosen it",
}


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
        verdict=judge(shares),
    )


def _mean_step(launches: Sequence[LaunchResult]) -> Interval | Missing:
    means = {read_means(launch) for launch in launches if launch.environment}
    if len(means) > 1:
        return Missing(missing="its repeats did not run with the same software on the same hardware")
    work = launches[0].plan.train.global_batch
    time_s = combine_times([launch.interval for launch in launches], work)
    if time_s is None:
        rate = launches[0].images_per_s
        reason = rate.missing if isinstance(rate, Missing) else "there is no interval"
        return Missing(missing=f"variant '{launches[0].plan.variant}': {reason}")
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
    parts: dict[Key, Interval | Missing] = {
        "compute": bare,
        "exchange": ZERO if alone else _combine(difference, full, no_exchange),
        "input": ZERO if random else _combine(difference, full, resident),
        # (no exchange + resident) - (full + synthetic); nothing where one of the effects is not there at all.
        "other": _leave_over(full, no_exchange, resident, bare, alone=alone, random=random),
    }
    return tuple(Share(key, time_s, _as_fraction(time_s, full)) for key, time_s in parts.items())


def _leave_over(
    full: Interval | Missing,
    no_exchange: Interval | Missing,
    resident: Interval | Missing,
    bare: Interval | Missing,
    *,
    alone: bool,
    random: bool,
) -> Interval | Missing:
    if random:
        return ZERO
    if alone:
        return _combine(difference, resident, bare)
    left = _combine(lambda a, b: total([a, b]), no_exchange, resident)
    right = _combine(lambda a, b: total([a, b]), full, bare)
    return _combine(difference, left, right)


def _combine(
    formula: Callable[[Interval, Interval], Interval], one: Interval | Missing, other: Interval | Missing
) -> Interval | Missing:
    if isinstance(one, Missing):
        return one
    return other if isinstance(other, Missing) else formula(one, other)


def _as_fraction(time_s: Interval | Missing, full: Interval | Missing) -> Interval | Missing:
    """Of the mean step; its own uncertainty is small beside that of a difference."""
    return _combine(lambda part, whole: scale(part, 1 / whole.value), time_s, full)


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
    part = ratio(exposed_s, alone_s)
    return Interval(
        value=1 - part.value, low=1 - part.high, high=1 - part.low, count=part.count, effective=part.effective
    )


def judge(shares: Sequence[Share]) -> str:
    """What binds the step: the largest share beside computing whose interval does not reach down to nothing."""
    known = {share.key: share.fraction for share in shares if not isinstance(share.fraction, Missing)}
    missing = [share for share in shares if isinstance(share.fraction, Missing)]
    if missing:
        reason = missing[0].fraction
        return f"what binds the step cannot be told: {reason.missing if isinstance(reason, Missing) else ''}"
    losses = {key: part for key, part in known.items() if key != "compute" and part.low > 0}
    worst = max(losses, key=lambda key: losses[key].value, default=None)
    if worst is not None and losses[worst].value >= NOTABLE_SHARE:
        part = losses[worst]
        return f"{TITLES[worst]} costs {100 * part.value:.0f} % of the step: {LOOSENED_BY[worst]}"
    return f"computing binds the step, {100 * known['compute'].value:.0f} % of it: {LOOSENED_BY['compute']}"
