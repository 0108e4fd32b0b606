"""`hpcdl data make`, `verify`, `mean`, `info`: data sets made and looked through, before anybody trains on them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Self

import typer

if TYPE_CHECKING:
    from rich.progress import TaskID

    from hpcdl.datasets.pixels import Change

DirArgument = Annotated[str, typer.Argument(help="The root of a data set.", metavar="DIR")]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes; without it, one for each core.")
]
SizeOption = Annotated[
    str | None,
    typer.Option("--size", help="Of each image, whatever its proportions.", metavar="HEIGHTxWIDTH"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="For other programs.")]


def make(
    source: Annotated[str, typer.Argument(help="An image tree, or any data set.", metavar="SOURCE")],
    target: Annotated[str, typer.Argument(help="A folder that is empty or not there.", metavar="TARGET")],
    *,
    form: Annotated[
        str,
        typer.Option(
            "--format", help="folder, lmdb, leveldb, hdf5, idx, tfrecord, webdataset, raw.", metavar="NAME"
        ),
    ],
    encoded: Annotated[
        str, typer.Option("--encoded", help="keep, jpeg, png, or none: pixels as they are.", metavar="HOW")
    ] = "keep",
    quality: Annotated[int, typer.Option("--quality", min=1, max=100, help="Of JPEG.")] = 95,
    size: SizeOption = None,
    shorter: Annotated[
        int | None,
        typer.Option("--shorter", min=1, help="The shorter side, in its proportions.", metavar="PIXELS"),
    ] = None,
    colour: Annotated[str, typer.Option("--colour", help="keep, rgb, grey.", metavar="HOW")] = "keep",
    shuffle: Annotated[
        bool, typer.Option("--shuffle", help="In a seeded order, for readers that go one by one.")
    ] = False,
    split: Annotated[
        float | None, typer.Option("--split", min=0.0, max=0.9, help="Hold out this part of each class.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of order and split.")] = 1,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out images that cannot be decoded, and list them.")
    ] = False,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a data set in another format. A making that was interrupted is gone on with by the same command."""
    import time
    from pathlib import Path

    from hpcdl.cli import screen
    from hpcdl.datasets import making
    from hpcdl.datasets.formats import find_format
    from hpcdl.report.data_sets import describe_made

    wanted = making.Wanted(
        format=find_format(form).name,  # type: ignore[arg-type]
        change=_read_change(encoded, quality, size, shorter, colour),
        shuffle=shuffle,
        split=split or None,
        seed=seed,
        skip_bad=skip_bad,
    )
    begin_s = time.monotonic()
    with _Bar() as watcher:
        made = making.make(
            Path(source), Path(target), wanted, workers=_choose_workers(workers), watcher=watcher
        )
    rate = watcher.steps / (time.monotonic() - begin_s)
    screen.show(describe_made(Path(target), made, rate), as_json=as_json)


def verify(folder: DirArgument, *, workers: WorkersOption = None, as_json: JsonOption = False) -> None:
    """Read and decode every sample: labels, sizes, and the digest that the data set was made with."""
    from pathlib import Path

    from hpcdl.cli import screen
    from hpcdl.datasets import survey
    from hpcdl.report.data_sets import describe_soundness

    with _Bar() as watcher:
        found = survey.verify(Path(folder), workers=_choose_workers(workers), watcher=watcher)
    screen.show(describe_soundness(Path(folder), found), as_json=as_json)
    if any(part.bad or part.problems for part in found.values()):
        raise typer.Exit(1)


def mean(
    folder: DirArgument,
    *,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="Keep it, as .npy or Caffe's .binaryproto.", metavar="FILE"),
    ] = None,
    channels: Annotated[
        bool, typer.Option("--channels", help="Keep the mean of each channel, not the mean image.")
    ] = False,
    size: SizeOption = None,
    colour: Annotated[str, typer.Option("--colour", help="rgb or grey.", metavar="HOW")] = "rgb",
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """The mean of the training part: of each channel, and as an image."""
    from pathlib import Path

    from hpcdl.cli import screen
    from hpcdl.datasets import survey
    from hpcdl.datasets.means import check_path, write_mean
    from hpcdl.errors import Mistake
    from hpcdl.report.data_sets import describe_mean

    path = check_path(Path(output)) if output else None
    _require(colour, ("rgb", "grey"), "--colour")
    with _Bar() as watcher:
        found = survey.measure_mean(
            Path(folder),
            size=_read_size(size),
            colour=colour,
            workers=_choose_workers(workers),
            watcher=watcher,
        )
    if path is not None:
        kept = found.channel_mean if channels else found.image
        if kept is None:
            raise Mistake(
                "there is no mean image: the images are of several sizes.",
                do="Give --size, or keep --channels.",
            )
        write_mean(path, kept)
    screen.show(describe_mean(Path(folder), found, path), as_json=as_json)


def info(folder: DirArgument, *, as_json: JsonOption = False) -> None:
    """What a data set is: format, parts, classes, sizes, and how it was made."""
    from pathlib import Path

    from hpcdl.cli import screen
    from hpcdl.datasets.stock import take_stock
    from hpcdl.report.data_sets import describe_stock

    screen.show(describe_stock(Path(folder), take_stock(Path(folder))), as_json=as_json)


def _read_change(encoded: str, quality: int, size: str | None, shorter: int | None, colour: str) -> Change:
    from hpcdl.datasets.pixels import Change
    from hpcdl.errors import Mistake

    _require(encoded, ("keep", "jpeg", "png", "none"), "--encoded")
    _require(colour, ("keep", "rgb", "grey"), "--colour")
    if size and shorter:
        raise Mistake("--size and --shorter exclude each other.", do="Give one of them.")
    return Change(
        size=_read_size(size),
        shorter=shorter,
        colour=colour,  # type: ignore[arg-type]
        encoding=encoded,  # type: ignore[arg-type]
        quality=quality,
    )


def _require(given: str, known: tuple[str, ...], flag: str) -> None:
    from hpcdl.errors import UnknownName

    if given not in known:
        raise UnknownName("value", given, known, where=flag)


def _read_size(text: str | None) -> tuple[int, int] | None:
    from hpcdl.errors import Mistake

    if text is None:
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,4})(?:x([1-9][0-9]{0,4}))?", text)
    if found is None:
        raise Mistake(f"--size {text}: height and width in pixels are needed.", do="Write --size 256x256.")
    return int(found[1]), int(found[2] or found[1])


def _choose_workers(asked: int | None) -> int:
    import os

    return asked or len(os.sched_getaffinity(0))


class _Bar:
    """A bar of rich, one for each part."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        from hpcdl.cli import screen

        self.steps = 0
        self._task: TaskID | None = None
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=screen.talk,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, part: str, total: int, done: int) -> None:
        self._task = self._progress.add_task(part, total=total, completed=done, rate="")

    def step(self) -> None:
        self.steps += 1
        if self._task is not None and self.steps % 16 == 0:
            task = self._progress.tasks[self._task]
            rate = f"{task.speed:,.0f} images/s" if task.speed else ""
            self._progress.update(self._task, advance=16, rate=rate)
