"""What `hpcdl data bench` shows: two loaders side by side, and how they compare."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hpcdl.estimates.intervals import Interval, estimate_over_repeats
from hpcdl.report.content import Column, Fact, Quantity, Report, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.records import Loading

TITLES = {"dali": "DALI", "plain": "PIL, torch DataLoader"}


def compare_loaders(loading: Loading) -> Interval:
    """DALI's images/s over the other's: the geometric mean over pairs of windows, with Student's t on logarithms."""
    logs = [math.log(one / other) for one, other in zip(loading.dali, loading.plain, strict=True)]
    mean = estimate_over_repeats(logs)
    return Interval(math.exp(mean.value), math.exp(mean.low), math.exp(mean.high), mean.count, mean.effective)


def describe_loading(loading: Loading, folder: str) -> Report:
    """Both loaders, and the ratio."""
    ratio = compare_loaders(loading)
    columns = (
        Column("loader", "loader", left=True),
        Column("images_per_s", "images/s"),
        Column("interval", "interval"),
        Column("threads", "threads"),
    )
    rows = tuple(
        _make_row(TITLES[name], windows, loading.threads)
        for name, windows in (("dali", loading.dali), ("plain", loading.plain))
    )
    size = "x".join(str(side) for side in loading.input_shape)
    facts = (
        Fact("ratio", "DALI over the other", Quantity(ratio.value, "ratio", low=ratio.low, high=ratio.high)),
        Fact("images", "images", loading.images),
        Fact("batch", "batch", loading.batch),
        Fact("input", "made of each", f"{size}, a random part, mirrored or not, normalised, fp32"),
        Fact("windows", "windows of each", len(loading.dali)),
    )
    caption = (
        f"DALI delivers {ratio.value:.2f} times as many ({ratio.low:.2f} to {ratio.high:.2f}), by {len(loading.dali)} "
        "pairs of windows by turns; intervals are of 95 %"
    )
    return Report(
        kind="loading",
        title=f"Images from {folder}, on the CPU",
        sections=(Table("loaders", "Loaders", columns, rows, facts, (caption,)),),
    )


def _make_row(title: str, windows: Sequence[float], threads: int) -> tuple[str | Quantity | int, ...]:
    rate = estimate_over_repeats(windows)
    return (
        title,
        Quantity(rate.value, "images/s", low=rate.low, high=rate.high),
        Quantity(rate.half_width, "half-width"),
        threads,
    )
