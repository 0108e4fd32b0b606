"""What most people load images with: PIL in the worker processes of a torch DataLoader. Here to be compared with."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from hpcdl.errors import Failure, Mistake
from hpcdl.worker.data.draws import CROP_AREA, CROP_ASPECT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.networks import Network

Sample = tuple[torch.Tensor, int]


class Photographs(Dataset[Sample]):
    """The same as hpcdl's DALI pipeline makes of each file: a random part, resized, mirrored or not, normalised."""

    def __init__(self, paths: Sequence[str], labels: Sequence[int], network: Network) -> None:
        self._paths = paths
        self._labels = labels
        channels, self._height, self._width = network.input_shape
        self._mode = "L" if channels == 1 else "RGB"
        rule = network.normalisation
        self._mean = torch.tensor(rule.mean).reshape(-1, 1, 1)
        self._scale = torch.tensor(rule.scale).reshape(-1, 1, 1)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Sample:
        """(channels, height, width) of float32, and the label."""
        from PIL import Image

        with Image.open(self._paths[index]) as file:
            image = file.convert(self._mode)
        part = image.resize(
            (self._width, self._height),
            Image.Resampling.BILINEAR,
            box=_choose_part(image.width, image.height),
        )
        pixels = np.asarray(part)
        if random.random() < 0.5:  # noqa: S311
            pixels = pixels[:, ::-1]
        if pixels.ndim == 2:
            pixels = pixels[:, :, None]
        tensor = torch.from_numpy(pixels.transpose(2, 0, 1).copy()).to(torch.float32)
        return (tensor - self._mean) * self._scale, self._labels[index]


def _choose_part(width: int, height: int) -> tuple[int, int, int, int]:
    """A random part of random shape, as DALI's image_random_crop chooses it: ten tries, else the whole."""
    for _ in range(10):
        area = width * height * random.uniform(*CROP_AREA)  # noqa: S311
        aspect = random.uniform(*CROP_ASPECT)  # noqa: S311
        w, h = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if 0 < w <= width and 0 < h <= height:
            left, top = random.randint(0, width - w), random.randint(0, height - h)  # noqa: S311
            return left, top, left + w, top + h
    return 0, 0, width, height


class Endless(Sampler[int]):
    """Every index once in random order, again and again."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __iter__(self) -> Iterator[int]:
        while True:
            yield from torch.randperm(self._count).tolist()


def load_plainly(
    paths: Sequence[str], labels: Sequence[int], network: Network, *, batch: int, workers: int
) -> Iterator[Sequence[torch.Tensor]]:
    """Endless batches from so many worker processes.

    Raises:
        Mistake: Pillow is missing.
        Failure: While iterating, where a file cannot be decoded.
    """
    try:
        import PIL.Image  # noqa: F401
    except ImportError as problem:
        raise Mistake(
            f"Pillow cannot be imported ({problem}).", do="Install it: pip install pillow."
        ) from None
    dataset = Photographs(paths, labels, network)
    loader = DataLoader(dataset, batch_size=batch, sampler=Endless(len(dataset)), num_workers=workers)
    try:
        yield from loader
    except (OSError, RuntimeError) as problem:
        words = str(problem).strip().splitlines()
        raise Failure(
            f"PIL could not make a batch: {words[-1] if words else type(problem).__name__}."
        ) from None
