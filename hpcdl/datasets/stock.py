"""What a data set holds, seen lightly: labels are counted, and no sample but the first is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpcdl.datasets.origin import open_origin
from hpcdl.datasets.part import list_files

if TYPE_CHECKING:
    from pathlib import Path

    from hpcdl.datasets.manifest import Manifest, PartName


@dataclass(frozen=True)
class PartStock:
    """One part; `digest` is empty where there is no manifest."""

    samples: int
    digest: str
    first: str


@dataclass(frozen=True)
class Stock:
    """A data set. `counts` are the training samples of each class; `bytes` what its files take."""

    format: str
    manifest: Manifest | None
    encoded: bool
    shape: tuple[int, int, int] | None
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    parts: dict[PartName, PartStock]
    bytes: int


def take_stock(root: Path) -> Stock:
    """What lies at `root`.

    Raises:
        Mistake: There is no data set, or it cannot be read.
    """
    origin = open_origin(root)
    try:
        manifest, training = origin.manifest, origin.parts["train"]
        inside = training.labels[(training.labels >= 0) & (training.labels < len(origin.classes))]
        parts = {
            name: PartStock(len(part.labels), manifest.parts[name].digest if manifest else "", part.name(0))
            for name, part in origin.parts.items()
        }
        return Stock(
            format=origin.found.format,
            manifest=manifest,
            encoded=training.encoded,
            shape=training.shape,
            classes=origin.classes,
            counts=tuple(np.bincount(inside, minlength=len(origin.classes)).tolist()),
            parts=parts,
            bytes=sum(file.stat().st_size for file in list_files(root)),
        )
    finally:
        origin.close()
