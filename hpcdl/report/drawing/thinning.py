"""Less to draw than was measured, without losing what matters: extremes of courses, the worst of heat maps."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from math import ceil, isfinite
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.report.pictures import Dot, HeatMap

MOST_DOTS = 500
MOST_ROWS = 128
MOST_COLUMNS = 160
_COUNTED = re.compile(r"^(.*?)(\d+)$", re.DOTALL)


def thin_dots(dots: Sequence[Dot], most: int = MOST_DOTS) -> tuple[Dot, ...]:
    """At most `most` dots in the order of x: of each stretch the lowest and the highest; ends and labels stay.

    A stretch that holds nothing but gaps stays a gap. Labelled dots are kept even beyond `most`.
    """
    ordered = sorted(dots, key=lambda dot: dot.x)
    if len(ordered) <= most:
        return tuple(ordered)
    # The ends take two of the places.
    count = max((most - 2) // 2, 1)
    edges = [round(index * len(ordered) / count) for index in range(count + 1)]
    kept = {0, len(ordered) - 1, *(place for place, dot in enumerate(ordered) if dot.label)}
    for begin, end in pairwise(edges):
        kept.update(_find_extremes(ordered, begin, end))
    return tuple(ordered[place] for place in sorted(kept))


def _find_extremes(dots: Sequence[Dot], begin: int, end: int) -> Iterator[int]:
    known = [place for place in range(begin, end) if isfinite(dots[place].y)]
    if not known:
        yield begin
        return
    yield min(known, key=lambda place: dots[place].y)
    yield max(known, key=lambda place: dots[place].y)


def condense(heat: HeatMap, rows: int = MOST_ROWS, columns: int = MOST_COLUMNS) -> HeatMap:
    """A heat map of at most so many rows and columns: neighbours become one cell, which shows the worst of them.

    So a slow rank stays to be seen among thousands. Labels name the ranges.
    """
    down, across = group_size(len(heat.rows), rows), group_size(len(heat.columns), columns)
    if down == across == 1 or not heat.rows or not heat.columns:
        return heat
    values = np.array(heat.values, dtype=float)
    # fmax and fmin pass over what is not a number, unless there is nothing else.
    worst = np.fmax if heat.worst == "highest" else np.fmin
    values = worst.reduceat(values, np.arange(0, values.shape[0], down), axis=0)
    values = worst.reduceat(values, np.arange(0, values.shape[1], across), axis=1)
    return replace(
        heat,
        rows=_name_groups(heat.rows, down),
        columns=_name_groups(heat.columns, across),
        values=tuple(tuple(None if np.isnan(value) else float(value) for value in row) for row in values),
    )


def group_size(count: int, most: int) -> int:
    """How many neighbours become one, so that at most `most` are left."""
    return max(ceil(count / most), 1)


def _name_groups(names: Sequence[str], size: int) -> tuple[str, ...]:
    groups = [names[begin : begin + size] for begin in range(0, len(names), size)]
    return tuple(_name_range(group[0], group[-1]) for group in groups)


def _name_range(first: str, last: str) -> str:
    if first == last:
        return first
    one, other = _COUNTED.match(first), _COUNTED.match(last)
    if one and other and one[1] == other[1]:
        return f"{first}–{other[2]}"  # noqa: RUF001 - a range has an en dash
    return f"{first} – {last}"  # noqa: RUF001
