"""scikit-learn's 1,797 handwritten digits: real images that come with a package.

Source: E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits (UCI, 1998), the test part;
`sklearn.datasets.load_digits`. 8 x 8 pixels, 17 grey levels, bright on black.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcdl.datasets.split import hold_out
from hpcdl.errors import Mistake
from hpcdl.plan import DIGITS_TRAINING_IMAGES
from hpcdl.worker.data import draws
from hpcdl.worker.data.indexed import Indexed
from hpcdl.worker.data.pipeline import normalise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpcdl.worker.data.pipeline import Dali
    from hpcdl.worker.data.source import Request

BRIGHTEST = 16
# At most 2 of LeNet's 28 pixels in each direction. No mirroring: a mirrored digit is none.
LARGEST_SHIFT = 2 / 28


class Digits(Indexed):
    """The digits, a stratified fifth held out, resized to the network's input in as many channels as it has.

    Raises:
        Mistake: scikit-learn is missing, or the global batch is larger than the training part.
    """

    name = "digits"
    classes = 10

    def __init__(self, request: Request) -> None:
        self._pixels, labels = load_digits()
        held_out = len(labels) - DIGITS_TRAINING_IMAGES
        super().__init__(request, labels, *hold_out(labels, held_out, request.training.seed))

    def _pick(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(batch, 8, 8, channels): a network in colour gets the digit in each of its channels."""
        channels = self._request.network.input_shape[0]
        return np.repeat(self._pixels[indices][..., np.newaxis], channels, axis=-1)

    def _lay_out(self, dali: Dali, items: Any, drawn: Any, *, augment: bool) -> Any:
        _, height, width = self._request.network.input_shape
        images = dali.fn.resize(dali.fn.reshape(items, layout="HWC"), size=[height, width])
        return normalise(
            dali, _shift(dali, images, drawn, height, width) if augment else images, self._request
        )


def load_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pixels (1797, 8, 8) from 0 to 255, and labels (1797,).

    Raises:
        Mistake: scikit-learn is missing, with the command that installs it.
    """
    try:
        datasets = importlib.import_module("sklearn.datasets")
    except ImportError as problem:
        raise Mistake(
            f"the digits come with scikit-learn, which cannot be imported ({problem}).",
            do="Install it: pip install 'hpcdl[digits]', or use --data synthetic.",
        ) from None
    digits = datasets.load_digits()
    pixels = np.rint(digits.images * (255 / BRIGHTEST)).astype(np.uint8)
    return pixels, digits.target.astype(np.int64)


def _shift(dali: Dali, images: Any, drawn: Any, height: int, width: int) -> Any:
    """Move by whole pixels; what comes in from outside is black, as the ground of the digits is."""
    most = max(1, round(LARGEST_SHIFT * height))
    room = 2 * most + 1
    where = dali.fn.slice(drawn, start=[draws.DOWN], shape=[2], axes=[0])
    return dali.fn.slice(
        images,
        start=dali.fn.cast(dali.math.floor(where * float(room)), dtype=dali.types.INT32) - most,
        shape=[height, width],
        axis_names="HW",
        out_of_bounds_policy="pad",
        fill_values=0,
    )
