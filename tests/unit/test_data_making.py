"""Data sets made of others: the same samples, whatever killed the making; and what cannot be made is said first."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import lmdb
import numpy as np
import pytest
from PIL import Image

from hpcdl import cli
from hpcdl.datasets import datum, making, survey
from hpcdl.datasets.manifest import FILE, read_manifest
from hpcdl.datasets.means import read_mean, write_mean
from hpcdl.datasets.origin import open_origin
from hpcdl.datasets.pixels import Change, decode
from hpcdl.errors import Mistake
from tests.data_sets import WAYS, make_png_tree


class Nobody:
    def begin(self, part, total, done):
        pass

    def step(self):
        pass


def make(source, target, name, *, workers=1, **wanted):
    change = Change(**{key: wanted.pop(key) for key in list(wanted) if key in Change.__dataclass_fields__})
    asked = making.Wanted(format=name, change=change, **wanted)
    return making.make(source, target, asked, workers=workers, watcher=Nobody())


@pytest.fixture
def hpcdl(monkeypatch, capsys):
    """A command line of `hpcdl data`, in this process; what it printed."""

    def call(*words, code=0):
        monkeypatch.setattr(sys, "argv", ["hpcdl", "data", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        assert left.value.code == code, err
        return SimpleNamespace(stdout=out, stderr=err)

    return call


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return make_png_tree(tmp_path_factory.mktemp("tree"), size=20)


@pytest.mark.parametrize(("name", "encoded"), WAYS)
def test_a_set_made_of_a_tree_has_its_samples_in_its_order(tree, tmp_path, name, encoded):
    made = make(tree, tmp_path / "set", name, encoding="keep" if encoded else "none")
    origin, ours = open_origin(tree), open_origin(tmp_path / "set")
    assert ours.classes == origin.classes
    assert (made.manifest.encoded, made.manifest.format, made.skipped) == (encoded, name, ())
    assert read_manifest(tmp_path / "set") == made.manifest
    for part, reading in origin.parts.items():
        assert ours.parts[part].labels.tolist() == reading.labels.tolist()
        for index in range(len(reading.labels)):
            theirs, found = reading.read(index), ours.parts[part].read(index)
            assert found == theirs if encoded else np.array_equal(found, decode(theirs))
    ours.close()
    assert not (tmp_path / "set" / making.JOURNAL).exists()
    found = survey.verify(tmp_path / "set", workers=1, watcher=Nobody())
    assert not any(part.bad or part.problems for part in found.values())


def test_from_format_to_format_the_digest_stays(tree, tmp_path):
    first = make(tree, tmp_path / "a", "lmdb", encoding="none")
    second = make(tmp_path / "a", tmp_path / "b", "raw")
    third = make(tmp_path / "b", tmp_path / "c", "hdf5")
    digests = [
        {name: part.digest for name, part in made.manifest.parts.items()} for made in (first, second, third)
    ]
    assert digests[0] == digests[1] == digests[2]


def test_several_processes_make_the_same_set(tree, tmp_path):
    alone = make(tree, tmp_path / "alone", "raw", size=(16, 24))
    together = make(tree, tmp_path / "together", "raw", size=(16, 24), workers=2)
    assert alone.manifest.parts == together.manifest.parts
    for file in ("train/images.npy", "val/labels.npy"):
        assert (tmp_path / "alone" / file).read_bytes() == (tmp_path / "together" / file).read_bytes()


def test_a_resized_image_is_pillows(tree, tmp_path):
    make(tree, tmp_path / "set", "raw", size=(16, 24), colour="grey")
    origin = open_origin(tree)
    with Image.open(Path(tree) / origin.parts["train"].name(3)) as image:
        by_hand = np.asarray(image.convert("L").resize((24, 16), Image.Resampling.BILINEAR))
    assert np.array_equal(np.load(tmp_path / "set/train/images.npy")[3, ..., 0], by_hand)


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(30, 60, (10, 20)), (61, 30, (20, 10)), (10, 10, (10, 10))]
)
def test_the_shorter_side_is_what_was_asked_for(height, width, expected):
    from hpcdl.datasets.pixels import change

    image = np.zeros((height, width, 3), dtype=np.uint8)
    assert change(image, Change(shorter=10)).shape[:2] == expected


def test_a_making_that_was_killed_is_gone_on_with(hpcdl, tmp_path):
    """SIGKILL in the middle; the same command again; the result is that of a making in one go."""
    tree = make_png_tree(tmp_path / "tree", size=20)
    for index in range(200):
        target = tree / "train/flower-0" / f"z{index:04d}.png"
        target.symlink_to(next((tree / "train/flower-0").glob("flower*")))
    whole = make(tree, tmp_path / "whole", "lmdb", size=(120, 120), encoding="png")
    words = [
        "make",
        tree,
        tmp_path / "set",
        "--format",
        "lmdb",
        "--size",
        "120x120",
        "--encoded",
        "png",
        "--workers",
        "1",
    ]
    slow = f"import sys; sys.path[:0] = {sys.path!r}; from hpcdl.datasets import making; making.SAFE_EVERY = 16\n"
    slow += "from hpcdl.cli import main; main()"
    child = subprocess.Popen(
        [sys.executable, "-c", slow, "data", *map(str, words)], stderr=subprocess.DEVNULL
    )
    digests = tmp_path / "set/train.digests"
    deadline = time.monotonic() + 60
    while not (digests.exists() and digests.stat().st_size >= 64 * 32) and time.monotonic() < deadline:
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert not (tmp_path / "set" / FILE).exists()
    told = hpcdl("make", tree, tmp_path / "set", "--format", "lmdb", "--size", "99x99", code=2)
    assert "something else was begun here" in told.stderr
    hpcdl(*words)
    assert read_manifest(tmp_path / "set").parts == whole.manifest.parts
    hpcdl("verify", tmp_path / "set", "--workers", "1")


def test_a_bad_image_ends_it_by_name_or_is_left_out(tmp_path):
    tree = make_png_tree(tmp_path / "tree", size=20)
    victim = sorted((tree / "train/temple-0").iterdir())[2]
    victim.write_bytes(victim.read_bytes()[:90])
    with pytest.raises(Mistake, match=rf"{victim.name}: it is cut off.*") as refused:
        make(tree, tmp_path / "set", "lmdb")
    assert "--skip-bad" in refused.value.do
    made = make(tree, tmp_path / "other", "lmdb", skip_bad=True)
    assert [name for name, _ in made.skipped] == [f"train/temple-0/{victim.name}"]
    assert made.manifest.parts["train"].samples == 35


def test_hostile_names_come_through(hpcdl, tmp_path):
    names = [b"a b/x\ny.png", b"a b/\xff\xfe.png", b"$(touch owned)/'\".png", "ü/名前.png".encode()]
    for part in (b"train", b"val"):
        for name in names:
            path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/tree/" + part + b"/" + name))
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((8, 8, 3), len(name), dtype=np.uint8)).save(path)
    for name in ("raw", "tfrecord", "folder", "webdataset"):
        made = make(tmp_path / "tree", tmp_path / name, name)
        assert made.manifest.parts["train"].samples == 4
        assert made.manifest.classes == ("$(touch owned)", "a b", "ü")
        hpcdl("verify", tmp_path / name, "--workers", "1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--format", "lmbd"), "Did you mean 'lmdb'"),
        (("--format", "tfrecord", "--encoded", "none"), "holds encoded images only"),
        (("--format", "raw", "--encoded", "jpeg"), "holds pixels only"),
        (("--format", "raw", "--size", "0x5"), "height and width"),
        (("--format", "raw", "--size", "5x5", "--shorter", "5"), "exclude each other"),
        (("--format", "raw", "--colour", "blue"), "blue"),
        (("--format", "raw", "--split", "0.2"), "held out already"),
    ],
)
def test_what_cannot_be_made_is_said_before_anything_is_written(hpcdl, tree, tmp_path, words, said):
    told = hpcdl("make", tree, tmp_path / "set", *words, code=2)
    assert said in told.stderr
    assert not (tmp_path / "set").exists()


def test_a_target_with_something_in_it_is_left_alone(hpcdl, tree, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    assert "something else" in hpcdl("make", tree, tmp_path, "--format", "raw", code=2).stderr
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_pixels_of_several_sizes_want_a_size(hpcdl, tmp_path):
    tree = make_png_tree(tmp_path / "tree", size=20)
    Image.fromarray(np.zeros((9, 9, 3), dtype=np.uint8)).save(tree / "train/flower-0/zz.png")
    told = hpcdl("make", tree, tmp_path / "set", "--format", "raw", "--workers", "1", code=2)
    assert "zz.png: 9 x 9 in 3 channels, and the first image is 20 x 20 in 3 channels" in told.stderr
    assert "--size" in told.stderr


def test_a_split_is_held_out_of_each_class_and_a_shuffle_keeps_the_samples(tmp_path):
    tree = make_png_tree(tmp_path / "tree", size=20)
    made = make(tree / "train", tmp_path / "set", "raw", split=0.25, shuffle=True)
    assert {name: part.samples for name, part in made.manifest.parts.items()} == {"train": 27, "val": 9}
    origin, ours = open_origin(tree / "train"), open_origin(tmp_path / "set")
    theirs = sorted(decode(origin.parts["train"].read(index)).tobytes() for index in range(36))
    found = sorted(
        part.read(index).tobytes() for part in ours.parts.values() for index in range(len(part.labels))
    )
    assert found == theirs
    assert ours.parts["train"].labels.tolist() != sorted(ours.parts["train"].labels.tolist())


def test_what_was_changed_since_is_found(hpcdl, tree, tmp_path):
    make(tree, tmp_path / "set", "raw")
    path = tmp_path / "set/train/images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    told = hpcdl("verify", tmp_path / "set", "--workers", "1", code=1)
    assert "not sound" in told.stdout
    assert "the digest of labels and contents is not that of dataset.json" in told.stdout


def test_the_mean_is_the_mean(hpcdl, tree, tmp_path):
    make(tree, tmp_path / "set", "raw")
    pixels = np.load(tmp_path / "set/train/images.npy").astype(np.float64)
    for suffix in (".npy", ".binaryproto"):
        hpcdl("mean", tmp_path / "set", "--output", tmp_path / f"mean{suffix}", "--workers", "2")
        found = read_mean(tmp_path / f"mean{suffix}")
        assert found.shape == (20, 20, 3)
        assert np.abs(found - pixels.mean(axis=0)).max() < 1e-4
    shown = json.loads(hpcdl("mean", tmp_path / "set", "--json", "--workers", "1").stdout)
    rows = shown["mean"]
    assert [row["mean"]["value"] for row in rows] == pytest.approx(pixels.mean(axis=(0, 1, 2)).tolist())
    assert [row["deviation"]["value"] for row in rows] == pytest.approx(pixels.std(axis=(0, 1, 2)).tolist())


def test_a_mean_per_channel_comes_back_from_caffes_file(tmp_path):
    write_mean(tmp_path / "mean.binaryproto", np.array([123.0, 117.0, 104.0]))
    assert read_mean(tmp_path / "mean.binaryproto").tolist() == [123.0, 117.0, 104.0]


def test_info_says_what_is_there(hpcdl, tree, tmp_path):
    make(tree, tmp_path / "set", "webdataset")
    told = hpcdl("info", tmp_path / "set").stdout
    for word in ("webdataset", "encoded images", "temple-1", "made of"):
        assert word in told
    assert json.loads(hpcdl("info", tmp_path / "set", "--json").stdout)["kind"] == "data-info"


@pytest.mark.parametrize("verb", ["verify", "mean", "info"])
def test_what_is_no_data_set_is_a_mistake(hpcdl, tmp_path, verb):
    assert "class folders" in hpcdl(verb, tmp_path, code=2).stderr
    assert "no data folder" in hpcdl(verb, tmp_path / "nowhere", code=2).stderr


# ---- What may not be relabelled, lost or mixed ----


def write_foreign_lmdb(folder, labels):
    folder.mkdir(parents=True)
    with lmdb.open(str(folder), map_size=2**24) as environment, environment.begin(write=True) as all_:
        for index, label in enumerate(labels):
            pixels = np.full((4, 4, 3), index, dtype=np.uint8)
            all_.put(b"%08d" % index, datum.encode(label, pixels))
    return folder.parent


def test_a_tree_made_of_nameless_classes_keeps_every_label(tmp_path):
    labels = [index % 12 for index in range(36)]
    source = write_foreign_lmdb(tmp_path / "source/train", labels)
    make(source, tmp_path / "tree", "folder", encoding="png")
    tree = open_origin(tmp_path / "tree")
    assert tree.classes == tuple(f"{label:02d}" for label in range(12))
    part = tree.parts["train"]
    found = {int(decode(part.read(place))[0, 0, 0]): int(part.labels[place]) for place in range(36)}
    assert found == dict(enumerate(labels))
    assert survey.verify(tmp_path / "tree", workers=1, watcher=Nobody())["train"].problems == []


@pytest.mark.parametrize(
    ("labels", "wanted", "said"),
    [
        ([0, 2, 0, 2], {}, "'1' would have none in train"),
        ([0, 1, 0, 1], {"shuffle": True}, "--shuffle would be lost"),
        ([0, 1, 0, -1], {"split": 0.5}, "its label is -1, and there are 2 classes"),
        ([0, 1, 0, 1], {"split": 0.01}, "holds out none"),
    ],
)
def test_what_a_tree_would_lose_is_refused_before_anything_is_written(tmp_path, labels, wanted, said):
    source = write_foreign_lmdb(tmp_path / "source/train", labels)
    with pytest.raises(Mistake, match=said):
        make(source, tmp_path / "set", "folder", encoding="png", **wanted)
    assert not (tmp_path / "set").exists()


def test_a_class_of_which_nothing_is_left_is_no_class_of_a_tree(tmp_path):
    tree = make_png_tree(tmp_path / "tree", size=20)
    for file in (tree / "val/flower-0").iterdir():
        file.write_bytes(b"no image")
    with pytest.raises(Mistake, match="'flower-0' would have none in val"):
        make(tree, tmp_path / "set", "folder", skip_bad=True)
    assert not (tmp_path / "set").exists()


def test_a_source_that_changed_in_between_is_not_gone_on_with(tmp_path, monkeypatch):
    tree = make_png_tree(tmp_path / "tree", size=20)
    stopped = SimpleNamespace(begin=lambda *_: None, step=stop_after(20))
    asked = making.Wanted(format="lmdb")
    monkeypatch.setattr(making, "SAFE_EVERY", 8)
    with pytest.raises(KeyboardInterrupt):
        making.make(tree, tmp_path / "set", asked, workers=1, watcher=stopped)
    for part in ("train", "val"):
        (tree / part / "flower-0").rename(tree / part / "zebra-0")
    with pytest.raises(Mistake, match="from files that have changed since"):
        make(tree, tmp_path / "set", "lmdb")
    for part in ("train", "val"):
        (tree / part / "zebra-0").rename(tree / part / "flower-0")
    with pytest.raises(Mistake, match="this data set is not finished"):
        open_origin(tmp_path / "set")
    make(tree, tmp_path / "set", "lmdb")
    assert survey.verify(tmp_path / "set", workers=1, watcher=Nobody())["train"].problems == []


def stop_after(count):
    left = iter(range(count - 1))

    def step():
        if next(left, None) is None:
            raise KeyboardInterrupt

    return step


@pytest.mark.parametrize(("name", "encoded"), WAYS)
def test_killed_in_the_second_part_or_with_much_in_memory(tmp_path, monkeypatch, name, encoded):
    """Of 32 and 12 samples; what is safe is counted in samples and in bytes."""
    tree = make_png_tree(tmp_path / "tree", size=20)
    change = Change(encoding="keep" if encoded else "none")
    asked = making.Wanted(format=name, change=change)
    monkeypatch.setattr(making, "SAFE_EVERY_BYTES", 2000)
    for samples in (9, 35):
        stopped = SimpleNamespace(begin=lambda *_: None, step=stop_after(samples))
        with pytest.raises(KeyboardInterrupt):
            making.make(tree, tmp_path / f"set{samples}", asked, workers=1, watcher=stopped)
        making.make(tree, tmp_path / f"set{samples}", asked, workers=1, watcher=Nobody())
        found = survey.verify(tmp_path / f"set{samples}", workers=1, watcher=Nobody())
        assert [(part.bad, part.problems) for part in found.values()] == [([], []), ([], [])]


def test_two_makings_of_one_target_are_not_mixed(tree, tmp_path):
    target = tmp_path / "set"
    asked = making.Wanted(format="lmdb")

    def meet():
        with pytest.raises(Mistake, match="another process is making this data set"):
            making.make(tree, target, asked, workers=1, watcher=Nobody())

    first = SimpleNamespace(begin=lambda *_: meet(), step=lambda: None)
    making.make(tree, target, asked, workers=1, watcher=first)
    assert survey.verify(target, workers=1, watcher=Nobody())["train"].problems == []


def test_a_part_of_a_tree_that_was_removed_is_missed(tree, tmp_path):
    make(tree, tmp_path / "set", "folder")
    shutil.rmtree(tmp_path / "set/val")
    with pytest.raises(Mistake, match="promises a part in the format folder"):
        open_origin(tmp_path / "set")


def test_a_class_whose_name_no_manifest_can_hold_is_refused_first(tree, tmp_path):
    shutil.copytree(tree, tmp_path / "tree")
    for part in ("train", "val"):
        (tmp_path / "tree" / part / "flower-0").rename(tmp_path / "tree" / part / os.fsdecode(b"caf\xe9"))
    with pytest.raises(Mistake, match="is not UTF-8"):
        make(tmp_path / "tree", tmp_path / "set", "raw", size=(8, 8))
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("target", ["/proc/nowhere/set", "/dev/full/set"])
def test_a_place_where_nothing_can_be_made_is_named(tree, target):
    with pytest.raises(Mistake, match=f"{target}: cannot be made"):
        make(tree, Path(target), "webdataset")


def test_a_full_disk_keeps_what_was_written(tree, tmp_path, monkeypatch):
    from hpcdl.datasets import raw
    from hpcdl.errors import Failure

    def fail(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(raw.RawWriting, "flush", fail)
    with pytest.raises(Failure, match="No space left on device"):
        make(tree, tmp_path / "set", "raw")
    monkeypatch.undo()
    assert make(tree, tmp_path / "set", "raw").manifest.parts["train"].samples == 36
