"""Where each unit of a fleet stands: its speed by itself, or over its like's median, and how sure that is.

All of it on natural logarithms: speeds scatter in proportion. Additive model: what a unit is, plus the weather of a
block (all that was measured at the same time), plus what a unit had in that block alone, plus noise. Medians locate,
so that one slow repeat does not make a slow unit; the noise is pooled over the fleet and moderated for each unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaincinv, stdtrit

from hpcdl.estimates.moderation import moderate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.intp]

# A block has a weather of its own where so many like units share it.
SHARING = 3
# The weather is read off units within so many robust standard deviations of their like's median: those that are
# measured again because they looked slow come back to the middle, and would be taken for good weather.
UNREMARKABLE = 3.0
# What a unit has in one block alone is told from noise by so many units that were in several.
RETURNED = 4
TWO = 2
# Of a normal distribution: standard deviation over median absolute deviation.
MAD_TO_SD = 1.4826


@dataclass(frozen=True)
class Samples:
    """Of one metric: `logs`, and of which unit and in which block each was taken, (samples,).

    `kinds` is the kind of each unit, (units,): only like is compared with like.
    """

    logs: Floats
    units: Places
    blocks: Places
    kinds: Places


@dataclass(frozen=True)
class Standing:
    """(units,) each; not a number where a unit has no sample, or nothing is known of its noise.

    `values` are logarithms, over the kind's median where `relative`; `errors` their standard errors with `degrees` of
    freedom; `lowest` and `highest` the same of single blocks.
    """

    values: Floats
    errors: Floats
    degrees: Floats
    lowest: Floats
    highest: Floats
    samples: Places
    blocks: Places

    def reach(self, alpha: float) -> Floats:
        """Half the interval: beyond each of its ends the truth lies with a chance of `alpha`; Student's t."""
        known = self.degrees > 0
        quantile = np.full(len(self.values), np.nan)
        quantile[known] = -stdtrit(self.degrees[known], alpha)
        reached: Floats = quantile * self.errors
        return reached


@dataclass(frozen=True)
class _Cells:
    """The median of each unit in each block, (cells,), sorted by unit, then by block; `of` is each sample's cell."""

    medians: Floats
    units: Places
    blocks: Places
    of: Places


def estimate_standing(samples: Samples, *, relative: bool) -> Standing:
    """Where each unit stands, by itself or `relative` to the median of its kind.

    The reference is the median of these very units as they truly are: its error is at most that of a single unit, and
    at most that of the median of a sample of such a fleet; the smaller counts.
    """
    count = len(samples.kinds)
    cells = _make_cells(samples)
    weather = _find_weather(samples.kinds, cells) if relative else np.zeros(len(cells.medians))
    logs = samples.logs - weather[cells.of]
    medians = cells.medians - weather
    values, sizes = _locate(logs, samples.units, count)
    blocks = np.bincount(cells.units, minlength=count)
    variances, degrees = _measure_scatter(logs, samples.units, cells, blocks)
    noise = moderate(variances, degrees)
    alone = _measure_between(medians, cells.units, blocks, noise.typical, sizes)
    squares = noise.variances * _spread_median(sizes) + alone / np.maximum(blocks, 1)
    centre = np.zeros(count)
    if relative:
        centre, doubt = _find_centres(values, samples.kinds, squares)
        squares = squares + doubt
    lowest, highest = _find_ends(medians, cells.units, count)
    return Standing(
        values - centre,
        np.where(sizes > 0, np.sqrt(squares), np.nan),
        np.where(sizes > 0, noise.degrees, 0.0),
        lowest - centre,
        highest - centre,
        sizes,
        blocks,
    )


def _make_cells(samples: Samples) -> _Cells:
    width = int(samples.blocks.max(initial=0)) + 1
    keys, of = np.unique(samples.units * width + samples.blocks, return_inverse=True)
    medians, _ = _locate(samples.logs, of, len(keys))
    return _Cells(medians, keys // width, keys % width, of)


def _locate(values: Floats, groups: Places, count: int) -> tuple[Floats, Places]:
    """The median of each group and its size, (count,); not a number where a group is empty."""
    order = np.lexsort((values, groups))
    ordered = values[order]
    sizes = np.bincount(groups, minlength=count)
    begins = np.cumsum(sizes) - sizes
    medians = np.full(count, np.nan)
    some = sizes > 0
    lower, upper = begins + (sizes - 1) // 2, begins + sizes // 2
    medians[some] = (ordered[lower[some]] + ordered[upper[some]]) / 2
    return medians, sizes


def _find_weather(kinds: Places, cells: _Cells) -> Floats:
    """What each cell's block does to its kind, (cells,): 0 in the block where most of them were.

    Blocks are laid one onto another, the largest first, by the units that were seen before and are unremarkable; one
    that shares too few with those before has no weather that could be told from its units.
    """
    weather = np.zeros(len(cells.medians))
    groups = kinds[cells.units] * (int(cells.blocks.max(initial=0)) + 1) + cells.blocks
    order = np.argsort(groups, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    sums, seen = np.zeros(len(kinds)), np.zeros(len(kinds), dtype=np.intp)
    for part in sorted(parts, key=lambda part: (-len(part), int(groups[part[0]]) if len(part) else 0)):
        units = cells.units[part]
        if len(part) >= SHARING:
            weather[part] = _compare_weather(cells.medians[part], sums[units], seen[units])
        sums[units] += cells.medians[part] - weather[part]
        seen[units] += 1
    return weather


def _compare_weather(medians: Floats, sums: Floats, seen: Places) -> float:
    known = seen > 0
    if np.count_nonzero(known) < SHARING:
        return 0.0
    before = sums[known] / seen[known]
    middle = np.median(before)
    distance = np.abs(before - middle)
    calm = distance <= UNREMARKABLE * MAD_TO_SD * np.median(distance)
    chosen = calm if np.count_nonzero(calm) >= SHARING else np.ones_like(calm)
    return float(np.median((medians[known] - before)[chosen]))


def _measure_scatter(logs: Floats, units: Places, cells: _Cells, blocks: Places) -> tuple[Floats, Floats]:
    """Variance of one sample of each unit and its degrees of freedom, (units,).

    Within the blocks, where what comes with a block can be told apart by enough units; else over all of a unit's.
    """
    groups, count = cells.of, len(cells.medians)
    within = np.bincount(units, minlength=len(blocks)) > blocks
    if np.count_nonzero(blocks > 1) < RETURNED or not within.any():
        groups, count = units, len(blocks)
    sizes = np.bincount(groups, minlength=count)
    means = np.bincount(groups, logs, minlength=count) / np.maximum(sizes, 1)
    squares = np.bincount(units, (logs - means[groups]) ** 2, minlength=len(blocks))
    lost = blocks if count == len(cells.medians) else np.minimum(blocks, 1)
    degrees = (np.bincount(units, minlength=len(blocks)) - lost).astype(np.float64)
    return squares / np.maximum(degrees, 1), degrees


def _measure_between(medians: Floats, units: Places, blocks: Places, noise: float, sizes: Places) -> float:
    """Variance of what a unit has in one block alone, beyond the noise of that block's median; 0 where unknown."""
    several = blocks > 1
    if np.count_nonzero(several) < RETURNED or not np.any(sizes > blocks):
        return 0.0
    count = len(blocks)
    means = np.bincount(units, medians, minlength=count) / np.maximum(blocks, 1)
    squares = np.bincount(units, (medians - means[units]) ** 2, minlength=count)[several]
    freedom = blocks[several] - 1
    # The median of chi-squared over its degrees, by which the median of variances is made one of their mean.
    low = 2 * gammaincinv(freedom / 2, 0.5) / freedom
    seen = float(np.median(squares / freedom / low))
    each = float(np.median(_spread_median(sizes[several] / blocks[several])))
    return max(0.0, seen - noise * each)


def _spread_median(sizes: Floats | Places) -> Floats:
    """Variance of the median of n normal samples, over that of one: pi / (2 n + pi - 2), exact for 1 and without end.

    Within 2 % of the exact value for odd n (Maritz & Jarrett 1978), and above it for even n; of two it is the mean.
    """
    spread: Floats = np.where(sizes == 2, 0.5, np.pi / (2 * np.maximum(sizes, 1) + np.pi - 2))
    return spread


def _find_centres(values: Floats, kinds: Places, squares: Floats) -> tuple[Floats, Floats]:
    """The median of each unit's kind, and the variance of that median, (units,); of two each is held against the other.

    Their median would be half of the way to the worse one, and hide half of what it has lost.
    """
    seen = ~np.isnan(values)
    count = int(kinds.max(initial=0)) + 1
    medians, sizes = _locate(values[seen], kinds[seen], count)
    centre = medians[kinds]
    distances, _ = _locate(np.abs(values - centre)[seen], kinds[seen], count)
    single, _ = _locate(squares[seen], kinds[seen], count)
    spread = np.maximum((MAD_TO_SD * distances) ** 2, single)
    doubt = np.minimum(np.pi / 2 * spread / np.maximum(sizes, 1), single)[kinds]
    two = sizes[kinds] == TWO
    return np.where(two, 2 * centre - values, centre), np.where(two, 2 * single[kinds] - squares, doubt)


def _find_ends(medians: Floats, units: Places, count: int) -> tuple[Floats, Floats]:
    lowest, highest = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(lowest, units, medians)
    np.maximum.at(highest, units, medians)
    return lowest, highest
