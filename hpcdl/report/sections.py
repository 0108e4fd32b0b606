"""The tables of a report on runs: launches, hosts, checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.analysis.arithmetic import measure_arithmetic
from hpcdl.analysis.pace import Pace
from hpcdl.estimates.precision import is_precise
from hpcdl.estimates.steady import NoSteadyState
from hpcdl.records import Missing
from hpcdl.report.content import Cell, Column, Curve, Quantity, Shares, Table
from hpcdl.report.numbers import thin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.launch import LaunchResult
    from hpcdl.estimates.intervals import Interval
    from hpcdl.records import Reading

CURVE_POINTS = 24
HOSTS_SHOWN = 8


def make_launch_table(results: Sequence[RunResult]) -> Table:
    """One row for each launch of all runs, in the order in which they were planned."""
    launches = [(result, launch) for result in results for launch in result.trainings]
    whole = all(launch.state == "completed" for _, launch in launches)
    validated = any(not isinstance(launch.accuracy, Missing) for _, launch in launches)
    with_gpus = any(machine.gpus for _, launch in launches for machine in launch.machines)
    columns = (
        Column("run", "run", left=True, hidden=True),
        Column("run_end", "run", left=True, hidden=len(results) == 1),
        Column("index", "#", hidden=len(launches) == 1),
        Column("launch", "launch", left=True, hidden=True),
        Column(
            "model", "model", left=True, hidden=len({launch.plan.train.model for _, launch in launches}) == 1
        ),
        Column("state", "state", left=True, hidden=whole),
        Column("nodes", "nodes", hidden=len(launches) == 1),
        Column("ranks", "ranks", hidden=len(launches) == 1),
        Column(
            "variant",
            "variant",
            left=True,
            hidden=all(launch.plan.variant == "full" for _, launch in launches),
        ),
        Column("images_per_s", "images/s", listed="throughput"),
        Column("interval", "interval", listed="95 % interval"),
        Column("effective_samples", "effective samples", hidden=True),
        Column("images_per_s_per_rank", "per rank", rank=3),
        Column("step_median_s", "step median"),
        Column("step_p95_s", "step p95", rank=2),
        Column("step_p99_s", "step p99", rank=4),
        Column("jitter", "jitter", rank=5),
        Column("input_share", "input wait", hidden=len(launches) == 1),
        Column("exchange_share", "exchange wait", hidden=len(launches) == 1),
        Column("phases", "phases", rank=6, left=True),
        Column("flops_per_s", "FLOP/s per rank", rank=6, hidden=len(launches) > 1),
        Column("matrix_flops_per_s", "matrix product", rank=6, hidden=True),
        Column(
            "of_matrix", "of matrix product", rank=4, hidden=not any(one.conditions for _, one in launches)
        ),
        Column("peak_flops_per_s", "published peak", hidden=True),
        Column("of_peak", "of published peak", rank=5, hidden=not with_gpus),
        Column("loss", "loss", rank=1),
        Column("loss_first", "first loss", hidden=True),
        Column("loss_curve", "loss curve", rank=5, left=True),
        Column("accuracy", "accuracy", rank=1, hidden=not validated and len(launches) > 1),
        Column("steps", "steps", rank=4, hidden=whole and len(launches) > 1),
        Column("steps_done", "steps done", hidden=True),
        Column("steps_planned", "steps planned", hidden=True),
        Column("steady", "steady steps", rank=3, left=True, hidden=len(launches) > 1),
        Column("first_steady_step", "first steady step", hidden=True),
        Column("steady_steps", "steady steps", hidden=True),
        Column("step_curve", "step times", hidden=True),
        Column(
            "precision",
            "precision asked for",
            rank=3,
            hidden=not any(one.plan.train.precision for _, one in launches),
        ),
        Column("precision_reached", "reached", left=True, hidden=True),
        Column("local_batch", "images per rank", hidden=True),
        Column("global_batch", "global batch", hidden=True),
        Column("engine", "engine", left=True, hidden=len({launch.engine for _, launch in launches}) == 1),
        Column("transport", "transport", left=True, hidden=True),
        Column("device", "device", left=True, hidden=True),
        Column("repeat", "repeat", hidden=True),
    )
    rows = tuple(_make_launch_row(result, launch) for result, launch in launches)
    return Table("launches", "Launches", columns, rows)


def _make_launch_row(result: RunResult, launch: LaunchResult) -> tuple[Cell, ...]:
    plan, steps = launch.plan, launch.statistics
    mark = "partial" if launch.partial else ""
    planned = launch.progress.steps_planned
    return (
        result.run_id,
        result.short_id,
        plan.index,
        plan.name,
        plan.train.model,
        launch.state,
        plan.nodes,
        plan.world_size,
        plan.variant,
        make_rate(launch.images_per_s, launch.interval),
        make_half_width(launch.interval),
        None if launch.interval is None else Quantity(launch.interval.effective, "number"),
        Quantity(launch.images_per_s_per_rank, "images/s"),
        Quantity(steps.median_s, "s", mark),
        Quantity(steps.p95_s, "s", mark),
        Quantity(steps.p99_s, "s", mark),
        Quantity(steps.jitter, "fraction", mark),
        Quantity(steps.input_share, "fraction", mark),
        Quantity(steps.exchange_share, "fraction", mark),
        _make_shares(launch, mark),
        *_make_arithmetic(launch),
        Quantity(launch.loss_last, "loss", mark),
        Quantity(launch.loss_first, "loss", mark),
        Curve(thin(launch.losses, CURVE_POINTS), "loss"),
        Quantity(launch.accuracy, "fraction"),
        launch.progress.text.removesuffix(" steps"),
        launch.progress.steps_done,
        planned,
        *_describe_pace(launch),
        plan.train.local_batch,
        plan.train.global_batch,
        launch.engine,
        launch.transport,
        launch.device,
        plan.repeat,
    )


def make_rate(rate: Reading, interval: Interval | None) -> Quantity:
    """Images/s with the ends of its interval."""
    if interval is None:
        return Quantity(rate, "images/s")
    return Quantity(rate, "images/s", low=interval.low, high=interval.high)


def make_half_width(interval: Interval | None) -> Quantity | None:
    """The relative half-width of an interval; a number that is not published has none to speak of."""
    return None if interval is None else Quantity(interval.half_width, "half-width")


def _make_arithmetic(launch: LaunchResult) -> tuple[Cell, ...]:
    """Achieved, the device's own matrix product, the part of it, the published peak, the part of that."""
    found = measure_arithmetic(launch)
    return (
        Quantity(found.achieved, "FLOP/s"),
        Quantity(found.matrix, "FLOP/s"),
        Quantity(found.of_matrix, "fraction"),
        Quantity(found.peak, "FLOP/s"),
        Quantity(found.of_peak, "fraction"),
    )


def _describe_pace(launch: LaunchResult) -> tuple[Cell, ...]:
    """Steady steps in words, the first of them and their number, the step times, precision asked for and reached."""
    asked = launch.plan.train.precision
    precision = Quantity(asked, "half-width") if asked else None
    pace = launch.pace
    if not isinstance(pace, Pace):
        return (None, None, None, None, precision, None)
    curve = Curve(thin(pace.periods_s.tolist(), CURVE_POINTS), "s")
    if isinstance(pace.steady, NoSteadyState):
        return ("none", None, 0, curve, precision, "no" if asked else None)
    words = f"{pace.steady_steps} of {len(pace.periods_s)}"
    reached = None if asked is None else "yes" if is_precise(pace.steady, asked) else "no"
    return (words, pace.first_steady, pace.steady_steps, curve, precision, reached)


def make_check_table(results: Sequence[RunResult]) -> Table:
    """The gate's checks of every launch that has begun, for programs; people are told what did not hold."""
    columns = (
        Column("run", "run", left=True),
        Column("launch", "launch", left=True),
        Column("check", "check", left=True),
        Column("outcome", "outcome", left=True),
        Column("withholds", "withholds", left=True),
        Column("detail", "detail", left=True),
    )
    rows = tuple(
        (
            result.run_id,
            launch.plan.name,
            check.name,
            check.outcome,
            "yes" if check.withholds else "no",
            check.detail,
        )
        for result in results
        for launch in result.trainings
        if launch.state != "planned"
        for check in launch.checks
    )
    return Table("checks", "Checks", columns, rows, hidden=True)


def _make_shares(launch: LaunchResult, mark: str) -> Shares:
    steps = launch.statistics
    named = (
        ("input", "input wait", steps.input_share),
        ("compute", "compute", steps.compute_share),
        ("exchange", "exchange wait", steps.exchange_share),
        ("update", "update", steps.update_share),
    )
    return Shares(tuple((key, title, Quantity(share, "fraction", mark)) for key, title, share in named))


def make_host_table(results: Sequence[RunResult]) -> Table | None:
    """One row for each host, as the largest launch saw it; None where no launch came so far."""
    machines = {
        machine.host: machine
        for result in results
        for launch in sorted(result.launches, key=lambda launch: launch.world_size)
        for machine in launch.machines
    }
    if not machines:
        return None
    with_gpus = any(machine.gpus for machine in machines.values())
    columns = (
        Column("host", "host", left=True),
        Column("ranks", "ranks"),
        Column("cpus_per_rank", "CPUs per rank"),
        Column("threads_per_rank", "threads per rank", rank=1),
        Column("memory_bytes", "memory", rank=3),
        Column("cpu", "CPU", left=True, rank=4),
        Column("gpu", "GPU", left=True, hidden=not with_gpus),
        Column("boot", "boot id", rank=2, left=True),
        Column("boot_id", "boot id", left=True, hidden=True),
    )
    rows = tuple(
        (
            machine.host,
            len(machine.ranks),
            machine.cores_visible,
            machine.threads,
            None if machine.memory_bytes is None else Quantity(machine.memory_bytes, "bytes"),
            machine.cpu,
            f"{len(machine.gpus)} x {machine.gpus[0]}" if machine.gpus else None,
            f"{machine.boot_id[:8]}…" if machine.boot_id else "unknown",
            machine.boot_id,
        )
        for machine in machines.values()
    )
    return Table("hosts", "Hosts", columns, rows, limit=HOSTS_SHOWN)
