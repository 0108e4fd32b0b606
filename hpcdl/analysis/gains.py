"""What a size gains over the base: pure arithmetic, for rates that were measured and for rates that were read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.analysis.readings import derive
from hpcdl.estimates.fits import karp_flatt
from hpcdl.estimates.intervals import ratio, scale
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.estimates.intervals import Interval


@dataclass(frozen=True)
class Rate:
    """Throughput on `ranks` of the same kind, in any unit that all sizes share, with its 95 % interval."""

    ranks: int
    value: Reading
    interval: Interval | None = None


@dataclass(frozen=True)
class Gain:
    """One size against the base. `relative` is N: ranks over the ranks of the base.

    `efficiency_interval` takes in the uncertainty of point and base. `karp_flatt` is the experimentally determined
    serial fraction (Karp & Flatt 1990); at weak scaling it is applied to the scaled speed-up.
    """

    relative: float
    speed_up: Reading
    efficiency: Reading
    efficiency_interval: Interval | None
    karp_flatt: Reading


def compare_rates(rates: Sequence[Rate]) -> tuple[Gain, ...]:
    """Each of the sizes against the smallest, in the order given."""
    base = min(rates, key=lambda rate: rate.ranks)
    return tuple(compare_with_base(rate, base) for rate in rates)


def compare_with_base(here: Rate, base: Rate, withheld: Missing | None = None) -> Gain:
    """Weak: E = X(N) / (N X(1)) at equal local batch; strong: E = T(1) / (N T(N)) at equal global batch.

    X(N) / X(1) is T(1) / T(N) at equal global batch, so both modes are one formula.

    Args:
        here: The size.
        base: What it is compared with.
        withheld: Why speed-up and efficiency are not published; None: they are.
    """
    relative = here.ranks / base.ranks
    speed_up = withheld or derive(_divide, here.value, _name_missing_base(base.value))
    efficiency = derive(lambda gain: gain / relative, speed_up)
    return Gain(
        relative=relative,
        speed_up=speed_up,
        efficiency=efficiency,
        efficiency_interval=_bound_efficiency(efficiency, relative, here.interval, base.interval),
        karp_flatt=_measure_karp_flatt(speed_up, relative),
    )


def _bound_efficiency(
    efficiency: Reading, relative: float, interval: Interval | None, base: Interval | None
) -> Interval | None:
    """From both ends; the base compared with itself has none."""
    if relative == 1 or isinstance(efficiency, Missing) or interval is None or base is None:
        return None
    return scale(ratio(interval, base), 1 / relative)


def _measure_karp_flatt(speed_up: Reading, relative: float) -> Reading:
    if relative <= 1:
        return Missing(missing="the base has nothing to be compared with")
    return derive(lambda gain: karp_flatt(gain, relative), speed_up)


def _divide(rate: float, base: float) -> float:
    return rate / base


def _name_missing_base(base: Reading) -> Reading:
    if not isinstance(base, Missing):
        return base
    return base.model_copy(update={"missing": f"there is no base to compare with: {base.missing}"})
