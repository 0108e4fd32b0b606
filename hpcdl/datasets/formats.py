"""All formats, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.datasets.caffe_leveldb import LEVELDB
from hpcdl.datasets.caffe_lmdb import LMDB
from hpcdl.datasets.folder import FOLDER
from hpcdl.datasets.hdf5 import HDF5
from hpcdl.datasets.idx import IDX
from hpcdl.datasets.raw import RAW
from hpcdl.datasets.tfrecord import TFRECORD
from hpcdl.datasets.webdataset import WEBDATASET
from hpcdl.errors import UnknownName

if TYPE_CHECKING:
    from hpcdl.datasets.part import Format

# An image tree can be made like the others; how one is read is hpcdl.datasets.tree's to know.
FORMATS: dict[str, Format] = {
    format_.name: format_ for format_ in (FOLDER, LMDB, LEVELDB, HDF5, IDX, TFRECORD, WEBDATASET, RAW)
}


def find_format(name: str) -> Format:
    """A format by name.

    Raises:
        UnknownName: No such format; the nearest is suggested.
    """
    if name not in FORMATS:
        raise UnknownName("format", name, FORMATS)
    return FORMATS[name]
