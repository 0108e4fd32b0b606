"""Amounts as people type them: '100M', '1.5 billion', '24h', '3 days'; what is not one of these is refused."""

from __future__ import annotations

import math
import re

from hpcdl.errors import Mistake

# SI prefixes are told apart by their case: m would be a thousandth. B is the billion of people who count parameters.
FACTORS = {
    "": 1.0,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "B": 1e9,
    "T": 1e12,
    "thousand": 1e3,
    "million": 1e6,
    "billion": 1e9,
    "trillion": 1e12,
}
SECONDS = {
    "s": 1.0,
    "second": 1.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
    "d": 86_400.0,
    "day": 86_400.0,
    "w": 604_800.0,
    "week": 604_800.0,
}
PLURALS = {"seconds", "minutes", "hours", "days", "weeks"}
_AMOUNT = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", re.ASCII)


def read_amount(text: str, flag: str) -> float:
    """'100M' -> 1e8.

    Raises:
        Mistake: It is no number above zero with one of FACTORS behind it.
    """
    number, unit = _split(text)
    amount = number * FACTORS.get(unit, math.nan)
    if 0 < amount < math.inf:
        return amount
    raise Mistake(
        f"{flag} {text}: a number above zero is needed, such as 1281167, 100M or 1.5G.",
        do=f"It may end in {', '.join(name for name in FACTORS if name)}.",
    )


def read_deadline(text: str, flag: str) -> float:
    """'24h' -> 86,400 s.

    Raises:
        Mistake: It is no time above zero with its unit.
    """
    number, unit = _split(text)
    seconds = number * SECONDS.get(unit.removesuffix("s") if unit in PLURALS else unit, math.nan)
    if 0 < seconds < math.inf:
        return seconds
    raise Mistake(
        f"{flag} {text}: a time above zero with its unit is needed.",
        do=f"Write {flag} 24h, {flag} 90min or {flag} '3 days'.",
    )


def _split(text: str) -> tuple[float, str]:
    found = _AMOUNT.fullmatch(text)
    return (float(found[1]), found[2]) if found else (math.nan, "")
