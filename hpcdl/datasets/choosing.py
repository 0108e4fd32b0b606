"""Which samples of a source go into which part, in which order; and whether the target can hold them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from hpcdl.datasets.part import refuse_wrong_labels
from hpcdl.datasets.split import hold_out
from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpcdl.datasets.making import Wanted
    from hpcdl.datasets.manifest import PartName
    from hpcdl.datasets.origin import Origin

    Indices = NDArray[np.int64]
    # Part to be written -> part to be read, and which of its samples, in order.
    Plans = dict[PartName, tuple[PartName, Indices]]

# Beside the seed, so that this order has nothing in common with what training draws.
_SHUFFLE = 0x5F1E


def choose_samples(origin: Origin, wanted: Wanted) -> Plans:
    """What goes where.

    Raises:
        Mistake: A label that is no place in the list of classes; a part that would be empty; or an order that a tree
            cannot hold, where one is wanted.
    """
    for part in origin.parts.values():
        refuse_wrong_labels(
            part, len(origin.classes), do="`hpcdl data verify` finds all such samples of the source."
        )
    _check_names(origin)
    plans: Plans = {name: (name, np.arange(len(part.labels))) for name, part in origin.parts.items()}
    if wanted.split is not None:
        plans = _split(origin, wanted.split, wanted.seed)
    if wanted.format == "folder":
        return _order_as_tree(origin, plans, shuffle=wanted.shuffle)
    if wanted.shuffle:
        rng = np.random.default_rng((wanted.seed, _SHUFFLE))
        plans = {name: (part, rng.permutation(found)) for name, (part, found) in plans.items()}
    return plans


def _check_names(origin: Origin) -> None:
    """Names of classes stand in dataset.json, which is UTF-8."""
    for name in origin.classes:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise Mistake(
                f"{origin.found.root}: the name of the class {name!r} is not UTF-8.", do="Rename its folder."
            ) from None


def _split(origin: Origin, part: float, seed: int) -> Plans:
    if "val" in origin.parts:
        raise Mistake("the data set has a part that is held out already.", do="Leave out --split.")
    labels = origin.parts["train"].labels
    training, held_out = hold_out(labels, round(len(labels) * part), seed)
    if not len(held_out):
        raise Mistake(
            f"--split {part:g} of {len(labels)} images holds out none: each class keeps at least one.",
            do="Hold out more, or leave out --split.",
        )
    return {"train": ("train", training), "val": ("train", held_out)}


def _order_as_tree(origin: Origin, plans: Plans, *, shuffle: bool) -> Plans:
    """A tree has no order of its own: it is read class by class, and classes by name."""
    classes = origin.classes
    if shuffle:
        raise Mistake("a tree is read class by class: --shuffle would be lost.", do="Leave it out.")
    if list(classes) != sorted(classes):
        raise Mistake(
            "in a tree labels follow the names of classes, and these are in another order: "
            f"{', '.join(classes[:3])}, …",
            do="Make another format of it.",
        )
    ordered: Plans = {}
    for name, (part, indices) in plans.items():
        labels = origin.parts[part].labels[indices]
        ordered[name] = (part, indices[np.argsort(labels, kind="stable")])
    return ordered


def refuse_empty_classes(origin: Origin, plans: Plans) -> None:
    """What a tree cannot hold, however it came about: the labels of the classes behind would be others.

    Raises:
        Mistake: A part would have no sample of some class.
    """
    for name, (part, indices) in plans.items():
        there = set(origin.parts[part].labels[indices].tolist())
        empty = [label for place, label in enumerate(origin.classes) if place not in there]
        if empty:
            raise Mistake(
                f"a tree has no class without images, and {empty[0]!r} would have none in {name}.",
                do="Make another format of it.",
            )


def digest_choice(origin: Origin, plans: Plans) -> str:
    """Of the classes, and of names and labels in their order: what a making that is gone on with has to find again."""
    digest = hashlib.sha256("\0".join(origin.classes).encode())
    for name, (source, indices) in plans.items():
        part = origin.parts[source]
        digest.update(f"\n{name}".encode())
        for index in indices.tolist():
            digest.update(f"\n{part.labels[index]} {part.name(index)}".encode(errors="surrogateescape"))
    return digest.hexdigest()
