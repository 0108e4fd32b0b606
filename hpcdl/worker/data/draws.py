"""What is random in an augmentation: numbers for each place of the stream. Pure, and independent of ranks and formats.

The stream's positions are those of hpcdl.worker.data.sampler. A position's numbers come from a counter-based
generator (Philox: Salmon et al., SC 2011), so that any rank has them without drawing those before, and the same image
is cut and mirrored in the same way whatever the number of ranks and whatever the format it lies in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Draws = NDArray[np.float32]

# Szegedy et al., Going Deeper with Convolutions, arXiv 1409.4842, section 6: 8 % to 100 % of the area, 3:4 to 4:3.
CROP_AREA = (0.08, 1.0)
CROP_ASPECT = (3 / 4, 4 / 3)
# Of a position: height and width of its window as factors of sqrt(area), where it lies within the room that is left,
# from 0 to 1, down and across, and whether it is mirrored.
HEIGHT, WIDTH, DOWN, ACROSS, MIRROR = range(5)
# Philox gives four words at a time.
_WORDS = 8
# Beside the seed, so that these numbers have nothing in common with those of order and split.
_STREAM = 0xA06


def draw(seed: int, first: int, count: int) -> Draws:
    """Numbers for the positions from `first` on: (count, 5), float32."""
    key = int(np.random.SeedSequence((seed, _STREAM)).generate_state(1, np.uint64)[0])
    words = np.random.Philox(key=key, counter=first * _WORDS // 4).random_raw(_WORDS * count)
    uniform = (words.reshape(count, _WORDS) >> np.uint64(11)) * 2.0**-53
    area = CROP_AREA[0] + uniform[:, 0] * (CROP_AREA[1] - CROP_AREA[0])
    aspect = np.exp(np.log(CROP_ASPECT[0]) + uniform[:, 1] * np.log(CROP_ASPECT[1] / CROP_ASPECT[0]))
    columns = [
        np.sqrt(area / aspect),
        np.sqrt(area * aspect),
        uniform[:, 2],
        uniform[:, 3],
        uniform[:, 4] < 0.5,
    ]
    return np.stack(columns, axis=1).astype(np.float32)
