"""One small data set, written in any format: the same samples under the same index."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from hpcdl.datasets.formats import FORMATS
from hpcdl.datasets.manifest import FILE, Manifest, PartManifest
from hpcdl.datasets.part import Layout, Sample
from hpcdl.datasets.tree import read_tree
from hpcdl.durable import publish_record
from tests.photographs import make_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Every way in which a data set can lie: its format, and whether its samples are encoded.
WAYS = [
    (name, encoded)
    for name, format_ in sorted(FORMATS.items())
    for encoded in (True, False)
    if (format_.encoded if encoded else format_.pixels)
]


def make_png_tree(root: Path, *, size: int = 48, grey: bool = False) -> Path:
    """A tree of 32 training and 8 held-out tiles in 4 classes, without loss."""
    make_tree(root, classes=4, per_class=12, size=size, suffix=".png")
    if grey:
        for file in root.rglob("*.png"):
            with Image.open(file) as image:
                pale = image.convert("L")
            pale.save(file)
    return root


def write_from_tree(tree: Path, root: Path, name: str, *, encoded: bool) -> Path:
    """The tree in another format, in its own order, with a manifest."""
    listing = read_tree(tree, seed=1)
    parts = {"train": listing.training, "val": listing.held_out}
    for part, indices in parts.items():
        samples = list(_read(tree, listing, indices, encoded=encoded))
        shape = None if encoded else samples[0].content.shape
        writing = FORMATS[name].create(root / part, Layout(len(samples), encoded, shape, listing.classes))
        for sample in samples:
            writing.add(sample)
        writing.close(complete=True)
    manifest = Manifest(
        format=name,
        encoded=encoded,
        shape=shape,
        classes=listing.classes,
        parts={part: PartManifest(samples=len(indices), digest="0" * 64) for part, indices in parts.items()},
    )
    publish_record(root / FILE, manifest)
    return root


def _read(tree: Path, listing, indices, *, encoded: bool) -> Iterator[Sample]:
    for index in indices:
        content = (tree / listing.files[index]).read_bytes()
        if not encoded:
            pixels = np.asarray(Image.open(io.BytesIO(content)))
            content = pixels[..., None] if pixels.ndim == 2 else pixels
        yield Sample(listing.files[index], int(listing.labels[index]), content)
