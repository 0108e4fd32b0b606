"""When to stop: looks at growing samples until the interval is narrow enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.estimates.steady import SteadyState, find_steady_state

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

# Fewer would stop at an interval that is narrow by chance.
EFFECTIVE_SAMPLES = 100
# Each look is a chance to stop too early. Doubling makes few of them: at looks of 1.3 times the samples, 95 %
# intervals covered the truth in 92 % of simulated trials only.
GROWTH = 2


def reached(periods: ArrayLike, half_width: float) -> bool:
    """Whether the mean of the steady samples, (n,), is known to this relative half-width."""
    state = find_steady_state(periods)
    return isinstance(state, SteadyState) and is_precise(state, half_width)


def is_precise(state: SteadyState, half_width: float) -> bool:
    """The one rule for 'precision reached': by it a launch stops, and by it the report says so."""
    return state.mean.effective >= EFFECTIVE_SAMPLES and state.mean.half_width <= half_width


def next_look(count: int) -> int:
    """At how many samples to look again."""
    return GROWTH * count
