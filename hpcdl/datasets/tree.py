"""A folder of images in the ImageNet layout, as a listing: files, classes and parts. No image is opened."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hpcdl.datasets.split import hold_out
from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Indices = NDArray[np.int64]

EXTENSIONS = (".jpg", ".jpeg", ".png")
HELD_OUT_SHARE = 0.1
LAYOUT = "Expected: DIR/train/<class>/… and DIR/val/<class>/…, or DIR/<class>/…, holding .jpg, .jpeg or .png files."


@dataclass(frozen=True)
class Tree:
    """All images below `root`: paths relative to it, their labels, and which are trained on or held out.

    A label is the place of its class in `classes`, which are sorted by name. `drawn`: there is no part that is held
    out, and some of the only part were drawn for it.
    """

    root: Path
    classes: tuple[str, ...]
    files: tuple[str, ...]
    labels: Indices
    training: Indices
    held_out: Indices
    drawn: bool


def read_tree(root: Path, seed: int) -> Tree:
    """List `root`: DIR/train and DIR/val, or DIR/<class>, of which a seeded tenth of each class is held out.

    The same is held out of DIR/train where there is no DIR/val. Hidden files and other extensions are passed
    over; folders inside a class belong to it.

    Raises:
        Mistake: Names the folder that is missing, unreadable, without images or without classes, or the
            classes that only one of the two parts has.
    """
    if not (root / "train").is_dir() or _list_images(root / "train", deep=False):
        _refuse_val_alone(root)
        return _divide(root, _list_classes(root), seed)
    training = _list_classes(root / "train")
    if not (root / "val").is_dir():
        return _divide(root, training, seed)
    return _join(root, training, _list_classes(root / "val"))


Classes = dict[str, list[str]]  # class -> paths of its images, below the root


def _divide(root: Path, classes: Classes, seed: int) -> Tree:
    files, labels = _flatten(root, classes)
    training, held_out = hold_out(labels, int(len(labels) * HELD_OUT_SHARE), seed)
    return Tree(root, tuple(classes), files, labels, training, held_out, drawn=True)


def _join(root: Path, training: Classes, held_out: Classes) -> Tree:
    if training.keys() != held_out.keys():
        raise _mismatch(root, training, held_out)
    files, labels = _flatten(root, training)
    more_files, more_labels = _flatten(root, held_out)
    everything = np.arange(len(files) + len(more_files))
    return Tree(
        root,
        tuple(training),
        files + more_files,
        np.concatenate([labels, more_labels]),
        training=everything[: len(files)],
        held_out=everything[len(files) :],
        drawn=False,
    )


def _refuse_val_alone(root: Path) -> None:
    """A class may be called `val`; a folder of classes may not stand for one."""
    val = root / "val"
    if val.is_dir() and _list_folders(val) and not _list_images(val, deep=False):
        raise Mistake(f"{root}: there is a part val, and no part train.", do=LAYOUT)


def _flatten(root: Path, classes: Classes) -> tuple[tuple[str, ...], Indices]:
    # Strings throughout: a million of them are in order, a million Path objects cost seconds.
    files = tuple(file[len(str(root)) + 1 :] for members in classes.values() for file in members)
    sizes = [len(members) for members in classes.values()]
    return files, np.repeat(np.arange(len(sizes)), sizes)


def _list_classes(folder: Path) -> Classes:
    """The images of each class folder, classes and images by name."""
    names = _list_folders(folder)
    if not names:
        loose = _list_images(folder, deep=False)
        found = f"{len(loose)} images but no class folders" if loose else "no class folders"
        raise Mistake(f"{folder}: there are {found} in it.", do=LAYOUT)
    classes = {name: _list_images(folder / name, deep=True) for name in names}
    empty = [name for name, files in classes.items() if not files]
    if empty:
        raise Mistake(
            f"{folder / empty[0]}: this class folder holds no images{_and_more(len(empty) - 1)}.",
            do=f"Remove it or fill it. {LAYOUT}",
        )
    return classes


def _list_folders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    except FileNotFoundError:
        raise Mistake(f"{folder}: there is no such folder.", do=LAYOUT) from None
    except NotADirectoryError:
        raise Mistake(f"{folder}: this is a file, not a folder.", do=LAYOUT) from None
    except OSError as problem:
        raise _unreadable(folder, problem) from None


def _list_images(folder: Path, *, deep: bool) -> list[str]:
    """Images of a folder by name, and with `deep` those of the folders in it."""
    found: list[str] = []
    for place, inner, names in os.walk(folder, onerror=_refuse):
        inner[:] = sorted(name for name in inner if deep and not name.startswith("."))
        found += [f"{place}/{name}" for name in sorted(names) if _is_image(name)]
    return found


def _is_image(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS) and not name.startswith(".")


def _refuse(problem: OSError) -> None:
    raise _unreadable(Path(problem.filename), problem)


def _unreadable(folder: Path, problem: OSError) -> Mistake:
    return Mistake(
        f"{folder}: cannot be read ({problem.strerror}).", do="Check its permissions on this node."
    )


def _mismatch(root: Path, training: Classes, held_out: Classes) -> Mistake:
    only = [
        (root / "train", training.keys() - held_out.keys()),
        (root / "val", held_out.keys() - training.keys()),
    ]
    parts = [
        f"only in {folder}: {', '.join(sorted(names)[:3])}{_and_more(len(names) - 3)}"
        for folder, names in only
        if names
    ]
    return Mistake(f"{root}: train and val have different classes; {'; '.join(parts)}.", do=LAYOUT)


def _and_more(count: int) -> str:
    return f" (and {count} more)" if count > 0 else ""
