"""The mean of a data set, as a file: per channel, or an image. Made by `hpcdl data mean`, read by whoever trains.

Two kinds of file: numpy's .npy, float32, (channels,) or (height, width, channels) in RGB; and Caffe's .binaryproto, a
BlobProto (caffe.proto: num = 1, channels = 2, height = 3, width = 4, data = 5 packed, shape = 7) in CHW and BGR.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from hpcdl.datasets import blob
from hpcdl.durable import publish
from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Mean = NDArray[np.float32]


NUMPY, CAFFE = ".npy", ".binaryproto"


def check_path(path: Path) -> Path:
    """A path by whose ending the kind of file is known, in a folder that is there.

    Raises:
        Mistake: It is not.
    """
    if path.suffix not in {NUMPY, CAFFE}:
        raise Mistake(f"{path}: a mean is kept as {NUMPY} or {CAFFE}.", do=f"Name it mean{NUMPY}.")
    if not path.parent.is_dir():
        raise Mistake(f"there is no folder {path.parent}.")
    return path


def write_mean(path: Path, mean: NDArray[np.float64]) -> None:
    """Keep a mean, (channels,) or (height, width, channels); Caffe's file holds an image, so a mean per channel is one
    of 1 x 1.
    """
    if path.suffix == NUMPY:
        stream = io.BytesIO()
        np.save(stream, mean.astype(np.float32))
        publish(path, stream.getvalue())
        return
    image = mean.reshape(1, 1, -1) if mean.ndim == 1 else mean
    publish(path, blob.encode(image[..., ::-1].transpose(2, 0, 1).astype(np.float32)))


def _read_caffe(path: Path) -> Mean:
    try:
        found = blob.decode(path.read_bytes())
    except ValueError as problem:
        raise Mistake(f"{path}: this is no BlobProto of Caffe ({problem}).") from None
    image = np.ascontiguousarray(found.transpose(1, 2, 0)[..., ::-1])
    return image[0, 0] if image.shape[:2] == (1, 1) else image


def read_mean(path: Path) -> Mean:
    """A mean in pixels from 0 to 255: (channels,) or (height, width, channels).

    Raises:
        Mistake: There is no such file, or it holds no mean.
    """
    try:
        found = _read_caffe(path) if path.suffix == CAFFE else np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise Mistake(f"there is no file {path} with a mean.", do="Make one: `hpcdl data mean`.") from None
    except (OSError, ValueError, EOFError) as problem:
        raise Mistake(f"{path}: cannot be read as an array of numpy ({problem}).") from None
    fits = found.ndim in {1, 3} and found.shape[-1] in {1, 3} and np.issubdtype(found.dtype, np.floating)
    if not fits or not np.isfinite(found).all():
        raise Mistake(
            f"{path}: {found.shape} of {found.dtype} is no mean per channel and no mean image.",
            do="Make one: `hpcdl data mean`.",
        )
    mean: Mean = found.astype(np.float32)
    return mean
