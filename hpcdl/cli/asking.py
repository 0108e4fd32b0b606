"""What commands demand of what was typed, and of what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpcdl.preparation import Asked
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


def add_tags(asked: Asked, words: list[str] | None) -> Asked:
    """The same with the distinct tags.

    Raises:
        Mistake: A word could be taken for something else where runs are named.
    """
    import re
    from dataclasses import replace

    from hpcdl.errors import Mistake

    for word in words or []:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}", word) or word.isdecimal() or word == "last":
            raise Mistake(
                f"--tag {word!r}: a tag is letters, digits, '.', '_' and '-', not a number alone and not 'last'.",
                do="Write --tag nightly, or --tag driver-580.",
            )
    return replace(asked, tags=tuple(dict.fromkeys(words or [])))
