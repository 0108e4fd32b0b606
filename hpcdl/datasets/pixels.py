"""Images by Pillow: decoded, resized, and encoded again, on the control side and without DALI."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

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
    return content if _is_right(content, colour) else _to_pixels(_read(content, colour))


def change(content: Content, wanted: Change) -> Content:
    """An image as it is wanted. It is decoded in any case, so that none is taken over that is damaged.

    Raises:
        Undecodable: Why.
    """
    keeps_kind = wanted.encoding == "keep"
    same = wanted.size is None and wanted.shorter is None
    if same and _is_right(content, wanted.colour) and wanted.encoding in {"keep", "none"}:
        return content
    image = _read(content, wanted.colour)
    if same and keeps_kind and isinstance(content, bytes) and wanted.colour == "keep":
        return content
    resized = _resize(image, wanted)
    if wanted.encoding == "none" or (keeps_kind and not isinstance(content, bytes)):
        return _to_pixels(resized)
    kept = "png" if isinstance(content, bytes) and content.startswith(b"\x89PNG") else "jpeg"
    return _write(resized, kept if keeps_kind else wanted.encoding, wanted.quality)


def encode(pixels: Pixels, encoding: str, quality: int = 95) -> bytes:
    """JPEG or PNG."""
    return _write(_from_pixels(pixels), encoding, quality)


def _write(image: Any, encoding: str, quality: int) -> bytes:
    stream = io.BytesIO()
    options: dict[str, Any] = {"quality": quality} if encoding == "jpeg" else {"compress_level": 1}
    image.save(stream, format=encoding.upper(), **options)
    return stream.getvalue()


def _is_right(content: Content, colour: Colour) -> TypeGuard[Pixels]:
    """Pixels in as many channels as are wanted."""
    if isinstance(content, bytes):
        return False
    channels: int = content.shape[2]
    return channels == {"keep": channels, "rgb": 3, "grey": 1}[colour]


def _read(content: Content, colour: Colour) -> Any:
    """An image of Pillow, in mode RGB or L."""
    image = _open(content) if isinstance(content, bytes) else _from_pixels(content)
    grey = colour == "grey" or (colour == "keep" and image.mode in {"1", "L", "I", "I;16", "F", "LA"})
    return _convert(image, "L" if grey else "RGB")


def _to_pixels(image: Any) -> Pixels:
    pixels = np.asarray(image)
    return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels


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


def _from_pixels(pixels: Pixels) -> Any:
    if pixels.shape[2] not in {1, 3}:
        raise Mistake(f"an image of {pixels.shape[2]} channels is neither grey nor in colour.")
    return import_library("PIL.Image").fromarray(np.squeeze(pixels, 2) if pixels.shape[2] == 1 else pixels)


def _resize(image: Any, wanted: Change) -> Any:
    width, height = image.size
    if wanted.size is not None:
        new = wanted.size
    elif wanted.shorter is not None:
        factor = wanted.shorter / min(height, width)
        new = (max(wanted.shorter, round(height * factor)), max(wanted.shorter, round(width * factor)))
        new = (wanted.shorter, new[1]) if height <= width else (new[0], wanted.shorter)
    else:
        return image
    if new == (height, width):
        return image
    return image.resize((new[1], new[0]), import_library("PIL.Image").Resampling.BILINEAR)
