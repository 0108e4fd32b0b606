"""Formats held against readers and writers that are not ours: protobuf, lmdb, plyvel, h5py, webdataset, MNIST's."""

from __future__ import annotations

import contextlib
import gzip
import struct

import h5py
import lmdb
import numpy as np
import plyvel
import pytest
import webdataset
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.datasets import blob, datum, tfrecord, wire
from hpcdl.datasets.formats import FORMATS
from hpcdl.datasets.part import Layout, Sample
from hpcdl.datasets.pixels import decode, encode
from hpcdl.datasets.recognition import recognise
from hpcdl.errors import Mistake

FIELD = descriptor_pb2.FieldDescriptorProto
KINDS = {
    "int32": FIELD.TYPE_INT32,
    "int64": FIELD.TYPE_INT64,
    "bytes": FIELD.TYPE_BYTES,
    "float": FIELD.TYPE_FLOAT,
}
KINDS |= {"bool": FIELD.TYPE_BOOL, "string": FIELD.TYPE_STRING}


def build(package, **messages):
    """Message classes from `name={field: (number, type[, repeated])}`; a type that begins with a dot is a message."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto2")
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, *rest) in fields.items():
            added = message.field.add(name=field, number=number)
            added.label = FIELD.LABEL_REPEATED if rest else FIELD.LABEL_OPTIONAL
            if kind.startswith("."):
                added.type, added.type_name = FIELD.TYPE_MESSAGE, f".{package}{kind}"
            else:
                added.type = KINDS[kind]
            if "packed" in rest:
                added.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in messages
    }


# caffe.proto and tensorflow/core/example/{example,feature}.proto, as published.
CAFFE = build(
    "caffe",
    Datum={
        "channels": (1, "int32"),
        "height": (2, "int32"),
        "width": (3, "int32"),
        "data": (4, "bytes"),
        "label": (5, "int32"),
        "float_data": (6, "float", "repeated"),
        "encoded": (7, "bool"),
    },
    BlobShape={"dim": (1, "int64", "repeated", "packed")},
    BlobProto={
        "shape": (7, ".BlobShape"),
        "data": (5, "float", "repeated", "packed"),
        "num": (1, "int32"),
        "channels": (2, "int32"),
        "height": (3, "int32"),
        "width": (4, "int32"),
    },
)
EXAMPLE = build(
    "tf",
    BytesList={"value": (1, "bytes", "repeated")},
    FloatList={"value": (1, "float", "repeated", "packed")},
    Int64List={"value": (1, "int64", "repeated", "packed")},
    Feature={
        "bytes_list": (1, ".BytesList"),
        "float_list": (2, ".FloatList"),
        "int64_list": (3, ".Int64List"),
    },
    Entry={"key": (1, "string"), "value": (2, ".Feature")},
    Features={"feature": (1, ".Entry", "repeated")},
    Example={"features": (1, ".Features")},
)

shapes = st.tuples(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 3]))


@st.composite
def pictures(draw):
    shape = draw(shapes)
    content = draw(st.binary(min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def as_caffe(pixels):
    """(channels, height, width), BGR: by loops, as one would write it down."""
    height, width, channels = pixels.shape
    planes = np.zeros((channels, height, width), dtype=np.uint8)
    for channel in range(channels):
        for row in range(height):
            for column in range(width):
                planes[channels - 1 - channel, row, column] = pixels[row, column, channel]
    return planes


def caffe_datum(pixels, label):
    planes = as_caffe(pixels)
    channels, height, width = planes.shape
    return CAFFE["Datum"](channels=channels, height=height, width=width, data=planes.tobytes(), label=label)


@given(pictures(), st.integers(-(2**31), 2**31 - 1))
def test_a_raw_datum_is_caffes_both_ways(pixels, label):
    theirs = caffe_datum(pixels, label)
    found_label, found = datum.decode(theirs.SerializeToString())
    assert found_label == label
    assert np.array_equal(found, pixels)
    read = CAFFE["Datum"].FromString(datum.encode(label, pixels))
    assert (read.label, read.encoded) == (label, False)
    assert read == theirs
    assert datum.read_head(theirs.SerializeToString()) == (label, pixels.shape)


@given(st.binary(max_size=50), st.integers(0, 2**31 - 1))
def test_an_encoded_datum_is_caffes_both_ways(content, label):
    theirs = CAFFE["Datum"](data=content, label=label, encoded=True)
    assert datum.decode(theirs.SerializeToString()) == (label, content)
    assert datum.read_head(theirs.SerializeToString()) == (label, None)
    assert CAFFE["Datum"].FromString(datum.encode(label, content)) == theirs


@given(st.binary(max_size=200))
def test_what_is_no_datum_is_refused_and_nothing_worse(content):
    with contextlib.suppress(ValueError):
        datum.decode(content)


def test_features_in_place_of_pixels_are_refused_by_name():
    with pytest.raises(ValueError, match="float_data"):
        datum.decode(CAFFE["Datum"](channels=1, height=1, width=2, float_data=[0.5, 1]).SerializeToString())


@given(pictures())
def test_a_mean_is_caffes_both_ways(pixels):
    image = pixels.transpose(2, 0, 1).astype(np.float32)
    read = CAFFE["BlobProto"].FromString(blob.encode(image))
    assert (read.num, read.channels, read.height, read.width) == (1, *image.shape)
    assert list(read.data) == image.ravel().tolist()
    theirs = CAFFE["BlobProto"](data=image.ravel().tolist(), shape=CAFFE["BlobShape"](dim=[1, *image.shape]))
    for message in (read, theirs):
        assert np.array_equal(blob.decode(message.SerializeToString()), image)


@given(st.integers(0, 2**64 - 1))
def test_numbers_of_any_length_come_back(value):
    assert wire.read_varint(memoryview(wire.encode_varint(value)), 0) == (
        value,
        len(wire.encode_varint(value)),
    )


IMAGES = np.random.default_rng(3).integers(0, 256, (7, 5, 4, 3), dtype=np.uint8)
CLASSES = tuple("abcdefg")


def write(folder, name, *, grey=False, encoded=False):
    images = IMAGES[..., :1] if grey else IMAGES
    shape = None if encoded else images.shape[1:]
    part = FORMATS[name].create(folder, Layout(7, encoded, shape, CLASSES))
    for label, pixels in enumerate(images):
        part.add(Sample(f"{label}.png", label, encode(pixels, "png") if encoded else pixels))
    part.close(complete=True)
    return images


def check_ours(part, images, *, encoded=False):
    assert part.labels.tolist() == list(range(7))
    for index, pixels in enumerate(images):
        found = part.read(index)
        assert np.array_equal(decode(found) if encoded else found, pixels)
    part.close()


def test_lmdb_of_ours_is_read_by_lmdb_and_protobuf(tmp_path):
    write(tmp_path, "lmdb")
    with (
        lmdb.open(str(tmp_path), readonly=True, lock=False) as environment,
        environment.begin() as transaction,
    ):
        pairs = [(key, value) for key, value in transaction.cursor()]
    assert [key for key, _ in pairs] == [b"%08d" % index for index in range(7)]
    for index, (_, value) in enumerate(pairs):
        assert CAFFE["Datum"].FromString(value) == caffe_datum(IMAGES[index], index)


def test_lmdb_of_caffe_is_read_pixel_by_pixel(tmp_path):
    for part in ("train_lmdb", "val_lmdb"):
        (tmp_path / part).mkdir()
        with (
            lmdb.open(str(tmp_path / part), map_size=2**24) as environment,
            environment.begin(write=True) as all_,
        ):
            for index, pixels in enumerate(IMAGES):
                all_.put(
                    b"%08d_n01440764/%d.JPEG" % (index, index), caffe_datum(pixels, index).SerializeToString()
                )
    found = recognise(tmp_path)
    assert (found.format, sorted(found.parts)) == ("lmdb", ["train", "val"])
    part = FORMATS["lmdb"].open(found.parts["val"])
    assert "00000002_n01440764/2.JPEG" in part.name(2)
    check_ours(part, IMAGES)


def write_caffe_lmdb(folder, values):
    folder.mkdir()
    with lmdb.open(str(folder), map_size=2**24) as environment, environment.begin(write=True) as all_:
        for index, value in enumerate(values):
            all_.put(b"%08d" % index, value.SerializeToString())
    return folder


def test_lmdb_of_caffe_with_pixels_of_several_sizes_has_no_one_shape(tmp_path):
    alike = [caffe_datum(np.full((6, 8, 3), index, dtype=np.uint8), index) for index in range(3)]
    wider = caffe_datum(np.zeros((6, 9, 3), dtype=np.uint8), 3)
    encoded = CAFFE["Datum"](data=b"a JPEG", label=4, encoded=True)
    assert FORMATS["lmdb"].open(write_caffe_lmdb(tmp_path / "alike", alike)).shape == (6, 8, 3)
    assert FORMATS["lmdb"].open(write_caffe_lmdb(tmp_path / "mixed", [*alike, wider])).shape is None
    both = write_caffe_lmdb(tmp_path / "both", [*alike, encoded])
    with pytest.raises(Mistake, match=r"some of its samples are encoded, and some are pixels"):
        FORMATS["lmdb"].open(both)


def test_leveldb_both_ways(tmp_path):
    write(tmp_path / "ours", "leveldb")
    with plyvel.DB(str(tmp_path / "ours")) as database:
        values = [value for _, value in database]
    assert [CAFFE["Datum"].FromString(value) for value in values] == [
        caffe_datum(pixels, index) for index, pixels in enumerate(IMAGES)
    ]
    with plyvel.DB(str(tmp_path / "theirs"), create_if_missing=True) as database:
        for index, pixels in enumerate(IMAGES):
            database.put(b"%08d_x" % index, caffe_datum(pixels, index).SerializeToString())
    before = {file.name: file.read_bytes() for file in (tmp_path / "theirs").iterdir()}
    check_ours(FORMATS["leveldb"].open(tmp_path / "theirs"), IMAGES)
    assert {file.name: file.read_bytes() for file in (tmp_path / "theirs").iterdir()} == before, (
        "it is only read"
    )


@pytest.mark.parametrize("encoded", [False, True])
def test_hdf5_of_ours_is_read_by_h5py(tmp_path, encoded):
    write(tmp_path, "hdf5", encoded=encoded)
    with h5py.File(tmp_path / "data.h5") as file:
        assert file["labels"][()].tolist() == list(range(7))
        images = [decode(bytes(one)) for one in file["images"]] if encoded else file["images"][()]
        assert np.array_equal(np.array(images), IMAGES)


def test_hdf5_of_caffe_is_read_pixel_by_pixel(tmp_path):
    with h5py.File(tmp_path / "train.h5", "w") as file:
        file["data"] = np.array([as_caffe(pixels) for pixels in IMAGES])
        file["label"] = np.arange(7, dtype=np.float32)
    check_ours(FORMATS["hdf5"].open(tmp_path), IMAGES)
    with h5py.File(tmp_path / "train.h5", "w") as file:
        file["data"] = np.zeros((2, 3, 4, 4), dtype=np.float32)
        file["label"] = np.arange(2)
    with pytest.raises(Mistake, match="float32"):
        FORMATS["hdf5"].open(tmp_path)


@pytest.mark.parametrize("packed", [False, True])
def test_idx_as_mnist_lies_there(tmp_path, packed):
    """train-images-idx3-ubyte and its fellows, by the published layout: magic 2051 and 2049, big-endian."""
    for prefix in ("train", "t10k"):
        images = struct.pack(">IIII", 2051, 7, 5, 4) + IMAGES[..., 0].tobytes()
        labels = struct.pack(">II", 2049, 7) + bytes(range(7))
        for name, content in (
            (f"{prefix}-images-idx3-ubyte", images),
            (f"{prefix}-labels-idx1-ubyte", labels),
        ):
            path = tmp_path / (f"{name}.gz" if packed else name)
            path.write_bytes(gzip.compress(content) if packed else content)
    found = recognise(tmp_path)
    assert (found.format, sorted(found.parts)) == ("idx", ["train", "val"])
    for path in found.parts.values():
        check_ours(FORMATS["idx"].open(path), IMAGES[..., :1])


def test_idx_of_ours_has_mnists_layout(tmp_path):
    write(tmp_path / "train", "idx", grey=True)
    images = (tmp_path / "train/images-idx3-ubyte").read_bytes()
    assert struct.unpack(">IIII", images[:16]) == (2051, 7, 5, 4)
    assert images[16:] == IMAGES[..., 0].tobytes()
    labels = (tmp_path / "train/labels-idx1-ubyte").read_bytes()
    assert struct.unpack(">II", labels[:8]) == (2049, 7)
    assert labels[8:] == bytes(range(7))


def test_tfrecord_examples_are_tensorflows_both_ways():
    def feature(**lists):
        return EXAMPLE["Feature"](**lists)

    entries = [
        EXAMPLE["Entry"](
            key="image/encoded", value=feature(bytes_list=EXAMPLE["BytesList"](value=[b"\xff\xd8", b"more"]))
        ),
        EXAMPLE["Entry"](
            key="image/class/label", value=feature(int64_list=EXAMPLE["Int64List"](value=[7, -2, 2**40]))
        ),
        EXAMPLE["Entry"](key="image/ratio", value=feature(float_list=EXAMPLE["FloatList"](value=[1.5]))),
    ]
    theirs = EXAMPLE["Example"](features=EXAMPLE["Features"](feature=entries))
    assert tfrecord.decode_example(theirs.SerializeToString()) == {
        b"image/encoded": [b"\xff\xd8", b"more"],
        b"image/class/label": [7, -2, 2**40],
        b"image/ratio": [],
    }
    ours = tfrecord.encode_example(
        {b"image/encoded": [b"\xff\xd8", b"more"], b"image/class/label": [7, -2, 2**40]}
    )
    assert EXAMPLE["Example"].FromString(ours).features.feature[:] == theirs.features.feature[:2]


def test_a_record_has_the_published_frame():
    """Length, masked CRC-32C, data, masked CRC-32C; the checksum of '123456789' is the catalogue's 0xE3069283."""
    crc = 0xE3069283
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    assert tfrecord.mask_crc(b"123456789") == masked
    record = tfrecord.frame(b"123456789")
    assert record[:8] == struct.pack("<Q", 9)
    assert record[12:21] == b"123456789"
    assert record[21:] == struct.pack("<I", masked)
    for place in range(len(record)):
        changed = bytearray(record)
        changed[place] ^= 1
        with pytest.raises(ValueError, match=r"record|checksum"):
            tfrecord.unframe(bytes(changed))


def test_tfrecord_without_our_sidecars_is_looked_through(tmp_path):
    write(tmp_path, "tfrecord", encoded=True)
    for file in [*tmp_path.glob("*.idx"), tmp_path / "labels.npy"]:
        file.unlink()
    check_ours(FORMATS["tfrecord"].open(tmp_path), IMAGES, encoded=True)


def test_webdataset_of_ours_is_read_by_webdataset(tmp_path):
    write(tmp_path, "webdataset", encoded=True)
    [shard] = tmp_path.glob("*.tar")
    with shard.open("rb") as stream:
        samples = list(webdataset.tariterators.tar_file_expander([{"url": "", "stream": stream}]))
        samples = list(webdataset.tariterators.group_by_keys(samples))
    assert [int(sample["cls"]) for sample in samples] == list(range(7))
    for sample, pixels in zip(samples, IMAGES, strict=True):
        assert np.array_equal(decode(sample["png"]), pixels)


def test_webdataset_of_others_is_read(tmp_path):
    with webdataset.TarWriter(str(tmp_path / "shard-000000.tar")) as writer:
        for index, pixels in enumerate(IMAGES):
            writer.write(
                {"__key__": f"n0/{index:04d}", "png": encode(pixels, "png"), "cls": index, "json": {"a": 1}}
            )
    check_ours(FORMATS["webdataset"].open(tmp_path), IMAGES, encoded=True)
