"""The chapter on CPU against GPU: measures and ratios, what is counted on each side, and the audit of the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.analysis.cpu_audit import list_failed, summarise
from hpcdl.analysis.cpu_gpu import confront
from hpcdl.records import Missing
from hpcdl.report.amounts import show_amount
from hpcdl.report.chapter import Chapter
from hpcdl.report.content import Column, Fact, Note, Table
from hpcdl.report.energies import join_basis
from hpcdl.report.numbers import format_number
from hpcdl.report.pictures import Axis, Bars, Dot, Picture
from hpcdl.report.wording import count, join, name_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.analysis.cpu_gpu import Line, Measure, Pairing, Side
    from hpcdl.analysis.job import RunResult
    from hpcdl.prices import Pricing
    from hpcdl.report.content import Cell, Unit
    from hpcdl.report.pictures import Role

# What each measure is called, its unit, and whether it rests on energy.
MEASURES: dict[Measure, tuple[str, Unit, bool]] = {
    "images_per_s": ("images/s", "images/s", False),
    "images_per_s_per_node": ("images/s per node", "images/s", False),
    "images_per_s_per_device": ("images/s per socket or GPU", "images/s", False),
    "average_w": ("average power", "W", True),
    "images_per_j": ("images/J (images/s per W)", "images/J", True),
    "total_per_million": ("cost of a million images", "money", True),
    "time_to_accuracy_s": ("time to the accuracy", "s", False),
    "energy_to_accuracy_j": ("energy to the accuracy", "J", True),
}


def make_cpu_gpu_chapter(
    results: Sequence[RunResult],
    pricing: Pricing | None = None,
    *,
    boundary: str | None = None,
    accuracy: float | None = None,
) -> Chapter:
    """Everything on CPU against GPU; empty where only one of the two has trained.

    Args:
        results: The runs.
        pricing: Today's prices; without any, those that each run has recorded.
        boundary: Of the energy: device, node or facility; None: the widest that both sides have alike.
        accuracy: A fraction of 1 that both sides are to have reached, for time and energy to it.

    Raises:
        UnknownName: There is no such boundary.
        Mistake: It was asked for, and not both sides have it.
    """
    found = confront(results, pricing, boundary=boundary, accuracy=accuracy)
    tables = [_make_table(one, accuracy) for one in found.pairings]
    if found.pairings:
        tables.append(_make_audit_table(found.pairings))
    notes = [note for one in found.pairings for note in _note(one)]
    notes += [Note("info", f"CPU against GPU: {refusal}") for refusal in found.refusals]
    several = len(found.pairings) > 1
    pictures = tuple(
        picture
        for place, one in enumerate(found.pairings, start=1)
        for picture in _draw(one, f"-{place}" if several else "")
    )
    return Chapter(tuple(tables), pictures, tuple(notes))


def _make_table(one: Pairing, accuracy: float | None) -> Table:
    columns = (
        Column("measure", "", left=True),
        Column("key", "key", left=True, hidden=True),
        Column("cpu", "CPU"),
        Column("gpu", "GPU"),
        Column("gpu_over_cpu", "GPU over CPU"),
        Column("interval", "its interval", left=True, rank=1),
    )
    lines = [line for line in one.lines if accuracy is not None or "accuracy" not in line.measure]
    facts = (
        Fact("model", "model", one.cpu.costs.configuration.question.work.model),
        Fact("cpu_counted", "CPU side", name_side(one.cpu)),
        Fact("gpu_counted", "GPU side", name_side(one.gpu)),
        Fact("boundary", "boundary", None if isinstance(one.boundary, Missing) else one.boundary),
        Fact("accuracy", "accuracy", None if accuracy is None else f"{100 * accuracy:g} %"),
        Fact("audit", "audit of the CPU side", summarise(one.audit)),
    )
    rows = tuple(_make_row(line, one) for line in lines)
    captions = tuple(_caption(one, accuracy))
    return Table("cpu_gpu", _name_pairing(one), columns, rows, facts, captions, many=True)


def _name_pairing(one: Pairing) -> str:
    work = one.cpu.costs.configuration.question.work
    return f"CPU against GPU: {name_model(work.model)}, {work.data} data, {work.dtype}"


def name_side(side: Side) -> str:
    """'1 node, 2 sockets, 24 cores (Xeon …)'."""
    launch = side.costs.configuration.launches[0]
    gpus = join(gpu for machine in launch.machines for gpu in machine.gpus)
    return f"{side.counted.words} ({gpus or join(machine.cpu for machine in launch.machines)})"


def _make_row(line: Line, one: Pairing) -> tuple[Cell, ...]:
    title, unit, by_energy = MEASURES[line.measure]
    sides = []
    for side, amount in ((one.cpu, line.cpu), (one.gpu, line.gpu)):
        mark = "estimated" if by_energy and side.costs.estimated else ""
        currency = (side.costs.tariff.currency or "") if unit == "money" else ""
        sides.append(show_amount(amount, unit, mark, currency))
    estimated = by_energy and (one.cpu.costs.estimated or one.gpu.costs.estimated)
    ends = line.ratio.interval
    return (
        title,
        line.measure,
        *sides,
        show_amount(line.ratio, "times", "estimated" if estimated else ""),
        None if ends is None else f"{format_number(ends.low)} to {format_number(ends.high)}",
    )


def _caption(one: Pairing, accuracy: float | None) -> Iterator[str]:
    yield f"counted: {name_side(one.cpu)} against {name_side(one.gpu)}"
    yield f"audit of the CPU side: {summarise(one.audit)}"
    if not isinstance(one.boundary, Missing):
        bases = ", ".join(
            f"{name} {join_basis(side.costs.figures)}"
            for name, side in (("CPU", one.cpu), ("GPU", one.gpu))
            if side.costs.figures
        )
        yield f"energy at the boundary {one.boundary}: {bases}"
    if accuracy is not None:
        yield (
            f"to {100 * accuracy:g} %: the whole training, which is validated at its end; energy: J/image of the "
            "steady steps, for the images of all steps"
        )
    if any(len(nodes) > 1 for nodes in one.sizes):
        cpu, gpu = (", ".join(map(str, nodes)) for nodes in one.sizes)
        yield f"measured on {cpu} nodes with CPUs and {gpu} nodes with GPUs: the smallest that both have is compared"
    for name, side, ranks in (("CPUs", one.cpu, one.ranks[0]), ("GPUs", one.gpu, one.ranks[1])):
        if len(ranks) > 1:
            nodes = count(side.counted.nodes, "node")
            yield f"measured with {join(map(str, ranks))} ranks on {nodes} with {name}: the most are compared"


def _make_audit_table(pairings: Sequence[Pairing]) -> Table:
    columns = (
        Column("side", "CPU side", left=True, rank=1, hidden=len(pairings) == 1),
        Column("question", "question", left=True),
        Column("outcome", "outcome", left=True),
        Column("detail", "detail", left=True),
    )
    rows = tuple(
        (name_side(one.cpu), answer.question, answer.outcome, answer.detail)
        for one in pairings
        for answer in one.audit
    )
    return Table("cpu_audit", "Audit of the CPU side: did it do what it can?", columns, rows)


def _note(one: Pairing) -> Iterator[Note]:
    failed = [f"{answer.question}: {answer.detail}" for answer in list_failed(one.audit)]
    if failed:
        yield Note(
            "warning",
            f"not all of the audit of the CPU side held, and the ratios may flatter the GPU: {'; '.join(failed)}",
        )
    withheld = one.cpu.costs.configuration.withheld or one.gpu.costs.configuration.withheld
    if one.cpu.counted.nodes != one.gpu.counted.nodes and not withheld:
        yield Note(
            "warning",
            f"{one.cpu.counted.words} against {one.gpu.counted.words}: read the ratios per node and per device",
        )
    if isinstance(one.boundary, Missing):
        yield Note("warning", f"CPU against GPU: power and energy are not compared: {one.boundary.missing}")


def _draw(one: Pairing, end: str) -> Iterator[Picture]:
    """Throughput of both sides as bars, with what is counted under each."""
    line = one.lines[0]
    if isinstance(line.cpu.value, Missing) or isinstance(line.gpu.value, Missing):
        return
    role: Role = "measured"
    bars = []
    for side, amount in ((one.cpu, line.cpu), (one.gpu, line.gpu)):
        if not isinstance(amount.value, Missing):
            ends = amount.interval
            low, high = (None, None) if ends is None else (ends.low, ends.high)
            bars.append((side.counted.words, role, Dot(0.0, amount.value, low, high)))
    launches = [launch for side in (one.cpu, one.gpu) for launch in side.costs.configuration.launches]
    rehearsal = " · REHEARSAL" if any(launch.rehearsal for launch in launches) else ""
    told = " and ".join(f"{format_number(dot.y)} images/s on {words}" for words, _, dot in bars)
    yield Picture(
        key=f"cpu-gpu{end}",
        title=_name_pairing(one),
        subtitle=f"{name_side(one.cpu)} against {name_side(one.gpu)}{rehearsal}",
        alt=f"Two bars: {told}.",
        form=Bars(Axis("images/s", "images/s"), tuple(bars)),
        caption=f"audit of the CPU side: {summarise(one.audit)}",
    )
