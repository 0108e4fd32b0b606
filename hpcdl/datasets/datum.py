"""Caffe's Datum (caffe.proto): one image with its label, as LMDB and LevelDB of Caffe hold it.

channels = 1, height = 2, width = 3, data = 4, label = 5, float_data = 6, encoded = 7. Pixels lie in CHW and, in colour,
in the order BGR, since Caffe reads images with OpenCV; here they are HWC and RGB, as everywhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpcdl.datasets import wire

if TYPE_CHECKING:
    from hpcdl.datasets.part import Content, Pixels

CHANNELS, HEIGHT, WIDTH, DATA, LABEL, FLOAT_DATA, ENCODED = range(1, 8)


def encode(label: int, content: Content) -> bytes:
    """As Caffe's convert_imageset writes it."""
    if isinstance(content, bytes):
        return wire.encode_bytes(DATA, content) + wire.encode_int(LABEL, label) + wire.encode_int(ENCODED, 1)
    height, width, channels = content.shape
    planes = content[..., ::-1].transpose(2, 0, 1)
    sides = zip((CHANNELS, HEIGHT, WIDTH), (channels, height, width), strict=True)
    head = b"".join(wire.encode_int(number, side) for number, side in sides)
    return head + wire.encode_bytes(DATA, planes.tobytes()) + wire.encode_int(LABEL, label)


def decode(message: bytes) -> tuple[int, Content]:
    """Label, and an encoded image or pixels.

    Raises:
        ValueError: It is no Datum, or one of floating-point numbers.
    """
    numbers, data = {ENCODED: 0, LABEL: 0}, b""
    for number, _, value in wire.read_fields(message):
        if number == DATA and isinstance(value, bytes):
            data = value
        elif number == FLOAT_DATA:
            raise ValueError("it holds floating-point numbers (float_data), which are features and no image")
        elif isinstance(value, int):
            numbers[number] = value
    label = wire.to_signed(numbers[LABEL])
    return label, data if numbers[ENCODED] else _unpack(numbers, data)


def read_head(message: bytes) -> tuple[int, tuple[int, int, int] | None]:
    """Label, and (height, width, channels) as it says them; None: it holds an encoded image.

    Raises:
        ValueError: It is no Datum.
    """
    numbers = {number: value for number, _, value in wire.read_fields(message) if isinstance(value, int)}
    height, width, channels = (numbers.get(number, 0) for number in (HEIGHT, WIDTH, CHANNELS))
    label = wire.to_signed(numbers.get(LABEL, 0))
    return label, None if numbers.get(ENCODED) else (height, width, channels)


def _unpack(numbers: dict[int, int], data: bytes) -> Pixels:
    shape = tuple(numbers.get(number, 0) for number in (CHANNELS, HEIGHT, WIDTH))
    if shape[0] not in {1, 3} or shape[0] * shape[1] * shape[2] != len(data) or not data:
        raise ValueError(f"{len(data)} bytes for {shape[0]} channels of {shape[1]} x {shape[2]}")
    planes = np.frombuffer(data, dtype=np.uint8).reshape(shape)
    return np.ascontiguousarray(planes.transpose(1, 2, 0)[..., ::-1])
