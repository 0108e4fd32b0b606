"""WebDataset: tar files in which a sample is some members of one name, here KEY.jpg or KEY.png and KEY.cls.

KEY.cls is the label as a text. An index as DALI's wds2idx writes it (version 1.2) lies beside each shard.
"""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

from hpcdl.datasets.part import Format
from hpcdl.datasets.sharded import Entry, ShardedReading, ShardedWriting, list_shards
from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hpcdl.datasets.part import Sample

SUFFIX = ".tar"
PICTURES = ("jpg", "jpeg", "png")
LABEL = "cls"
VERSION = "v1.2"
JPEG = b"\xff\xd8\xff"


class WebdatasetReading(ShardedReading):
    """Members at offsets; the labels' members are read when the part is opened, where no labels lie beside it."""

    suffix = SUFFIX

    def __init__(self, folder: Path) -> None:
        self._label_entries: list[tuple[Path, Entry]] = []
        super().__init__(folder)

    def find_entries(self, shard: Path) -> list[Entry]:
        """By the index, or by the headers of the tar."""
        index = shard.with_name(f"{shard.name}.idx")
        samples = _read_index(index) if index.is_file() else _look_through(shard)
        pictures = []
        for key, members in samples:
            found = [members[kind] for kind in PICTURES if kind in members]
            if len(found) != 1 or LABEL not in members:
                raise Mistake(
                    f"{shard}: the sample {key!r} has {', '.join(sorted(members)) or 'nothing'}; wanted are one of "
                    f"{', '.join(PICTURES)}, and {LABEL}."
                )
            pictures.append(found[0])
            self._label_entries.append((shard, members[LABEL]))
        return pictures

    def read(self, index: int) -> bytes:
        """The picture's member."""
        return self.take(index)

    def read_label(self, index: int) -> int:
        """The text of KEY.cls."""
        shard, entry = self._label_entries[index]
        return _read_label(shard, entry)


Members = list[tuple[str, dict[str, Entry]]]


def _read_label(shard: Path, entry: Entry) -> int:
    with shard.open("rb") as stream:
        stream.seek(entry.offset)
        text = stream.read(entry.size)
    try:
        return int(text)
    except ValueError:
        raise Mistake(f"{shard} at byte {entry.offset}: {text[:20]!r} is no label.") from None


def _look_through(shard: Path) -> Members:
    samples: dict[str, dict[str, Entry]] = {}
    size = shard.stat().st_size
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                if not member.isfile():
                    continue
                if member.offset_data + member.size > size:
                    raise Mistake(f"{shard}: it is cut off in {member.name}.", do="Copy the data set again.")
                folder, _, name = member.name.rpartition("/")
                stem, _, kind = name.partition(".")
                samples.setdefault(f"{folder}/{stem}", {})[kind.lower()] = Entry(
                    member.offset_data, member.size
                )
    except (tarfile.TarError, OSError, EOFError) as problem:
        raise Mistake(f"{shard}: cannot be read as tar ({problem}).") from None
    return list(samples.items())


def _read_index(path: Path) -> Members:
    try:
        head, *lines = path.read_text().splitlines()
        if head.split()[0] != VERSION or int(head.split()[1]) != len(lines):
            raise ValueError(head)
        samples: Members = []
        for line in lines:
            words = line.split(" ")
            members = {words[i]: Entry(int(words[i + 1]), int(words[i + 2])) for i in range(0, len(words), 4)}
            samples.append((words[3].partition(".")[0], members))
    except (ValueError, IndexError, OSError) as problem:
        raise Mistake(f"{path}: this is no index of a WebDataset ({problem}).", do="Remove it.") from None
    return samples


class WebdatasetWriting(ShardedWriting):
    """Tar files without times and owners: the same samples give the same bytes."""

    suffix = SUFFIX

    def pack(self, samples: Sequence[Sample], first: int) -> tuple[bytes, str]:
        """Two members for each sample."""
        stream = io.BytesIO()
        lines = [f"{VERSION} {len(samples)}\n"]
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for index, sample in enumerate(samples, first):
                content = sample.content if isinstance(sample.content, bytes) else b""
                kind = "jpg" if content.startswith(JPEG) else "png"
                told = []
                for name, data in (
                    (f"{index:08d}.{kind}", content),
                    (f"{index:08d}.{LABEL}", b"%d" % sample.label),
                ):
                    member = tarfile.TarInfo(name)
                    member.size, member.mode = len(data), 0o644
                    tar.addfile(member, io.BytesIO(data))
                    end = stream.tell()
                    begin = end - -(-len(data) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                    told.append(f"{name.partition('.')[2]} {begin} {len(data)} {name}")
                lines.append(" ".join(told) + "\n")
        return stream.getvalue(), "".join(lines)

    def list_labels(self) -> list[int]:
        """Out of the shards that are there."""
        return [
            _read_label(shard, members[LABEL])
            for shard in list_shards(self.folder, SUFFIX)
            for _, members in _look_through(shard)
        ]


def _holds(folder: Path) -> bool:
    return folder.is_dir() and any(folder.glob(f"*{SUFFIX}"))


WEBDATASET = Format(
    "webdataset", open=WebdatasetReading, create=WebdatasetWriting, holds=_holds, encoded=True, pixels=False
)
