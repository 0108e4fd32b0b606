"""What `hpcdl published` shows: figures of others with source and conditions, and what follows from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.analysis.published import work_out
from hpcdl.references import PREFIX, find_reference, load_references
from hpcdl.report.content import Column, Fact, Quantity, Report, Span, Table
from hpcdl.report.numbers import format_value
from hpcdl.report.published_pictures import make_speed_up_picture
from hpcdl.report.wording import count, join

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.analysis.published import PublishedGain, PublishedPoint
    from hpcdl.references import Reference, Row, Series, System, Task
    from hpcdl.report.content import Cell, Unit
    from hpcdl.report.pictures import Picture

COMPUTED = "computed"
GPU_DAY_S = 86_400.0
READ_OR_COMPUTED = "what has no mark was read in the source"


def list_published() -> Report:
    """All published references, a line each."""
    columns = (
        Column("name", "reference", left=True),
        Column("title", "what it is", left=True),
        Column("holds", "holds", left=True),
        Column("source", "source", left=True, rank=1),
    )
    rows = tuple(
        (reference.name, reference.title, _tell_content(reference), reference.source.text)
        for reference in load_references().values()
    )
    return Report(
        kind="published",
        title="Published figures: of others, not measured here",
        sections=(Table("references", "References", columns, rows),),
        more=("figures, conditions and what they leave out: hpcdl published NAME",),
    )


def _tell_content(reference: Reference) -> str:
    figures = sum(row.missing is None for series in reference.series for row in series.rows)
    parts = ((figures, "figure"), (len(reference.systems), "system"), (len(reference.tasks), "task"))
    return join(count(number, word) for number, word in parts if number)


def describe_published(name: str) -> Report:
    """One reference: where it is from, under which conditions, its figures and what follows from them.

    Raises:
        UnknownName: There is none of that name; the nearest is suggested.
    """
    reference = find_reference(name)
    return Report(
        kind="published",
        title=f"{reference.title} (as published)",
        sections=tuple(_lay_out(reference)),
        more=tuple(_point_further(reference)),
        pictures=tuple(_draw(reference)),
    )


def _lay_out(reference: Reference) -> Iterator[Table]:
    yield from (_make_series_table(series) for series in reference.series)
    if reference.systems:
        yield _make_system_table(reference.systems)
    if reference.tasks:
        yield _make_task_table(reference.tasks)
    yield _make_condition_table(reference)


def _make_condition_table(reference: Reference) -> Table:
    conditions = reference.conditions
    columns = (
        Column("source", "source", left=True),
        Column("framework", "framework", left=True),
        Column("hardware", "hardware", left=True),
        Column("batch", "batch", left=True),
        Column("precision", "precision", left=True),
        Column("data", "data", left=True),
        Column("same_work", "claim", left=True),
        Column("leaves_out", "leaves out", left=True),
    )
    told = (
        conditions.framework,
        conditions.hardware,
        conditions.batch,
        conditions.precision,
        conditions.data,
    )
    row = (reference.source.text, *told, reference.same_work, conditions.leaves_out)
    cells = tuple(text or None for text in row)
    caption = "what does not stand here is not told"
    return Table("conditions", "Source and conditions", columns, (cells,), captions=(caption,))


def _make_series_table(series: Series) -> Table:
    points = work_out(series)
    computed = any(point.computed for point in points)
    columns = (
        Column("label", "with", left=True, hidden=not any(point.row.label for point in points)),
        Column("devices", "devices", hidden=all(point.row.devices is None for point in points)),
        Column("read", "as published", left=True),
        Column("step_s", "iteration", hidden=True),
        Column("forward_s", "forward", hidden=True),
        Column("backward_s", "backward", hidden=True),
        Column("images_per_s", "images/s", hidden=not computed),
        Column("computation", "computed as", left=True, rank=1, hidden=not computed),
        Column("speed_up", "speed-up", hidden=not series.scales),
        Column("efficiency", "efficiency", hidden=not series.scales),
        Column("karp_flatt", "Karp-Flatt", hidden=not series.scales),
        Column("relative", "N", hidden=True),
    )
    facts = (
        Fact("network", "network", series.network),
        Fact("same_as", "hpcdl's name of it", series.same_as),
        Fact("mode", "mode", series.mode),
        Fact("base_devices", "base", series.base_devices),
    )
    rows = tuple(_make_row(point) for point in points)
    return Table("series", series.label, columns, rows, facts, tuple(_caption(series)), many=True)


def _caption(series: Series) -> Iterator[str]:
    yield f"network: {series.network}" + (f", hpcdl's {series.same_as}" if series.same_as else "")
    if series.relative and series.base_devices is None:
        yield "what it is over is not told: no more follows from it"
    elif series.scales:
        base = f"over {count(series.base_devices, 'device')}; " if series.base_devices else ""
        how = {
            "weak": "applied to the scaled speed-up",
            "strong": "at a fixed problem size",
            None: "whether the problem grew with the devices is not told",
        }[series.mode]
        yield f"{base}Karp-Flatt: the experimentally determined serial fraction; {how}"


def _make_row(point: PublishedPoint) -> tuple[Cell, ...]:
    row, gain = point.row, point.gain
    return (
        row.label or None,
        row.devices,
        _tell_read(row),
        *(_show_time(value) for value in (row.step_s, row.forward_s, row.backward_s)),
        Quantity(point.images_per_s, "images/s", COMPUTED if point.computed else ""),
        point.computed or None,
        *_show_gain(gain, read=("speed_up" * bool(row.speed_up), "efficiency" * bool(row.efficiency))),
    )


def _tell_read(row: Row) -> str:
    """What the source says, with all its digits."""
    if row.images_per_s is not None:
        return f"{row.images_per_s:,.10g} images/s"
    if row.step_s is not None:
        parts = ((row.forward_s, "forward"), (row.backward_s, "backward"))
        named = ", ".join(f"{format_value(value, 's')} {name}" for value, name in parts if value is not None)
        whole = format_value(row.step_s, "s")
        return f"{whole}: {named}" if named else whole
    if row.speed_up is not None:
        return f"speed-up {row.speed_up:g}"
    return f"efficiency {100 * row.efficiency:g} %" if row.efficiency is not None else "not given"


def _show_time(value: float | None) -> Quantity | None:
    return None if value is None else Quantity(value, "s")


def _show_gain(gain: PublishedGain | None, read: Sequence[str]) -> tuple[Cell, ...]:
    """Speed-up, efficiency, Karp-Flatt and N; the base has no serial fraction."""
    if gain is None:
        return (None, None, None, None)
    shown: tuple[tuple[str, Unit], ...] = (("speed_up", "ratio"), ("efficiency", "fraction"))
    cells = [Quantity(getattr(gain, key), unit, "" if key in read else COMPUTED) for key, unit in shown]
    serial = None if gain.relative == 1 else Quantity(gain.karp_flatt, "serial", COMPUTED)
    return (*cells, serial, Quantity(gain.relative, "ratio"))


def _make_system_table(systems: Sequence[System]) -> Table:
    def lacks(name: str) -> bool:
        return all(getattr(system, name) is None for system in systems)

    columns = (
        Column("system", "system", left=True),
        Column("name", "name", left=True, rank=1),
        Column("servers", "servers", hidden=lacks("servers")),
        Column("cpus", "CPUs", hidden=lacks("cpus")),
        Column("gpus", "GPUs", hidden=lacks("gpus")),
        Column("cores", "cores", rank=2, hidden=lacks("cores")),
        Column("power_w", "power", hidden=lacks("power_w")),
        Column("price", "price", hidden=lacks("price")),
        Column("peak_flops_per_s", "peak", hidden=lacks("peak_flops_per_s")),
        Column("peak_flops_per_j", "peak per W", hidden=lacks("peak_flops_per_s")),
    )
    rows = tuple(_make_system_row(system) for system in systems)
    caption = f"{READ_OR_COMPUTED}; a peak per W in FLOP/s/W is the same as in FLOP/J"
    captions = (READ_OR_COMPUTED if lacks("peak_flops_per_s") else caption,)
    return Table("systems", "Systems", columns, rows, captions=captions)


def _make_system_row(system: System) -> tuple[Cell, ...]:
    price, power_w, peak = system.price, system.power_w, system.peak_flops_per_s
    return (
        system.title,
        f"{PREFIX}{system.name}",
        system.servers,
        system.cpus,
        system.gpus,
        system.cores,
        None if power_w is None else Quantity(power_w, "W"),
        None if price is None else Quantity(price, "money", currency=system.currency or ""),
        None if peak is None else Quantity(peak, "FLOP/s"),
        _divide_peak(system),
    )


def _divide_peak(system: System) -> Quantity | None:
    if system.peak_flops_per_s is None or system.power_w is None:
        return None
    return Quantity(system.peak_flops_per_s / system.power_w, "FLOP/s", COMPUTED)


def _make_task_table(tasks: Sequence[Task]) -> Table:
    columns = (
        Column("task", "task", left=True),
        Column("images", "images", left=True),
        Column("images_low", "fewest images", hidden=True),
        Column("images_high", "most images", hidden=True),
        Column("parameters", "parameters"),
        Column("flop", "arithmetic"),
        Column("gpu_days", "GPU-days", left=True),
        Column("gpu_days_low", "fewest GPU-days", hidden=True),
        Column("gpu_days_high", "most GPU-days", hidden=True),
        Column("flops_per_s", "so one GPU does", left=True),
    )
    rows = tuple(_make_task_row(task) for task in tasks)
    return Table("tasks", "Tasks", columns, rows, captions=(READ_OR_COMPUTED,))


def _make_task_row(task: Task) -> tuple[Cell, ...]:
    most, least = (Quantity(task.flop / (days * GPU_DAY_S), "FLOP/s", COMPUTED) for days in task.gpu_days)
    return (
        task.label,
        f"{task.images[0]:,} to {task.images[1]:,}",
        *task.images,
        task.parameters,
        Quantity(task.flop, "FLOP"),
        f"{task.gpu_days[0]:g} to {task.gpu_days[1]:g}",
        *(Quantity(days, "number") for days in task.gpu_days),
        Span(least, most),
    )


def _point_further(reference: Reference) -> Iterator[str]:
    if reference.same_work and len(reference.systems) > 1:
        one, other = (f"{PREFIX}{system.name}" for system in reference.systems[:2])
        yield f"side by side: hpcdl estimate equivalent {one} {other}"
    if reference.tasks:
        flop = reference.tasks[0].flop
        yield f"what it takes by your own measurements: hpcdl estimate train --exaflop {flop / 1e18:g}"
    yield f"the same facts: hpcdl published {reference.name} --format markdown or --format json"


def _draw(reference: Reference) -> Iterator[Picture]:
    scaling = [series for series in reference.series if series.scales]
    picture = make_speed_up_picture(reference, scaling)
    if picture is not None:
        yield picture
