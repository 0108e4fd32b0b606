"""Images by Pillow: decoded, resized, and encoded again, on the control side and without DALI."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hpcdl.datasets.part import import_library
from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from hpcdl.datasets.part import Content, Pixels

Encoding = Literal["keep", "jpeg", "png", "none"]
Colour = Literal["keep", "rgb", "grey"]


class Undecodable(Exception):
    """An image cannot be decoded; the words say why."""


@dataclass(frozen=True)
class Change:
    """What is done to each image.

    `size` is (height, width), without regard to the proportions; `shorter` the length of the shorter side, which keeps
    them. `encoding`: keep what it was, where nothing else changes it; or JPEG, PNG, or pixels.
    """

    size: tuple[int, int] | None = None
    shorter: int | None = None
    colour: Colour = "keep"
    encoding: Encoding = "keep"
    quality: int = 95


def decode(content: Content, *, colour: Colour = "rgb") -> Pixels:
    """Pixels, (height, width, channels). Palettes, CMYK, transparency and 16 bits become 8-bit RGB or grey.

    `colour` 'keep' leaves grey grey. The orientation that a camera noted is not applied, as Caffe does not.

    Raises:
        Undecodable: Why.
    """
    if not isinstance(content, bytes):
        return _match(content, colour)
    image = _open(content)
    grey = colour == "grey" or (colour == "keep" and image.mode in {"1", "L", "I", "I;16", "F", "LA"})
    pixels = np.asarray(_convert(image, "L" if grey else "RGB"))
    return pixels[..., np.newaxis] if grey else pixels


def change(content: Content, wanted: Change) -> Content:
    """An image as it is wanted. It is decoded in any case, so that none is taken over that is damaged.

    Raises:
        Undecodable: Why.
    """
    pixels = decode(content, colour=wanted.colour)
    same = wanted.size is None and wanted.shorter is None and wanted.colour == "keep"
    if wanted.encoding == "keep" and isinstance(content, bytes) and same:
        return content
    resized = _resize(pixels, wanted)
    if wanted.encoding == "none" or (wanted.encoding == "keep" and not isinstance(content, bytes)):
        return resized
    kept = "png" if isinstance(content, bytes) and content.startswith(b"\x89PNG") else "jpeg"
    return encode(resized, kept if wanted.encoding == "keep" else wanted.encoding, wanted.quality)


def encode(pixels: Pixels, encoding: str, quality: int = 95) -> bytes:
    """JPEG (4:4:4 from quality 90 on is Pillow's choice of its own) or PNG."""
    image = _from_pixels(pixels)
    stream = io.BytesIO()
    options: dict[str, Any] = {"quality": quality} if encoding == "jpeg" else {"compress_level": 1}
    image.save(stream, format=encoding.upper(), **options)
    return stream.getvalue()


def _open(content: bytes) -> Any:
    pillow = import_library("PIL.Image")
    try:
        image = pillow.open(io.BytesIO(content))
        image.load()
    except Exception as problem:  # noqa: BLE001 (see below)
        # Pillow raises what its plugins do: OSError, SyntaxError, ValueError, struct.error, DecompressionBombError.
        raise Undecodable(_explain(content, problem)) from None
    return image


def _explain(content: bytes, problem: Exception) -> str:
    if not content:
        return "it holds no bytes at all"
    words = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
    if "cannot identify" in words:
        return "it is no image that Pillow knows"
    return "it is cut off" if "truncated" in words else f"it cannot be decoded ({words})"


def _convert(image: Any, mode: str) -> Any:
    if image.mode in {"I", "I;16", "F"}:
        # 16 bits: Pillow's own conversion would cut them off at 255.
        values = np.asarray(image, dtype=np.float64)
        scaled = np.clip(values / 257.0, 0, 255).round().astype(np.uint8)
        image = import_library("PIL.Image").fromarray(scaled)
    return image if image.mode == mode else image.convert(mode)


def _match(pixels: Pixels, colour: Colour) -> Pixels:
    channels = {"keep": pixels.shape[2], "rgb": 3, "grey": 1}[colour]
    if channels == pixels.shape[2]:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    return np.asarray(_from_pixels(pixels).convert("L"))[..., np.newaxis]


def _from_pixels(pixels: Pixels) -> Any:
    if pixels.shape[2] not in {1, 3}:
        raise Mistake(f"an image of {pixels.shape[2]} channels is neither grey nor in colour.")
    return import_library("PIL.Image").fromarray(np.squeeze(pixels, 2) if pixels.shape[2] == 1 else pixels)


def _resize(pixels: Pixels, wanted: Change) -> Pixels:
    height, width = pixels.shape[:2]
    if wanted.size is not None:
        new = wanted.size
    elif wanted.shorter is not None:
        factor = wanted.shorter / min(height, width)
        new = (max(wanted.shorter, round(height * factor)), max(wanted.shorter, round(width * factor)))
        new = (wanted.shorter, new[1]) if height <= width else (new[0], wanted.shorter)
    else:
        return pixels
    if new == (height, width):
        return pixels
    bilinear = import_library("PIL.Image").Resampling.BILINEAR
    resized = np.asarray(_from_pixels(pixels).resize((new[1], new[0]), bilinear))
    return resized[..., np.newaxis] if resized.ndim == 2 else resized
