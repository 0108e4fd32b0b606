"""The steps of a launch: how their time goes, how long each took, which rank was slow when, and the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpcdl.analysis.pace import Pace
from hpcdl.estimates.steady import NoSteadyState
from hpcdl.records import Missing
from hpcdl.report.gallery.labels import choose_largest, mark
from hpcdl.report.pictures import Axis, Dot, HeatMap, Lines, Picture, Series, Stack, Stretch
from hpcdl.report.wording import name_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from hpcdl.analysis.attribution import Attribution
    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.launch import LaunchResult
    from hpcdl.columns import StepTable
    from hpcdl.report.gallery.labels import Shown

# Columns of the map of ranks and steps: more cannot be told apart on a page.
MOST_COLUMNS = 120
PHASES = ("input wait", "compute", "exchange wait", "update")


def draw_steps(results: Sequence[RunResult]) -> Iterator[Picture]:
    """The course of step times, the map of ranks, and the loss, of the largest launch of each network."""
    for shown in choose_largest(results):
        launch = shown.launch
        if isinstance(launch.pace, Pace):
            yield _draw_periods(shown, launch.pace)
        if launch.steps is not None and launch.world_size > 1 and len(launch.steps.measured):
            yield _draw_ranks(shown, launch.steps.measured)
        if len(launch.losses) > 1:
            yield _draw_loss(shown)


def draw_phases(results: Sequence[RunResult]) -> Iterator[Picture]:
    """How the step's time is divided, one bar for each launch."""
    bars = []
    for result in results:
        for launch in result.trainings:
            steps = launch.statistics
            shares = (steps.input_share, steps.compute_share, steps.exchange_share, steps.update_share)
            known = [share for share in shares if not isinstance(share, Missing)]
            if len(known) == len(PHASES):
                bars.append(
                    (
                        _label(launch, several=len(results) > 1, run=result),
                        tuple(zip(PHASES, known, strict=True)),
                    )
                )
    # Of a single launch the table has the same bar.
    if len(bars) > 1:
        yield Picture(
            key="phases",
            title="Phases of the step",
            subtitle=mark("shares of the ranks' own time, by their clocks", _find_rehearsal(results)),
            alt="; ".join(
                f"{label}: " + ", ".join(f"{part} {100 * share:.0f} %" for part, share in parts)
                for label, parts in bars[:8]
            ),
            form=Stack(Axis("share of the step", "fraction"), tuple(bars)),
            caption="one bar for each launch, in the order in which they ran",
            beside="launches",
        )


def _find_rehearsal(results: Sequence[RunResult]) -> str | None:
    return next((result.rehearsal for result in results if result.rehearsal), None)


def _label(launch: LaunchResult, *, several: bool, run: RunResult) -> str:
    end = f"{run.short_id} " if several else ""
    variant = "" if launch.plan.variant == "full" else f", {launch.plan.variant}"
    return f"{end}#{launch.plan.index}: {name_size(launch.plan.nodes, launch.world_size)}{variant}"


def draw_attributions(attributions: Sequence[Attribution], results: Sequence[RunResult]) -> Iterator[Picture]:
    """Where the time of a step goes, by launches that leave one thing out each."""
    bars = []
    for one in attributions:
        parts = [(share.key, share.time_s) for share in one.shares if not isinstance(share.time_s, Missing)]
        if len(parts) == len(one.shares):
            named = tuple((_PARTS[key], time_s.value) for key, time_s in parts)
            bars.append((f"{name_size(one.nodes, one.ranks)}, {one.engine}", named))
    if bars:
        yield Picture(
            key="attribution",
            title="Where the time goes",
            subtitle=mark("mean step, by launches that leave one thing out each", _find_rehearsal(results)),
            alt=" ".join(one.verdict for one in attributions),
            form=Stack(Axis("parts of the mean step", "s"), tuple(bars)),
            beside="attribution",
            caption="the parts add up to the mean step; one left of zero: input and exchange hinder each other",
        )


_PARTS = {"compute": "compute", "exchange": "exposed communication", "input": "input wait", "other": "other"}


def _draw_periods(shown: Shown, pace: Pace) -> Picture:
    first = pace.last - len(pace.periods_s)
    dots = tuple(Dot(first + place, float(period)) for place, period in enumerate(pace.periods_s))
    steady = not isinstance(pace.steady, NoSteadyState)
    stretches = (Stretch(pace.first_steady, pace.last - 1, "steady"),) if steady else ()
    median_s = float(np.median(pace.periods_s))
    told = f"{pace.steady_steps} of {len(dots)} are steady" if steady else "no steady state"
    return Picture(
        key=f"step-times{shown.key}",
        title="Step times",
        beside="launches",
        subtitle=shown.words,
        alt=f"{len(dots)} steps, median {1000 * median_s:.1f} ms; {told}.",
        form=Lines(
            Axis("step", zero=False, whole=True),
            Axis("step time", "s"),
            (Series("step", "measured", dots),),
            stretches,
        ),
        caption="shaded: the steady steps, over which throughput is measured"
        if steady
        else "no steady state was found",
    )


def _draw_ranks(shown: Shown, steps: StepTable) -> Picture:
    launch = shown.launch
    ranks, columns, values = _map_ranks(steps)
    hosts = {view.rank: view.host for view in launch.environment.hosts} if launch.environment else {}
    slowest = int(np.nanargmax(np.nanmean(values, axis=1)))
    return Picture(
        key=f"ranks{shown.key}",
        title="Own work of each rank",
        beside="launches",
        subtitle=shown.words,
        alt=f"{len(ranks)} ranks over the steps; on average rank {ranks[slowest]} worked longest by itself.",
        form=HeatMap(
            Axis("step"),
            Axis("rank"),
            Axis("own work", "s", zero=False),
            columns=columns,
            rows=tuple(f"{rank} {hosts.get(rank, '')}".strip() for rank in ranks),
            values=tuple(tuple(None if np.isnan(v) else float(v) for v in row) for row in values),
        ),
        caption="input and computing, before a rank waits for others: the exchange makes all whole steps equally long",
    )


def _map_ranks(steps: StepTable) -> tuple[list[int], tuple[str, ...], NDArray[np.float64]]:
    """Ranks, names of groups of steps, and the mean own work of each in s, (ranks, groups); NaN where there is none."""
    ranks, rows = np.unique(steps.rank, return_inverse=True)
    numbers, places = np.unique(steps.step, return_inverse=True)
    width = -(-len(numbers) // MOST_COLUMNS)
    groups = -(-len(numbers) // width)
    cells = rows * groups + places // width
    own_s = steps.input_s + steps.compute_s
    counts = np.bincount(cells, minlength=len(ranks) * groups)
    sums = np.bincount(cells, weights=own_s, minlength=len(ranks) * groups)
    means = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
    names = tuple(_name_group(numbers[at : at + width]) for at in range(0, len(numbers), width))
    return ranks.tolist(), names, means.reshape(len(ranks), groups)


def _name_group(numbers: NDArray[np.int32]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"


def _draw_loss(shown: Shown) -> Picture:
    dots = tuple(Dot(step, loss) for step, loss in enumerate(shown.launch.losses))
    return Picture(
        key=f"loss{shown.key}",
        title="Loss",
        beside="launches",
        subtitle=shown.words,
        alt=f"The loss goes from {dots[0].y:.4g} to {dots[-1].y:.4g} in {len(dots)} steps.",
        form=Lines(
            Axis("step", zero=False, whole=True), Axis("loss", "loss"), (Series("loss", "measured", dots),)
        ),
    )
