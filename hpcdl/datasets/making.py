"""A data set from another one: read, changed and encoded by several processes, written in order by this one.

What was made is safe at every moment: a making that was killed is gone on with by the same command. `making.json` in
the target says what was asked, `dataset.json` is written last.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

import hpcdl
from hpcdl.datasets import manifest as manifests
from hpcdl.datasets.choosing import choose_samples, digest_choice, refuse_empty_classes
from hpcdl.datasets.crew import Crew
from hpcdl.datasets.digest import KeptDigests, digest_part, digest_sample, digests_path
from hpcdl.datasets.formats import find_format
from hpcdl.datasets.manifest import JOURNAL, Making, Manifest, PartManifest
from hpcdl.datasets.origin import open_origin
from hpcdl.datasets.part import Layout, Sample, import_library
from hpcdl.datasets.pixels import Change, Undecodable, change
from hpcdl.datasets.target import alone, begin, check_target, list_options, named
from hpcdl.durable import publish_record
from hpcdl.errors import Failure, Mistake

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from hpcdl.datasets.choosing import Plans
    from hpcdl.datasets.manifest import FormatName, PartName
    from hpcdl.datasets.origin import Origin
    from hpcdl.datasets.part import Format, Reading

    Indices = NDArray[np.int64]

# How often what was written is made safe, in samples: a making that was killed loses at most so many.
SAFE_EVERY = 512
# And in bytes, since formats keep in memory what is not safe yet.
SAFE_EVERY_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Wanted:
    """What is to be made. `split` is held out of a set that has no part `val`; None: nothing is."""

    format: FormatName
    change: Change = field(default_factory=Change)
    shuffle: bool = False
    split: float | None = None
    seed: int = 1
    skip_bad: bool = False


class Watcher(Protocol):
    """Who is told how far it is."""

    def begin(self, part: str, total: int, done: int) -> None:
        """A part begins; `done` of its samples were there already."""

    def step(self) -> None:
        """One sample more."""


@dataclass(frozen=True)
class Made:
    """What was made, and the samples that were left out, with the reason."""

    manifest: Manifest
    skipped: tuple[tuple[str, str], ...]


def make(source: Path, target: Path, wanted: Wanted, *, workers: int, watcher: Watcher) -> Made:
    """Make a data set at `target`, or go on with one that was begun there with the same words.

    Raises:
        Mistake: The source cannot be read, a sample cannot be decoded, the format cannot hold what is wanted, or there
            is something else at the target.
        Failure: The disk is full, or a process was killed: what was written stays, and is gone on with.
    """
    _check_format(wanted)
    origin = open_origin(source)
    with named(target):
        check_target(source, target)
    plans = choose_samples(origin, wanted)
    skipped: list[tuple[str, str]] = []
    if wanted.skip_bad:
        for name, (part, indices) in plans.items():
            good, bad = _sift(Crew(source, part, workers), indices, watcher, name)
            plans[name] = (part, good)
            skipped += bad
    if wanted.format == "folder":
        refuse_empty_classes(origin, plans)
    with named(target):
        begin(target, source, wanted, digest_choice(origin, plans))
    with alone(target):
        crews = {part: Crew(source, part, workers) for part in origin.parts}
        options = list_options(wanted) | {"skipped": len(skipped)}
        manifest = _write(target, origin, plans, wanted, crews=crews, watcher=watcher, options=options)
    return Made(manifest, tuple(skipped))


def _write(
    target: Path,
    origin: Origin,
    plans: Plans,
    wanted: Wanted,
    *,
    crews: dict[PartName, Crew],
    watcher: Watcher,
    options: dict[str, Any],
) -> Manifest:
    """All parts; the manifest last, and then nothing is left of the making."""
    parts: dict[PartName, PartManifest] = {}
    shapes: set[tuple[int, int, int] | None] = set()
    encoded = False
    try:
        for name, (part, indices) in plans.items():
            one = _Part(origin, crews[part], indices, target / name, wanted)
            parts[name] = one.write(watcher, name)
            shapes.add(one.layout.shape)
            encoded = one.layout.encoded
    except OSError as problem:
        raise Failure(
            f"{target}: cannot be written ({problem.strerror or problem}).",
            do="What was written stays: make room, and give the same command once more.",
        ) from None
    finally:
        origin.close()
    done = Manifest(
        format=wanted.format,
        encoded=encoded,
        shape=shapes.pop() if len(shapes) == 1 else None,
        classes=origin.classes,
        parts=parts,
        making=Making(
            source=str(origin.found.root.absolute()),
            source_format=origin.found.format,
            options=options,
            hpcdl=hpcdl.__version__,
            made_utc=datetime.now(UTC),
        ),
    )
    publish_record(target / manifests.FILE, done)
    for leftover in [target / JOURNAL, *(digests_path(target / name) for name in parts)]:
        leftover.unlink(missing_ok=True)
    return done


def _check_format(wanted: Wanted) -> None:
    format_ = find_format(wanted.format)
    if format_.library is not None:
        # Before there is a folder that nobody could go on with.
        import_library(format_.library)
    if wanted.change.encoding == "none" and not format_.pixels:
        raise Mistake(f"{wanted.format} holds encoded images only.", do="Leave out --encoded none.")
    if wanted.change.encoding in {"jpeg", "png"} and not format_.encoded:
        raise Mistake(f"{wanted.format} holds pixels only.", do="Leave out --encoded, or say --encoded none.")


@dataclass(frozen=True)
class _Sift:
    """Whether a sample can be had as it is wanted: why not, or nothing."""

    change: Change

    def __call__(self, part: Reading, index: int) -> tuple[str, str] | None:
        try:
            change(part.read(index), self.change)
        except Undecodable as problem:
            return part.name(index), str(problem)
        except Mistake as problem:
            return part.name(index), problem.what
        return None


def _sift(crew: Crew, indices: Indices, watcher: Watcher, name: str) -> tuple[Indices, list[tuple[str, str]]]:
    watcher.begin(f"{name}: looking for bad images", len(indices), 0)
    good, bad = [], []
    for index, why in zip(indices, crew.go_through(indices.tolist(), _Sift(Change())), strict=True):
        watcher.step()
        if why is None:
            good.append(index)
        else:
            bad.append(why)
    if not good:
        raise Mistake(f"{crew.root}: no image of the part {crew.part} can be decoded.")
    return np.array(good), bad


@dataclass(frozen=True)
class _Take:
    """A sample as it is wanted, with its digest; or in place of it, why it cannot be had."""

    change: Change

    def __call__(self, part: Reading, index: int) -> tuple[Sample, bytes] | str:
        try:
            content = change(part.read(index), self.change)
        except Undecodable as problem:
            return f"{part.name(index)}: {problem}"
        label = int(part.labels[index])
        return Sample(part.name(index), label, content), digest_sample(label, content)


class _Part:
    """One part that is made: its layout is that of its first sample."""

    def __init__(self, origin: Origin, crew: Crew, indices: Indices, folder: Path, wanted: Wanted) -> None:
        self._crew, self._indices, self._folder = crew, indices, folder
        self._format = find_format(wanted.format)
        self._task = _Take(_settle(wanted.change, self._format, origin.parts[crew.part]))
        self.layout = self._lay_out(origin)

    def _lay_out(self, origin: Origin) -> Layout:
        taken = self._task(origin.parts[self._crew.part], int(self._indices[0]))
        if isinstance(taken, str):
            raise _bad(taken)
        content = taken[0].content
        shape: tuple[int, int, int] | None = None
        if not isinstance(content, bytes):
            height, width, channels = content.shape
            shape = (height, width, channels)
        return Layout(len(self._indices), isinstance(content, bytes), shape, origin.classes)

    def write(self, watcher: Watcher, name: str) -> PartManifest:
        """Write what is not there yet."""
        writing = self._format.create(self._folder, self.layout)
        digests = KeptDigests(digests_path(self._folder), writing.written)
        watcher.begin(name, len(self._indices), writing.written)
        complete, pending_bytes = False, 0
        try:
            for sample, digest in self._take(self._indices[writing.written :]):
                # In this order, here and below: what the part says that it holds has its digest.
                digests.add(digest)
                writing.add(sample)
                pending_bytes += _count_bytes(sample)
                watcher.step()
                if digests.pending >= SAFE_EVERY or pending_bytes >= SAFE_EVERY_BYTES:
                    digests.flush()
                    writing.flush()
                    pending_bytes = 0
            complete = True
        finally:
            digests.flush()
            with _quietly(complete):
                writing.close(complete=complete)
        return PartManifest(samples=len(self._indices), digest=digest_part(digests.read()))

    def _take(self, indices: Indices) -> Iterator[tuple[Sample, bytes]]:
        for taken in self._crew.go_through(indices.tolist(), self._task):
            if isinstance(taken, str):
                raise _bad(taken)
            content = taken[0].content
            if not isinstance(content, bytes) and content.shape != self.layout.shape:
                raise Mistake(
                    f"{taken[0].name}: {_name_shape(content.shape)}, and the first image is "
                    f"{_name_shape(self.layout.shape or ())}: pixels are all of one size and as many channels.",
                    do="Give them one with --size HEIGHTxWIDTH and --colour rgb or grey.",
                )
            yield taken


def _count_bytes(sample: Sample) -> int:
    return len(sample.content) if isinstance(sample.content, bytes) else sample.content.nbytes


@contextlib.contextmanager
def _quietly(complete: bool) -> Iterator[None]:  # noqa: FBT001
    """Closing after a fault must not hide the fault."""
    try:
        yield
    except OSError:
        if complete:
            raise


def _settle(wanted: Change, format_: Format, origin: Reading) -> Change:
    """'keep' where the format cannot: pixels where it holds no images, PNG where it holds nothing else."""
    if wanted.encoding != "keep":
        return wanted
    if not format_.encoded:
        return replace(wanted, encoding="none")
    return wanted if origin.encoded or format_.pixels else replace(wanted, encoding="png")


def _bad(words: str) -> Mistake:
    return Mistake(f"{words}.", do="Replace or remove it, or leave out such images with --skip-bad.")


def _name_shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape[:2])) + f" in {shape[2]} channel{'s' if shape[2] > 1 else ''}"
