"""What the commands on power demand of what was typed, and of what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpcdl.sampling import Sampling


def read_time(text: str, flag: str, least_s: float, most_s: float | None = None) -> float:
    """'100ms', '1s', or a number of seconds.

    Raises:
        Mistake: It is no time, or too short or too long.
    """
    import sys

    from hpcdl.errors import Mistake
    from hpcdl.report.numbers import format_value
    from hpcdl.spec import read_seconds

    try:
        time_s = float(str(read_seconds(text)))
    except ValueError:
        time_s = float("nan")
    if least_s <= time_s <= (sys.float_info.max if most_s is None else most_s):
        return time_s
    least, most = (format_value(bound_s, "s") for bound_s in (least_s, most_s or least_s))
    needed = f"of at least {least}" if most_s is None else f"between {least} and {most}"
    raise Mistake(f"{flag} {text}: a time {needed} is needed.", do=f"Write {flag} 10s, or 500ms.")


def require_sources(sampling: Sampling, *, measured: bool = False) -> None:
    """Whether there is anything to look at; where `measured`, anything but estimates."""
    from hpcdl.errors import Failure

    sources = [source for source in sampling.opening.sources if not (measured and source.estimated)]
    if not sources:
        estimates = ": there is only an estimate, which is no baseline" if sampling.opening.sources else ""
        raise Failure(
            f"nothing on {sampling.opening.host} measures power{estimates}.",
            do="`hpcdl power sensors` says what would change that.",
        )
