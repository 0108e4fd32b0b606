"""A tree of JPEG files with real entropy: tiles cut from scikit-learn's two sample photographs.

    python tests/photographs.py DIR --classes 4 --per-class 24 --size 256

makes DIR/train/<class>/*.jpg and DIR/val/<class>/*.jpg. A class is a region of one photograph, so the classes
can be learnt; the tiles of a class overlap, and no tile comes twice.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_sample_images

VALIDATION_SHARE = 4  # one tile of so many
QUALITY = 90
NAMES = ("temple", "flower")


def make_tree(
    root: Path, *, classes: int = 4, per_class: int = 24, size: int = 256, suffix: str = ".jpg", seed: int = 1
) -> Path:
    """Write `per_class` tiles of `size` pixels for each class, a quarter of them (at least one) in val.

    Raises:
        ValueError: The photographs (427 x 640 pixels) have no room for such tiles.
    """
    rng = random.Random(seed)  # noqa: S311
    photographs = [Image.fromarray(image) for image in load_sample_images().images]
    held_out = max(1, per_class // VALIDATION_SHARE)
    for index in range(classes):
        photograph = photographs[index % len(photographs)]
        name = f"{NAMES[index % len(photographs)]}-{index // len(photographs)}"
        strip = _strip(
            photograph.width - size + 1, index // len(photographs), -(-classes // len(photographs))
        )
        spots = _choose_spots(strip, range(photograph.height - size + 1), per_class, rng)
        for number, (left, top) in enumerate(spots):
            part = "val" if number < held_out else "train"
            folder = root / part / name
            folder.mkdir(parents=True, exist_ok=True)
            tile = photograph.crop((left, top, left + size, top + size))
            tile.save(folder / f"{name}-{number:04d}{suffix}", quality=QUALITY)
    return root


def _strip(width: int, number: int, count: int) -> range:
    """Where tiles of one class may begin: one of `count` equal strips."""
    return range(width * number // count, width * (number + 1) // count)


def _choose_spots(columns: range, rows: range, count: int, rng: random.Random) -> list[tuple[int, int]]:
    """Left upper corners, none twice."""
    if len(columns) * len(rows) < count:
        raise ValueError(f"there is no room for {count} tiles of this size in each class")
    cells = rng.sample(range(len(columns) * len(rows)), count)
    return [(columns[cell % len(columns)], rows[cell // len(columns)]) for cell in cells]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Cut a JPEG tree in the ImageNet layout from two photographs."
    )
    parser.add_argument("root", type=Path, metavar="DIR")
    parser.add_argument("--classes", type=int, default=4)
    parser.add_argument("--per-class", type=int, default=24)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    make_tree(**vars(arguments))
    print(f"{arguments.classes * arguments.per_class} tiles in {arguments.root}")


if __name__ == "__main__":
    main()
