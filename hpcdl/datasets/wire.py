"""Protocol buffers on the wire, as much of it as a few small messages need; by hand, so that no job needs protobuf.

Source: https://protobuf.dev/programming-guides/encoding/. A message is fields: a key (number << 3 | type) and a value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_LONGEST = 10
_WIDTHS = {FIXED64: 8, FIXED32: 4}

Value = int | bytes  # a varint; or the content of a field of bytes or of fixed width


def encode_varint(value: int) -> bytes:
    """A whole number; negative ones in the two's complement of 64 bits, as int32 and int64 are."""
    left = value & (2**64 - 1)
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


def encode_int(number: int, value: int) -> bytes:
    """A field that holds a whole number."""
    return encode_varint(number << 3 | VARINT) + encode_varint(value)


def encode_bytes(number: int, value: bytes) -> bytes:
    """A field that holds bytes, a text or a message."""
    return encode_varint(number << 3 | BYTES) + encode_varint(len(value)) + value


def to_signed(value: int) -> int:
    """What was read as an unsigned number of 64 bits, as int64 means it."""
    return value - 2**64 if value >= 2**63 else value


def read_fields(message: bytes | memoryview) -> Iterator[tuple[int, int, Value]]:
    """(number, type, value) of each field, in order.

    Raises:
        ValueError: It is cut off, or no message.
    """
    place, view = 0, memoryview(message)
    while place < len(view):
        key, place = read_varint(view, place)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise ValueError("a field without a number")
        value: Value
        if kind == VARINT:
            value, place = read_varint(view, place)
        elif kind == BYTES:
            length, place = read_varint(view, place)
            value, place = _take(view, place, length)
        elif kind in _WIDTHS:
            value, place = _take(view, place, _WIDTHS[kind])
        else:
            raise ValueError(f"a field of type {kind}")
        yield number, kind, value


def read_varint(view: memoryview, place: int) -> tuple[int, int]:
    """A varint at `place`, and the place behind it.

    Raises:
        ValueError: It is cut off, or too long.
    """
    value = 0
    for shift in range(_LONGEST):
        if place >= len(view):
            raise ValueError("cut off in the middle")
        byte = view[place]
        place += 1
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value & (2**64 - 1), place
    raise ValueError("a number of more than ten bytes")


def _take(view: memoryview, place: int, length: int) -> tuple[bytes, int]:
    if place + length > len(view):
        raise ValueError("cut off in the middle")
    return bytes(view[place : place + length]), place + length
