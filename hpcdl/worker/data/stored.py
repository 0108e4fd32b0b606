"""Data sets in the formats of hpcdl.datasets: encoded images or pixels with an index, fed to DALI as they lie there."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcdl.datasets.formats import find_format
from hpcdl.datasets.part import Mapped, list_files, refuse_wrong_labels
from hpcdl.datasets.recognition import recognise
from hpcdl.datasets.split import hold_out, share
from hpcdl.datasets.tree import HELD_OUT_SHARE
from hpcdl.errors import Mistake
from hpcdl.worker.data.cutting import Encoded, Pixels, check_augmentation, is_random, lay_out
from hpcdl.worker.data.indexed import Indexed
from hpcdl.worker.data.source import Verified
from hpcdl.worker.data.verify import verify_contents

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpcdl.datasets.part import Reading
    from hpcdl.datasets.recognition import Found
    from hpcdl.worker.data.pipeline import Dali, Items
    from hpcdl.worker.data.source import Progress, Request

    Indices = NDArray[np.int64]

DIGITS = 16


class Stored(Indexed):
    """Parts with an index. Training takes a random part of each image; validation the centre.

    Raises:
        Mistake: What is wrong with the data set, by path and sample; or more ranks or a larger batch than images.
    """

    def __init__(self, request: Request) -> None:
        self.name = request.training.data
        if request.training.data_dir is None:
            raise Mistake(f"--data {self.name} needs a folder.", do="Name it: --data DIR.")
        self._found = _recognise(Path(request.training.data_dir), self.name)
        self._parts = [find_format(self.name).open(path) for path in self._found.parts.values()]
        self._sizes = [len(part.labels) for part in self._parts]
        self.classes = _count_classes(self._found, self._parts)
        _check_alike(self._found.root, self._parts)
        check_augmentation(request, self._shape)
        labels = np.concatenate([part.labels for part in self._parts])
        super().__init__(request, labels, *_divide(labels, self._sizes, request.training.seed))
        for part in self._parts:
            self._closing.callback(part.close)

    @property
    def _shape(self) -> tuple[int, int, int] | None:
        shapes = {part.shape for part in self._parts}
        return shapes.pop() if len(shapes) == 1 else None

    @property
    def _channels(self) -> int:
        """Of all pixels; those of the network where no part says it of all its samples."""
        known = {part.shape[2] for part in self._parts if part.shape}
        return known.pop() if known else self._request.network.input_shape[0]

    def listing_digest(self) -> str | None:
        """The manifest's digests; without one, names, sizes and times of change of all files."""
        if self._found.manifest is not None:
            words = [f"{name} {part.digest}" for name, part in sorted(self._found.manifest.parts.items())]
        else:
            files = sorted({file for path in self._found.parts.values() for file in list_files(path)})
            words = [f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]
        return hashlib.sha256("\n".join(words).encode(errors="surrogateescape")).hexdigest()[:DIGITS]

    def verify(self, progress: Progress | None = None) -> Verified | None:
        """Read this rank's share of all samples, and decode what is encoded."""
        mine = share(len(self._labels), self._request.rank, self._request.world_size)
        verify_contents(
            [self._locate(index) for index in mine], self._request.threads, progress, encoded=self._encoded
        )
        return Verified(files=len(mine), digest=self.listing_digest() or "")

    @property
    def _encoded(self) -> bool:
        return self._parts[0].encoded

    def _locate(self, index: int) -> tuple[Reading, int]:
        """The part that a sample lies in, and its index there."""
        first = self._sizes[0]
        return (self._parts[0], index) if index < first else (self._parts[1], index - first)

    @property
    def _is_random(self) -> bool:
        return is_random(self._request.training.augmentation)

    @property
    def _stays(self) -> bool:
        return all(isinstance(part, Mapped) for part in self._parts)

    def _pick(self, indices: Indices) -> Items:
        samples = [part.read(place) for part, place in map(self._locate, indices.tolist())]
        if self._encoded:
            return [np.frombuffer(content, dtype=np.uint8) for content in samples]
        return samples

    def _lay_out(self, dali: Dali, items: Any, drawn: Any, *, augment: bool) -> Any:
        request, shape = self._request, self._shape
        images = (
            Encoded(dali, items, request)
            if self._encoded
            else Pixels(dali, items, request, channels=self._channels)
        )
        return lay_out(dali, images, drawn, request, augment=augment, shape=shape)


def _recognise(root: Path, name: str) -> Found:
    found = recognise(root)
    if found.format != name:
        raise Mistake(f"{root} holds data in the format {found.format}, and {name} was asked for.")
    return found


def _count_classes(found: Found, parts: list[Reading]) -> int:
    """How many the manifest names; without one, as many as the training labels reach.

    Raises:
        Mistake: A label that is no place in them, with the sample's name.
    """
    manifest = found.manifest
    classes = len(manifest.classes) if manifest else int(parts[0].labels.max()) + 1
    for part in parts:
        refuse_wrong_labels(
            part,
            classes,
            do="Labels are places in the list of classes: make the data set again with `hpcdl data make`.",
        )
    return classes


def _check_alike(root: Path, parts: list[Reading]) -> None:
    if len({part.encoded for part in parts}) > 1:
        raise Mistake(f"{root}: one part holds encoded images, and the other pixels.", do="Make both alike.")
    channels = {part.shape[2] for part in parts if not part.encoded and part.shape}
    if len(channels) > 1:
        raise Mistake(f"{root}: one part is grey, and the other in colour.", do="Make both alike.")


def _divide(labels: Indices, sizes: list[int], seed: int) -> tuple[Indices, Indices]:
    """Training and held-out indices: the two parts, or of the only one a seeded tenth of each class."""
    if len(sizes) == 1:
        return hold_out(labels, int(len(labels) * HELD_OUT_SHARE), seed)
    everything = np.arange(len(labels))
    return everything[: sizes[0]], everything[sizes[0] :]
