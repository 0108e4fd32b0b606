"""The tables of a report on runs: launches, hosts, scaling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.records import Missing
from hpcdl.report.content import Cell, Column, Curve, Fact, Quantity, Shares, Span, Table
from hpcdl.report.numbers import thin
from hpcdl.report.wording import name_base, name_question

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.launch import LaunchResult
    from hpcdl.analysis.scaling import Point, Scaling

CURVE_POINTS = 24
HOSTS_SHOWN = 8


def make_launch_table(results: Sequence[RunResult]) -> Table:
    """One row for each launch of all runs, in the order in which they were planned."""
    launches = [(result, launch) for result in results for launch in result.launches]
    whole = all(launch.state == "completed" for _, launch in launches)
    validated = any(not isinstance(launch.accuracy, Missing) for _, launch in launches)
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
        Column("images_per_s", "images/s", listed="throughput"),
        Column("images_per_s_per_rank", "per rank", rank=3),
        Column("step_median_s", "step median"),
        Column("step_p95_s", "step p95", rank=2),
        Column("input_share", "input wait", hidden=len(launches) == 1),
        Column("exchange_share", "exchange wait", hidden=len(launches) == 1),
        Column("phases", "phases", rank=6, left=True),
        Column("loss", "loss", rank=1),
        Column("loss_first", "first loss", hidden=True),
        Column("loss_curve", "loss curve", rank=5, left=True),
        Column("accuracy", "accuracy", rank=1, hidden=not validated and len(launches) > 1),
        Column("steps", "steps", rank=4, hidden=whole and len(launches) > 1),
        Column("steps_done", "steps done", hidden=True),
        Column("steps_planned", "steps planned", hidden=True),
        Column("local_batch", "images per rank", hidden=True),
        Column("global_batch", "global batch", hidden=True),
        Column("engine", "engine", left=True, hidden=True),
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
        # The end of an id finds the run too, and leaves room for numbers.
        result.run_id.rpartition("-")[2],
        plan.index,
        plan.name,
        plan.train.model,
        launch.state,
        plan.nodes,
        plan.world_size,
        Quantity(launch.images_per_s, "images/s"),
        Quantity(launch.images_per_s_per_rank, "images/s"),
        Quantity(steps.median_s, "s", mark),
        Quantity(steps.p95_s, "s", mark),
        Quantity(steps.input_share, "fraction", mark),
        Quantity(steps.exchange_share, "fraction", mark),
        _make_shares(launch, mark),
        Quantity(launch.loss_last, "loss", mark),
        Quantity(launch.loss_first, "loss", mark),
        Curve(thin(launch.losses, CURVE_POINTS), "loss"),
        Quantity(launch.accuracy, "fraction"),
        launch.progress.text.removesuffix(" steps"),
        launch.progress.steps_done,
        planned,
        plan.train.local_batch,
        plan.train.global_batch,
        launch.engine,
        launch.transport,
        launch.device,
        plan.repeat,
    )


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


def make_scaling_table(scaling: Scaling, *, titled: bool) -> Table:
    """One row for each size of one question."""
    repeated = any(point.planned > 1 for point in scaling.points)
    mark = "rehearsal" if scaling.forced else ""
    columns = (
        Column("nodes", "nodes"),
        Column("ranks", "ranks"),
        Column("counted", "launches", rank=2, hidden=not repeated),
        Column("images_per_s", "images/s", listed="throughput"),
        Column("range", "range", rank=1, hidden=not repeated),
        Column("step_s", "mean step", rank=3),
        Column("speed_up", "speed-up"),
        Column("efficiency", "efficiency"),
        Column("relative", "N", hidden=True),
        Column("completed", "completed", hidden=True),
        Column("planned", "planned", hidden=True),
    )
    question = scaling.question
    means = question.means
    title = f"Scaling: {name_question(question)}" if titled else f"Scaling: {question.batch.text}"
    facts = (
        Fact("model", "model", question.work.model),
        Fact("mode", "mode", question.batch.mode),
        Fact("held_batch", "held batch", question.batch.held),
        Fact("engine", "engine", means.engine if means else None),
        Fact("transport", "transport", means.transport if means else None),
        Fact("base_nodes", "base nodes", scaling.base.nodes),
        Fact("base_ranks", "base ranks", scaling.base.ranks),
        Fact("base_images_per_s", "base images/s", Quantity(scaling.base.images_per_s, "images/s")),
        Fact("base_bracketed", "base bracketed", scaling.bracketed),
        Fact("base_drift", "base drift", Quantity(scaling.drift, "fraction")),
        Fact("rehearsal", "rehearsal", scaling.rehearsal),
    )
    rows = tuple(_make_point_row(point, mark) for point in scaling.points)
    return Table("scaling", title, columns, rows, facts, (name_base(scaling),), many=True)


def _make_point_row(point: Point, mark: str) -> tuple[Cell, ...]:
    launches = str(point.count) if point.count == point.planned else f"{point.count} of {point.planned}"
    return (
        point.nodes,
        point.ranks,
        launches,
        Quantity(point.images_per_s, "images/s"),
        Span(Quantity(point.lowest, "images/s"), Quantity(point.highest, "images/s")),
        Quantity(point.step_s, "s"),
        Quantity(point.speed_up, "ratio", mark),
        Quantity(point.efficiency, "fraction", mark),
        Quantity(point.relative, "ratio"),
        point.count,
        point.planned,
    )
