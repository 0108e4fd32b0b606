"""The mean of a data set, as a file: per channel, or an image. Made by `hpcdl data mean`, read by whoever trains.

Numpy's .npy, float32, (channels,) or (height, width, channels) in RGB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Mean = NDArray[np.float32]


def read_mean(path: Path) -> Mean:
    """A mean in pixels from 0 to 255: (channels,) or (height, width, channels).

    Raises:
        Mistake: There is no such file, or it holds no mean.
    """
    try:
        found = np.load(path, allow_pickle=False)
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
