"""Going through all of a data set: is every sample sound, what is its mean, how many are there of what."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from hpcdl.datasets.crew import Crew
from hpcdl.datasets.digest import digest_part, digest_sample
from hpcdl.datasets.origin import open_origin
from hpcdl.datasets.pixels import Change, Undecodable, change, decode
from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hpcdl.datasets.making import Watcher
    from hpcdl.datasets.manifest import PartName
    from hpcdl.datasets.origin import Origin
    from hpcdl.datasets.part import Content, Reading

    Sums = NDArray[np.int64]


@dataclass
class Soundness:
    """What was found in one part. `bad` are samples by name, each with what is wrong with it."""

    samples: int
    digest: str = ""
    bad: list[tuple[str, str]] = field(default_factory=list)
    classes: Counter[int] = field(default_factory=Counter)
    shapes: Counter[tuple[int, ...]] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Mean:
    """Means and standard deviations over the training part, in pixels from 0 to 255.

    `image` is (height, width, channels), None where sizes are mixed; the other two are (channels,).
    """

    samples: int
    image: NDArray[np.float64] | None
    channel_mean: NDArray[np.float64]
    channel_deviation: NDArray[np.float64]


@dataclass(frozen=True)
class _Judge:
    """Digest, shape and label of one sample, or what is wrong with it."""

    def __call__(self, part: Reading, index: int) -> tuple[bytes, tuple[int, ...], str]:
        try:
            content = part.read(index)
        except Mistake as problem:
            return b"", (), problem.what.rstrip(".")
        digest = digest_sample(int(part.labels[index]), content)
        try:
            return digest, decode(content, colour="keep").shape, ""
        except Undecodable as problem:
            return digest, (), str(problem)


def verify(root: Path, *, workers: int, watcher: Watcher) -> dict[PartName, Soundness]:
    """Every sample read and decoded, its label and its place in the manifest's digest checked.

    Raises:
        Mistake: The data set cannot be opened at all.
    """
    origin = open_origin(root)
    try:
        return {name: _verify_part(origin, name, workers, watcher) for name in origin.parts}
    finally:
        origin.close()


def _verify_part(origin: Origin, name: PartName, workers: int, watcher: Watcher) -> Soundness:
    part = origin.parts[name]
    count = len(part.labels)
    found = Soundness(count, classes=Counter(part.labels.tolist()))
    watcher.begin(name, count, 0)
    digests = []
    for index, (digest, shape, wrong) in enumerate(
        Crew(origin.found.root, name, workers).go_through(range(count), _Judge())
    ):
        watcher.step()
        digests.append(digest)
        reason = wrong or _judge_label(int(part.labels[index]), len(origin.classes))
        if reason:
            found.bad.append((part.name(index), reason))
        if shape:
            found.shapes[shape] += 1
    found.digest = digest_part(digests)
    found.problems += _compare(origin, name, found)
    return found


def _judge_label(label: int, classes: int) -> str:
    if 0 <= label < classes:
        return ""
    return f"its label is {label}, and there are {classes} classes, counted from 0"


def _compare(origin: Origin, name: PartName, found: Soundness) -> list[str]:
    """Where the part is not what the manifest says."""
    if origin.manifest is None:
        return []
    said = origin.manifest.parts[name]
    if said.samples != found.samples:
        return [f"{found.samples} samples are there, and dataset.json says {said.samples}"]
    if said.digest != found.digest:
        return ["the digest of labels and contents is not that of dataset.json: something was changed since"]
    return []


@dataclass(frozen=True)
class _Sum:
    """Pixels of one sample, as they are summed up."""

    change: Change

    def __call__(self, part: Reading, index: int) -> Content | str:
        try:
            return change(part.read(index), self.change)
        except Undecodable as problem:
            return f"{part.name(index)}: {problem}"


def measure_mean(
    root: Path, *, size: tuple[int, int] | None, colour: str, workers: int, watcher: Watcher
) -> Mean:
    """Mean image and means per channel of the training part, by sums of whole numbers: no order of them matters.

    Raises:
        Mistake: A sample cannot be decoded, or has other channels than the first.
    """
    origin = open_origin(root)
    try:
        count = len(origin.parts["train"].labels)
    finally:
        origin.close()
    watcher.begin("train", count, 0)
    wanted = Change(size=size, colour="grey" if colour == "grey" else "rgb", encoding="none")
    sums = _Sums()
    for content in Crew(root, "train", workers).go_through(range(count), _Sum(wanted)):
        if isinstance(content, str):
            raise Mistake(f"{content}.", do="`hpcdl data verify` finds all such images.")
        sums.add(np.frombuffer(content, np.uint8) if isinstance(content, bytes) else content)
        watcher.step()
    return sums.finish(count)


class _Sums:
    """int64 holds the sum of 2^47 squares of bytes: more pixels than any data set has."""

    def __init__(self) -> None:
        self._image: Sums | None = None
        self._mixed = False
        self._pixels = 0
        self._totals: Sums = np.zeros(1, dtype=np.int64)
        self._squares: Sums = np.zeros(1, dtype=np.int64)

    def add(self, pixels: NDArray[np.uint8]) -> None:
        wide = pixels.astype(np.int64)
        self._pixels += pixels.shape[0] * pixels.shape[1]
        self._totals = self._totals + wide.sum(axis=(0, 1))
        self._squares = self._squares + (wide * wide).sum(axis=(0, 1))
        if self._image is None:
            self._image = np.zeros(pixels.shape, dtype=np.int64)
        if self._image.shape == pixels.shape:
            self._image += wide
        else:
            self._mixed = True

    def finish(self, samples: int) -> Mean:
        mean = self._totals / self._pixels
        variance = self._squares / self._pixels - mean**2
        image = None if self._mixed or self._image is None else self._image / samples
        return Mean(samples, image, mean, np.sqrt(np.maximum(variance, 0)))
