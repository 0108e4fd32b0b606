"""What is shown of data sets: what was made, what is sound, what the mean is, what is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.report.content import Cell, Column, Fact, Quantity, Report, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hpcdl.datasets.making import Made
    from hpcdl.datasets.manifest import Manifest, PartName
    from hpcdl.datasets.stock import PartStock, Stock
    from hpcdl.datasets.survey import Mean, Soundness

# More are counted, and not named.
NAMED = 20
CLASSES = 40


def describe_made(target: Path, made: Made, rate: float) -> Report:
    """What lies at `target` now."""
    facts = (*_describe_manifest(made.manifest), Fact("rate", "images/s", Quantity(rate, "images/s")))
    sections = [Table("data_set", "Data set", (), (), facts)]
    if made.skipped:
        sections.append(_list_bad("skipped", f"Left out: {len(made.skipped)}", made.skipped))
    return Report(kind="data-make", title=f"Made: {target}", sections=tuple(sections))


def describe_soundness(root: Path, found: Mapping[PartName, Soundness]) -> Report:
    """Part by part, with the bad samples by name."""
    columns = (
        Column("part", "part", left=True),
        Column("samples", "samples"),
        Column("unsound", "unsound"),
        Column("classes", "classes"),
        Column("smallest_class", "smallest class", rank=1),
        Column("largest_class", "largest class", rank=1),
        Column("sizes", "sizes", rank=1),
        Column("digest", "digest", left=True, hidden=True),
    )
    rows = tuple(
        (
            name,
            one.samples,
            len(one.bad),
            len(one.classes),
            min(one.classes.values()),
            max(one.classes.values()),
            len(one.shapes),
            one.digest,
        )
        for name, one in found.items()
    )
    problems = tuple(f"{name}: {problem}" for name, one in found.items() for problem in one.problems)
    sections = [Table("parts", "Parts", columns, rows, captions=problems)]
    bad = [(f"{name}/{sample}", why) for name, one in found.items() for sample, why in one.bad]
    if bad:
        sections.append(_list_bad("bad", f"Unsound: {len(bad)}", bad))
    sound = not bad and not problems
    return Report(
        kind="data-verify", title=f"{root}: {'sound' if sound else 'not sound'}", sections=tuple(sections)
    )


def describe_mean(root: Path, mean: Mean, output: Path | None) -> Report:
    """Per channel, and where the file is."""
    channels = ("red", "green", "blue") if len(mean.channel_mean) == 3 else ("grey",)
    columns = (
        Column("channel", "channel", left=True),
        Column("mean", "mean"),
        Column("deviation", "standard deviation"),
    )
    rows = tuple(
        (name, Quantity(float(value), "number"), Quantity(float(spread), "number"))
        for name, value, spread in zip(channels, mean.channel_mean, mean.channel_deviation, strict=True)
    )
    facts = [Fact("samples", "samples", mean.samples)]
    if mean.image is None:
        facts.append(
            Fact("image", "mean image", "none: the images are of several sizes; --size gives them one")
        )
    else:
        facts.append(Fact("image", "mean image", f"{mean.image.shape[0]} x {mean.image.shape[1]}"))
    if output is not None:
        facts.append(Fact("file", "written to", str(output)))
    return Report(
        kind="data-mean",
        title=f"Mean of {root}, in pixels from 0 to 255",
        sections=(Table("mean", "Channels", columns, rows, tuple(facts)),),
    )


def describe_stock(root: Path, stock: Stock) -> Report:
    """What a data set is and holds."""
    facts = [
        Fact("format", "format", stock.format),
        Fact("encoded", "samples", "encoded images" if stock.encoded else "pixels"),
        Fact(
            "shape",
            "height x width x channels",
            " x ".join(map(str, stock.shape)) if stock.shape else "mixed",
        ),
        Fact("class_count", "classes", len(stock.classes)),
        Fact("bytes", "on disk", Quantity(float(stock.bytes), "bytes")),
        Fact(
            "bytes_per_image",
            "of an image",
            Quantity(stock.bytes / sum(part.samples for part in stock.parts.values()), "bytes"),
        ),
    ]
    if stock.manifest is not None:
        facts += [fact for fact in _describe_manifest(stock.manifest) if fact.key.startswith("made")]
    else:
        facts.append(Fact("manifest", "dataset.json", "none: not made by hpcdl"))
    sections = [
        Table("data_set", "Data set", (), (), tuple(facts)),
        _list_parts(stock.parts),
        _list_classes(stock),
    ]
    return Report(kind="data-info", title=f"{root}", sections=tuple(sections))


def _describe_manifest(manifest: Manifest) -> list[Fact]:
    shape = manifest.shape
    facts = [
        Fact("format", "format", manifest.format),
        Fact("encoded", "samples", "encoded images" if manifest.encoded else "pixels"),
        Fact("shape", "height x width x channels", " x ".join(map(str, shape)) if shape else "mixed"),
        Fact("class_count", "classes", len(manifest.classes)),
        *(Fact(f"samples_{name}", name, part.samples) for name, part in manifest.parts.items()),
        *(
            Fact(f"digest_{name}", f"digest of {name}", part.digest[:16])
            for name, part in manifest.parts.items()
        ),
    ]
    if manifest.making is not None:
        made = manifest.making
        facts += [
            Fact("made_of", "made of", f"{made.source} ({made.source_format})"),
            Fact("made_utc", "made", f"{made.made_utc:%Y-%m-%d %H:%M} UTC by hpcdl {made.hpcdl}"),
            Fact(
                "made_with",
                "with",
                ", ".join(f"{k} {v}" for k, v in made.options.items() if v not in {None, False}),
            ),
        ]
    return facts


def _list_parts(parts: Mapping[PartName, PartStock]) -> Table:
    columns = (
        Column("part", "part", left=True),
        Column("samples", "samples"),
        Column("digest", "digest", left=True, rank=1),
        Column("first", "first sample", left=True, rank=2),
    )
    rows = tuple((name, part.samples, part.digest[:16] or None, part.first) for name, part in parts.items())
    return Table("parts", "Parts", columns, rows)


def _list_classes(stock: Stock) -> Table:
    """Training samples of each class, drawn as bars; of many classes the largest and the smallest."""
    counts = stock.counts
    order = sorted(range(len(counts)), key=lambda place: (-counts[place], place))
    shown = order if len(order) <= CLASSES else [*order[: CLASSES // 2], *order[-CLASSES // 2 :]]
    most = max(counts, default=0) or 1
    columns = (
        Column("label", "label"),
        Column("class", "class", left=True),
        Column("samples", "samples"),
        Column("bar", "", left=True, rank=1),
    )
    rows: list[tuple[Cell, ...]] = [
        (
            place,
            stock.classes[place],
            counts[place],
            "█" * max(1, round(24 * counts[place] / most)) if counts[place] else "",
        )
        for place in shown
    ]
    left = len(order) - len(shown)
    captions = (f"{left} classes between these are left out",) if left else ()
    return Table("classes", "Classes of the training part", columns, tuple(rows), captions=captions)


def _list_bad(key: str, title: str, bad: Sequence[tuple[str, str]]) -> Table:
    columns = (Column("sample", "sample", left=True), Column("reason", "what is wrong", left=True))
    left = len(bad) - NAMED
    captions = (f"and {left} more",) if left > 0 else ()
    return Table(key, title, columns, tuple(bad[:NAMED]), captions=captions)
