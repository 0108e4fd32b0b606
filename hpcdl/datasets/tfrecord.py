"""TFRecord, as TensorFlow's ImageNet scripts write it: each record an Example with an encoded image and a label.

A record is its length (8 bytes), a masked CRC-32C of that, the data, and a masked CRC-32C of them
(tensorflow/core/lib/io/record_writer.cc). An Example is a map of features (tensorflow/core/example/*.proto):
image/encoded, image/class/label, and for people image/filename. A label is taken as it is: other writers count from 1.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from hpcdl.datasets import wire
from hpcdl.datasets.part import Format, import_library
from hpcdl.datasets.sharded import Entry, ShardedReading, ShardedWriting, list_shards
from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hpcdl.datasets.part import Sample

SUFFIX = ".tfrecord"
HEAD, TAIL = 12, 4
IMAGE, LABEL, FILENAME = b"image/encoded", b"image/class/label", b"image/filename"
BYTES_LIST, INT64_LIST = 1, 3
MASK = 0xA282EAD8


class TfrecordReading(ShardedReading):
    """Records at offsets; each is checked by its checksum when it is read."""

    suffix = SUFFIX

    def find_entries(self, shard: Path) -> list[Entry]:
        """By the index of tfrecord2idx, or from record to record."""
        index = shard.with_name(f"{shard.name}.idx")
        if index.is_file():
            try:
                return [Entry(*map(int, line.split())) for line in index.read_text().splitlines()]
            except (ValueError, TypeError, OSError) as problem:
                raise Mistake(
                    f"{index}: this is no index of a TFRecord ({problem}).", do="Remove it."
                ) from None
        return _look_through(shard)

    def _features(self, index: int) -> dict[bytes, list[Any]]:
        try:
            return decode_example(unframe(self.take(index)))
        except ValueError as problem:
            raise Mistake(f"{self.name(index)}: {problem}.", do="Make the data set again.") from None

    def read(self, index: int) -> bytes:
        """image/encoded."""
        found = self._features(index).get(IMAGE)
        if not found or not isinstance(found[0], bytes):
            raise Mistake(f"{self.name(index)}: the Example has no image/encoded.")
        return found[0]

    def read_label(self, index: int) -> int:
        """image/class/label."""
        found = self._features(index).get(LABEL)
        if not found or not isinstance(found[0], int):
            raise Mistake(f"{self.name(index)}: the Example has no image/class/label.")
        return found[0]


def _look_through(shard: Path) -> list[Entry]:
    entries, size = [], shard.stat().st_size
    with shard.open("rb") as stream:
        place = 0
        while place < size:
            stream.seek(place)
            head = stream.read(HEAD)
            if len(head) < HEAD or struct.unpack("<I", head[8:])[0] != mask_crc(head[:8]):
                raise Mistake(f"{shard} at byte {place}: this is no record of TFRecord.")
            whole = HEAD + struct.unpack("<Q", head[:8])[0] + TAIL
            if place + whole > size:
                raise Mistake(f"{shard} at byte {place}: the file is cut off.", do="Copy the data set again.")
            entries.append(Entry(place, whole))
            place += whole
    return entries


class TfrecordWriting(ShardedWriting):
    """Shards with the index that DALI's reader wants."""

    suffix = SUFFIX

    def pack(self, samples: Sequence[Sample], first: int) -> tuple[bytes, str]:  # noqa: ARG002
        """Records one behind the other."""
        records = [
            frame(
                encode_example(
                    {
                        IMAGE: [sample.content],
                        LABEL: [sample.label],
                        FILENAME: [sample.name.encode(errors="surrogateescape")],
                    }
                )
            )
            for sample in samples
        ]
        lines, place = [], 0
        for record in records:
            lines.append(f"{place} {len(record)}\n")
            place += len(record)
        return b"".join(records), "".join(lines)

    def list_labels(self) -> list[int]:
        """Out of the records that are there."""
        found = []
        for shard in list_shards(self.folder, SUFFIX):
            content = shard.read_bytes()
            for offset, size in _look_through(shard):
                found.append(int(decode_example(unframe(content[offset : offset + size]))[LABEL][0]))
        return found


def mask_crc(data: bytes) -> int:
    """A CRC-32C, turned and shifted, so that checksums of checksums do not stay what they are."""
    crc = int(import_library("google_crc32c").value(data))
    return ((crc >> 15 | crc << 17) + MASK) & 0xFFFFFFFF


def frame(data: bytes) -> bytes:
    """A record of these data."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", mask_crc(length)) + data + struct.pack("<I", mask_crc(data))


def unframe(record: bytes) -> bytes:
    """The data of a record.

    Raises:
        ValueError: It is cut off, or a checksum does not fit.
    """
    length = record[:8]
    if len(record) < HEAD + TAIL or struct.unpack("<I", record[8:HEAD])[0] != mask_crc(length):
        raise ValueError("this is no record of TFRecord, or it was changed")
    data = record[HEAD:-TAIL]
    if len(data) != struct.unpack("<Q", length)[0] or struct.unpack("<I", record[-TAIL:])[0] != mask_crc(
        data
    ):
        raise ValueError("its checksum does not fit: it was changed since it was written")
    return data


def encode_example(features: dict[bytes, list[Any]]) -> bytes:
    """An Example of texts and whole numbers."""
    entries = b""
    for name, values in features.items():
        if isinstance(values[0], int):
            numbers = b"".join(wire.encode_varint(value) for value in values)
            feature = wire.encode_bytes(INT64_LIST, wire.encode_bytes(1, numbers))
        else:
            texts = b"".join(wire.encode_bytes(1, value) for value in values)
            feature = wire.encode_bytes(BYTES_LIST, texts)
        entries += wire.encode_bytes(1, wire.encode_bytes(1, name) + wire.encode_bytes(2, feature))
    return wire.encode_bytes(1, entries)


def decode_example(message: bytes) -> dict[bytes, list[Any]]:
    """Name -> texts or whole numbers; features of other kinds are left out.

    Raises:
        ValueError: It is no Example.
    """
    found: dict[bytes, list[Any]] = {}
    for features in _messages(message, 1):
        for entry in _messages(features, 1):
            fields = {number: value for number, _, value in wire.read_fields(entry)}
            name, feature = fields.get(1), fields.get(2)
            if isinstance(name, bytes) and isinstance(feature, bytes):
                found[name] = _read_values(feature)
    return found


def _messages(message: bytes, wanted: int) -> list[bytes]:
    return [
        value
        for number, _, value in wire.read_fields(message)
        if number == wanted and isinstance(value, bytes)
    ]


def _read_values(feature: bytes) -> list[Any]:
    for number, _, value in wire.read_fields(feature):
        if number == BYTES_LIST and isinstance(value, bytes):
            return list(_messages(value, 1))
        if number == INT64_LIST and isinstance(value, bytes):
            return _read_numbers(value)
    return []


def _read_numbers(message: bytes) -> list[int]:
    """Packed, or one by one, as readers have to take both."""
    numbers: list[int] = []
    for _, _, value in wire.read_fields(message):
        if isinstance(value, int):
            numbers.append(wire.to_signed(value))
            continue
        view, place = memoryview(value), 0
        while place < len(view):
            number, place = wire.read_varint(view, place)
            numbers.append(wire.to_signed(number))
    return numbers


def _holds(folder: Path) -> bool:
    return folder.is_dir() and any(folder.glob(f"*{SUFFIX}"))


TFRECORD = Format(
    "tfrecord",
    open=TfrecordReading,
    create=TfrecordWriting,
    holds=_holds,
    encoded=True,
    pixels=False,
    library="google_crc32c",
)
