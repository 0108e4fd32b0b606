"""What a data set says of itself: dataset.json, beside its parts."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, ValidationError

from hpcdl.errors import Mistake
from hpcdl.frozen import Frozen

if TYPE_CHECKING:
    from pathlib import Path

FormatName = Literal["folder", "lmdb", "leveldb", "hdf5", "idx", "tfrecord", "webdataset", "raw"]
PartName = Literal["train", "val"]
FILE = "dataset.json"
# What was asked of a making that is under way; gone when the data set is complete.
JOURNAL = "making.json"


class PartManifest(Frozen):
    """One part. `digest` is SHA-256 over labels and contents in order (hpcdl.datasets.digest)."""

    samples: Annotated[int, Field(gt=0)]
    digest: str


class Making(Frozen):
    """How it was made: from where, and with which options."""

    source: str
    source_format: FormatName
    options: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    hpcdl: str
    made_utc: datetime


class Manifest(Frozen):
    """The content of dataset.json. It is written last: a folder without it was not finished, or is not ours.

    `shape` is (height, width, channels) where all samples are alike; None: mixed. A label is a place in `classes`.
    """

    schema_version: Literal[1] = 1
    format: FormatName
    encoded: bool
    shape: tuple[int, int, int] | None
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    parts: dict[PartName, PartManifest]
    making: Making | None = None


def read_manifest(root: Path) -> Manifest | None:
    """What `root` says of itself; None: it has no dataset.json.

    Raises:
        Mistake: It has one that cannot be used.
    """
    path = root / FILE
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as problem:
        raise Mistake(f"{path}: cannot be read ({problem.strerror}).") from None
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Mistake(
            f"{path}: this is no description of a data set ({where}: {first['msg']}).",
            do="Make the data set again with `hpcdl data make`.",
        ) from None
