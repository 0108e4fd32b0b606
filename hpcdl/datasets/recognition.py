"""What kind of data set a folder holds, by its manifest or by the names in it. No sample is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from hpcdl.datasets.formats import FORMATS
from hpcdl.datasets.manifest import JOURNAL, FormatName, Manifest, PartName, read_manifest
from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from pathlib import Path

    from hpcdl.datasets.part import Format

NAMES: tuple[PartName, ...] = get_args(PartName)


@dataclass(frozen=True)
class Found:
    """A data set: its format, its manifest where it has one, and where its parts lie.

    For format 'folder' there are no `parts`: a tree is listed by hpcdl.datasets.tree. Otherwise there is `train`,
    and `val` where something is held out already.
    """

    root: Path
    format: FormatName
    manifest: Manifest | None
    parts: dict[PartName, Path]


def recognise(root: Path) -> Found:
    """The data set at `root`. What is no data set of another format is taken for an image tree.

    Raises:
        Mistake: There is no such folder, its manifest cannot be used, or a part that it names is not there.
    """
    if not root.is_dir():
        raise Mistake(
            f"there is no data folder {root}.", do="Give the root of a data set: the folder above its parts."
        )
    manifest = read_manifest(root)
    if manifest is not None:
        return _follow(root, manifest)
    if (root / JOURNAL).is_file():
        raise Mistake(
            f"{root}: this data set is not finished.",
            do="Give the `hpcdl data make` that began it once more: it goes on from there.",
        )
    for format_ in FORMATS.values():
        parts = _find_parts(root, format_)
        if parts:
            return Found(root, _name(format_), None, parts)
    return Found(root, "folder", None, {})


def _follow(root: Path, manifest: Manifest) -> Found:
    if manifest.format == "folder":
        for name in manifest.parts:
            if not (root / name).is_dir():
                raise _not_there(root / name, manifest.format)
        return Found(root, "folder", manifest, {})
    parts = {name: root / name for name in NAMES if name in manifest.parts}
    for path in parts.values():
        if not FORMATS[manifest.format].holds(path):
            raise _not_there(path, manifest.format)
    return Found(root, manifest.format, manifest, parts)


def _not_there(path: Path, name: FormatName) -> Mistake:
    return Mistake(
        f"{path}: dataset.json promises a part in the format {name}, and there is none.",
        do="Copy the data set again, or make it again with `hpcdl data make`.",
    )


def _find_parts(root: Path, format_: Format) -> dict[PartName, Path]:
    """DIR/train and DIR/val, as Caffe calls them (DIR/train_lmdb), or DIR itself as the one part."""
    parts: dict[PartName, Path] = {}
    for name in NAMES:
        for path in (root / name, root / f"{name}_{format_.name}"):
            if name not in parts and format_.holds(path):
                parts[name] = path
    if "train" in parts:
        return parts
    return {"train": root} if format_.holds(root) else {}


def _name(format_: Format) -> FormatName:
    known: dict[str, FormatName] = {name: name for name in get_args(FormatName)}
    return known[format_.name]
