"""Caffe's BlobProto, in which a mean image lies (caffe.proto)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpcdl.datasets import wire

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Blob = NDArray[np.float32]

NUM, CHANNELS, HEIGHT, WIDTH, DATA, SHAPE = 1, 2, 3, 4, 5, 7


def encode(image: Blob) -> bytes:
    """(channels, height, width) as Caffe's own tools write a mean."""
    sides = zip((NUM, CHANNELS, HEIGHT, WIDTH), (1, *image.shape), strict=True)
    head = b"".join(wire.encode_int(number, side) for number, side in sides)
    return head + wire.encode_bytes(DATA, image.astype("<f4").tobytes())


def decode(message: bytes) -> Blob:
    """(channels, height, width).

    Raises:
        ValueError: It is no blob of one image.
    """
    sides: dict[int, int] = {}
    data, shape = b"", None
    loose: list[bytes] = []
    for number, kind, value in wire.read_fields(message):
        if number in {NUM, CHANNELS, HEIGHT, WIDTH} and isinstance(value, int):
            sides[number] = value
        elif number == DATA and isinstance(value, bytes):
            # Packed, as proto2 was asked for; or one by one, as old writers did.
            data, loose = (value, loose) if kind == wire.BYTES else (data, [*loose, value])
        elif number == SHAPE and isinstance(value, bytes):
            shape = _read_shape(value)
    values = np.frombuffer(data or b"".join(loose), dtype="<f4")
    wanted = shape or tuple(sides.get(number, 1) for number in (NUM, CHANNELS, HEIGHT, WIDTH))
    if len(wanted) not in {3, 4} or values.size == 0 or values.size != int(np.prod(wanted)):
        raise ValueError(f"{values.size} numbers for a shape of {wanted}")
    return values.reshape(wanted)[0] if len(wanted) == 4 else values.reshape(wanted)


def _read_shape(message: bytes) -> tuple[int, ...]:
    for number, kind, value in wire.read_fields(message):
        if number == 1 and kind == wire.BYTES and isinstance(value, bytes):
            view, place, sides = memoryview(value), 0, []
            while place < len(view):
                side, place = wire.read_varint(view, place)
                sides.append(side)
            return tuple(sides)
    return tuple(
        int(value) for number, _, value in wire.read_fields(message) if number == 1 and isinstance(value, int)
    )
