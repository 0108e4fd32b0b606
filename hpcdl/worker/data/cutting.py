"""From whole images to the network's input: which part of an image is taken, mirrored, and how it is normalised.

One graph for all data sets: encoded images and pixels differ only in how a window of them is had. What is random comes
from hpcdl.worker.data.draws, so that both are cut alike.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hpcdl.datasets.means import read_mean
from hpcdl.errors import Mistake
from hpcdl.networks import Normalisation
from hpcdl.worker.data import draws
from hpcdl.worker.data.pipeline import normalise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hpcdl.spec import Augmentation
    from hpcdl.worker.data.pipeline import Dali
    from hpcdl.worker.data.source import Request

# Caffe's AlexNet (227), OverFeat (221, 231) and torchvision's (224) are all cut from a shorter side of 256.
SHORTER_SIDE = 256
SIDES_CUT_FROM_IT = range(192, SHORTER_SIDE + 1)
BRIGHTEST = 255.0


class Images(Protocol):
    """A node of images in DALI's graph, as they lie in the data set."""

    def size(self) -> Any:
        """Node of (height, width, channels)."""
        ...

    def whole(self) -> Any:
        """Node of pixels, HWC."""
        ...

    def window(self, start: Any, shape: Any) -> Any:
        """Node of the pixels of one window of each; `start` and `shape` are nodes of (down, across), int32."""
        ...


class Encoded:
    """JPEG and PNG: of a window no more is decoded than it needs."""

    def __init__(self, dali: Dali, node: Any, request: Request) -> None:
        self._dali, self._node, self._wanted = dali, node, request.network.input_shape[0]
        self._decoding = {
            "device": "mixed" if request.device.type == "cuda" else "cpu",
            "output_type": dali.types.RGB,
            # As the pixels lie there, whatever EXIF says of them: so Pillow decodes, and what was made of it.
            "adjust_orientation": False,
        }

    def size(self) -> Any:
        return self._dali.fn.peek_image_shape(self._node, adjust_orientation=False)

    def whole(self) -> Any:
        return _match_channels(
            self._dali, self._dali.fn.decoders.image(self._node, **self._decoding), 3, self._wanted
        )

    def window(self, start: Any, shape: Any) -> Any:
        part = self._dali.fn.decoders.image_slice(
            self._node, start=start, shape=shape, axis_names="HW", **self._decoding
        )
        return _match_channels(self._dali, part, 3, self._wanted)


class Pixels:
    """Pixels as they are."""

    def __init__(self, dali: Dali, node: Any, request: Request, *, channels: int) -> None:
        self._dali, self._channels, self._wanted = dali, channels, request.network.input_shape[0]
        self._fed = dali.fn.reshape(node, layout="HWC")
        self._node = self._fed.gpu() if request.device.type == "cuda" else self._fed

    def size(self) -> Any:
        return self._fed.shape()

    def whole(self) -> Any:
        return _match_channels(self._dali, self._node, self._channels, self._wanted)

    def window(self, start: Any, shape: Any) -> Any:
        part = self._dali.fn.slice(self._node, start=start, shape=shape, axis_names="HW")
        return _match_channels(self._dali, part, self._channels, self._wanted)


def _match_channels(dali: Dali, node: Any, channels: int, wanted: int) -> Any:
    """As many channels as the network has: grey is repeated, colour is weighed (ITU-R BT.601).

    The decoder would do that too, and round otherwise than what pixels go through.
    """
    if channels == wanted:
        return node
    kinds = {1: dali.types.GRAY, 3: dali.types.RGB}
    return dali.fn.color_space_conversion(node, image_type=kinds[channels], output_type=kinds[wanted])


def is_random(declared: Augmentation) -> bool:
    """Whether anything of it is drawn."""
    return declared.mirror or declared.crop != "centre"


def check_augmentation(request: Request, shape: tuple[int, int, int] | None) -> None:
    """Whether what is declared can be done to images of this shape; None: they are of several.

    Raises:
        Mistake: A window larger than the image, or a mean that does not fit.
    """
    declared, side = request.training.augmentation, _side(request)
    shorter = _shorter_side(request)
    if shorter < max(side):
        raise Mistake(
            f"a window of {side[0]} x {side[1]} cannot be cut from images whose shorter side is resized to {shorter}.",
            do=f"Declare a resize of {max(side)} or more in [train.augmentation].",
        )
    mean = _read_mean(declared)
    if mean is not None:
        _check_mean(declared, mean, request.network.input_shape[0], shape, shorter)


def _check_mean(
    declared: Augmentation,
    mean: NDArray[np.float32],
    channels: int,
    shape: tuple[int, int, int] | None,
    shorter: int,
) -> None:
    if mean.shape[-1] != channels:
        raise Mistake(
            f"{declared.mean}: its {mean.shape[-1]} channels are not the {channels} of the network.",
            do="Make it again with `hpcdl data mean`, from a data set of as many channels.",
        )
    if mean.ndim == 1:
        return
    if declared.crop == "area":
        raise Mistake(
            f"{declared.mean} is a mean image, and a crop by area has no place in it.",
            do='Declare crop = "position" or "centre", or a mean per channel.',
        )
    if shape is None or mean.shape[:2] != shape[:2] or min(shape[:2]) != shorter:
        found = "images of several sizes" if shape is None else f"images of {shape[0]} x {shape[1]}"
        raise Mistake(
            f"{declared.mean}: a mean image of {mean.shape[0]} x {mean.shape[1]} is subtracted from images of that "
            f"size, and these are {found}, resized to a shorter side of {shorter}.",
            do="Make the data set in one size with `hpcdl data make --size`, and its mean of it.",
        )


def lay_out(
    dali: Dali,
    images: Images,
    drawn: Any,
    request: Request,
    *,
    augment: bool,
    shape: tuple[int, int, int] | None = None,
) -> Any:
    """The node of normalised images, (batch, side, side) in the network's channels.

    Where `shape` (height, width, channels) is known of all images, those that have the right size are not resized.
    """
    declared, side = request.training.augmentation, _side(request)
    options = {}
    if augment and declared.mirror:
        options["mirror"] = dali.fn.cast(drawn[draws.MIRROR], dtype=dali.types.INT32)
    if augment and declared.crop == "area":
        part = images.window(*_choose_window(dali, images.size(), drawn))
        return _finish(dali, dali.fn.resize(part, size=side), request, options)
    whole = images.whole()
    if shape is None or min(shape[:2]) != _shorter_side(request):
        whole = dali.fn.resize(whole, resize_shorter=_shorter_side(request))
    if augment and declared.crop == "position":
        options |= {"crop_pos_y": drawn[draws.DOWN], "crop_pos_x": drawn[draws.ACROSS]}
    return _finish(dali, whole, request, options | {"crop": side})


def _choose_window(dali: Dali, size: Any, drawn: Any) -> tuple[Any, Any]:
    """Start and shape of each window, (down, across): what does not fit into the image is cut to its size."""
    starts, lengths = [], []
    height, width = (dali.fn.cast(size[axis], dtype=dali.types.FLOAT) for axis in (0, 1))
    root = dali.math.sqrt(height * width)
    for whole, factor, place in (
        (height, draws.HEIGHT, draws.DOWN),
        (width, draws.WIDTH, draws.ACROSS),
    ):
        length = dali.math.clamp(dali.math.floor(root * drawn[factor]), 1.0, whole)
        room = whole - length
        starts.append(dali.math.min(dali.math.floor(drawn[place] * (room + 1.0)), room))
        lengths.append(length)
    start, shape = (dali.fn.cast(dali.fn.stack(*pair), dtype=dali.types.INT32) for pair in (starts, lengths))
    return start, shape


def _finish(dali: Dali, pixels: Any, request: Request, options: dict[str, Any]) -> Any:
    declared = request.training.augmentation
    rule = make_rule(request.network.normalisation, declared)
    mean = _read_mean(declared)
    if mean is None or mean.ndim == 1:
        return normalise(dali, pixels, request, rule=rule, **options)
    # As Caffe does it: from the whole image, before a window is cut from it.
    whole = dali.fn.cast(pixels, dtype=dali.types.FLOAT)
    if declared.invert:
        whole = BRIGHTEST - whole
    constant = dali.types.Constant(mean, device="gpu" if request.device.type == "cuda" else "cpu")
    centred = dali.fn.reshape(whole - constant, layout="HWC")
    plain = Normalisation(mean=(0.0,) * len(rule.mean), scale=tuple(abs(scale) for scale in rule.scale))
    return normalise(dali, centred, request, rule=plain, **options)


def make_rule(own: Normalisation, declared: Augmentation) -> Normalisation:
    """The network's rule with what is declared in its place; inverted, (255 - p - m) s = (p - (255 - m)) (-s)."""
    mean, scale = own.mean, own.scale
    if declared.mean == "none":
        mean = (0.0,) * len(mean)
    elif declared.mean != "network" and (found := _read_mean(declared)) is not None and found.ndim == 1:
        mean = tuple(float(value) for value in found)
    if declared.scale is not None:
        scale = (declared.scale,) * len(scale)
    if declared.invert:
        mean, scale = tuple(BRIGHTEST - value for value in mean), tuple(-value for value in scale)
    return Normalisation(mean=mean, scale=scale)


def _read_mean(declared: Augmentation) -> NDArray[np.float32] | None:
    return None if declared.mean in {"network", "none"} else read_mean(Path(declared.mean))


def _side(request: Request) -> list[int]:
    return list(request.network.input_shape[1:])


def _shorter_side(request: Request) -> int:
    return request.training.augmentation.resize or choose_shorter_side(max(_side(request)))


def choose_shorter_side(side: int) -> int:
    """Pixels to which the shorter side is resized before a square of `side` is cut from the centre.

    256 for the networks of ImageNet, as published; in the proportion of 256 to 224 for other sizes.
    """
    return SHORTER_SIDE if side in SIDES_CUT_FROM_IT else round(side * SHORTER_SIDE / 224)
