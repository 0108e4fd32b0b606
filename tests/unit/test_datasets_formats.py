"""Every format: what was written is read back, whole and after an interruption; what is cut is refused by name."""

from __future__ import annotations

import multiprocessing
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from hpcdl.datasets import sharded
from hpcdl.datasets.formats import FORMATS, find_format
from hpcdl.datasets.part import Layout, Sample
from hpcdl.datasets.pixels import encode
from hpcdl.datasets.recognition import recognise
from hpcdl.errors import Mistake, UnknownName
from tests.data_sets import WAYS

COUNT = 23
CLASSES = ("cat", "dog", "eel")
INDEXED = [way for way in WAYS if way[0] != "folder"]


def make_samples(*, encoded, channels=3, mixed=False):
    rng = np.random.default_rng(5)
    samples = []
    for index in range(COUNT):
        shape = (9 + (index % 4 if mixed else 0), 12, channels)
        pixels = rng.integers(0, 256, shape, dtype=np.uint8)
        samples.append(Sample(f"x/{index}.png", index % 3, encode(pixels, "png") if encoded else pixels))
    return samples


def write(folder, name, samples, *, until=COUNT, flush_every=5):
    """Write as a making does, up to `until`; then finish, or break off in the middle of what is not safe yet."""
    first = samples[0].content
    shape = None if isinstance(first, bytes) else first.shape
    part = FORMATS[name].create(folder, Layout(COUNT, isinstance(first, bytes), shape, CLASSES))
    begun = part.written
    for index in range(begun, until):
        part.add(samples[index])
        if (index + 1) % flush_every == 0:
            part.flush()
    if until == COUNT:
        part.close(complete=True)
    return part, begun


def content_of(sample):
    return sample.content if isinstance(sample.content, bytes) else sample.content.tobytes()


def check(folder, name, samples):
    part = FORMATS[name].open(folder)
    try:
        assert part.labels.dtype == np.int64
        assert part.labels.tolist() == [sample.label for sample in samples]
        for index in np.random.default_rng(1).permutation(COUNT).tolist():
            found = part.read(index)
            assert (found if isinstance(found, bytes) else found.tobytes()) == content_of(samples[index])
            assert str(folder.parent) in part.name(index) or str(folder) in part.name(index)
        first = samples[0].content
        assert part.encoded == isinstance(first, bytes)
        assert part.shape == (None if isinstance(first, bytes) else first.shape)
    finally:
        part.close()


@pytest.mark.parametrize(("name", "encoded"), INDEXED)
@pytest.mark.parametrize("channels", [1, 3])
def test_what_was_written_is_read_back_at_any_place(tmp_path, name, encoded, channels):
    samples = make_samples(encoded=encoded, channels=channels, mixed=encoded)
    write(tmp_path / "train", name, samples)
    assert recognise(tmp_path).format == name
    assert recognise(tmp_path).parts == {"train": tmp_path / "train"}
    check(tmp_path / "train", name, samples)


@pytest.mark.parametrize(("name", "encoded"), INDEXED)
def test_a_part_that_was_broken_off_is_gone_on_with(tmp_path, name, encoded):
    samples = make_samples(encoded=encoded)
    folder = tmp_path / "train"
    part, _ = write(folder, name, samples, until=13)
    part.close(complete=False)
    with pytest.raises(Mistake, match="not finished"):
        find_format(name).open(folder)
    _, begun = write(folder, name, samples)
    assert 10 <= begun <= 13
    check(folder, name, samples)


@pytest.mark.parametrize(("name", "encoded"), INDEXED)
def test_processes_and_threads_read_one_part_at_once(tmp_path, name, encoded):
    samples = make_samples(encoded=encoded)
    write(tmp_path / "train", name, samples)
    part = find_format(name).open(tmp_path / "train")
    part.read(3)
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=check, args=(tmp_path / "train", name, samples)) for _ in range(2)]
    children.append(context.Process(target=_read_all, args=(part, samples)))
    for child in children:
        child.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: _read_all(part, samples), range(4)))
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    part.close()


def _read_all(part, samples):
    for index, sample in enumerate(samples):
        found = part.read(index)
        assert (found if isinstance(found, bytes) else found.tobytes()) == content_of(sample)


@pytest.mark.parametrize(("name", "encoded"), INDEXED)
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.9])
def test_a_part_that_was_cut_is_refused_or_names_the_sample(tmp_path, name, encoded, kept):
    """Every file of it in turn; what can still be read is what was written."""
    samples = make_samples(encoded=encoded)
    write(tmp_path / "whole/train", name, samples)
    refused = 0
    files = sorted(
        file.relative_to(tmp_path / "whole") for file in (tmp_path / "whole").rglob("*") if file.is_file()
    )
    for number, file in enumerate(files):
        broken = tmp_path / f"broken{number}"
        shutil.copytree(tmp_path / "whole", broken)
        content = (broken / file).read_bytes()
        (broken / file).write_bytes(content[: int(len(content) * kept)])
        words = _read_until_refused(name, broken / "train", samples)
        assert words is None or str(broken) in words
        refused += words is not None
    assert refused


def _read_until_refused(name, folder, samples):
    """None: all could be read, and was right."""
    try:
        part = find_format(name).open(folder)
        _read_all(part, samples)
    except Mistake as problem:
        return problem.what
    part.close()
    return None


@pytest.mark.parametrize("name", ["tfrecord", "webdataset"])
def test_more_shards_than_files_may_be_open_are_read(tmp_path, monkeypatch, name):
    samples = make_samples(encoded=True)
    write(tmp_path / "part", name, samples, flush_every=1)
    assert len(sharded.list_shards(tmp_path / "part", FORMATS[name].open(tmp_path / "part").suffix)) == COUNT
    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(sharded.resource, "getrlimit", lambda _: (4 * (COUNT - 1), 4096))
    part = FORMATS[name].open(tmp_path / "part")
    assert [part.read(index) for index in range(COUNT)] == [sample.content for sample in samples]
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("name", sorted({name for name, _ in INDEXED}))
def test_an_empty_folder_is_no_part_of_any_format(tmp_path, name):
    assert not find_format(name).holds(tmp_path)
    with pytest.raises(Mistake, match=str(tmp_path)):
        find_format(name).open(tmp_path)


def test_a_format_that_nobody_knows_is_named_with_the_nearest():
    with pytest.raises(UnknownName, match="lmdb"):
        find_format("lmbd")


@pytest.mark.parametrize("name", ["tfrecord", "webdataset", "folder"])
def test_pixels_are_refused_where_only_images_can_be(tmp_path, name):
    with pytest.raises(Mistake, match="--encoded"):
        find_format(name).create(tmp_path, Layout(1, encoded=False, shape=(2, 2, 3), classes=("a",)))


@pytest.mark.parametrize("with_labels", [True, False])
def test_a_flipped_byte_in_a_leveldb_is_never_another_image(tmp_path, with_labels):
    """Its blocks have checksums: whatever is read was written, or is refused."""
    samples = make_samples(encoded=False)
    write(tmp_path / "whole", "leveldb", samples)
    [table, *_] = sorted((tmp_path / "whole").glob("*.ldb"))
    size = table.stat().st_size
    refused = 0
    for number, place in enumerate(range(3, size, size // 40)):
        broken = tmp_path / str(number)
        shutil.copytree(tmp_path / "whole", broken)
        if not with_labels:
            (broken / "labels.npy").unlink()
        content = bytearray(table.read_bytes())
        content[place] ^= 0x10
        (broken / table.name).write_bytes(content)
        refused += _read_until_refused("leveldb", broken, samples) is not None
    assert refused > 30
